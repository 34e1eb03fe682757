"""The reading side of the SQLite engine: short reads by page, so that the WAL can be emptied."""

import heapq
from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from spendtree.account import Account, Balance
from spendtree.errors import PrunedError
from spendtree.event import Context, Event, Kind, Request
from spendtree.store.books import to_balance
from spendtree.store.database import Database
from spendtree.store.names import Execute, Readings
from spendtree.store.protocol import START, Cursor, Page, Standing, Totals
from spendtree.store.rollups import ROLLED
from spendtree.store.rows import SELECT_EVENT, to_events
from spendtree.store.statements import BALANCE_COLUMNS
from spendtree.store.sums import NOTHING_BESIDE, Beside, beside, plus
from spendtree.store.text import storable

NAMED = 500
"""Accounts asked for by name at a time."""

PAGE = 2_000
"""Events of a page: some 10 ms of reading, after which a checkpoint gets its turn."""

# Split at a million before summing: SQLite's SUM raises an error beyond 9.2 million dollars.
TOTALS = """
SELECT context, sum(count * (kind IN (5,6))), sum(count * (kind IN (5,6) AND status=2)),
  sum(count * (kind=6)), sum(count * (cost IS NULL AND kind IN (5,7))),
  sum(input), sum(output), sum(cache_read), sum(cache_write + cache_write_1h),
  sum(CASE WHEN kind=6 THEN 0 ELSE cost / 1000000 END),
  sum(CASE WHEN kind=6 THEN 0 ELSE cost % 1000000 END),
  sum(CASE kind WHEN 6 THEN held / 1000000 WHEN 7 THEN -held / 1000000 ELSE 0 END),
  sum(CASE kind WHEN 6 THEN held % 1000000 WHEN 7 THEN -held % 1000000 ELSE 0 END),
  min(CASE WHEN duration IS NULL THEN 0 ELSE at - duration END), max(at), min(seq),
  sum(data IS NOT NULL AND (instr(data, '"units":') OR instr(data, '"marks":')))
FROM event WHERE kind IN (5,6,7,9)
"""
# Few calls have any, so what they say is added up in Python, by the rule of `sums`.
BESIDE = """
WHERE kind IN (5,6,7,9) AND data IS NOT NULL
  AND (instr(data, '"units":') OR instr(data, '"marks":'))
"""


NEWEST_BUDGET = "SELECT no FROM account WHERE kind IN ('customer', 'team') ORDER BY no DESC LIMIT 1"

EPOCH = "SELECT coalesce(max(epoch), 0) FROM pruning"
MOVED = "SELECT 1 FROM pruning WHERE epoch > ?1 AND low <= ?2 AND ?2 < high LIMIT 1"


NEVER = 2**63 - 1
"""The epoch of those to whom pruning makes no difference."""


class _Place(NamedTuple):
    """A place in the log, as somebody saw it who read it in an epoch of pruning."""

    seq: int
    epoch: int

    @property
    def cursor(self) -> Cursor:
        return Cursor(f"{self.seq}.{self.epoch}" if self.epoch else str(self.seq))


class Reading:
    """What can be asked of a store without changing it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readings = Readings()

    def read(self, cursor: Cursor = START, limit: int = 10_000) -> Page:
        """Return at most `limit` events after the cursor."""
        seq, _, epoch = cursor.partition(".")
        place = _Place(int(seq or 0), int(epoch or 0))
        events, epoch_now = self._page("ORDER BY seq LIMIT ?", (limit + 1,), place)
        more = len(events) > limit
        del events[limit:]
        return Page(events, _Place(events[-1].seq if events else place.seq, epoch_now).cursor, more)

    def pruned_before(self) -> int:
        """Return up to which time sessions and calls were pruned, 0 if none were."""
        return self._database.reading(pruned_before)

    def events(
        self, *, session: str | None = None, kinds: Collection[int] | None = None
    ) -> Iterator[Event]:
        """Iterate over events in log order, of one session or some kinds, in pages."""
        if kinds is not None and session is None and len(kinds) > 1:
            # Kind by kind in the index's order: together SQLite would sort them for each page.
            each = [self.events(kinds=(kind,)) for kind in kinds]
            yield from heapq.merge(*each, key=attrgetter("seq"))
            return
        where, values = [""], []
        if session is not None:
            where.append("context IN (SELECT no FROM context WHERE session=?)")
            values.append(storable(session))
        if kinds is not None:
            where.append(f"kind IN ({','.join(str(int(kind)) for kind in kinds)})")
            if Kind.CALL not in kinds:
                where.append("kind <> 5")  # said again: it makes the partial index usable
        condition = f"{' AND '.join(where)} ORDER BY seq LIMIT {PAGE}"
        # Of other kinds than these pruning moves nothing.
        moves = kinds is None or not ROLLED.isdisjoint(kinds)
        place, full = _Place(0, 0), True
        while full:
            page, epoch = self._page(condition, values, place)
            yield from page
            full = len(page) == PAGE
            place = _Place(page[-1].seq if page else place.seq, epoch if moves else NEVER)

    def find(self, id: bytes, kind: int) -> Event | None:
        """Return the event of that id and kind."""
        found = self._events("WHERE id=? AND kind=?", (id, kind))
        return found[0] if found else None

    def first_hold(self, id: bytes) -> tuple[Context, Request, int, int | None] | None:
        """Return a hold's context, request, amount and owner (None if it has ended)."""
        rows = self._database.query(
            "SELECT context, request, amount, owner FROM hold WHERE id=?1 UNION ALL "
            "SELECT context, request, held, NULL FROM event WHERE id=?1 AND kind IN (5,6,9) "
            "LIMIT 1",
            (id,),
        )
        if not rows:
            return None
        context, request, amount, owner = rows[0]
        return self.context(context), self.request(request), amount, owner

    def context(self, number: int) -> Context:
        """Return a context by number."""
        return self._database.reading(lambda e: self._readings.contexts(e, {number}))[number]

    def request(self, number: int) -> Request:
        """Return a request by number."""
        return self._database.reading(lambda e: self._readings.requests(e, {number}))[number]

    def balance(self, account: str) -> Balance | None:
        """Return an account's money, None if it is not known."""
        rows = self._database.query(
            f"SELECT {BALANCE_COLUMNS} FROM account WHERE id=?", (storable(account),)
        )
        return to_balance(rows[0]) if rows else None

    def accounts(self, kind: str | None = None) -> Iterator[tuple[Account, Balance]]:
        """Iterate over the accounts in the order of their opening."""
        after, full = 0, True
        while full:
            rows = self._database.query(
                f"SELECT no, id, kind, session, agent, customer, team, period, {BALANCE_COLUMNS} "
                "FROM account WHERE no > ?1 AND (?2 IS NULL OR kind = ?2) "
                f"ORDER BY no LIMIT {PAGE}",
                (after, kind),
            )
            for row in rows:
                yield Account(*row[1:8]), to_balance(row[8:])
            full = len(rows) == PAGE
            after = rows[-1][0] if rows else after

    def accounts_named(self, ids: Collection[str]) -> list[tuple[Account, Balance]]:
        """Return the accounts of these ids, some hundred by one short read."""
        names = sorted(map(storable, ids))
        found: list[tuple[Account, Balance]] = []
        for first in range(0, len(names), NAMED):
            some = tuple(names[first : first + NAMED])
            rows = self._database.query(
                f"SELECT id, kind, session, agent, customer, team, period, {BALANCE_COLUMNS} "
                f"FROM account WHERE id IN ({','.join('?' * len(some))})",
                some,
            )
            found += [(Account(*row[:7]), to_balance(row[7:])) for row in rows]
        return found

    def standing(self, ids: Collection[str]) -> dict[str, Standing]:
        """Return the caps of those of some accounts that are open, and who set them."""
        names = {storable(id): id for id in ids}
        rows = self._database.query(
            f"SELECT id, cap, version FROM account WHERE id IN ({','.join('?' * len(names))})",
            tuple(names),
        )
        return {names[row[0]]: Standing(*row[1:]) for row in rows}

    def newest_budget(self) -> int:
        """Return the number of the newest account of a customer or team."""
        rows = self._database.query(NEWEST_BUDGET)
        return rows[0][0] if rows else 0

    def open_holds(self) -> int:
        """Count the holds that have not ended."""
        count: int = self._database.query("SELECT count(*) FROM hold")[0][0]
        return count

    def oldest_hold(self) -> int | None:
        """Return when the oldest open hold was made."""
        at: int | None = self._database.query("SELECT min(at) FROM hold")[0][0]
        return at

    def totals(self, session: str | None = None) -> list[Totals]:
        """Return the sums of calls by context, contexts in the order of their first call."""
        of_session, values = "", ()  # type: tuple[str, tuple[Any, ...]]
        if session is not None:
            of_session = "AND context IN (SELECT no FROM context WHERE session=?) "
            values = (storable(session),)

        def body(execute: Execute) -> tuple[list[tuple[Any, ...]], list[Event]]:
            execute("BEGIN")  # both statements see the same calls
            try:
                sql = f"{TOTALS} {of_session} GROUP BY context ORDER BY min(seq)"
                rows = execute(sql, values).fetchall()
                odd = any(row[16] for row in rows)
                return rows, self._read(execute, BESIDE + of_session, values) if odd else []
            finally:
                execute("COMMIT")

        rows, odd = self._database.reading(body)
        contexts = self._database.reading(
            lambda execute: self._readings.contexts(execute, {row[0] for row in rows})
        )
        added: dict[Context, Beside] = {}
        for event in odd:
            before = added.get(event.context, NOTHING_BESIDE)
            added[event.context] = plus(before, beside(event))
        merged = _merged([_totals(contexts[row[0]], row) for row in rows])
        return [_with(row, added[row.context]) if row.context in added else row for row in merged]

    def _events(self, condition: str, values: tuple[Any, ...]) -> list[Event]:
        return self._database.reading(lambda execute: self._read(execute, condition, values))

    def _page(
        self, condition: str, values: Sequence[Any], after: _Place
    ) -> tuple[list[Event], int]:
        """Return events after a place, and the epoch of pruning that they were read in.

        Raises PrunedError where figures were moved from behind the place to before it.
        """

        def body(execute: Execute) -> tuple[list[Event], int]:
            execute("BEGIN")  # one snapshot: pruning may commit at any time
            try:
                epoch = execute(EPOCH).fetchone()[0]
                if epoch > after.epoch and execute(MOVED, (after.epoch, after.seq)).fetchone():
                    raise PrunedError(
                        f"store {self._database.path}: what was being read has been pruned "
                        "meanwhile; read it again, from the start"
                    )
                where = f"WHERE seq > ? {condition}"
                return self._read(execute, where, (after.seq, *values)), epoch
            finally:
                execute("COMMIT")

        return self._database.reading(body)

    def _read(self, execute: Execute, condition: str, values: Sequence[Any]) -> list[Event]:
        rows = execute(f"{SELECT_EVENT} {condition}", values).fetchall()
        contexts = self._readings.contexts(execute, {row[4] for row in rows})
        requests = self._readings.requests(execute, {row[5] for row in rows})
        return to_events(rows, contexts, requests)


def pruned_before(execute: Execute) -> int:
    """Return up to which time there was pruning."""
    row = execute("SELECT value FROM meta WHERE key='pruned_before'").fetchone()
    return int(row[0]) if row else 0


def _totals(context: Context, row: tuple[Any, ...]) -> Totals:
    cost = (row[9] or 0) * 10**6 + (row[10] or 0)
    presumed = row[11] * 10**6 + row[12]
    return Totals._make((context, *row[1:9], cost, presumed, *NOTHING_BESIDE, row[13], row[14]))


def _with(row: Totals, added: Beside) -> Totals:
    return row._replace(partly_unpriced=added[0], unread=added[1], units=added[2])


def _merged(rows: list[Totals]) -> list[Totals]:
    """Add up rows of one context: two processes may have stored it under two numbers."""
    merged: dict[Context, Totals] = {}
    for row in rows:
        known = merged.get(row.context)
        if known is not None:
            sums = [a + b for a, b in zip(known[1:11], row[1:11], strict=True)]
            first, last = min(known.first_at, row.first_at), max(known.last_at, row.last_at)
            row = Totals._make((row.context, *sums, *NOTHING_BESIDE, first, last))
        merged[row.context] = row
    return list(merged.values())
