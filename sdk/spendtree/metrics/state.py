"""State: a fold as plain values that JSON can carry, and back. Pure.

A cache: the log stays the truth, and what cannot be read here is folded again from there. So there
is one form at a time, named by `FORM`, and nothing here reads an older one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from spendtree.metrics.catalogue import CATALOGUE
from spendtree.metrics.fold import Fold
from spendtree.metrics.groups import Row
from spendtree.metrics.names import OVERFLOW
from spendtree.metrics.series import Histogram, Table
from spendtree.metrics.sessions import Cap, Session

_VERSION = 1
"""To be raised whenever the same log comes to other series, or the form below changes."""

_CHUNK = 500
"""Series of one value: some milliseconds of work, after which others get their turn."""

Value = tuple[str, Any]
"""What is told, and the figures."""


def form() -> str:
    """Return what a stored state must match to be read: the version and the catalogue."""
    families = [(each.name, each.kind, each.labels, each.buckets) for each in CATALOGUE]
    return f"{_VERSION}-{blake2b(repr(families).encode(), digest_size=8).hexdigest()}"


def settings(fold: Fold) -> str:
    """Return what a fold was made with; another fold comes to other series."""
    limits = fold.limits
    named = [
        sorted(value) if isinstance(value, frozenset) else value
        for value in (getattr(limits, name) for name in limits.__slots__)
    ]
    told = repr((named, fold.linger_us, fold.birth_hold_us))
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def dump(fold: Fold) -> Iterator[Value]:
    """Yield the state of a fold in some hundred pieces; no event may be applied meanwhile."""
    sessions, budgets = fold._sessions, fold._budgets
    yield (
        "clocks",
        [fold.events, fold._recorded, sessions.clock, budgets.clock, fold._births.now],
    )
    yield "names", fold._names.known()
    yield "words", list(fold._tables.words)
    for each, table in fold:
        if isinstance(table, Table):
            yield from _dump_table(each.name, table)
    shared = [row for row in list(fold._tables.rows.values()) if row.labels[0] == OVERFLOW]
    yield "shared", [_row(row) for row in shared if isinstance(row, Row)]
    for some in _chunks(list(sessions)):
        yield "sessions", [_session(session) for session in some]
    yield "periods", budgets.periods


def load(fold: Fold, state: Iterable[Value]) -> None:
    """Bring an empty fold, made with the same settings, to a state.

    Raises KeyError, TypeError, ValueError, IndexError or AttributeError for what `dump` never
    yields; then the fold is of no use.
    """
    loaders: dict[str, Callable[[Fold, Any], None]] = {
        "clocks": _load_clocks,
        "names": _load_names,
        "words": _load_words,
        "shared": _load_shared,
        "sessions": _load_sessions,
        "periods": _load_periods,
    }
    for name, value in state:
        if name.startswith("series "):
            _load_table(fold, name.removeprefix("series "), value)
        else:
            loaders[name](fold, value)
    fold._names.limit(fold.limits)
    fold.version += 1


def _dump_table(name: str, table: Table) -> Iterator[Value]:
    rows = [
        [key, each.value, each.due, *(each.counts if isinstance(each, Histogram) else ())]
        for key, each in table.series.items()
    ]
    for some in _chunks(rows):
        yield f"series {name}", some


def _load_table(fold: Fold, name: str, rows: Sequence[Sequence[Any]]) -> None:
    table = fold._tables.rows_of(name)
    if not isinstance(table, Table):
        raise TypeError(f"{name} is no family with a table of its own")
    for key, value, due, *counts in rows:
        table.words.labels(key)  # every character must be known
        series = table.new(key)
        series.value = value
        if counts:
            series.counts[:] = counts
        if due:
            fold._births.wait(series, due)
    fold._tables.standing += len(rows) * table.family.width


def _row(row: Row) -> list[Any]:
    return [*row.labels, row.shown, row.cost, row.calls, row.tokens]


def _load_row(session: str, values: Sequence[Any]) -> Row:
    label, agent, customer, cycle, shown, cost, calls, tokens = values
    # The session's name is one text for all its rows, as it was.
    row = Row((session or label, agent, customer, cycle), shown)
    row.cost, row.calls, row.tokens = cost, calls, tokens
    return row


def _session(session: Session) -> list[Any]:
    caps = session.caps and [
        [id, cap.agent, cap.kind, cap.cap, cap.spent, cap.exhausted]
        for id, cap in session.caps.items()
    ]
    plain = [getattr(session, name) for name in _PLAIN]
    return [*plain, [_row(row) for row in session.rows], caps]


_PLAIN = (
    "label",
    "admitted",
    "shown",
    "last",
    "open",
    "taken",
    "agent",
    "several",
    "worker",
    "expected",
    "accounts",
)


def _load_sessions(fold: Fold, values: Sequence[Sequence[Any]]) -> None:
    sessions, tables = fold._sessions, fold._tables
    for *plain, rows, caps in values:
        session = Session(plain[0])
        for name, value in zip(_PLAIN, plain, strict=True):
            setattr(session, name, value)
        session.rows = tuple([_load_row(session.label, row) for row in rows])
        session.caps = None if caps is None else {id: _cap(*cap) for id, *cap in caps}
        sessions.take_up(session)
        tables.sessions += session.taken


def _cap(agent: str, kind: str, cap: int, spent: int, exhausted: bool) -> Cap:
    made = Cap(agent, kind, cap)
    made.spent, made.exhausted = spent, exhausted
    return made


def _load_shared(fold: Fold, rows: Sequence[Sequence[Any]]) -> None:
    for values in rows:
        row = _load_row("", values)
        fold._tables.rows[row.labels] = row
        fold._tables.standing += len(row.families)


def _load_clocks(fold: Fold, values: Sequence[int]) -> None:
    fold.events, fold._recorded = values[:2]
    fold._sessions.clock, fold._budgets.clock, fold._births.now = values[2:]


def _load_names(fold: Fold, known: dict[str, dict[str, str]]) -> None:
    fold._names.take_up(known)


def _load_words(fold: Fold, texts: Sequence[str]) -> None:
    fold._tables.words.key(tuple(texts))


def _load_periods(fold: Fold, periods: dict[str, int | None]) -> None:
    fold._budgets.take_up(periods)


def _chunks(rows: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(rows), _CHUNK):
        yield rows[first : first + _CHUNK]
