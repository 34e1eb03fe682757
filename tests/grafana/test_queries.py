"""Every query of every panel, asked of a real Prometheus that eight days of the demo filled."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.grafana import prometheus
from tests.grafana.boards import FILES, Target, all_targets, asked, panels, read, targets
from tests.grafana.filled import Filled

EMPTY = {
    "budgets: Oldest hold: A": "no call may be in flight just when the history ends",
}
"""Queries that the demo's workload may give no series, by name, each with the reason."""

ZERO = {
    "exporter: Age of the figures: A": "an exporter that follows in virtual time is never late",
    "exporter: Lag by exporter: A": "the same",
    "exporter: Which exporters are there?: D": "the same",
    "exporter: Stores without a writer: A": "there is a writer",
    "exporter: Calls under _other: A": "five customers do not fill any label",
    "exporter: Which label is full?: A": "the same",
    "exporter: Store: A": "the store can always be read",
    "exporter: Spans received: A": "the demo records by itself: its receiver is off",
    "exporter: Spans that wait: A": "the same",
    "exporter: Unrecorded calls: A": "every call was recorded",
    "exporter: Which exporters are there?: C": "no session may be open just when it ends",
    "budgets: What has each budget left?: D": "no call may be in flight just then",
    "budgets: Envelopes of recent sessions: D": "the same",
}
"""Queries whose series may be zero at every time, with the reason."""

CHOSEN = {"customer": "acme|globex", "team": "search", "agent": "researcher", "model": "gpt-4o"}
"""A user's choices; Grafana puts several in as alternatives of a regular expression."""

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def answer(
    target: Target, filled: Filled, chosen: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the series that Grafana would get; QueryError if Prometheus refuses the query."""
    query = asked(target, end=filled.end, scrape_seconds=filled.scrape_seconds, chosen=chosen)
    if target.instant:
        return prometheus.query(filled.url, query.expr, at=query.end)
    return prometheus.query_range(
        filled.url, query.expr, start=query.start, end=query.end, step=query.step
    )


def values(series: list[dict[str, Any]]) -> list[float]:
    """Return all samples that are numbers."""
    samples = (
        float(value)
        for each in series
        for _, value in ([each["value"]] if "value" in each else each["values"])
    )
    return [value for value in samples if not math.isnan(value)]


@each_file
def test_every_query_is_answered_with_data(file: Any, filled: Filled) -> None:
    empty, zero = set(), set()
    for target in targets(read(file)):
        found = values(answer(target, filled))
        if not found:
            empty.add(target.name)
        elif not any(found):
            zero.add(target.name)
    mine = f"{file.stem.removeprefix('spendtree-')}: "

    assert empty <= {name for name in EMPTY if name.startswith(mine)}
    assert zero <= {name for name in ZERO if name.startswith(mine)}


@each_file
def test_every_query_is_answered_under_a_users_choices(file: Any, filled: Filled) -> None:
    """Some have no data then: a researcher has no customer's budget. None is an error."""
    found = {target.name: answer(target, filled, CHOSEN) for target in targets(read(file))}

    assert any(values(series) for series in found.values())


@each_file
def test_a_choice_that_leaves_nothing_is_no_error(file: Any, filled: Filled) -> None:
    """As when a data source of another time is chosen: figures are not there, rather than wrong."""
    nobody = dict.fromkeys(CHOSEN, "nobody")
    for target in targets(read(file)):
        answer(target, filled, nobody)


@each_file
def test_the_columns_of_a_table_are_those_that_its_queries_answer(
    file: Any, filled: Filled
) -> None:
    for panel in panels(read(file)):
        if panel["type"] != "table":
            continue
        there = {"Value"} if len(panel["targets"]) == 1 else set()
        for target in targets({**read(file), "panels": [panel]}):
            there |= {f"Value #{target.ref}"} if len(panel["targets"]) > 1 else set()
            there |= {label for series in answer(target, filled) for label in series["metric"]}
        (shown,) = (t for t in panel["transformations"] if t["id"] == "filterFieldsByName")
        missing = set(shown["options"]["include"]["names"]) - there
        assert missing <= {"session"}, panel["title"]  # no alert means a single session just now


def test_the_lists_name_only_queries_that_exist() -> None:
    names = {target.name for target in all_targets()}

    assert (EMPTY.keys() | ZERO.keys()) <= names


def test_choices_offer_what_the_history_holds(filled: Filled) -> None:
    """Each choice's values, narrowed by the choice before it."""

    def offered(selector: str, label: str) -> list[str]:
        return prometheus.label_values(
            filled.url, selector, label, start=filled.whole_from, end=filled.end
        )

    customers = offered("spendtree_cost_usd_total", "customer")
    teams = offered('spendtree_cost_usd_total{customer=~"acme"}', "team")

    assert {"acme", "globex", "hooli", "initech", "umbrella"} <= set(customers)
    assert teams == ["legal", "search"]


def test_figures_of_the_overview_agree_with_the_counters(filled: Filled) -> None:
    """The month's spend, put together from recorded hours, is the counter's growth."""
    (month,) = (t for t in all_targets() if t.name == "overview: Spent this month: A")
    (shown,) = values(answer(month, filled))
    since = f"{filled.end - filled.start}s"
    grown = prometheus.query(
        filled.url, f"sum(increase(spendtree_cost_usd_total[{since}]))", at=filled.end
    )

    assert shown == pytest.approx(values(grown)[0], rel=0.03)
