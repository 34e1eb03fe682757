"""Recorded: what the shipped rules would have made of a history of scrapes, as OpenMetrics files.

Rules are evaluated by Prometheus itself, range by range and those first that others are made of:
`promtool tsdb create-blocks-from rules` does not know that rules read each other, nor alerts.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import yaml

from tests.grafana.prometheus import query_range


class Rule(NamedTuple):
    """A recording or an alerting rule."""

    name: str
    expr: str
    labels: Mapping[str, str]
    is_alert: bool
    for_seconds: int
    keep_seconds: int = 0


class Range(NamedTuple):
    """Times at which rules are evaluated."""

    start: int
    end: int
    step: int


def read_rules(files: Iterable[Path]) -> list[Rule]:
    """Return the rules of some files, in order."""
    return [
        _rule(rule)
        for file in files
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]


def _rule(rule: Mapping[str, Any]) -> Rule:
    name = str(rule.get("record") or rule["alert"])
    return Rule(
        name,
        rule["expr"],
        rule.get("labels", {}),
        "alert" in rule,
        _seconds(rule.get("for", "0s")),
        _seconds(rule.get("keep_firing_for", "0s")),
    )


def _seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    assert found is not None, duration
    return int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]]


def metrics_of(expr: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def in_levels(rules: Sequence[Rule]) -> Iterator[list[Rule]]:
    """Yield the rules so that each reads only what an earlier list has made; alerts come last."""
    waiting = [rule for rule in rules if not rule.is_alert]
    while waiting:
        unmade = {rule.name for rule in waiting}
        ready = [rule for rule in waiting if not metrics_of(rule.expr) & unmade - {rule.name}]
        assert ready, f"rules that read each other: {unmade}"
        yield ready
        waiting = [rule for rule in waiting if rule not in ready]
    if alerts := [rule for rule in rules if rule.is_alert]:
        yield alerts


def weekly(rules: Sequence[Rule]) -> set[str]:
    """Return the names of the rules that a rule over days reads, by itself or through others."""
    records = [rule for rule in rules if not rule.is_alert]
    names = {rule.name for rule in records}
    found: set[str] = set()
    more = {
        name
        for rule in records
        if re.search(r"\[[7-9]d", rule.expr)
        for name in metrics_of(rule.expr) & names
    }
    while more - found:
        found |= more
        more = {
            name for rule in records if rule.name in found for name in metrics_of(rule.expr) & names
        }
    return found


def write(url: str, rules: Iterable[Rule], times: Range, file: Path) -> int:
    """Evaluate rules at these times and write their samples; return how many there are."""
    made: dict[str, dict[int, str]] = {}
    for rule in rules:
        for series, at, value in _samples(url, rule, times):
            # Two rules may make one series, each at its own times, like an alert by two rules.
            made.setdefault(series, {}).setdefault(at, value)
    with file.open("w", encoding="utf-8") as output:
        for series, samples in made.items():
            output.writelines(f"{series} {samples[at]} {at}\n" for at in sorted(samples))
        output.write("# EOF\n")
    return len(made)


def _samples(url: str, rule: Rule, times: Range) -> Iterator[tuple[str, int, str]]:
    start, end, step = times
    for series in query_range(url, rule.expr, start=start, end=end, step=step):
        labels = {k: v for k, v in series["metric"].items() if k != "__name__"} | dict(rule.labels)
        if not rule.is_alert:
            head = rule.name + _pairs(labels)
            yield from ((head, int(at), value) for at, value in series["values"])
            continue
        told = {**labels, "alertname": rule.name}
        true = [at for at, _ in series["values"]]
        for at, state in _states(true, step, rule.for_seconds, rule.keep_seconds, end):
            yield f"ALERTS{_pairs({**told, 'alertstate': state})}", int(at), "1"


def _states(
    times: Sequence[float], step: float, held: float, kept: float = 0, end: float = -math.inf
) -> Iterator[tuple[float, str]]:
    """Yield an alert's state at each time: it fires once it was true for as long as it says.

    Then it goes on for as long as it is kept, until the end at most, and is one with what comes
    within that time.
    """
    since = before = -math.inf
    for at in [*times, math.inf]:
        if at - before > step:
            fires = before - since >= held and before > -math.inf
            later = before + step
            while fires and later < at and later <= min(before + kept, end):
                yield later, "firing"
                later += step
            if not (fires and at <= before + kept + step):
                since = at
        before = at
        if at < math.inf:
            yield at, "firing" if at - since >= held else "pending"


def _pairs(labels: Mapping[str, str]) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    return (
        "{"
        + ",".join(f'{name}="{escaped(str(text))}"' for name, text in sorted(labels.items()))
        + "}"
    )
