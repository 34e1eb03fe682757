"""The numbers under which a SQLite store keeps what repeats: accounts, contexts, requests, owner.

Writing looks a number up in a dictionary; a new name is inserted in the running transaction and
forgotten if that is undone. Reading goes the other way.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from spendtree.errors import StoreError
from spendtree.event import Context, Request
from spendtree.store.database import Database
from spendtree.store.text import storable

Execute = Callable[..., Any]
Name = TypeVar("Name")

FIND_OWNER = (
    "SELECT no FROM owner WHERE host=? AND boot=? AND pid=? AND start=? AND namespace=? AND lock=?"
)
INSERT_OWNER = "INSERT INTO owner (host, boot, pid, start, namespace, lock) VALUES (?,?,?,?,?,?)"

KEPT = 50_000
"""Names remembered per kind; a program of a million sessions must not remember them all."""


class Names:
    """Numbers of one store's names, for the thread that holds the database's lock."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.accounts: dict[str, int] = {}
        self.paths: dict[tuple[str, ...], tuple[int, ...]] = {}
        self.contexts: dict[Context, int] = {}
        self.requests: dict[Request, int] = {}
        self._owners: dict[int, int] = {}
        self.fresh: list[tuple[dict[Any, Any], Any]] = []
        """What the running transaction made: cleared after a commit, undone after a rollback."""

    def account(self, execute: Execute, id: str) -> int:
        """Return an account's number; StoreError if it was never opened."""
        row = execute("SELECT no FROM account WHERE id=?", (storable(id),)).fetchone()
        if row is None:
            raise StoreError(f"store {self._database.path}: account {id!r} is not open")
        self._remember(self.accounts, id, row[0])
        number: int = row[0]
        return number

    def numbers(self, execute: Execute, path: Sequence[str]) -> list[int]:
        """Return the numbers of a path's accounts."""
        known = self.accounts
        return [known.get(id) or self.account(execute, id) for id in path]

    def path(self, execute: Execute, path: tuple[str, ...]) -> tuple[int, ...]:
        """Return the numbers of a path's accounts, and remember them as those of the path."""
        numbers = tuple(self.numbers(execute, path))
        if len(self.paths) >= KEPT:
            self.paths.clear()
        self.fresh.append((self.paths, path))
        self.paths[path] = numbers
        return numbers

    def context(self, execute: Execute, context: Context) -> int:
        """Return a context's number, making one for a new context."""
        session, customer, team, agent, run, parent, level, cycle, task_id, path, origin = context
        names = map(storable, (session, customer, team, agent, run, parent))
        values = (*names, level, cycle, storable(task_id), json.dumps(path), origin)
        cursor = execute(
            "INSERT INTO context (session, customer, team, agent, run, parent, level, cycle, "
            "task_id, path, origin) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        return self._remember(self.contexts, context, cursor.lastrowid)

    def request(self, execute: Execute, request: Request) -> int:
        """Return a request's number, making one for a new request."""
        values = tuple(map(storable, request))
        execute(
            "INSERT INTO request (provider, model, purpose) VALUES (?,?,?) ON CONFLICT DO NOTHING",
            values,
        )
        row = execute(
            "SELECT no FROM request WHERE provider=? AND model=? AND purpose=?", values
        ).fetchone()
        return self._remember(self.requests, request, row[0])

    def owner(self, execute: Execute) -> int:
        """Return this process' number; a forked child is another process."""
        generation = self._database.generation
        known = self._owners.get(generation)
        if known is not None:
            return known
        # Its lock of life is had before this commits: nobody sees the row without it.
        here = self._database.here()
        row = execute(FIND_OWNER, here).fetchone()
        if row is None:
            execute(INSERT_OWNER, here)
            row = execute(FIND_OWNER, here).fetchone()
        return self._remember(self._owners, generation, row[0])

    def known_owner(self) -> int | None:
        """Return this process' number if it has held money already."""
        return self._owners.get(self._database.generation)

    def forget(self, id: str) -> None:
        """Forget an account that is gone."""
        self.accounts.pop(id, None)
        self.paths.clear()

    def forget_all(self) -> None:
        """Forget everything: the file may be another one, or its content, when it opens again."""
        for table in (self.accounts, self.paths, self.contexts, self.requests, self._owners):
            table.clear()
        self.fresh.clear()

    def rolled_back(self) -> None:
        """Forget what the transaction that has been undone made.

        Each verb begins with it: an exception may have ended the last one anywhere.
        """
        fresh = self.fresh
        while fresh:
            table, name = fresh[-1]
            table.pop(name, None)
            fresh.pop()

    def _remember(self, table: dict[Any, int], name: Any, number: int | None) -> int:
        assert number is not None
        if len(table) >= KEPT:
            table.clear()
        # In this order: who is interrupted in between must not leave a number that nobody forgets.
        self.fresh.append((table, name))
        table[name] = number
        return number


class Readings:
    """Contexts and requests by number, for the thread that is inside `Database.reading`."""

    def __init__(self) -> None:
        self._contexts: dict[int, Context] = {}
        self._requests: dict[int, Request] = {}

    def contexts(self, execute: Execute, numbers: set[int]) -> dict[int, Context]:
        """Return the contexts of some numbers."""
        sql = (
            "SELECT no, session, customer, team, agent, run, parent, level, cycle, task_id, path, "
            "origin FROM context"
        )
        for row in _rows(execute, sql, {n for n in numbers if n not in self._contexts}):
            self._contexts[row[0]] = Context._make(
                (*row[1:10], tuple(json.loads(row[10])), row[11])
            )
        return _picked(self._contexts, numbers)

    def requests(self, execute: Execute, numbers: set[int]) -> dict[int, Request]:
        """Return the requests of some numbers."""
        sql = "SELECT no, provider, model, purpose FROM request"
        for row in _rows(execute, sql, {n for n in numbers if n not in self._requests}):
            self._requests[row[0]] = Request(*row[1:])
        return _picked(self._requests, numbers)


def _rows(execute: Execute, sql: str, missing: set[int]) -> Iterator[tuple[Any, ...]]:
    numbers = sorted(missing)
    for first in range(0, len(numbers), 500):
        some = tuple(numbers[first : first + 500])
        yield from execute(f"{sql} WHERE no IN ({','.join('?' * len(some))})", some).fetchall()


def _picked(known: dict[int, Name], numbers: set[int]) -> dict[int, Name]:
    picked = {number: known[number] for number in numbers}
    if len(known) > KEPT:
        known.clear()
    return picked
