"""The SQLite engine's verbs about accounts and events, and how a verb runs.

Holds and how they end are in `sqlite`; what can be asked is in `reading`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from spendtree.account import Account, Balance, Crossing, Denial
from spendtree.errors import LedgerConflictError
from spendtree.event import Event
from spendtree.store.books import Books
from spendtree.store.changes import recapped, recapping, transferred, transferring
from spendtree.store.database import Database
from spendtree.store.names import Execute, Names
from spendtree.store.protocol import NO_MARKS, Marks, Opened, Reservation
from spendtree.store.reading import Reading
from spendtree.store.rows import INSERT_EVENT, as_stored, from_event
from spendtree.store.text import storable

Answer = TypeVar("Answer")


class AccountVerbs(Reading):
    """Opening, reserving, transferring, caps, warnings, and events that move no money."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._names = Names(database)
        self._books = Books(self._names, self._insert)

    def open(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        event: Event,
        *,
        marks: Mapping[str, Marks] = NO_MARKS,
        reserve: Reservation | None = None,
    ) -> Opened:
        """Open accounts and record the event, or answer the event first recorded."""

        def verb(execute: Execute) -> Opened:
            for account, cap in accounts:
                self._books.open(execute, account, cap, marks.get(account.id, ()))
            known = self.find(event.id, event.kind)
            if known is not None:
                return Opened(known, False)
            self._insert(execute, event)
            denial = self._books.reserve(execute, reserve, event.id) if reserve else None
            if denial is not None:
                raise _NotReserved(denial)
            return Opened(event, True)

        try:
            return self._verb(verb)
        except _NotReserved as refused:
            return Opened(event, False, refused.denial)

    def open_accounts(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        marks: Mapping[str, Marks] = NO_MARKS,
        *,
        version: int | None = None,
    ) -> None:
        """Open accounts that no event opens."""

        def verb(execute: Execute) -> None:
            for account, cap in accounts:
                self._books.open(execute, account, cap, marks.get(account.id, ()), version)

        names = self._names
        if names.fresh or any(account.id not in names.accounts for account, _ in accounts):
            self._verb(verb)

    def release(self, reservation: Reservation, event: Event) -> bool:
        """Record the end of a run and give back what it reserved."""

        def verb(execute: Execute) -> bool:
            fresh = not self._is_replay(event)
            self._books.release(execute, reservation, event.id)
            if fresh:
                self._insert(execute, event)
            return fresh

        return self._verb(verb)

    def transfer(self, id: bytes, source: str, target: str, amount: int, event: Event) -> str:
        """Move free money between the caps of two accounts."""

        def verb(execute: Execute) -> str:
            if self._is_replay(event):
                return ""
            path = self._books.path(execute, transferring(source, target, event))
            moved = transferred(path, source, target, amount)
            if isinstance(moved, str):
                return moved
            self._books.write(execute, path, moved, event)
            self._insert(execute, event)
            return ""

        return self._verb(verb)

    def set_cap(self, id: bytes, account: str, cap: int | None, event: Event) -> Balance:
        """Change an account's cap."""

        def verb(execute: Execute) -> Balance:
            names = recapping(account, event)
            path = self._books.path(execute, names)
            if not self._is_replay(event):
                self._books.write(execute, path, recapped(path, account, cap), event)
                self._insert(execute, event)
            return dict(self._books.path(execute, names))[account]

        return self._verb(verb)

    def set_budget(self, account: str, cap: int, version: int, event: Event) -> bool:
        """Change a budget's cap to that of a newer configuration."""

        def verb(execute: Execute) -> bool:
            if not self._books.may_set(execute, account, version):
                return False
            path = self._books.path(execute, (account,))
            if path[0][1].cap == cap:
                return False
            self._books.write(execute, path, recapped(path, account, cap), event)
            self._insert(execute, event)
            return True

        return self._verb(verb)

    def take_warnings(self, session: str, accounts: Collection[str]) -> list[Crossing]:
        """Answer the warnings that nobody took before."""
        where = f"WHERE session=? OR account IN ({','.join('?' * len(accounts))})"
        names = (storable(session), *map(storable, accounts))
        if not self._database.query(f"SELECT 1 FROM warning {where} LIMIT 1", names):
            return []

        def verb(execute: Execute) -> list[Crossing]:
            taken = "RETURNING no, account, mark, cap, used"
            rows = execute(f"DELETE FROM warning {where} {taken}", names).fetchall()
            return [Crossing(*row[1:]) for row in sorted(rows)]

        return self._verb(verb)

    def append(self, event: Event) -> bool:
        """Record an event that moves no money; False if it was known."""

        def verb(execute: Execute) -> bool:
            if self._is_replay(event):
                return False
            self._insert(execute, event)
            return True

        return self._verb(verb)

    # How a verb runs: one transaction, undone whole.

    def _verb(self, body: Callable[[Execute], Answer]) -> Answer:
        names = self._names

        def whole(execute: Execute) -> Answer:
            names.rolled_back()  # what a verb left that an exception has ended
            return body(execute)

        return self._database.write(whole, names.fresh.clear)

    def _row(self, execute: Execute, event: Event) -> tuple[object, ...]:
        names = self._names
        context, request = event.context, event.request
        return from_event(
            event,
            names.contexts.get(context) or names.context(execute, context),
            names.requests.get(request) or names.request(execute, request),
        )

    def _insert(self, execute: Execute, event: Event) -> None:
        execute(INSERT_EVENT, self._row(execute, event))

    def _is_replay(self, event: Event) -> bool:
        known = self.find(event.id, event.kind)
        if known is None:
            return False
        if known.payload != as_stored(event).payload:
            raise LedgerConflictError(f"event {event.id.hex()} was recorded with another payload")
        return True


class _NotReserved(Exception):
    """Undoes an `open` whose reservation is refused."""

    def __init__(self, denial: Denial) -> None:
        super().__init__()
        self.denial = denial
