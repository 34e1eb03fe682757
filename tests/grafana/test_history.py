"""The tools that fill a Prometheus: time that jumps, rules in their order, alerts that wait."""

import asyncio
import subprocess
import sys
from pathlib import Path

from spendtree.testing import FrozenClock
from tests.grafana import prometheus, recorded
from tests.grafana.boards import ROOT, Target, asked
from tests.grafana.filled import RULES, Filled
from tests.grafana.recorded import Rule
from tests.grafana.virtual import VirtualLoop


def rule(name: str, expr: str, *, is_alert: bool = False, held: int = 0) -> Rule:
    return Rule(name, expr, {}, is_alert, held)


def test_a_virtual_day_passes_at_once_and_in_order() -> None:
    clock = FrozenClock()
    began, woken = clock.ns, []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(round((clock.ns - began) / 1e9, 3))

    async def live() -> None:
        await asyncio.gather(wait(86_400), wait(0.5), wait(3_600))

    loop = VirtualLoop(clock)
    loop.run_until_complete(live())
    loop.close()

    assert woken == [0.5, 3_600, 86_400]


def test_waits_that_are_measured_by_the_monotonic_clock_pass_as_well() -> None:
    """In a process of its own, since it changes the clock for everybody in it."""
    code = """
        import time
        from spendtree.testing import FrozenClock
        from tests.grafana.virtual import live_by
        clock = FrozenClock()
        live_by(clock)
        before = time.monotonic()
        clock.advance(30)
        print(round(time.monotonic() - before))
    """
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.split() == ["30"], done.stderr


def test_rules_come_after_those_that_they_read_and_alerts_last() -> None:
    rules = [
        rule("b:x:sum", "sum(a:x:rate5m)"),
        rule("Fires", "a:x:rate5m > 1", is_alert=True),
        rule("a:x:rate5m", "rate(x[5m])"),
        rule("c:x:sum", "b:x:sum + a:x:rate5m"),
    ]

    levels = [[each.name for each in level] for level in recorded.in_levels(rules)]

    assert levels == [["a:x:rate5m"], ["b:x:sum"], ["c:x:sum"], ["Fires"]]


def test_every_shipped_rule_is_in_one_level() -> None:
    rules = recorded.read_rules(RULES)

    placed = [each for level in recorded.in_levels(rules) for each in level]

    assert len(placed) == len(rules) > 100


def test_what_a_rule_over_a_week_reads_is_kept_for_a_week() -> None:
    rules = [
        rule("a:x:rate5m", "rate(x[5m])"),
        rule("a:x:increase1h", "60 * sum_over_time(a:x:rate5m[1h:1m])"),
        rule("a:x:median7d", "quantile_over_time(0.5, a:x:increase1h[7d:1h])"),
        rule("b:y:rate5m", "rate(y[5m])"),
    ]

    assert recorded.weekly(rules) == {"a:x:rate5m", "a:x:increase1h"}


def test_an_alert_fires_once_it_was_true_for_as_long_as_it_says() -> None:
    times = [0.0, 60.0, 120.0, 300.0, 360.0]

    states = dict(recorded._states(times, 60, 120))

    assert states == {
        0: "pending",
        60: "pending",
        120: "firing",
        300: "pending",  # it was not true in between
        360: "pending",
    }


def test_an_alert_that_is_kept_goes_on_and_is_one_with_what_comes_within_that_time() -> None:
    """True at 0 and 60, at 240 again, and not after: kept for two minutes, to the end at most."""
    true = [0, 60, 240]

    assert dict(recorded._states(true, 60, 60, 120, 1_000)) == {
        0: "pending",
        **dict.fromkeys([60, 120, 180, 240, 300, 360], "firing"),
    }
    assert max(at for at, _ in recorded._states(true, 60, 60, 120, 300)) == 300
    assert dict(recorded._states([0, 300], 60, 60, 120, 1_000)) == {0: "pending", 300: "pending"}


def test_the_history_has_recorded_series_and_alerts_of_its_own_time(filled: Filled) -> None:
    """As the rules make them: nothing is left that they would not."""
    week = prometheus.query(
        filled.url, "count(customer:spendtree_cost_usd:increase1h offset 7d)", at=filled.end
    )
    firing = prometheus.query(
        filled.url, 'count by (alertname) (ALERTS{alertstate="firing"})', at=filled.end
    )

    assert int(week[0]["value"][1]) >= 5
    assert {"SpendtreeBudgetExhausted", "SpendtreeBudgetNearLimit"} <= {
        series["metric"]["alertname"] for series in firing
    }


def test_a_query_is_asked_at_whole_steps_with_everything_put_in() -> None:
    target = Target(
        "spendtree-x",
        "Panel",
        "A",
        'rate(x{a=~"$customer"}[$__rate_interval]) and label_replace(y, "a", "$1", "b", "(.*)")',
        "",
        False,
        "5m",
        "now-6h",
    )

    query = asked(target, end=100_000, scrape_seconds=15)

    assert query.expr == 'rate(x{a=~".*"}[315s]) and label_replace(y, "a", "$1", "b", "(.*)")'
    assert (query.step, query.end, query.start) == (300, 99_900, 78_300)


def test_a_missing_program_says_how_to_get_it(tmp_path: Path) -> None:
    code = "from tests.grafana import prometheus; prometheus.program('promtool')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "apt-get install -y prometheus" in done.stderr
