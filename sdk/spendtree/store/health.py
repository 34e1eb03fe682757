"""Health: what can be told of a store's file by looking at it, and by changing nothing.

It reads with a connection of its own that cannot write: opening a store would bring an older file
to the newest schema, and that is not for a look.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any, NamedTuple

from spendtree.errors import StoreError
from spendtree.event import UNPRICED, UNREAD, Kind
from spendtree.store import owner as owners
from spendtree.store.database import APPLICATION_ID, FOREIGN, schema_steps, translation
from spendtree.store.liveness import judged
from spendtree.store.reader import connect

WAIT_SECONDS = 5.0
FAULTS_SHOWN = 5
BUDGETS_READ = 10_000
"""The newest ones; older ones are of periods that are over."""

MODELS_MAX = 1000
"""Names come from traces, too; nobody reads about more."""


class Held(NamedTuple):
    """Open holds of one process: how many, their pico-dollars, since when (microseconds).

    `dead` is None where it cannot be known: the process is of another host, or of an older version.
    """

    process: str
    dead: bool | None
    holds: int
    amount: int
    oldest: int


class Stray(NamedTuple):
    """Calls outside any session, by the reason: no_scope, lost_thread or imported.

    Of lost threads those, too, whose agent started a session of its own.
    """

    reason: str
    calls: int
    cost: int
    last_at: int


class Unpriced(NamedTuple):
    """Calls whose price nobody knew."""

    provider: str
    model: str
    calls: int


class Called(NamedTuple):
    """A model that calls were recorded of, and the provider that they named."""

    provider: str
    model: str


class Unrecorded(NamedTuple):
    """Calls that a program left without recording anything: the model, and where (file:line)."""

    model: str
    place: str
    calls: int


class Doubtful(NamedTuple):
    """Calls whose cost is not certain: why (`presumed`, `partly_unpriced`, `unread`), and what of.

    `amount` are the pico-dollars presumed, or the cost that is in the figures; `names` what has no
    price, or was not understood.
    """

    reason: str
    calls: int
    amount: int
    names: tuple[str, ...]


class Budget(NamedTuple):
    """An account of a customer's or team's budget: whose, of which period, and its cap.

    `version` is the order of the configuration that set the cap, None if it has none.
    """

    kind: str
    name: str
    period: str
    cap: int | None
    version: int | None


class Stated(NamedTuple):
    """Calls of a model whose provider states their cost: the sum, and how far the list is off."""

    provider: str
    model: str
    calls: int
    cost: int
    difference: int


class Health(NamedTuple):
    """One store's state; `faults` are what SQLite's quick check found, () if nothing.

    `events` counts all that were ever recorded, `last_at` is the last one's time (0: none).
    """

    id: str
    schema: int
    known_schema: int
    faults: tuple[str, ...]
    events: int = 0
    last_at: int = 0
    held: tuple[Held, ...] = ()
    strays: tuple[Stray, ...] = ()
    unpriced: tuple[Unpriced, ...] = ()
    stated: tuple[Stated, ...] = ()
    called: tuple[Called, ...] = ()
    unrecorded: tuple[Unrecorded, ...] = ()
    doubtful: tuple[Doubtful, ...] = ()
    budgets: tuple[Budget, ...] = ()


def examine(path: str) -> Health:
    """Look at a store's file. Raises StoreError if it cannot be read or is another program's."""
    try:
        with closing(connect(path, WAIT_SECONDS, tidy=False)) as connection:
            return _look(connection, path)
    except FOREIGN as error:
        kind, advice = translation(error)
        raise kind(f"store {path}: {error}; {advice}") from error


def _look(connection: sqlite3.Connection, path: str) -> Health:
    connection.execute("BEGIN")  # one state of the file, whatever is written meanwhile
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(
            f"store {path}: that is no store of Spendtree's; name another file with --store"
        )
    schema, known = connection.execute("PRAGMA user_version").fetchone()[0], len(schema_steps())
    checked = connection.execute(f"PRAGMA quick_check({FAULTS_SHOWN})").fetchall()
    faults = tuple(str(line) for (line,) in checked if line != "ok")
    if faults or schema != known:
        return Health("", schema, known, faults)
    (id,) = connection.execute("SELECT value FROM meta WHERE key='store_id'").fetchone()
    events = connection.execute("SELECT seq FROM sqlite_sequence WHERE name='event'").fetchone()
    last = connection.execute("SELECT at FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return Health(
        id,
        schema,
        known,
        (),
        events[0] if events else 0,
        last[0] if last else 0,
        _held(connection, path),
        _strays(connection),
        _unpriced(connection),
        _stated(connection),
        _called(connection),
        _unrecorded(connection),
        _doubtful(connection),
        _budgets(connection),
    )


def _held(connection: sqlite3.Connection, path: str) -> tuple[Held, ...]:
    rows = connection.execute(
        "SELECT o.host, o.boot, o.pid, o.start, o.namespace, o.lock, "
        "count(*), total(h.amount), min(h.at) "
        "FROM hold h JOIN owner o ON o.no = h.owner GROUP BY o.no ORDER BY 9"
    )
    here = owners.current()
    found = []
    for *fields, holds, amount, oldest in rows:
        owner = owners.Owner(*fields)
        dead = judged(owner, path, here)
        found.append(Held(_named(owner, here), dead, holds, int(amount), oldest))
    return tuple(found)


def _named(owner: owners.Owner, here: owners.Owner) -> str:
    if owner.host != here.host:
        return f"process {owner.pid} of {owner.host}"
    other = "" if owner.shares_pids(here) else " of another PID namespace"
    return f"process {owner.pid}{other}"


def _budgets(connection: sqlite3.Connection) -> tuple[Budget, ...]:
    rows = connection.execute(
        "SELECT kind, customer || team, period, cap, version FROM account "
        "WHERE kind IN ('customer', 'team') ORDER BY no DESC LIMIT ?",
        (BUDGETS_READ,),
    )
    return tuple(Budget(*row) for row in rows)


def _strays(connection: sqlite3.Connection) -> tuple[Stray, ...]:
    # `total` and not `sum`: these are figures to look at, and `sum` fails above $9.2 million.
    rows = connection.execute(
        "SELECT coalesce(json_extract(e.data, '$.unattributed'), 'no_scope') AS reason, "
        "sum(coalesce(json_extract(e.data, '$.rollup.count'), 1)), total(e.cost), max(e.at) "
        "FROM context c JOIN event e ON e.context = c.no "
        "WHERE e.kind IN (?, ?) AND (c.session = '' OR "
        "(e.data IS NOT NULL AND json_extract(e.data, '$.unattributed') IS NOT NULL)) "
        "GROUP BY reason ORDER BY 2 DESC",
        (Kind.CALL, Kind.LAPSE),
    )
    return tuple(Stray(reason, calls, int(cost), at) for reason, calls, cost, at in rows)


def _unpriced(connection: sqlite3.Connection) -> tuple[Unpriced, ...]:
    rows = connection.execute(
        "SELECT r.provider, r.model, sum(coalesce(json_extract(e.data, '$.rollup.count'), 1)) "
        "FROM event e JOIN request r ON r.no = e.request "
        "WHERE e.kind = ? AND e.cost IS NULL GROUP BY r.no ORDER BY 3 DESC",
        (Kind.CALL,),
    )
    return tuple(Unpriced(*row) for row in rows)


def _called(connection: sqlite3.Connection) -> tuple[Called, ...]:
    rows = connection.execute(
        "SELECT DISTINCT provider, model FROM request WHERE model <> '' "
        f"AND purpose <> 'message' ORDER BY model, provider LIMIT {MODELS_MAX}"
    )
    return tuple(Called(*row) for row in rows)


def _unrecorded(connection: sqlite3.Connection) -> tuple[Unrecorded, ...]:
    rows = connection.execute(
        "SELECT r.model, json_extract(e.data, '$.place') AS place, "
        "sum(coalesce(json_extract(e.data, '$.rollup.count'), 1)) "
        "FROM event e JOIN request r ON r.no = e.request "
        "WHERE e.kind = ? AND e.data IS NOT NULL AND place IS NOT NULL "
        "GROUP BY r.model, place ORDER BY 3 DESC, 1, 2",
        (Kind.LAPSE,),
    )
    return tuple(Unrecorded(*row) for row in rows)


def _doubtful(connection: sqlite3.Connection) -> tuple[Doubtful, ...]:
    lapses, presumed = connection.execute(
        "SELECT sum(CASE kind WHEN 6 THEN count ELSE -count END), "
        "total(CASE kind WHEN 6 THEN held ELSE -held END) FROM event WHERE kind IN (6, 7)"
    ).fetchone()
    found = [Doubtful("presumed", lapses, int(presumed), ())] if lapses and presumed > 0 else []
    marked = connection.execute(
        "SELECT data, count, coalesce(cost, 0) FROM event "
        """WHERE kind IN (5, 7, 9) AND data IS NOT NULL AND instr(data, '"marks":')"""
    )
    partly, unread = _Sum(), _Sum()
    for text, count, cost in marked:
        data = json.loads(text)
        marks = data.get("marks", ())
        parts = [mark.removeprefix(UNPRICED) for mark in marks if mark.startswith(UNPRICED)]
        if parts:
            partly.add(count, cost, parts)
        if UNREAD in marks:
            unread.add(count, cost, [*data.get("unread", ()), *_rolled(data)])
    sums = (("partly_unpriced", partly), ("unread", unread))
    return (*found, *(each.doubtful(reason) for reason, each in sums if each.calls))


def _rolled(data: dict[str, Any]) -> list[str]:
    return list(data.get("rollup", {}).get("unread", ()))


class _Sum:
    """Calls of one doubt while they are read."""

    def __init__(self) -> None:
        self.calls = self.amount = 0
        self.names: Counter[str] = Counter()

    def add(self, count: int, cost: int, names: list[str]) -> None:
        self.calls += count
        self.amount += cost
        self.names.update(dict.fromkeys(names, count))

    def doubtful(self, reason: str) -> Doubtful:
        names = tuple(name for name, _ in self.names.most_common())
        return Doubtful(reason, self.calls, self.amount, names)


def _stated(connection: sqlite3.Connection) -> tuple[Stated, ...]:
    rows = connection.execute(
        "SELECT r.provider, r.model, sum(coalesce(json_extract(e.data, '$.rollup.count'), 1)), "
        "total(e.cost), total(json_extract(e.data, '$.stated_difference')) AS difference "
        "FROM event e JOIN request r ON r.no = e.request WHERE e.kind IN (?, ?) "
        """AND e.data IS NOT NULL AND instr(e.data, '"stated_difference"') """
        "GROUP BY r.provider, r.model ORDER BY abs(difference) DESC",
        (Kind.CALL, Kind.ADJUSTMENT),
    )
    return tuple(
        Stated(provider, model, calls, int(cost), int(difference))
        for provider, model, calls, cost, difference in rows
    )
