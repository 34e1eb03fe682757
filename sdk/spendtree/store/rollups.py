"""Rollups: which events can be told as one without changing any figure, and that one. Pure.

A rollup is an event like those it stands for: of their context, request, kind and status, in the
place of the first of them, with their sums. Its data says how many they are ("rollup"), and what
else a fold makes of single events that sums do not tell.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from spendtree.event import Event, Kind
from spendtree.usage import NO_UNITS, TOKENS_MAX

DAY_US = 24 * 3600 * 1_000_000
"""Bills are of whole UTC days or more, so nothing of two days becomes one."""

MEMBERS_MAX = 200
"""Events that become one at a time: what one short transaction takes in."""

_MONEY_MAX = 2**62
ROLLED = frozenset((Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.DENIED, Kind.TOOL, Kind.MESSAGE))
_ENDS = (Kind.SESSION_OPENED, Kind.SESSION_CLOSED)
_TOLD = (
    *("unattributed", "name", "kind", "account", "would", "spawn", "target", "place"),
    "marks",
)
"""What the data of events says that figures are told apart by; a violation's kind is, too."""


class Merge(NamedTuple):
    """Events of a log that become one: `first` becomes `rollup`, the `rest` goes."""

    first: Event
    rest: Sequence[Event]
    rollup: Event


class Roller:
    """Rolls up the events of one session, or some of no session, given in log order.

    What the beginning and the end of a session part stays parted, since the figures of a session
    are drawn up when it ends; and a refusal counts against the caps that were known by then.
    """

    def __init__(self) -> None:
        self._ends = 0
        self._caps = 0

    def merges(self, events: Iterable[Event]) -> list[Merge]:
        """Return what becomes of some events, in the order of the log; the others stay."""
        groups: dict[tuple[Any, ...], list[Event]] = {}
        for event in events:
            self._ends += event.kind in _ENDS
            self._caps += event.kind == Kind.RUN_OPENED
            data = event.data or {}
            # When an import was recorded holds for all that follows, so its event stays; so does
            # the refusal that is all there is of a run.
            unstarted = "spawn" in data and event.context.run
            if event.kind in ROLLED and "recorded" not in data and not unstarted:
                groups.setdefault(self._key(event, data), []).append(event)
        merges = [merge for group in groups.values() if len(group) > 1 for merge in _parts(group)]
        return sorted(merges, key=lambda merge: merge.first.seq)

    def _key(self, event: Event, data: dict[str, Any]) -> tuple[Any, ...]:
        return (
            self._ends,
            self._caps if event.kind == Kind.DENIED else 0,
            event.kind,
            event.context,
            event.request,
            event.status,
            event.cost is None,
            event.started == 0,
            (event.started or event.at) // DAY_US,
            json.dumps([*(data.get(name) for name in _TOLD), _violation(data).get("kind")]),
        )


def _parts(group: Sequence[Event]) -> Iterable[Merge]:
    """Yield merges of a group, none of them larger than a row or a transaction may be."""
    part: list[Event] = []
    sums, units = [0] * 8, NO_UNITS
    for event in group:
        more = [a + (b or 0) for a, b in zip(sums, event[6:14], strict=True)]
        units_more = units + event.units if event.data else units
        full = max(more[:2]) > _MONEY_MAX or max([*more[2:], *units_more.values()]) > TOKENS_MAX
        if full or len(part) >= MEMBERS_MAX:
            yield from _merge(part)
            part, more, units_more = [], [b or 0 for b in event[6:14]], event.units
        part.append(event)
        sums, units = more, units_more
    yield from _merge(part)


def _merge(part: Sequence[Event]) -> Iterable[Merge]:
    if len(part) > 1:
        yield Merge(part[0], part[1:], rolled_up(part))


def rolled_up(events: Sequence[Event]) -> Event:
    """Return the one event that stands for several of one key, rollups among them or not."""
    first = events[0]
    sums = [sum(column) for column in zip(*(event[7:14] for event in events), strict=True)]
    cost = None if first.cost is None else sum(event.cost or 0 for event in events)
    return Event._make(
        (
            *first[:2],
            max(event.at for event in events),
            *first[3:6],
            cost,
            *sums,
            first.status,
            min(event.started for event in events),
            _data(events),
        )
    )


def _data(events: Sequence[Event]) -> dict[str, Any]:
    first = events[0].data or {}
    data = {name: first[name] for name in _TOLD if name in first}
    if "violation" in first:
        excess = sum(int(_violation(event.data or {}).get("excess", 0)) for event in events)
        data["violation"] = {"kind": _violation(first).get("kind"), "excess": excess}
    rollup: dict[str, Any] = {
        "count": sum(event.times for event in events),
        "first_at": events[0].first_at,
    }
    difference = sum(event.stated_difference for event in events)
    if difference:
        data["stated_difference"] = difference
    overrun = sum(event.overrun for event in events)
    waits = [wait for event in events for wait in event.waits]
    units, unread = NO_UNITS, Counter[str]()
    for event in events:
        if event.data:
            units += event.units
            unread.update(event.unread)
    if units:
        data["units"] = dict(units)
    if unread:
        rollup["unread"] = dict(unread)
    if overrun:
        rollup["overrun"] = overrun
    if waits:
        rollup["waits"] = waits
    return {**data, "rollup": rollup}


def _violation(data: dict[str, Any]) -> dict[str, Any]:
    found = data.get("violation")
    return found if isinstance(found, dict) else {}
