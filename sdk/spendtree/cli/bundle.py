"""Bundle: the alerting bundle as texts by file name, with somebody's own thresholds.

What alerts say is written in the repository's `alerts/`, which the wheel carries as
`spendtree/alerts`. Made here is what follows from it: the rules that give thresholds, and the form
of all rules that Kubernetes takes. Nothing is written to disk.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import spendtree
from spendtree.cli import monitors
from spendtree.config.thresholds import THRESHOLDS
from spendtree.errors import SpendtreeError

RUNBOOKS = "https://github.com/spendtree/spendtree/blob/main/alerts/runbooks"
"""Where alerts say that their runbooks are."""

THRESHOLD_RULES = "rules/thresholds.yml"
SCRAPES = "prometheus.yml"
PROMETHEUS_RULE = "kubernetes/prometheusrule.yaml"

_FOR_USERS = (".md", ".tmpl", ".yaml", ".yml")
_NOT_FOR_USERS = ("tests",)
"""Folders of `alerts/` that test the rules as they are, not somebody's own."""

_DASHBOARD = "dashboard_url: /d/"

_THRESHOLDS_HEAD = """\
# What alerts compare with: the default of each threshold, or what spendtree.yaml says under
# `alerts.thresholds` (the largest where stores differ). Written by `spendtree rules`: give it
# --threshold NAME=VALUE, or put the value into spendtree.yaml, rather than change this file.

groups:
  - name: spendtree-thresholds
    rules:
"""

_THRESHOLD = """\
      # {reason}
      - record: spendtree:alert_threshold:max
        expr: max(spendtree_alert_threshold{{name="{name}"}}) or vector({value})
        labels:
          name: {name}
"""

_PROMETHEUS_RULE_HEAD = """\
# All rules, as the Prometheus operator takes them. Written by `spendtree rules` from rules/*.yml.
# The operator looks for the labels in its ruleSelector: add yours (often `release`).
"""


class BundleMissingError(SpendtreeError):
    """The alerting bundle is not where this installation should have it."""


def source() -> Path:
    """Return the folder of the bundle: in the wheel, else in the repository around the package."""
    package = Path(spendtree.__file__).parent
    for folder in (package / "alerts", package.parents[1] / "alerts"):
        if (folder / "rules").is_dir():
            return folder
    raise BundleMissingError(
        "the alerting bundle is missing from this installation; install spendtree from its wheel"
    )


def files(
    thresholds: Mapping[str, Decimal] | None = None,
    *,
    runbooks: str = RUNBOOKS,
    grafana: str = "",
    folder: Path | None = None,
) -> dict[str, str]:
    """Return the text of every file of the bundle, by its path in it.

    `thresholds` are those that differ from the defaults, by their names in THRESHOLDS. Links to
    runbooks begin with `runbooks`, those to dashboards with `grafana`.
    """
    texts = dict(_read(folder or source()))
    texts[THRESHOLD_RULES] = threshold_rules(thresholds or {})
    for name in _rule_files(texts):
        linked = texts[name].replace(RUNBOOKS, runbooks.rstrip("/"))
        texts[name] = linked.replace(_DASHBOARD, f"dashboard_url: {grafana.rstrip('/')}/d/")
    texts[PROMETHEUS_RULE] = prometheus_rule([texts[name] for name in _rule_files(texts)])
    texts[monitors.SERVICE_MONITOR] = monitors.service_monitor(texts[SCRAPES])
    texts[monitors.POD_MONITOR] = monitors.pod_monitor(texts[SCRAPES])
    return dict(sorted(texts.items()))


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix in _FOR_USERS and name.parts[0] not in _NOT_FOR_USERS:
            yield name.as_posix(), path.read_text("utf-8")


def _rule_files(texts: Mapping[str, str]) -> list[str]:
    return sorted(name for name in texts if name.startswith("rules/"))


def threshold_rules(own: Mapping[str, Decimal]) -> str:
    """Return the recording rules that give every threshold; `own` are not the defaults."""
    rules = [
        _THRESHOLD.format(
            name=name,
            value=f"{own.get(name, each.default):f}",
            reason=each.reason[:1].upper() + each.reason[1:],
        )
        for name, each in THRESHOLDS.items()
    ]
    return _THRESHOLDS_HEAD + "".join(rules)


def prometheus_rule(rule_files: list[str]) -> str:
    """Return the groups of some rule files as one PrometheusRule of the Prometheus operator."""
    import yaml  # noqa: PLC0415 - heavy, loaded on use

    manifest: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "spendtree", "labels": {"app.kubernetes.io/name": "spendtree"}},
        "spec": {"groups": [group for text in rule_files for group in groups(text)]},
    }
    body = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=100)
    return _PROMETHEUS_RULE_HEAD + str(body)


def groups(text: str) -> list[dict[str, Any]]:
    """Return the groups of a rule file."""
    import yaml  # noqa: PLC0415

    found: list[dict[str, Any]] = yaml.safe_load(text)["groups"]
    return found
