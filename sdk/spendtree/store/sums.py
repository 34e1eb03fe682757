"""Totals of calls by context: the rule in Python, which the SQL engines' statement must equal."""

from collections.abc import Iterable
from typing import Any

from spendtree.event import UNREAD, Context, Event, Kind
from spendtree.store.protocol import Totals
from spendtree.usage import NO_UNITS, Units

Beside = tuple[int, int, Units]
"""Calls that are priced in part, calls whose usage was not understood, and units."""

NOTHING_BESIDE: Beside = (0, 0, NO_UNITS)


def totals(events: Iterable[Event]) -> list[Totals]:
    """Return the sums of calls by context, contexts in the order of their first call."""
    sums: dict[Context, list[Any]] = {}
    for event in events:
        if event.kind not in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL):
            continue
        row = sums.get(event.context)
        if row is None:
            row = sums[event.context] = [*[0] * 10, *NOTHING_BESIDE, event.started, event.at]
        _add(row, event)
    return [Totals(context, *row) for context, row in sums.items()]


def _add(row: list[Any], event: Event) -> None:
    count = event.times
    finished = count if event.kind in (Kind.CALL, Kind.LAPSE) else 0
    row[0] += finished
    row[1] += finished if event.status == "failed" else 0
    row[2] += count if event.kind == Kind.LAPSE else 0
    row[3] += count if event.cost is None and event.kind in (Kind.CALL, Kind.ADJUSTMENT) else 0
    row[4] += event.input_tokens
    row[5] += event.output_tokens
    row[6] += event.cache_read_tokens
    row[7] += event.cache_write_tokens + event.cache_write_1h_tokens
    if event.kind == Kind.LAPSE:
        row[9] += event.held
    else:
        row[8] += event.cost or 0
        row[9] -= event.held if event.kind == Kind.ADJUSTMENT else 0
    if event.data is not None:
        row[10:13] = plus(row[10:13], beside(event))
    row[13] = min(row[13], event.started)
    row[14] = max(row[14], event.at)


def beside(event: Event) -> Beside:
    """Return what the data of a call adds to the sums."""
    count = event.times
    return (
        count if event.is_partly_unpriced else 0,
        count if UNREAD in event.marks else 0,
        event.units,
    )


def plus(one: Iterable[Any], other: Iterable[Any]) -> Beside:
    """Return the sums of both."""
    partly, unread, units = (a + b for a, b in zip(one, other, strict=True))
    return partly, unread, units
