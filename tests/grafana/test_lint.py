"""What every dashboard and panel must have, and what a query must not do."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import promql_parser
import pytest

from spendtree.metrics import CATALOGUE
from tests.grafana import recorded
from tests.grafana.boards import FILES, Target, all_targets, panels, read, substituted
from tests.grafana.filled import RULES

TITLES = {
    "spendtree-overview": "Spendtree / Overview",
    "spendtree-sessions": "Spendtree / Sessions",
    "spendtree-budgets": "Spendtree / Budgets and envelopes",
    "spendtree-customers": "Spendtree / Customers",
    "spendtree-efficiency": "Spendtree / Efficiency",
    "spendtree-exporter": "Spendtree / Exporter health",
}
"""Fixed: alerts and users link to these uids."""

COLUMNS = 24

RATE_INTERVAL, RANGE = timedelta(seconds=17), timedelta(seconds=19)
"""Stand for `$__rate_interval` and `$__range`: no query names these durations itself."""

PUT_IN = {
    "__rate_interval": "17s",
    "__range": "19s",
    "__to": "1",
    **dict.fromkeys(("customer", "team", "agent", "model"), ".*"),
}

GROWING = {"rate", "irate", "increase", "delta", "idelta", "deriv"}

BESIDE = {"store", "instance", "job", "le", "__name__"}
"""Labels that any series of ours has beside those of the catalogue."""

TARGET = {"instance", "job"}
OTHERS: Mapping[str, set[str]] = {
    "up": TARGET,
    "scrape_duration_seconds": TARGET,
    "process_resident_memory_bytes": TARGET,
    "process_cpu_seconds_total": TARGET,
    "ALERTS": {"alertname", "alertstate", "severity", "customer", "team", "agent", "session"},
}
"""What Prometheus, its client and its rules make, with the labels that may be asked for."""


class Read(NamedTuple):
    """A selector: its metric, matchers and range, and what is done to it, outermost first."""

    metric: str
    matched: set[str]
    range: timedelta | None
    within: tuple[str, ...]


each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@cache
def known() -> dict[str, set[str]]:
    """Return every metric that a query may read, and its labels."""
    found = dict(OTHERS)
    for each in CATALOGUE:
        for suffix in ("_bucket", "_sum", "_count") if each.buckets else ("",):
            found[each.full_name + suffix] = {*each.labels, *BESIDE}
    for rule in recorded.read_rules(RULES):
        if not rule.is_alert:
            found[rule.name] = {"store", "name", "kind", "period", *_labels_in_name(rule.name)}
    return found


def _labels_in_name(name: str) -> set[str]:
    level = name.partition(":")[0]
    return {"customer", "team"} if level == "budget" else set(level.split("_"))


def reads(expr: str) -> list[Read]:
    """Return every selector of an expression."""
    found: list[Read] = []
    within: list[str] = []
    ranges: list[timedelta] = []

    def before(node: Any) -> None:
        if isinstance(node, promql_parser.Call):
            within.append(node.func.name)
        elif isinstance(node, promql_parser.AggregateExpr):
            within.append(f"{node.op}")
        elif isinstance(node, promql_parser.MatrixSelector):
            ranges.append(node.range)
        elif isinstance(node, promql_parser.VectorSelector):
            matched = {matcher.name for matcher in node.matchers.matchers}
            own = ranges[-1] if ranges else None
            found.append(Read(node.name or "", matched, own, tuple(within)))

    def after(node: Any) -> None:
        if isinstance(node, promql_parser.Call | promql_parser.AggregateExpr):
            within.pop()
        elif isinstance(node, promql_parser.MatrixSelector):
            ranges.pop()

    promql_parser.walk(promql_parser.parse(expr), before, after)
    return found


QUERIES = [
    (target, each) for target in all_targets() for each in reads(substituted(target.expr, PUT_IN))
]
"""Every selector of every query of every panel."""


# Dashboards.


def test_the_uids_and_titles_are_those_that_alerts_link_to() -> None:
    assert {read(file)["uid"]: read(file)["title"] for file in FILES} == TITLES
    assert all(file.stem == read(file)["uid"] for file in FILES)


@each_file
def test_panels_do_not_overlap_and_fill_their_lines(file: Any) -> None:
    board = read(file)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < COLUMNS
        taken |= cells
    bottom = max(y for _, y in taken) + 1
    assert len(taken) == COLUMNS * bottom, "there are holes"


@each_file
def test_every_panel_has_an_id_of_its_own_a_unit_and_words_that_help(file: Any) -> None:
    board = read(file)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        title, description = panel["title"], panel.get("description", "")
        assert re.fullmatch(r"[A-Z$].*[\w?%]", title), title
        assert len(title) <= 48, title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert description.endswith("."), title
        assert description.count(". ") + description.count(": ") >= 1, f"{title}: and then?"
        assert len(description) <= 420, title


@each_file
def test_every_data_source_is_the_variable(file: Any) -> None:
    board = read(file)
    found = re.findall(r'"datasource": (\{[^}]*\})', str(board).replace("'", '"'))
    own = {"builtIn", "-- Grafana --"}
    assert found
    assert all("${datasource}" in each or own & set(each.split('"')) for each in found)


@each_file
def test_the_choices_follow_each_other_and_all_is_fast(file: Any) -> None:
    board = read(file)
    choices = [each for each in board["templating"]["list"] if each["type"] == "query"]
    for number, choice in enumerate(choices):
        earlier = {each["name"] for each in choices[:number]}
        asked_for = set(re.findall(r"\$(\w+)", choice["query"]["query"]))
        assert asked_for == earlier, choice["name"]
        assert (choice["multi"], choice["includeAll"], choice["allValue"]) == (True, True, ".*")
        assert choice["query"]["query"].endswith(f", {choice['name']})")


@each_file
def test_a_query_names_only_variables_that_its_dashboard_has(file: Any) -> None:
    board = read(file)
    there = {each["name"] for each in board["templating"]["list"]}
    text = " ".join(target["expr"] for panel in panels(board) for target in panel["targets"])
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))

    assert used <= there
    assert there - {"datasource", "exporter"} == used, "a variable that does nothing"


@each_file
def test_the_dashboards_lead_to_each_other_with_time_and_choices(file: Any) -> None:
    board = read(file)
    (link,) = board["links"]

    assert (link["type"], link["tags"]) == ("dashboards", ["spendtree"])
    assert (link["includeVars"], link["keepTime"]) == (True, True)
    assert "spendtree" in board["tags"]


@each_file
def test_critical_alerts_are_marked_in_the_graphs(file: Any) -> None:
    (marks,) = read(file)["annotations"]["list"]

    assert 'ALERTS{alertname=~"Spendtree' in marks["expr"]
    assert 'severity="critical"' in marks["expr"]
    assert marks["enable"]


def test_a_click_on_a_session_opens_its_page_in_the_exporter() -> None:
    """In the table by the cell's text, in graphs by the series' label."""
    (file,) = (file for file in FILES if file.stem == "spendtree-sessions")
    board = read(file)
    links = re.findall(r"\$\{exporter\}/sessions/\$\{([^}]+)\}", file.read_text("utf-8"))
    (exporter,) = (v for v in board["templating"]["list"] if v["name"] == "exporter")

    assert set(links) == {"__value.text:percentencode", "__field.labels.session:percentencode"}
    assert exporter["query"] == "http://127.0.0.1:9797"


@each_file
def test_what_is_named_in_the_colours_has_one_colour_everywhere(file: Any) -> None:
    """Series called `failed`, `spent`, `cycle 2` and so on; the table of meanings is the judge."""
    from grafana.build.colours import MEANT  # noqa: PLC0415 - of the SDK, which takes a second

    for panel in panels(read(file)):
        for override in panel["fieldConfig"].get("overrides", []):
            name = override["matcher"]["options"]
            for each in override["properties"]:
                if each["id"] == "color" and name in MEANT:
                    assert each["value"]["fixedColor"] == MEANT[name], (panel["title"], name)


# Queries.


def test_queries_read_metrics_and_labels_that_exist() -> None:
    for target, each in QUERIES:
        assert each.metric in known(), f"{target.name}: no metric {each.metric}"
        strange = each.matched - known()[each.metric] - {"__name__"}
        assert not strange, f"{target.name}: {each.metric} has no label {strange}"


def test_queries_group_series_by_labels_that_exist() -> None:
    there: dict[Target, set[str]] = {target: set() for target in all_targets()}
    for target, each in QUERIES:
        there[target] |= known()[each.metric]
    for target, labels in there.items():
        grouped = re.findall(r"\bby \(([^)]*)\)", target.expr)
        named = {label.strip() for some in grouped for label in some.split(",")}
        assert named <= labels, target.name


def test_series_are_called_by_labels_that_they_are_grouped_by() -> None:
    """Grafana would show the label's name for one that is not there."""
    for target in all_targets():
        called = set(re.findall(r"{{(\w+)}}", target.legend))
        made = set(re.findall(r'label_(?:replace|join)\(.*?, "(\w+)"', target.expr))
        there = set().union(
            *(known()[each.metric] for each in reads(substituted(target.expr, PUT_IN)))
        )
        assert called <= there | made, target.name


def test_session_series_are_read_by_their_value() -> None:
    for target, each in QUERIES:
        if each.metric.startswith("spendtree_session_"):
            assert not GROWING & set(each.within), target.name


def test_counters_grow_over_the_panels_own_interval() -> None:
    """`$__rate_interval` in graphs, `$__range` in figures; an hour where a panel says an hour."""
    for target, each in QUERIES:
        if GROWING & set(each.within):
            meant = RANGE if target.instant else RATE_INTERVAL
            assert each.range in (meant, timedelta(hours=1)), f"{target.name}: {target.expr}"


def test_two_exporters_of_one_store_are_not_added_up() -> None:
    """The larger of both is taken before anything is summed."""
    own = ("spendtree_exporter_", "spendtree_build", "spendtree_unrecorded")
    for target, each in QUERIES:
        if each.metric.startswith("spendtree_") and not each.metric.startswith(own):
            summed = {"sum", "count", "avg", "topk"} & set(each.within)
            assert not summed or {"max", "min"} & set(each.within), target.name


def test_single_sessions_are_not_the_overflow() -> None:
    for target, each in QUERIES:
        if each.metric.startswith("spendtree_session_"):
            assert "session" in each.matched, target.name


def test_the_reader_of_queries_sees_what_it_must_see() -> None:
    expr = 'sum(max without (a) (rate(spendtree_session_cost_usd_total{x="1"}[17s]))) / up'

    first, second = reads(expr)

    assert first.metric == "spendtree_session_cost_usd_total"
    assert (first.matched, first.range) == ({"x"}, RATE_INTERVAL)
    assert first.within == ("sum", "max", "rate")
    assert (second.metric, second.within) == ("up", ())
