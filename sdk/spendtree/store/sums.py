"""Totals of calls by context: the rule in Python, which the SQL engines' statement must equal."""

from collections.abc import Iterable

from spendtree.event import Context, Event, Kind
from spendtree.store.protocol import Totals


def totals(events: Iterable[Event]) -> list[Totals]:
    """Return the sums of calls by context, contexts in the order of their first call."""
    sums: dict[Context, list[int]] = {}
    for event in events:
        if event.kind not in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL):
            continue
        row = sums.setdefault(event.context, [0] * 10 + [event.started, event.at])
        _add(row, event)
    return [Totals(context, *row) for context, row in sums.items()]


def _add(row: list[int], event: Event) -> None:
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
    row[10] = min(row[10], event.started)
    row[11] = max(row[11], event.at)
