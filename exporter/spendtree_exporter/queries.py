"""Queries: what the API and the session pages ask of a store. Blocking; no HTTP, no texts."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from spendtree.event import Context, Event, Kind
from spendtree.store import Store
from spendtree.store import sums as totals_of
from spendtree.store.protocol import Totals
from spendtree.tree import SessionSummary, SessionTree, Sums, build, summaries

STATUSES = ("open", "succeeded", "failed", "budget_exceeded", "abandoned")
"""What the status of a session can be."""

SORTS = ("-started", "started", "-cost", "cost")
"""By what a list of sessions can be sorted; with a minus, the latest or dearest first."""

DIMENSIONS = {
    "customer": "customer",
    "team": "team",
    "session": "session",
    "agent": "agent",
    "level": "level",
    "routing_cycle": "cycle",
}
"""By what costs can be added up, and the field of a Context that says it."""

_SESSIONS = (Kind.SESSION_OPENED, Kind.SESSION_CLOSED)
_SPENDING = (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL)

_PATIENCE = 10
"""A list is kept for so many times what reading it took: always fresh while that is little."""


class Place(NamedTuple):
    """Where a row stands in a sorted list: the value it is sorted by, and its session."""

    value: int
    session: str


class Filter(NamedTuple):
    """Which sessions are wanted; None is any. `since` and `until` bound the start (microseconds).

    `agent` means sessions in which that agent made a call or a tool charge.
    """

    customer: str | None = None
    team: str | None = None
    agent: str | None = None
    status: str | None = None
    since: int | None = None
    until: int | None = None


class Found(NamedTuple):
    """A page of sessions, and the place to go on from (None: it was the last)."""

    rows: list[SessionSummary]
    next: Place | None


class Costs(NamedTuple):
    """Sums by group, dearest first, and over all of them, those that were left out too."""

    groups: list[tuple[tuple[str | int, ...], Sums]]
    total: Sums
    truncated: bool


class _Row(NamedTuple):
    summary: SessionSummary
    agents: frozenset[str]


class Queries:
    """The questions to one store; safe for threads. All raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._rows: list[_Row] = []
        self._stale_at = 0.0

    def sessions(
        self, wanted: Filter, *, sort: str, limit: int, after: Place | None = None
    ) -> Found:
        """Return at most `limit` sessions in the order of `sort`, those after a place."""
        chosen = [row.summary for row in self._list() if _matches(row, wanted)]
        descending = sort.startswith("-")
        place = _PLACES[sort.removeprefix("-")]
        if after is not None:
            chosen = [
                row for row in chosen if (place(row) < after if descending else place(row) > after)
            ]
        chosen.sort(key=place, reverse=descending)
        rows = chosen[:limit]
        return Found(rows, place(rows[-1]) if len(chosen) > limit else None)

    def tree(self, session: str) -> SessionTree | None:
        """Return the cost tree of a session, None if nothing is known of it."""
        events = self._store.events(session=session)
        first = next(events, None)
        return None if first is None else build(_chained(first, events))

    def costs(
        self, by: Sequence[str], *, since: int | None, until: int | None, limit: int
    ) -> Costs:
        """Return what calls and tool charges cost, by some of DIMENSIONS.

        Of what began from `since` on and before `until` (microseconds; None is no bound). Imported
        history is among it, since it is in bills, too.
        """
        fields = [DIMENSIONS[name] for name in by]
        groups: dict[tuple[str | int, ...], Sums] = defaultdict(Sums)
        total = Sums()
        for row in self._totals(since, until):
            sums = _sums(row)
            total = total.plus(sums)
            key = tuple([getattr(row.context, field) for field in fields])
            groups[key] = groups[key].plus(sums)
        ordered = sorted(groups.items(), key=lambda each: (-each[1].cost, tuple(map(str, each[0]))))
        return Costs(ordered[:limit], total, len(ordered) > limit)

    def _list(self) -> list[_Row]:
        with self._lock:
            started = time.monotonic()
            if started >= self._stale_at:
                self._rows = self._read()
                took = time.monotonic() - started
                self._stale_at = started + _PATIENCE * took
            return self._rows

    def _read(self) -> list[_Row]:
        totals = self._store.totals()
        agents: dict[str, set[str]] = defaultdict(set)
        for row in totals:
            agents[row.context.session].add(row.context.agent)
        found = summaries(totals, self._store.events(kinds=_SESSIONS))
        # The calls of no session are no session; costs have them.
        return [_Row(each, frozenset(agents[each.session])) for each in found if each.session]

    def _totals(self, since: int | None, until: int | None) -> Iterable[Totals]:
        """Return sums of what began in a span of time: those of the store where they suffice."""
        if since is None and until is None:
            yield from self._store.totals()
            return
        first = 0 if since is None else since
        end = _LAST if until is None else until
        across: dict[str, set[Context]] = defaultdict(set)
        for row in self._store.totals():
            if row.last_at < first or row.first_at >= end:
                continue
            if first <= row.first_at and row.last_at < end:
                yield row
            else:
                across[row.context.session].add(row.context)
        for session, contexts in across.items():
            events = self._store.events(session=session, kinds=_SPENDING)
            yield from totals_of.totals(
                event
                for event in events
                if event.context in contexts and first <= (event.started or event.at) < end
            )


_LAST = 2**63


def _by_start(row: SessionSummary) -> Place:
    return Place(row.started or 0, row.session)


def _by_cost(row: SessionSummary) -> Place:
    return Place(row.sums.cost, row.session)


_PLACES = {"started": _by_start, "cost": _by_cost}


def _matches(row: _Row, wanted: Filter) -> bool:
    summary = row.summary
    started = summary.started or 0
    return (
        (wanted.customer is None or wanted.customer == summary.customer)
        and (wanted.team is None or wanted.team == summary.team)
        and (wanted.agent is None or wanted.agent in row.agents)
        and (wanted.status is None or wanted.status == summary.status)
        and (wanted.since is None or started >= wanted.since)
        and (wanted.until is None or started < wanted.until)
    )


def _sums(row: Totals) -> Sums:
    calls, failed, lapsed, unpriced, *rest = tuple[Any, ...](row[1:-2])
    return Sums(calls, failed, lapsed, unpriced, 0, *rest)  # denials are not among sums of calls


def _chained(first: Event, rest: Iterable[Event]) -> Iterable[Event]:
    yield first
    yield from rest
