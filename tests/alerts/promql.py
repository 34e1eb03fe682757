"""Rules and PromQL as tests read them: what stands in an expression, and above what."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from spendtree.metrics import CATALOGUE
from spendtree.metrics.family import Family

ALERTS = Path(__file__).resolve().parents[2] / "alerts"

PROMETHEUS_OWN = frozenset({"up", "scrape_duration_seconds", "scrape_samples_scraped"})
"""Series that Prometheus makes itself, with the labels of a target."""

TARGET = frozenset({"store", "instance", "job", "pod"})
"""Labels that every series has or may have, beside those of its family."""

BUDGET = frozenset({"store", "kind", "period", "customer", "team"})
LEVELS = {"all": frozenset[str](), "spendtree": frozenset({"name"}), "budget": BUDGET}
"""The first part of a recorded name, where it is not the labels themselves."""

Node = Any
Path_ = tuple[Node, ...]


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return every rule, in the order of files and groups."""
    files = sorted((ALERTS / "rules").glob("*.yml"))
    groups = [
        group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    ]
    return tuple(rule for group in groups for rule in group["rules"])


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def name_of(rule: dict[str, Any]) -> str:
    if "alert" in rule:
        return str(rule["alert"])
    return f"{rule['record']}{rule.get('labels', {}).get('name', '')}"


def family(metric: str) -> Family | None:
    """Return the family that a scraped name belongs to, also of a histogram's parts."""
    for each in CATALOGUE:
        parts = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        if metric in [f"{each.full_name}{part}" for part in parts]:
            return each
    return None


def labels_of(metric: str) -> frozenset[str]:
    """Return the labels that a scraped or recorded series may have; KeyError if there is none."""
    found = family(metric)
    if found is not None:
        return TARGET | set(found.labels) | ({"le"} if metric.endswith("_bucket") else set())
    if metric in PROMETHEUS_OWN:
        return TARGET
    if metric in {rule.get("record") for rule in rules()}:
        level = metric.partition(":")[0]
        return LEVELS.get(level) or frozenset(split_level(level))
    raise KeyError(metric)


def split_level(level: str) -> list[str]:
    return [] if level in LEVELS else re.findall("routing_cycle|[a-z]+", level)


def walk(node: Node, above: Path_ = ()) -> Iterator[tuple[Node, Path_]]:
    """Yield every node of an expression with those above it, outermost first."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def children(node: Node) -> list[Node]:
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql.AggregateExpr):
        return [node.expr, *([] if node.param is None else [node.param])]
    inner = getattr(node, "expr", None)
    return [] if inner is None else [inner]


def selectors(node: Node) -> list[promql.VectorSelector]:
    return [each for each, _ in walk(node) if isinstance(each, promql.VectorSelector)]


def metric(selector: promql.VectorSelector) -> str:
    assert selector.name, f"no metric is named: {selector.prettify()}"
    return selector.name


def matchers(selector: promql.VectorSelector) -> list[promql.Matcher]:
    return list(selector.matchers.matchers)


def produced(node: Node) -> frozenset[str]:
    """Return the labels that the result of an expression may have.

    Fails where a label is asked for that nothing below has.
    """
    if isinstance(node, promql.VectorSelector):
        return labels_of(node.name) if node.name else TARGET
    if isinstance(node, promql.AggregateExpr):
        return _aggregated(node)
    if isinstance(node, promql.BinaryExpr):
        return _combined(node)
    if isinstance(node, promql.Call) and node.func.name == "absent":
        return frozenset(matcher.name for matcher in matchers(selectors(node)[0]))
    if isinstance(node, promql.Call) and node.func.name == "label_replace":
        return produced(node.args[0]) | {node.args[1].val}
    if isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
        return produced(node.args[1]) - {"le"}
    return frozenset().union(*(produced(child) for child in children(node)))


def _aggregated(node: promql.AggregateExpr) -> frozenset[str]:
    inner, modifier = produced(node.expr), node.modifier
    asked = frozenset(modifier.labels) if modifier else frozenset()
    assert asked <= inner, f"{set(asked - inner)} is no label of {node.expr.prettify()}"
    if str(node.op) in ("topk", "bottomk"):
        return inner
    if modifier and modifier.type == promql.AggModifierType.Without:
        return inner - asked
    return asked


def _combined(node: promql.BinaryExpr) -> frozenset[str]:
    left, right, modifier = produced(node.lhs), produced(node.rhs), node.modifier
    on = frozenset(modifier.matching.labels) if modifier and modifier.matching else None
    assert on is None or on <= left & right, f"on {set(on - (left & right))}: {node.prettify()}"
    if str(node.op) == "or":
        return left | right
    if str(node.op) in ("and", "unless"):
        return left
    if isinstance(node.lhs, promql.NumberLiteral) or not selectors(node.lhs):
        return right
    if isinstance(node.rhs, promql.NumberLiteral) or not selectors(node.rhs):
        return left
    if modifier and modifier.card == promql.VectorMatchCardinality.ManyToOne:
        return left | frozenset(modifier.group_labels or ())
    if on is None:
        assert left == right, f"{set(left ^ right)} is on one side alone: {node.prettify()}"
        return left
    return on
