"""Wiring: which sums of a call's book go to which series. The table, and what follows from it.

Pure. `fold` fills the books; nothing here adds anything up.
"""

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from spendtree.event import NO_REQUEST, Kind, Request
from spendtree.metrics.names import BOUNDED, OTHER, Names, Who
from spendtree.metrics.series import Series, Tables
from spendtree.metrics.sessions import Row

COUNT, COST, INPUT, CACHE_READ, CACHE_WRITE, OUTPUT, TOKENS, HELD = range(8)
"""The sums of a book, by index: events, pico-dollars, tokens, pico-dollars held or presumed."""

FINISHED = frozenset((Kind.CALL, Kind.LAPSE))
TRUE = frozenset((Kind.CALL, Kind.ADJUSTMENT))
METERED = FINISHED | TRUE
CHARGES = METERED | {Kind.TOOL}

Wiring = tuple[tuple[int, Series], ...]
"""Pairs of a sum's index and a series that takes it."""

_WIRINGS_MAX = 20_000
"""Wirings kept at hand; more are worked out again."""


class _Post(NamedTuple):
    """Which sum a family takes, from which kinds of event, and under which condition."""

    family: str
    sum: int
    kinds: frozenset[Kind]
    type: str = ""
    unpriced: bool | None = None
    status: str = ""

    def takes(self, kind: int, unpriced: bool, status: str) -> bool:
        return (
            kind in self.kinds and self.unpriced in (None, unpriced) and self.status in ("", status)
        )


_POSTS = (
    _Post("cost_usd_total", COST, TRUE | {Kind.TOOL}, unpriced=False),
    _Post("calls_total", COUNT, FINISHED),
    _Post("tokens_total", INPUT, METERED, type="input"),
    _Post("tokens_total", CACHE_READ, METERED, type="cache_read"),
    _Post("tokens_total", CACHE_WRITE, METERED, type="cache_write"),
    _Post("tokens_total", OUTPUT, METERED, type="output"),
    _Post("presumed_usd_total", HELD, frozenset((Kind.LAPSE,))),
    _Post("presumed_resolved_usd_total", HELD, frozenset((Kind.ADJUSTMENT,))),
    _Post("unpriced_calls_total", COUNT, TRUE, unpriced=True),
    _Post("unmetered_calls_total", COUNT, frozenset((Kind.LAPSE,)), status="unmetered"),
)


class Wirings:
    """Wirings by who spends, what was asked for and how it ended, each worked out once."""

    def __init__(self, tables: Tables, names: Names) -> None:
        self._tables = tables
        self._names = names
        self._known: dict[tuple[object, ...], Wiring] = {}
        self._ends: dict[tuple[object, ...], tuple[Series, ...]] = {}

    def clear(self) -> None:
        """Work every wiring out again: names or limits have changed."""
        self._known.clear()
        self._ends.clear()

    def standing(
        self, who: Who, request: Request, kind: int, status: str, unpriced: bool
    ) -> Wiring:
        """Return what goes to series without a session."""
        key = (who, request, kind, status, unpriced)
        wiring = self._known.get(key)
        if wiring is None:
            _make_room(self._known)
            labels = self._names.labels(who, request, status)
            wiring = self._known[key] = self._new(labels, kind, unpriced)
        return wiring

    def session(self, row: Row, kind: int) -> Wiring:
        """Return what goes to the series of a session."""
        if kind not in FINISHED:
            return ((COST, row.cost), (TOKENS, row.tokens))
        wiring: Wiring = ((COUNT, row.calls), (COST, row.cost), (TOKENS, row.tokens))
        return wiring if row.shown else (*wiring, (COUNT, self._overflow("session")))

    def ended(self, who: Who, families: tuple[str, ...], status: str) -> tuple[Series, ...]:
        """Return the series that the end of a run or session goes to, one per family."""
        key = (who, families, status)
        series = self._ends.get(key)
        if series is None:
            _make_room(self._ends)
            labels = self._names.labels(who, NO_REQUEST, status)
            made = [self._tables.standing_series(name, labels)[0] for name in families]
            series = self._ends[key] = tuple(made)
        return series

    def _new(self, names: dict[str, str], kind: int, unpriced: bool) -> Wiring:
        wired: list[tuple[int, Series]] = []
        full = [label for label in BOUNDED if names[label] == OTHER]
        for post in _POSTS:
            if post.takes(kind, unpriced, names["status"]):
                labels = {**names, "type": post.type}
                series, fits = self._tables.standing_series(post.family, labels)
                wired.append((post.sum, series))
                if not fits and "series" not in full:
                    full.append("series")
        if kind in FINISHED:
            wired += [(COUNT, self._overflow(label)) for label in full]
        return tuple(wired)

    def _overflow(self, label: str) -> Series:
        return self._tables.standing_series("label_overflow_total", {"label": label})[0]


def _make_room(cache: MutableMapping[tuple[object, ...], Any]) -> None:
    if len(cache) >= _WIRINGS_MAX:
        cache.clear()
