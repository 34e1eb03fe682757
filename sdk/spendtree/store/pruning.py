"""Pruning a SQLite store: old events become rollups in place, accounts of runs go, space comes back.

All of it in transactions of some milliseconds with pauses between, each of which leaves every
figure as it was: a killed pruning is one that has not finished. Which events become one is decided
in `rollups`, here is how.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spendtree.account import kind_of
from spendtree.event import Context, Event
from spendtree.store.database import Database
from spendtree.store.names import Execute
from spendtree.store.protocol import Pruned
from spendtree.store.rollups import DAY_US, MEMBERS_MAX, Merge, Roller

PAGE = 20_000
"""Events of one session that are rolled up at a time."""

STEP = 256
"""Free pages given back at a time: half a megabyte."""

CHECKPOINT_EVERY = 2_000
"""Rows changed between two checkpoints, so that no writer finds a WAL to be emptied."""

PAUSE_SECONDS = 0.002
"""The least pause between two transactions: writers try again after 150 us at the latest."""

PASSES = 10
"""How often to look again for what another pruning was just doing."""

CLOSED = """
SELECT event.seq, context.session FROM event JOIN context ON context.no = event.context
LEFT JOIN pruned ON pruned.session = context.session
WHERE event.kind = 2 AND event.kind <> 5 AND event.seq > ? AND event.at < ?
  AND event.seq > coalesce(pruned.seq, 0)
ORDER BY event.seq LIMIT 1000
"""
LAST = """
SELECT max(at), max(seq), max(CASE kind WHEN 2 THEN seq END) FROM event
WHERE context IN (SELECT no FROM context WHERE session=?)
"""
HELD = "SELECT DISTINCT session FROM context WHERE no IN (SELECT context FROM hold)"
ROLL_UP = """
UPDATE event SET at=?, cost=?, held=?, input=?, output=?, cache_read=?, cache_write=?,
  cache_write_1h=?, reasoning=?, duration=?, data=?, count=? WHERE seq=? AND count=?
"""
DROP = "DELETE FROM event WHERE seq=? AND count=?"
DROP_RUN = "DELETE FROM account WHERE id=? AND kind='run' AND held=0"
MARK = "INSERT INTO pruned VALUES (?1,?2) ON CONFLICT DO UPDATE SET seq=max(seq, ?2)"
REFUSE_BEFORE = """
INSERT INTO meta VALUES ('pruned_before', ?1)
ON CONFLICT DO UPDATE SET value=max(CAST(value AS INTEGER), ?1)
"""
MOVED = "INSERT INTO pruning (low, high) VALUES (?,?)"
SPANS = "SELECT max(epoch), min(low), max(high) FROM pruning"

Events = Callable[[str, tuple[Any, ...]], list[Event]]
"""Reads events by a condition in SQL and its values."""


class _Unit:
    """A session (or the calls of none), `last` the place of its last event; what it came to."""

    def __init__(self, session: str, last: int) -> None:
        self.session = session
        self.last = last
        self.merges: list[Merge] = []
        self.runs: set[str] = set()
        self.lost = False


class _OvertakenError(Exception):
    """Somebody else has pruned some of this just now."""


class Pruning:
    """One pruning of what is older than `before` (microseconds); `forget` is told of accounts."""

    def __init__(
        self,
        database: Database,
        events: Events,
        before: int,
        *,
        forget: Callable[[str], object],
        dry_run: bool,
    ) -> None:
        self._database = database
        self._events = events
        self._before = before
        self._forget = forget
        self._dry_run = dry_run
        self._done = Pruned()
        self._overtaken = False
        self._tidied = dry_run
        self._unchecked = 0

    def run(self) -> Pruned:
        """Prune, and answer what that did. Raises StoreError."""
        for _ in range(PASSES):
            self._overtaken = False
            for units in _batches(self._units()):
                self._commit(units)
            if not self._overtaken:
                break
        if not self._dry_run:
            self._give_back()
        return self._done

    # What there is to do.

    def _units(self) -> Iterator[_Unit]:
        """Yield units with some merges each; those of one session have its end in the last."""
        held = {session for (session,) in self._database.query(HELD)}
        after, full = 0, True
        while full:
            rows = self._database.query(CLOSED, (after, self._before))
            for seq, session in rows:
                if session not in held:
                    yield from self._session(session, seq)
            full = len(rows) == 1000
            after = rows[-1][0] if rows else after
        whole_days = self._before // DAY_US * DAY_US
        for (context,) in self._database.query("SELECT no FROM context WHERE session=''"):
            yield from self._stray(context, whole_days)

    def _session(self, session: str, closed: int) -> Iterator[_Unit]:
        at, last, last_closed = self._database.query(LAST, (session,))[0]
        if at >= self._before or closed != last_closed:
            return  # it went on, or its last end comes later in the list
        roller, place, full = Roller(), 0, True
        of_session = "seq > ? AND context IN (SELECT no FROM context WHERE session=?)"
        runs: set[str] = set()
        while full:
            page = self._events(
                f"WHERE {of_session} ORDER BY seq LIMIT {PAGE}", (place, session)
            )
            full = len(page) == PAGE
            place = page[-1].seq if page else place
            unit = _Unit(session, 0 if full else last)
            unit.merges = roller.merges(page)
            runs |= {name for context in _contexts(page) for name in _runs(context)}
            unit.runs = set() if full else runs
            yield unit

    def _stray(self, context: int, before: int) -> Iterator[_Unit]:
        roller, place, full = Roller(), 0, True
        while full:
            page = self._events(
                f"WHERE context=? AND seq > ? AND at < ? ORDER BY seq LIMIT {PAGE}",
                (context, place, before),
            )
            full = len(page) == PAGE
            place = page[-1].seq if page else place
            unit = _Unit("", 0)
            unit.merges = roller.merges(page)
            yield unit
