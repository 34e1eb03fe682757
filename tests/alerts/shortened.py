"""The shipped rules and routes with all their times divided: an hour becomes a minute.

So the end-to-end test evaluates what is shipped, only sooner. Every duration is divided by one
number, and nothing else is changed: no threshold, no selector, no label. Where an expression
repeats one of its durations as a number of seconds (`60 * sum_over_time(…[1h:1m])`, or `/ 3600`
beside `[1h1s:1m]`, whose second only takes in both ends), that number is the duration.
"""

import re
from typing import Any

MILLISECONDS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}

UNITS = "|".join(MILLISECONDS)
TOKEN = re.compile(
    r"""
      (?P<string> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<name> [A-Za-z_][\w:]* )
    | (?P<duration> (?:\d+(?:ms|[smhdwy]))+ )
    | (?P<number> \d+(?:\.\d+)? )
    """,
    re.VERBOSE,
)
"""What stands in PromQL; a string and a name may hold what looks like a duration (`rate5m`)."""

RULE_TIMES = ("for", "keep_firing_for")
ROUTE_TIMES = ("group_wait", "group_interval", "repeat_interval")


def milliseconds(duration: str) -> int:
    """Return how long a duration such as `1h30m` is."""
    return sum(
        int(count) * MILLISECONDS[unit] for count, unit in re.findall(rf"(\d+)({UNITS})", duration)
    )


def shorter(duration: str, divisor: int) -> str:
    """Return a duration divided, to the millisecond."""
    return f"{max(milliseconds(duration) // divisor, 1)}ms"


def expression(text: str, divisor: int) -> str:
    """Return a PromQL expression with its ranges, steps and offsets divided."""
    lengths = [
        milliseconds(found["duration"]) / 1_000
        for found in TOKEN.finditer(text)
        if found["duration"]
    ]
    seconds = {*lengths, *(length - 1 for length in lengths)}

    def replaced(found: re.Match[str]) -> str:
        if found["duration"]:
            return shorter(found["duration"], divisor)
        if found["number"] and float(found["number"]) in seconds - {0, 1}:
            return f"{float(found['number']) / divisor:.9g}"
        return found[0]

    return TOKEN.sub(replaced, text)


def rules(document: dict[str, Any], divisor: int) -> dict[str, Any]:
    """Return a file of rules with everything that lasts divided."""
    return {"groups": [_group(group, divisor) for group in document["groups"]]}


def _group(group: dict[str, Any], divisor: int) -> dict[str, Any]:
    shortened = {**group, "rules": [_rule(rule, divisor) for rule in group["rules"]]}
    for key in ("interval", "query_offset"):
        if key in group:
            shortened[key] = shorter(group[key], divisor)
    return shortened


def _rule(rule: dict[str, Any], divisor: int) -> dict[str, Any]:
    times = {key: shorter(rule[key], divisor) for key in RULE_TIMES if key in rule}
    return {**rule, **times, "expr": expression(str(rule["expr"]), divisor)}


def route(one: dict[str, Any], divisor: int) -> dict[str, Any]:
    """Return a route of Alertmanager and all below it with their waits divided."""
    times = {key: shorter(one[key], divisor) for key in ROUTE_TIMES if key in one}
    below = (
        {"routes": [route(child, divisor) for child in one["routes"]]} if "routes" in one else {}
    )
    return {**one, **times, **below}
