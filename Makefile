# Every target works on a fresh machine: it makes .venv and installs what it needs first.
# `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Every dependency in the lowest version that is admitted, and tests that exercise each:
# uvicorn, starlette: app, serve, security (TLS); bcrypt: security; isal, orjson: negotiate, api;
# opentelemetry-proto: otlp; typer, click, rich: the CLI's; PyYAML: config; genai-prices: the price list's
# date and limits; prometheus-client: collector; httpx, openai, anthropic: the integrations'.
LOWEST := $(VENV)/lowest
LOWEST_TESTS := $(addprefix tests/exporter/test_,app.py serve.py security.py negotiate.py api.py otlp.py) \
	$(addprefix tests/sdk/test_,cli_app.py cli_output.py cli_check.py cli_tree.py config.py \
	limits.py collector.py integrations_httpx.py) tests/sdk/integrations

# Debian packages whose programs the tests run, each as package=program. They are installed by the
# root of a Debian machine only; elsewhere tests that need them skip and say so.
APT_PROGRAMS := prometheus=promtool prometheus-alertmanager=amtool nodejs=node npm=npm \
	chromium=chromium

# Two workers: the suite waits on disk and on other processes more than it computes.
PYTEST_ARGS ?= -n 2

JSON ?=

# How many seeds `make chaos` runs of failing calls and of a failing system; the suite runs a few.
SEEDS ?= 1000
DISRUPTIONS ?= 300

# How long `make soak` takes, and the servers that scrape; none is the one that is installed.
MINUTES ?= 10
PROMETHEUS ?=

# Anything but nothing has `make soak` attack the exporter while it is scraped.
HOSTILE ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo stack test lowest test-render check bench chaos soak facts fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMPS)/python ## make .venv with everything that the other targets need

demo: setup ## run the demo workload and serve its metrics and pages
	$(BIN)/spendtree demo --serve

stack: setup $(STAMPS)/programs ## raise workload, exporter, Prometheus and Alertmanager, without Docker
	$(BIN)/python -m tests.stack

test: setup $(STAMPS)/programs $(STAMPS)/newer $(STAMPS)/npm ## run all tests but those that draw (PYTEST_ARGS=... for other arguments)
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	$(MAKE) lowest

lowest: $(STAMPS)/lowest ## run what exercises each dependency with the lowest versions of all
	timeout 900 $(LOWEST)/bin/python -m pytest -q -n 2 $(LOWEST_TESTS)

test-render: setup $(STAMPS)/programs $(STAMPS)/npm ## draw the dashboards in a browser, into artifacts/dashboards
	$(BIN)/python -m pytest -m render tests/grafana/render

check: setup ## lint, formatting, types and import directions: what CI checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: setup $(STAMPS)/programs ## measure speed and size (JSON=file also writes one row per figure)
	$(BIN)/python -m bench $(if $(JSON),--json $(JSON))

chaos: setup ## spend one budget while calls fail, processes die and the system interferes (SEEDS=1000)
	$(BIN)/python -m tests.chaos --seeds $(SEEDS)
	$(BIN)/python -m tests.disruption --seeds $(DISRUPTIONS)

soak: setup $(STAMPS)/programs ## let Prometheus scrape a busy exporter (MINUTES=10 HOSTILE=1 PROMETHEUS=paths)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(HOSTILE),--hostile) $(PROMETHEUS)

facts: setup ## make the table of models' largest outputs anew, from public lists (needs the network)
	$(BIN)/python -m facts

fmt: setup ## format, and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, caches and what was built
	rm -rf $(VENV) build dist artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when the dependencies may have changed.
$(STAMPS)/python: pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" .ci/setup
	@mkdir -p $(@D) && touch $@

$(STAMPS)/lowest: pyproject.toml .ci/lowest | $(STAMPS)/python
	@VENV="$(VENV)" LOWEST="$(LOWEST)" .ci/lowest
	@mkdir -p $(@D) && touch $@

$(STAMPS)/programs: Makefile .ci/programs
	@.ci/programs $(APT_PROGRAMS)
	@mkdir -p $(@D) && touch $@

# Left unmade where nothing could be fetched, so that the next `make test` tries again.
$(STAMPS)/newer: .ci/newer
	@.ci/newer $(VENV)/newer
	@mkdir -p $(@D) && [ ! -d $(VENV)/newer ] || touch $@

# The same for npm's packages.
$(STAMPS)/npm: .ci/npm tests/grafana/render/package-lock.json $(STAMPS)/programs
	@.ci/npm
	@mkdir -p $(@D) && [ ! -d tests/grafana/render/node_modules ] || touch $@
