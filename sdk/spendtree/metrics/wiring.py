"""Wiring: which sums of a call's book go to which standing series. The table, and what follows.

Pure. `fold` fills the books; nothing here adds anything up.
"""

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from spendtree.event import Kind, Request
from spendtree.metrics.names import BOUNDED, OTHER, Names, Who
from spendtree.metrics.series import Series, Tables

COUNT, COST, INPUT, CACHE_READ, CACHE_WRITE, OUTPUT, HELD = range(7)
"""The sums of a book, by index: events, pico-dollars, tokens, pico-dollars held or presumed."""

FINISHED = frozenset((Kind.CALL, Kind.LAPSE))
TRUE = frozenset((Kind.CALL, Kind.ADJUSTMENT))
METERED = FINISHED | TRUE
CHARGES = METERED | {Kind.TOOL}

BOOKS_MAX = 8_000
"""Books kept at hand (some 600 bytes each); more are made again."""

ENDS_MAX = 4_000
"""Ends kept at hand (some 400 bytes each); more are worked out again."""

BookKey = tuple[Request, int, str, bool]
"""Request, kind, status, and whether the price is unknown."""


class Book:
    """Sums that are not posted yet, of the calls of one payer with one request and ending.

    `sums[indexes[n]]` goes to `series[n]`; there are none while nothing is to be posted.
    """

    __slots__ = ("indexes", "series", "sums")

    def __init__(self, indexes: tuple[int, ...], series: tuple[Series, ...]) -> None:
        self.sums: list[int] | None = None
        self.indexes = indexes
        self.series = series


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
    """Books by who spends, what was asked for and how it ended; each wired once."""

    def __init__(self, tables: Tables, names: Names) -> None:
        self._tables = tables
        self._names = names
        self._books: dict[Who, dict[BookKey, Book]] = {}
        self._made = 0
        self._ends: dict[tuple[object, ...], tuple[Any, ...]] = {}
        self._indexes: dict[tuple[int, ...], tuple[int, ...]] = {}

    def clear(self) -> None:
        """Wire everything again: names or limits have changed."""
        self._books.clear()
        self._ends.clear()
        self._made = 0

    def books(self, who: Who) -> dict[BookKey, Book]:
        """Return the books of a payer, shared by all contexts that are shown alike."""
        books = self._books.get(who)
        if books is None:
            if self._made >= BOOKS_MAX:
                self._books.clear()
                self._made = 0
            books = self._books[who] = {}
        return books

    def book(self, who: Who, key: BookKey, at: int) -> Book:
        """Return a new book; `at` is when the event was recorded that it is made for."""
        request, kind, status, unpriced = key
        names = self._names.labels(who, request, status)
        full = [label for label in BOUNDED if names[label] == OTHER]
        indexes: list[int] = []
        wired: list[Series] = []
        for post in _POSTS:
            if post.takes(kind, unpriced, status):
                names["type"] = post.type
                series, fits = self._tables.series(post.family, names, at)
                indexes.append(post.sum)
                wired.append(series)
                if not fits and "series" not in full:
                    full.append("series")
        if kind in FINISHED:
            for label in full:
                indexes.append(COUNT)
                wired.append(self.overflow(label, at))
        self._made += 1
        shared = tuple(indexes)
        return Book(self._indexes.setdefault(shared, shared), tuple(wired))

    def overflow(self, label: str, at: int) -> Series:
        """Return the series that counts what a full label hides."""
        series: Series = self._tables.series("label_overflow_total", {"label": label}, at)[0]
        return series

    def of(
        self, who: Who, families: tuple[str, ...], label: str, value: str, at: int
    ) -> tuple[Any, ...]:
        """Return the series that what ended goes to, one per family.

        Their labels are those of a payer and one more; `at` as in `book`.
        """
        key = (who, families, value)
        series = self._ends.get(key)
        if series is None:
            _make_room(self._ends)
            names = {**who._asdict(), label: value}
            made = [self._tables.series(name, names, at)[0] for name in families]
            series = self._ends[key] = tuple(made)
        return series


def _make_room(cache: MutableMapping[tuple[object, ...], Any]) -> None:
    if len(cache) >= ENDS_MAX:
        cache.clear()
