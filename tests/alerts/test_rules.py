"""The rules as texts: they name what exists, divide by nothing, and read each kind of series as it
is meant to be read. What they do is judged by promtool, in test_promtool.py."""

import re
from typing import Any

import promql_parser as promql
import pytest

from spendtree.config.thresholds import THRESHOLDS
from tests.alerts.promql import (
    ALERTS,
    LEVELS,
    alerts,
    children,
    family,
    labels_of,
    matchers,
    metric,
    name_of,
    produced,
    rules,
    selectors,
    split_level,
    walk,
)

every_rule = pytest.mark.parametrize("rule", rules(), ids=name_of)
every_alert = pytest.mark.parametrize("rule", alerts(), ids=name_of)

DASHBOARDS = {
    "spendtree-overview",
    "spendtree-sessions",
    "spendtree-budgets",
    "spendtree-customers",
    "spendtree-efficiency",
    "spendtree-exporter",
}
SEVERITIES = {"critical", "warning", "info"}
THRESHOLD = "spendtree:alert_threshold:max"

OVER_TIME = {"rate", "increase", "irate", "resets", "changes"}
"""What compares samples of a counter, and misses the first value of a session's series."""

TINY = 0.000001
"""A millionth of a dollar, by which sums of binary fractions may differ."""


@every_rule
def test_every_metric_is_in_the_catalogue_or_recorded(rule: dict[str, Any]) -> None:
    for selector in selectors(promql.parse(rule["expr"])):
        labels_of(metric(selector))


@every_rule
def test_every_label_is_one_of_its_metric(rule: dict[str, Any]) -> None:
    expr = promql.parse(rule["expr"])
    for selector in selectors(expr):
        asked = {matcher.name for matcher in matchers(selector)}
        assert asked <= labels_of(metric(selector)), selector.prettify()
    produced(expr)


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=name_of)
def test_a_recorded_series_has_the_labels_that_its_name_says(rule: dict[str, Any]) -> None:
    level, what, operations = rule["record"].split(":")

    labels = produced(promql.parse(rule["expr"])) | set(rule.get("labels", {}))

    assert labels == LEVELS.get(level, frozenset(split_level(level)))
    assert re.fullmatch(r"[a-z_]+", what)
    assert re.fullmatch(r"[a-z0-9_]+", operations)


@every_rule
def test_two_exporters_of_one_store_are_taken_for_one(rule: dict[str, Any]) -> None:
    """Right above a scraped series and what is done over its time, the larger of both is taken
    (of an exporter's own lag the smaller: it is enough that one keeps up)."""
    for selector, above in walk(promql.parse(rule["expr"])):
        if not isinstance(selector, promql.VectorSelector) or family(metric(selector)) is None:
            continue
        outer = [node for node in above if isinstance(node, promql.AggregateExpr)]
        absent = any(getattr(getattr(n, "func", None), "name", "") == "absent" for n in above)
        least = selector.name == "spendtree_exporter_lag_seconds"
        assert absent or str(outer[-1].op) == ("min" if least else "max"), selector.prettify()


@every_rule
def test_session_series_are_read_by_value(rule: dict[str, Any]) -> None:
    """A session's counter may be over before the second scrape; a gauge is no counter at all."""
    for call, _ in walk(promql.parse(rule["expr"])):
        if not isinstance(call, promql.Call) or call.func.name not in OVER_TIME:
            continue
        for selector in selectors(call):
            found = family(metric(selector))
            assert found, f"{call.func.name} of what is recorded: {selector.prettify()}"
            assert found.kind != "gauge", selector.prettify()
            assert "session" not in found.labels, selector.prettify()


@every_rule
def test_nothing_is_recorded_of_session_series_but_maxima(rule: dict[str, Any]) -> None:
    expr = promql.parse(rule["expr"])
    if "record" in rule and any(is_of_sessions(each) for each in selectors(expr)):
        assert isinstance(expr, promql.AggregateExpr)
        assert str(expr.op) == "max"
        assert expr.modifier
        assert "session" not in expr.modifier.labels


def is_of_sessions(selector: promql.VectorSelector) -> bool:
    kinds = {str(each.value) for each in matchers(selector) if each.name == "kind"}
    named = metric(selector).startswith("spendtree_session_")
    return named or bool(kinds & {"session", "envelope"})


@every_alert
def test_what_stands_for_many_sessions_is_never_one(rule: dict[str, Any]) -> None:
    """Except where only a label is looked up, which is multiplied by 0."""
    for selector, above in walk(promql.parse(rule["expr"])):
        if isinstance(selector, promql.VectorSelector) and is_of_sessions(selector):
            looked_up = any(getattr(each, "op", None) and str(each.op) == "topk" for each in above)
            excluded = [m for m in matchers(selector) if m.value == "_overflow"]
            assert excluded or looked_up, selector.prettify()


@every_rule
def test_divisions_are_guarded(rule: dict[str, Any]) -> None:
    for node, _ in walk(promql.parse(rule["expr"])):
        if isinstance(node, promql.BinaryExpr) and str(node.op) == "/":
            assert is_guarded(node.rhs), node.prettify()


def is_guarded(divisor: Any) -> bool:
    """Tell whether a divisor is a number, or filtered by `> 0` as a whole."""
    while isinstance(divisor, promql.ParenExpr):
        divisor = divisor.expr
    if isinstance(divisor, promql.NumberLiteral):
        return bool(divisor.val > 0)
    if isinstance(divisor, promql.AggregateExpr) and str(divisor.op) == "topk":
        return is_guarded(divisor.expr)
    limit = getattr(divisor, "rhs", None)
    return (
        isinstance(divisor, promql.BinaryExpr)
        and str(divisor.op) == ">"
        and isinstance(limit, promql.NumberLiteral)
        and limit.val == 0
    )


def test_the_judgement_of_divisions_can_fail() -> None:
    def right(text: str) -> Any:
        return children(promql.parse(text))[1]

    assert is_guarded(right("a / (b > 0)"))
    assert is_guarded(right("a / 60"))
    assert not is_guarded(right("a / b"))
    assert not is_guarded(right("a / (b > 0 or c)"))
    assert not is_guarded(right("a / (b - 1)"))


@every_alert
def test_alerts_compare_with_series_not_with_numbers(rule: dict[str, Any]) -> None:
    for node, _ in walk(promql.parse(rule["expr"])):
        if isinstance(node, promql.BinaryExpr) and str(node.op) in (">", ">=", "<", "<=", "=="):
            numbers = [n.val for n in children(node) if isinstance(n, promql.NumberLiteral)]
            assert set(numbers) <= {0, TINY}, node.prettify()


def test_every_threshold_is_there_and_is_used() -> None:
    recorded = {rule["labels"]["name"] for rule in rules() if rule.get("record") == THRESHOLD}
    used = {
        str(matcher.value)
        for rule in alerts()
        for selector in selectors(promql.parse(rule["expr"]))
        for matcher in matchers(selector)
        if selector.name == THRESHOLD
    }

    assert used == recorded == set(THRESHOLDS)


@every_alert
def test_an_alert_says_what_is_needed_at_night(rule: dict[str, Any]) -> None:
    name, notes = rule["alert"], rule["annotations"]

    assert name.startswith("Spendtree")
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert notes.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in notes["summary"], "summaries are grouped by: no figures in them"
    assert notes["summary"].endswith(".")
    assert len(notes["summary"]) < 80
    assert notes["runbook_url"].endswith(f"/{name}.md")
    assert name == "SpendtreeExporterAbsent" or "{{" in notes["description"]


@every_alert
def test_the_dashboard_of_an_alert_exists(rule: dict[str, Any]) -> None:
    found = re.match(r"/d/([a-z-]+)(\?|$)", rule["annotations"]["dashboard_url"])

    assert found
    assert found[1] in DASHBOARDS
    folder = ALERTS.parent / "grafana" / "dashboards"
    uids = {re.sub(r"\.json$", "", path.name) for path in folder.glob("*.json")}
    assert (
        not uids
        or found[1] in uids
        or any(f'"uid": "{found[1]}"' in path.read_text("utf-8") for path in folder.glob("*.json"))
    )


@every_alert
def test_texts_of_an_alert_name_only_labels_that_it_has(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))

    assert named <= produced(promql.parse(rule["expr"]))


@every_alert
def test_the_queries_in_texts_are_right(rule: dict[str, Any]) -> None:
    """Figures that a text looks up come from metrics and labels that exist."""
    for quoted in re.findall(
        r'(?:printf|query) "([^"%$][^"]*)"', rule["annotations"]["description"]
    ):
        query = promql.parse(quoted.replace("%q", "'x'"))
        for selector in selectors(query):
            asked = {matcher.name for matcher in matchers(selector)}
            assert asked <= labels_of(metric(selector)), quoted


def test_names_are_unique() -> None:
    names = [rule["alert"] for rule in alerts()]

    assert len(names) == len(set(names))
    assert len(names) >= 33


def test_nothing_is_recorded_twice() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule and not rule.get("labels")]

    assert len(names) == len(set(names))
    assert len(names) >= 80
