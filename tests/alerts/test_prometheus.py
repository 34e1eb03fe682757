"""What docs/prometheus.md advises works in a real Prometheus, and what is shipped follows it."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import spendtree
from spendtree.metrics import BIRTH_HOLD_US, Limits
from spendtree.metrics.names import LABEL_MAX
from tests.alerts import running, shipped, shortened
from tests.alerts.running import asked, until
from tests.programs import VERSIONS, program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "prometheus.md"
WHOLE, NO_SESSIONS, NO_SESSION_COUNTERS = (
    yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
)

PRICES = {"prices": {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}}

in_both_versions = pytest.mark.parametrize("version", VERSIONS)


def scrape() -> dict[str, Any]:
    """Return how the shipped configuration scrapes the exporter."""
    return dict(shipped.read(shipped.PROMETHEUS)["scrape_configs"][0])


@in_both_versions
def test_promtool_accepts_the_configuration_with_all_rules(version: str) -> None:
    checked = subprocess.run(
        [program("promtool", version), "check", "config", str(shipped.PROMETHEUS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(shipped.rule_files())} rule files found" in checked.stdout


def test_the_page_says_what_is_shipped() -> None:
    (said,) = WHOLE["scrape_configs"]
    own = scrape()

    assert {key: own[key] for key in said if key != "static_configs"} == {
        key: value for key, value in said.items() if key != "static_configs"
    }
    commented = re.search(r"(?m)((?:^    #(?:   .*| metric_relabel_configs:)\n)+)", shipped_text())
    assert commented
    assert yaml.safe_load(re.sub(r"(?m)^    # ", "", commented[1])) == NO_SESSIONS


def shipped_text() -> str:
    return shipped.PROMETHEUS.read_text("utf-8")


def test_the_rules_know_the_exporter_by_the_name_of_its_job() -> None:
    jobs = {
        job
        for file in shipped.rule_files()
        for job in re.findall(r'job="(\w+)"', file.read_text("utf-8"))
    }

    assert jobs == {scrape()["job_name"]}


def test_a_new_counter_is_scraped_at_0_even_if_a_scrape_fails() -> None:
    assert 2 * shortened.milliseconds(scrape()["scrape_interval"]) * 1_000 <= BIRTH_HOLD_US


def test_the_fuses_do_not_blow_at_what_the_exporter_may_show() -> None:
    own_series = 1_000  # far more than the exporter's own metrics and those of its process

    assert scrape()["sample_limit"] > Limits().series + own_series
    # A label value has at most so many characters; Prometheus counts bytes, up to four of each.
    assert scrape()["label_value_length_limit"] > 4 * LABEL_MAX


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with one session of a hundred agents that is open, under a ceiling and a budget."""
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    config = PRICES | {"customers": {"acme": {"budgets_usd": {"month": 100}}}}
    tracker = spendtree.Spendtree(url, config=config)
    with tracker.session(customer="acme", ceiling="1") as session:
        for number in range(100):
            agent = session.agent(f"agent-{number}", envelope="0.01")
            with agent, agent.call("m", input_tokens=100, max_output_tokens=100) as call:
                call.record(spendtree.Usage(100, 100))
    tracker.close()
    return url


@contextmanager
def scraping(store: str, folder: Path, version: str = "system", **own: Any) -> Iterator[str]:
    """Scrape the exporter of a store every second, otherwise as shipped but for what is given."""
    with running.exporter(store, folder) as url:
        target = {"targets": [url.removeprefix("http://")]}
        job = {**scrape(), "scrape_interval": "1s", "scrape_timeout": "1s", **own}
        config = shipped.write(
            folder / "prometheus.yml",
            {"scrape_configs": [{**job, "static_configs": [target]}]},
        )
        with running.prometheus(program("prometheus", version), config) as prometheus:
            until(lambda: asked(prometheus, "up"), what="scrape")
            yield prometheus


def families(prometheus: str, selector: str) -> set[str]:
    found = asked(prometheus, f'group by (__name__) ({{__name__=~"spendtree_.+", {selector}}})')
    return {one["metric"]["__name__"] for one in found}


SESSION_COUNTERS = {f"spendtree_session_{what}_total" for what in ("cost_usd", "calls", "tokens")}


@in_both_versions
def test_as_shipped_everything_is_scraped(version: str, store: str, tmp_path: Path) -> None:
    with scraping(store, tmp_path, version) as prometheus:
        with_session = families(prometheus, 'session!=""')
        up = asked(prometheus, "up")[0]["value"][1]

    assert up == "1"
    assert with_session > SESSION_COUNTERS
    assert "spendtree_budget_limit_usd" in with_session


@in_both_versions
def test_the_series_of_sessions_can_be_dropped(version: str, store: str, tmp_path: Path) -> None:
    with scraping(store, tmp_path, version, **NO_SESSIONS) as prometheus:
        with_session = families(prometheus, 'session!=""')
        without = families(prometheus, 'session=""')
        budget = asked(prometheus, 'spendtree_budget_limit_usd{kind="customer"}')

    assert with_session == set()
    assert "spendtree_cost_usd_total" in without
    assert [one["value"][1] for one in budget] == ["100"]


@in_both_versions
def test_the_counters_of_sessions_can_be_dropped_and_their_ceilings_kept(
    version: str, store: str, tmp_path: Path
) -> None:
    with scraping(store, tmp_path, version, **NO_SESSION_COUNTERS) as prometheus:
        everything = families(prometheus, 'store!=""')
        ceiling = asked(prometheus, 'spendtree_budget_limit_usd{kind="session"}')

    assert not everything & SESSION_COUNTERS
    assert "spendtree_cost_usd_total" in everything
    assert [one["value"][1] for one in ceiling] == ["1"]


def test_the_fuse_refuses_a_scrape_as_a_whole_and_counts_what_relabelling_leaves(
    store: str, tmp_path: Path
) -> None:
    """With room for the samples that are left without sessions, and for a few more."""
    with running.exporter(store, tmp_path) as url:
        samples = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line[0] != "#"]
    left = [line for line in samples if not re.search(r'session="[^"]', line)]
    limit = len(left) + 50
    assert limit < len(samples)

    outcomes = []
    for name, own in {"dropped": NO_SESSIONS, "kept": {}}.items():
        (tmp_path / name).mkdir()
        with scraping(store, tmp_path / name, sample_limit=limit, **own) as prometheus:
            shown = bool(asked(prometheus, "spendtree_cost_usd_total"))
            outcomes.append((asked(prometheus, "up")[0]["value"][1], shown))

    assert outcomes == [("1", True), ("0", False)]
