"""Pruning a SQLite store: old events become rollups, accounts of runs go, space comes back.

All of it in transactions of some milliseconds with pauses between, each of which leaves every
figure as it was: a killed pruning is one that has not finished. Which events become one is decided
in `rollups`, here is how.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from spendtree.account import kind_of
from spendtree.event import Event
from spendtree.store.database import Database
from spendtree.store.names import Execute
from spendtree.store.protocol import Pruned
from spendtree.store.rollups import DAY_US, Merge, Roller

PAGE = 20_000
"""Events of one session that are rolled up at a time."""

ROWS = 200
"""Rows after which a transaction ends; the last thing in it may be as many again."""

STEP = 128
"""Free pages given back at a time: a quarter of a megabyte."""

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
CLOSED_AT_ONCE = 1000
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


class _End(NamedTuple):
    """All of a session up to the event `last` is rolled up; `runs` are accounts that may go."""

    session: str
    last: int
    runs: frozenset[str]


class _OvertakenError(Exception):
    """Another pruning has changed some of this just now."""


class Pruning:
    """One pruning of what is older than `before` (microseconds); `forget` is told of accounts."""

    def __init__(
        self, database: Database, events: Events, before: int, *, forget: Callable[[str], object]
    ) -> None:
        self._database = database
        self._events = events
        self._before = before
        self._forget = forget
        self._done = Pruned()
        self._overtaken: set[str] = set()
        self._spans_merged = False
        self._unwritten = 0

    def count(self) -> Pruned:
        """Answer what there is to prune."""
        for step in self._steps():
            self._done = _counted(self._done, step)
        return self._done

    def run(self) -> Pruned:
        """Prune, and answer what that did. Raises StoreError."""
        for _ in range(PASSES):
            self._overtaken.clear()
            for steps in _batches(self._steps()):
                self._commit(steps)
            if not self._overtaken:
                break
        while self._give_back():
            pass
        with self._transaction(CHECKPOINT_EVERY):
            pass  # with the last checkpoint the file becomes shorter
        return self._done

    # What there is to do.

    def _steps(self) -> Iterator[Merge | _End]:
        held = {session for (session,) in self._database.query(HELD)}
        after, full = 0, True
        while full:
            rows = self._database.query(CLOSED, (after, self._before))
            for seq, session in rows:
                if session not in held:
                    yield from self._session(session, seq)
            full = len(rows) == CLOSED_AT_ONCE
            after = rows[-1][0] if rows else after
        for (context,) in self._database.query("SELECT no FROM context WHERE session=''"):
            condition = "context=? AND at < ?"
            # Whole days, or every pruning would find one day's calls half rolled up.
            for page in self._pages(condition, (context, self._before // DAY_US * DAY_US)):
                yield from Roller().merges(page)

    def _session(self, session: str, closed: int) -> Iterator[Merge | _End]:
        at, last, last_closed = self._database.query(LAST, (session,))[0]
        if at >= self._before or closed != last_closed:
            return  # it went on, or its last end comes later in the list
        roller = Roller()
        runs: set[str] = set()
        condition = "context IN (SELECT no FROM context WHERE session=?)"
        for page in self._pages(condition, (session,)):
            yield from roller.merges(page)
            contexts = {event.context for event in page}
            runs.update(name for c in contexts for name in c.path if kind_of(name) == "run")
        yield _End(session, last, frozenset(runs))

    def _pages(self, condition: str, values: tuple[Any, ...]) -> Iterator[list[Event]]:
        place, full = 0, True
        while full:
            where = f"WHERE {condition} AND seq > ? ORDER BY seq LIMIT {PAGE}"
            page = self._events(where, (*values, place))
            yield page
            full = len(page) == PAGE
            place = page[-1].seq if page else place

    # Doing it.

    def _commit(self, steps: list[Merge | _End]) -> None:
        """Do some steps in one transaction; none if another pruning was faster with one of them."""
        done = self._done
        runs: set[str] = set()
        try:
            with self._transaction(sum(map(_rows, steps))) as execute:
                execute(REFUSE_BEFORE, (str(self._before),))
                self._note_span(execute, [step for step in steps if isinstance(step, Merge)])
                for step in steps:
                    if isinstance(step, Merge):
                        _roll_up(execute, step)
                    elif step.session in self._overtaken:
                        continue
                    else:
                        runs |= _end(execute, step)
                    done = _counted(done, step)
        except _OvertakenError:
            self._overtaken.update(_session_of(step) for step in steps)
            return
        for run in runs:
            self._forget(run)
        self._done = done._replace(
            accounts=done.accounts + len(runs), longest_stall_us=self._done.longest_stall_us
        )

    def _note_span(self, execute: Execute, merges: list[Merge]) -> None:
        """Let those who read within the span of these merges know that they must read again."""
        if not self._spans_merged:
            epoch, low, high = execute(SPANS).fetchone()
            if epoch is not None:
                execute("DELETE FROM pruning")
                execute("INSERT INTO pruning VALUES (?,?,?)", (epoch, low, high))
            self._spans_merged = True
        if merges:
            low = min(merge.first.seq for merge in merges)
            execute(MOVED, (low, max(merge.rest[-1].seq for merge in merges)))

    def _give_back(self) -> bool:
        """Give some free pages back to the file system; tell whether there are more."""
        with self._transaction(STEP) as execute:
            free: int = execute("PRAGMA freelist_count").fetchone()[0]
            for _ in range(min(STEP, free)):
                # One by one: this statement has rows without columns, of which sqlite3 takes one.
                execute("PRAGMA incremental_vacuum(1)")
            left: int = execute("PRAGMA freelist_count").fetchone()[0]
            size = execute("PRAGMA page_size").fetchone()[0]
        freed = self._done.freed_bytes + (free - left) * size
        self._done = self._done._replace(freed_bytes=freed)
        return 0 < left < free

    @contextmanager
    def _transaction(self, rows: int) -> Iterator[Execute]:
        """Run a short transaction of some rows, and pause for twice as long as it took.

        After some of them the WAL is written back, which keeps no other process waiting.
        """
        with self._database.transaction() as execute:
            started = time.perf_counter()
            try:
                yield execute
            finally:
                took = time.perf_counter() - started
        stall = max(self._done.longest_stall_us, round(took * 1e6))
        self._done = self._done._replace(longest_stall_us=stall)
        self._unwritten += rows
        if self._unwritten >= CHECKPOINT_EVERY:
            self._database.write_back()
            self._unwritten = 0
        time.sleep(max(2 * took, PAUSE_SECONDS))


def _batches(steps: Iterator[Merge | _End]) -> Iterator[list[Merge | _End]]:
    batch: list[Merge | _End] = []
    rows = 0
    for step in steps:
        batch.append(step)
        rows += _rows(step)
        if rows >= ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _rows(step: Merge | _End) -> int:
    return 1 + len(step.rest if isinstance(step, Merge) else step.runs)


def _session_of(step: Merge | _End) -> str:
    return step.first.context.session if isinstance(step, Merge) else step.session


def _counted(done: Pruned, step: Merge | _End) -> Pruned:
    if isinstance(step, _End):
        return done._replace(sessions=done.sessions + 1)
    return done._replace(events=done.events + len(step.rest), rollups=done.rollups + 1)


def _roll_up(execute: Execute, merge: Merge) -> None:
    first, rollup = merge.first, merge.rollup
    duration = rollup.at - rollup.started if rollup.started else None
    data = json.dumps(rollup.data, separators=(",", ":"))
    row = (rollup.at, *rollup[6:14], duration, data, rollup.times, first.seq, first.times)
    changed = execute(ROLL_UP, row).rowcount
    for event in merge.rest:
        changed += execute(DROP, (event.seq, event.times)).rowcount
    if changed != 1 + len(merge.rest):
        raise _OvertakenError


def _end(execute: Execute, end: _End) -> set[str]:
    """Mark a session as pruned; answer the accounts that went."""
    execute(MARK, (end.session, end.last))
    return {run for run in end.runs if execute(DROP_RUN, (run,)).rowcount}
