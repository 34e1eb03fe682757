"""Boards: the dashboards' JSON as tests read it, and their queries as Grafana would send them."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))

POINTS = 800
"""Points that a panel of usual width asks for."""

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
ALL = ".*"


class Target(NamedTuple):
    """One query of one panel, as it stands in the JSON."""

    board: str
    panel: str
    ref: str
    expr: str
    legend: str
    instant: bool
    interval: str
    time_from: str

    @property
    def name(self) -> str:
        """Return the query's name for people, as the list of empty ones has it."""
        return f"{self.board.removeprefix('spendtree-')}: {self.panel}: {self.ref}"


class Asked(NamedTuple):
    """A query with everything put in: what Prometheus gets."""

    expr: str
    start: float
    end: float
    step: float


def read(file: Path) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what draws something: every panel but the headings."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel


def targets(board: Mapping[str, Any]) -> Iterator[Target]:
    """Yield every query of every panel."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Target(
                board["uid"],
                panel["title"],
                target["refId"],
                target["expr"],
                target.get("legendFormat", ""),
                target.get("instant", False),
                panel.get("interval", ""),
                board["time"]["from"],
            )


def all_targets() -> list[Target]:
    """Return every query of every dashboard."""
    return [target for file in FILES for target in targets(read(file))]


def asked(
    target: Target, *, end: float, scrape_seconds: int, chosen: Mapping[str, str] | None = None
) -> Asked:
    """Return a query as Grafana sends it at a time, with these choices instead of All."""
    span = seconds(target.time_from.removeprefix("now-"))
    least = seconds(target.interval) if target.interval else scrape_seconds
    step = _rounded(max(span / POINTS, least))
    values = {
        "__rate_interval": f"{max(step + scrape_seconds, 4 * scrape_seconds):.0f}s",
        "__interval": f"{step:.0f}s",
        "__range": f"{span}s",
        "__to": f"{end * 1000:.0f}",
        **dict.fromkeys(("customer", "team", "agent", "model"), ALL),
        **(chosen or {}),
    }
    expr = substituted(target.expr, values)
    if target.instant:
        return Asked(expr, end, end, step)
    # Grafana asks at whole steps.
    return Asked(expr, math.floor((end - span) / step) * step, math.floor(end / step) * step, step)


def substituted(expr: str, values: Mapping[str, str]) -> str:
    """Return an expression with its variables replaced; KeyError for one that is not known."""
    # $1 is a group of label_replace.
    return re.sub(r"\$\{?([a-zA-Z_]\w*)\}?", lambda found: values[found[1]], expr)


def seconds(duration: str) -> int:
    """Return the seconds of a duration like 6h."""
    return int(duration[:-1]) * UNITS[duration[-1]]


def _rounded(step: float) -> float:
    """Return a step of the size that Grafana rounds to."""
    steps: Sequence[int] = (1, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600)
    return next((size for size in steps if size >= step), 7_200)
