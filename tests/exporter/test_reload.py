"""The exporter's configuration: read at the start and at SIGHUP, never at the cost of its state."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import spendtree
from spendtree.config import load_config
from spendtree.config.figures import Figures
from spendtree.config.limits import LIMITS, FoldSettings, fold_settings
from spendtree.errors import ConfigurationError
from spendtree.metrics import BIRTH_HOLD_US, LINGER_US, Limits
from spendtree.store.memory import MemoryStore
from spendtree_exporter.follow import Follower
from spendtree_exporter.reload import reloading
from spendtree_exporter.settings import Settings, changes, read_settings
from spendtree_exporter.watch import Reloads
from tests.exporter.conftest import Load
from tests.exporter.test_cli import COMMAND, run

if not hasattr(signal, "SIGHUP"):
    pytest.skip("this system has no SIGHUP; run this on Linux or macOS", allow_module_level=True)

PATIENCE_SECONDS = 30.0
"""How long a process may stay silent before it is killed and the test fails."""

PRICES = {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}}


class Exporter:
    """A running `spendtree-exporter` and what it says."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.url = self.said(r"serving (\S+)")[1]

    def said(self, pattern: str) -> re.Match[str]:
        """Return the match of the next line of its log that has the pattern."""
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        lines = []
        try:
            assert self.process.stderr is not None
            for line in self.process.stderr:
                lines.append(line)
                if match := re.search(pattern, line):
                    return match
        finally:
            watchdog.cancel()
        raise AssertionError(f"it never said {pattern!r}, but: {''.join(lines)}")

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def samples(self, name: str) -> dict[str, float]:
        """Return the samples of a metric by their labels, as they are written."""
        found = re.findall(
            rf"^spendtree_{name}\{{(.*)\}} (\S+)$", httpx.get(self.url).text, re.MULTILINE
        )
        return {labels: float(value) for labels, value in found}

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a metric by one label."""
        sums: dict[str, float] = {}
        for labels, value in self.samples(name).items():
            match = re.search(rf'\b{label}="([^"]*)"', labels)
            assert match
            sums[match[1]] = sums.get(match[1], 0) + value
        return sums

    def until(self, name: str, label: str, wanted: Mapping[str, float]) -> None:
        """Wait until the sums by a label are those; what was just recorded takes a moment."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
        while (found := self.by(name, label)) != wanted:
            assert time.monotonic() < deadline, f"{found} instead of {wanted}"
            pause.wait(0.02)


@contextmanager
def started(store: str, *arguments: str) -> Iterator[Exporter]:
    process = subprocess.Popen(
        [*COMMAND, "--web.listen-address", "127.0.0.1:0", "--store", store, *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Exporter(process)
        finally:
            process.kill()


def spend(tracker: spendtree.Spendtree, customer: str, count: int = 1) -> None:
    for _ in range(count):
        with tracker.session(customer=customer), tracker.call("m", input_tokens=1) as call:
            call.record(spendtree.Usage(1, 0))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "spendtree.yaml"
    path.write_text("metrics: {max_customers: 1}\n")
    return path


def test_a_reload_applies_without_losing_counters_or_live_sessions(
    sqlite_url: str, config: Path
) -> None:
    tracker = spendtree.Spendtree(sqlite_url, {"prices": PRICES})
    config.write_text("metrics: {max_customers: 1, birth_hold_seconds: 0}\n")
    spend(tracker, "first")
    spend(tracker, "acme", 2)
    live = tracker.session("live", customer="first")
    with live, started(sqlite_url, "--config.file", str(config)) as exporter:
        exporter.said(r"configured by .*spendtree.yaml: metrics.max_customers is 1 \(was 200\)")
        exporter.until("calls_total", "customer", {"first": 1, "_other": 2})
        before = exporter.samples("session_cost_usd_total")
        assert exporter.samples("exporter_live_sessions").popitem()[1] == 1

        config.write_text(
            "customers: {acme: {budgets_usd: {day: 5}}}\n"
            "metrics: {max_customers: 1, max_session_series: 30, birth_hold_seconds: 0}\n"
        )
        exporter.hang_up()
        exporter.said(
            r"spendtree.yaml read again: metrics.max_session_series is 30 \(was 20000\); "
            r"customer names always shown: 'acme'\"$"
        )
        exporter.until("calls_total", "customer", {"first": 1, "_other": 2})
        assert exporter.samples("session_cost_usd_total") == before
        assert exporter.samples("exporter_live_sessions").popitem()[1] == 1
        assert exporter.by("exporter_series_limit", "part")["session"] == 30

        spend(tracker, "acme")
        spend(tracker, "stranger")
        with tracker.session("live"), tracker.call("m", input_tokens=1) as call:
            call.record(spendtree.Usage(1, 0))
        exporter.until("calls_total", "customer", {"first": 2, "_other": 3, "acme": 1})
        assert exporter.by("session_calls_total", "session")["live"] == 1
    tracker.close()


def test_plans_thresholds_and_the_price_list_are_shown_and_follow_a_reload(
    sqlite_url: str, config: Path
) -> None:
    with spendtree.Spendtree(sqlite_url, {"prices": PRICES}).session("s"):
        pass
    config.write_text("plans: {pro: {price_usd: 99.90}}\ncustomers: {acme: {plan: pro}}\n")
    with started(sqlite_url, "--config.file", str(config)) as exporter:
        exporter.until("plan_price_usd", "plan", {"pro": 99.9})
        assert exporter.samples("alert_threshold") == {}
        (timestamp,) = exporter.samples("price_catalogue_timestamp_seconds").values()
        assert 1.7e9 < timestamp < time.time()

        config.write_text("alerts: {thresholds: {series_ratio: 0.95}}\n")
        exporter.hang_up()

        exporter.said(r"'acme/pro is no more'; alert_threshold: 'series_ratio is 0.95'")
        exporter.until("alert_threshold", "name", {"series_ratio": 0.95})
        assert exporter.samples("plan_price_usd") == {}


def test_an_invalid_file_is_told_and_changes_nothing_and_the_next_one_counts(
    sqlite_url: str, config: Path
) -> None:
    with started(sqlite_url, "--config.file", str(config)) as exporter:
        config.write_text("metrics:\n  max_series: 30000\n  max_customers: many\n")
        exporter.hang_up()
        exporter.said(
            r"level=error .*spendtree.yaml:3: metrics.max_customers: 'many' is not a count of "
            "names; the settings stay as they were"
        )
        assert exporter.by("exporter_series_limit", "part") == {
            "session": 20_000,
            "standing": 80_000,
        }

        assert exporter.samples("exporter_config_last_reload_successful").popitem()[1] == 0

        config.unlink()
        exporter.hang_up()
        exporter.said("there is no such configuration file; the settings stay as they were")

        config.write_text("metrics: {max_series: 30000, max_customers: 1}\n")
        exporter.hang_up()
        exporter.said(r"read again: metrics.max_series is 30000 \(was 100000\)\"$")
        assert exporter.by("exporter_series_limit", "part")["standing"] == 10_000
        assert exporter.samples("exporter_config_last_reload_successful").popitem()[1] == 1

        for text in ("", "# nothing\n", "---\n"):
            config.write_text(text)
            exporter.hang_up()
            exporter.said("sets nothing any more: .*; the settings stay as they were")
            assert exporter.by("exporter_series_limit", "part")["standing"] == 10_000
        config.write_text("metrics: {max_series: 30000, max_customers: 1}\n")
        exporter.hang_up()
        exporter.said("read again: no change")


def test_a_reload_that_fails_halfway_is_taken_back_and_the_next_one_counts(
    config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    follower, reloads = Follower(MemoryStore()), Reloads()
    limit, seen, done = follower.limit, list[int](), threading.Event()

    def failing(limits: Limits, **times: int) -> None:
        limit(limits, **times)
        seen.append(limits.customers)
        if limits.customers == 2:
            raise ZeroDivisionError
        if limits.customers == 3:
            done.set()

    monkeypatch.setattr(follower, "limit", failing)
    with reloading(config, follower, read_settings(config), reloads):
        config.write_text("metrics: {max_customers: 2}\n")
        signal.raise_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while reloads.good:
            assert time.monotonic() < deadline
        assert "the settings stay as they were" in caplog.text
        assert seen == [2, 1]
        config.write_text("metrics: {max_customers: 3}\n")
        signal.raise_signal(signal.SIGHUP)
        assert done.wait(PATIENCE_SECONDS)
    assert reloads.good


def test_the_environment_names_the_configuration_where_no_flag_does(
    sqlite_url: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDTREE_CONFIG", str(config))

    with started(sqlite_url) as exporter:
        exporter.said(f"configured by {re.escape(str(config))}: ")


def test_without_a_file_a_hangup_is_answered_and_ends_nothing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPENDTREE_CONFIG", raising=False)
    with started(sqlite_url) as exporter:
        exporter.hang_up()
        exporter.said("SIGHUP: nothing to read again, since there is no --config.file")

        assert httpx.get(exporter.url).status_code == 200
        exporter.process.send_signal(signal.SIGTERM)
        exporter.said("stopped$")
        assert exporter.process.wait(PATIENCE_SECONDS) == 0


def test_a_configuration_that_is_wrong_at_the_start_is_one_line_and_exit_code_1(
    sqlite_url: str, config: Path
) -> None:
    config.write_text("metrics:\n  max_serious: 1\n")

    done = run("--store", sqlite_url, "--config.file", str(config))

    assert done.returncode == 1
    assert done.stderr == (
        f"spendtree-exporter: {config}:2: metrics.max_serious: unknown key; "
        "did you mean 'max_series'?\n"
    )


def test_the_settings_are_the_metrics_section_and_who_has_a_budget_or_a_plan() -> None:
    settings = fold_settings(
        load_config(
            {
                "metrics": {
                    "max_series": 1000,
                    "max_session_series": 100,
                    "max_customers": 1,
                    "max_teams": 2,
                    "max_agents": 3,
                    "max_providers": 4,
                    "max_models": 5,
                    "linger_seconds": 1.5,
                    "birth_hold_seconds": 2.5,
                },
                "customers": {
                    "acme": {"budgets_usd": {"day": 0}},
                    "globex": {"mode": "warn"},
                    "initech": {"plan": "pro"},
                },
                "plans": {"pro": {"price_usd": 99}},
                "teams": {"search": None, "ads": None},
                "periods": {"month": {"team_usd": 5}},
            }
        )
    )

    assert settings == FoldSettings(
        Limits(
            series=1000,
            session_series=100,
            customers=1,
            teams=2,
            agents=3,
            providers=4,
            models=5,
            kept_customers=frozenset({"acme", "initech"}),
            kept_teams=frozenset({"search", "ads"}),
        ),
        linger_us=1_500_000,
        birth_hold_us=2_500_000,
    )
    assert len(LIMITS) == 7


def test_without_a_file_the_settings_are_the_defaults() -> None:
    nothing: Figures = {"plan_price_usd": [], "alert_threshold": []}
    assert read_settings(None) == Settings(
        FoldSettings(Limits(), LINGER_US, BIRTH_HOLD_US), nothing
    )


def test_a_file_that_is_not_there_is_an_error_for_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        read_settings(tmp_path / "none.yaml")


def test_what_changed_is_told_in_the_words_of_the_file() -> None:
    old = Settings(
        FoldSettings(Limits(kept_customers=frozenset({"acme"}))),
        {"alert_threshold": [(("series_ratio",), 900_000), (("plan_price_ratio",), 1_000_000)]},
    )
    many = frozenset(f"c-{number}" for number in range(7))
    new = Settings(
        FoldSettings(
            Limits(models=7, kept_customers=many, kept_teams=frozenset({"ads"})), 2_500_000
        ),
        {
            "alert_threshold": [(("series_ratio",), 950_000)],
            "plan_price_usd": [(("acme", "pro"), 99_500_000_000_000)],
        },
    )

    assert changes(old, old) == []
    assert changes(old, new) == [
        "metrics.max_models is 7 (was 100)",
        "metrics.linger_seconds is 2.5 (was 900)",
        "customer names always shown: 'c-0', 'c-1', 'c-2', 'c-3', 'c-4' and 2 more",
        "customer names shown while there is room: 'acme'",
        "team names always shown: 'ads'",
        "alert_threshold: 'series_ratio is 0.95', 'plan_price_ratio is no more'",
        "plan_price_usd: 'acme/pro is 99.5'",
    ]


def test_a_follower_takes_other_limits_between_two_pages(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 3)
    follower = Follower(store)
    follower.step()

    follower.limit(Limits(session_series=9), linger_us=5)

    assert follower.fold.limits == Limits(session_series=9)
    assert follower.fold.linger_us == 5
    load(store, 3, 4)
    follower.step()
    assert follower.fold.events == 7
    assert follower.fold.session_series == 9
