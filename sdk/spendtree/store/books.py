"""Accounts inside a SQLite transaction, changed by the pure rules: read, decide, write.

For everything that is not the everyday hold and settle of a plain path, whose guarded statements
leave whatever is special (reservations, due warnings, partial grants) to this way.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from spendtree import account as rules
from spendtree.account import PLAIN, Account, Balance, Denial, Terms
from spendtree.errors import PrunedError
from spendtree.event import Event
from spendtree.store import statements
from spendtree.store.names import Execute, Names
from spendtree.store.protocol import Marks, Reservation
from spendtree.store.text import storable
from spendtree.store.warnings import warned


class Books:
    """The accounts of one store; `insert` writes an event into the running transaction."""

    def __init__(self, names: Names, insert: Callable[[Execute, Event], None]) -> None:
        self._names = names
        self._insert = insert

    def open(
        self,
        execute: Execute,
        account: Account,
        cap: int | None,
        marks: Marks = (),
        version: int | None = None,
    ) -> None:
        """Open an account that is not known yet."""
        if account.id in self._names.accounts:
            return
        fresh = execute(statements.OPEN_ACCOUNT, (*map(storable, account), cap)).rowcount
        number = self._names.account(execute, account.id)
        if fresh and marks:
            due = rules.warning(cap, marks).due
            execute(statements.SET_MARKS, (json.dumps(marks), due, number))
        if fresh and version is not None:
            execute(statements.SET_VERSION, (version, number))

    def may_set(self, execute: Execute, account: str, version: int) -> bool:
        """Note the version of a configuration; False if it is not newer than the one before."""
        (number,) = self._names.numbers(execute, (account,))
        (before,) = execute(statements.SELECT_VERSION, (number,)).fetchone()
        if before is not None and version <= before:
            return False
        execute(statements.SET_VERSION, (version, number))
        return True

    def path(self, execute: Execute, names: Sequence[str]) -> list[tuple[str, Balance]]:
        """Return the balances of some accounts."""
        numbers = self._names.numbers(execute, names)
        rows = [execute(statements.SELECT_BALANCE, (number,)).fetchone() for number in numbers]
        if None in rows:
            raise PrunedError(f"account {names[rows.index(None)]!r} went when its run was pruned")
        return [(name, to_balance(row)) for name, row in zip(names, rows, strict=True)]

    def change(
        self,
        execute: Execute,
        names: Sequence[str],
        change: Callable[[Balance], Balance],
        cause: Event | None = None,
    ) -> bool:
        """Change each account of a path; True if that made one reach a warning mark."""
        before = self.path(execute, names)
        return self.write(execute, before, [change(balance) for _, balance in before], cause)

    def write(
        self,
        execute: Execute,
        before: Sequence[tuple[str, Balance]],
        after: Sequence[Balance],
        cause: Event | None = None,
    ) -> bool:
        """Write changed balances and what follows from them; `cause` is the event to blame."""
        balances, crossings = rules.conclude(before, after)
        for (name, old), balance in zip(before, balances, strict=True):
            if balance != old:
                self._write(execute, name, balance)
        for crossing in crossings:
            assert cause is not None, "only what an event tells of can reach a mark"
            self._insert(execute, warned(crossing, cause))
            execute(statements.INSERT_WARNING, (storable(cause.context.session), *crossing))
        return bool(crossings)

    def reserve(self, execute: Execute, asked: Reservation, run: bytes) -> Denial | None:
        """Let a run reserve its envelope; the Denial says what its session lacks."""
        session, envelope = self.path(execute, asked)
        answer = rules.reserve(session, envelope)
        if isinstance(answer, Denial):
            return answer
        self._write(execute, asked.session, answer[0])
        self._write(execute, asked.envelope, answer[1])
        row = (run, *map(storable, asked), self._names.owner(execute))
        execute("INSERT INTO reservation VALUES (?,?,?,?)", row)
        return None

    def release(self, execute: Execute, given: Reservation, run: bytes) -> None:
        """Give back what a run reserved, if it still does."""
        if execute("DELETE FROM reservation WHERE run=?", (run,)).rowcount != 1:
            return
        session, envelope = self.path(execute, given)
        for name, balance in zip(given, rules.release(session, envelope), strict=True):
            self._write(execute, name, balance)

    def _write(self, execute: Execute, name: str, balance: Balance) -> None:
        cap, spent, presumed, held, terms = balance
        number = self._names.numbers(execute, (name,))[0]
        rest = (terms.reserved, terms.standing, terms.passed, terms.due)
        execute(statements.UPDATE_BALANCE, (cap, spent, presumed, held, *rest, number))


def to_balance(row: Sequence[Any]) -> Balance:
    """Return the balance of a row of BALANCE_COLUMNS."""
    cap, spent, presumed, held, reserved, standing, marks, passed, due = row
    terms = PLAIN
    if reserved or standing or marks != "[]":
        terms = Terms(reserved, standing, tuple(json.loads(marks)), passed, due)
    return Balance(cap, spent, presumed, held, terms)
