"""Series: the values of every family, never more of them than the limits say. Pure.

Standing series have a table per family; what belongs to one session or account stands together in
a group (`groups`). Who may have a session series is decided in `sessions`, names in `names`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from spendtree.metrics.births import Births
from spendtree.metrics.catalogue import CATALOGUE, family
from spendtree.metrics.family import Family, Labels
from spendtree.metrics.groups import BUDGET_FAMILIES, ROW_FAMILIES, Column, Group, period_labels
from spendtree.metrics.names import BOUNDED, OTHER, Limits, label_text


class Series:
    """One series: `value` in the family's integer unit; 0 is shown while `due` is not 0.

    `text` is a place for what a renderer made of it, `fresh` whether that still holds; kept here
    because a table beside it would cost more than the series itself.
    """

    __slots__ = ("due", "fresh", "text", "value")

    def __init__(self) -> None:
        self.value = 0
        self.text = b""
        self.fresh = False
        self.due = 0

    @property
    def shown(self) -> int:
        """Return the value as it is to be shown now."""
        return 0 if self.due else self.value

    def add(self, amount: int) -> None:
        """Add an amount."""
        self.value += amount
        self.fresh = False


class Histogram:
    """One histogram: `counts` per bucket (not yet added up, +Inf last), and `value`, their sum."""

    __slots__ = ("bounds", "counts", "due", "fresh", "text", "value")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.value = 0
        self.text = b""
        self.fresh = False
        self.due = 0

    def add(self, amount: int) -> None:
        """Observe an amount."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.value += amount
        self.fresh = False


class Words:
    """One character for each label value: a series' labels become one short text.

    A tuple of label values takes twice the memory, and memory is what bounds the series.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def key(self, labels: Labels) -> str:
        """Return the key of label values."""
        places = self._places
        try:
            return "".join([places[text] for text in labels])
        except KeyError:
            return "".join([places.get(text) or self._new(text) for text in labels])

    def labels(self, key: str) -> Labels:
        """Return the label values of a key."""
        return tuple([self._texts[place] for place in key])

    def _new(self, text: str) -> str:
        number = len(self._places)
        # Half characters cannot be written down, so their numbers are left out.
        place = self._places[text] = chr(number if number < 0xD800 else number + 0x800)
        self._texts[place] = text
        return place


class Table(Mapping[Labels, Any]):
    """The series of one family by their labels, in the order in which the log made them."""

    def __init__(self, family: Family, words: Words) -> None:
        self.family = family
        self.words = words
        self.series: dict[str, Any] = {}

    def __getitem__(self, labels: Labels) -> Any:
        return self.series[self.words.key(labels)]

    def __iter__(self) -> Iterator[Labels]:
        return map(self.words.labels, self.series)

    def __len__(self) -> int:
        return len(self.series)

    def new(self, key: str) -> Any:
        """Make the series of a key."""
        bounds = self.family.bounds
        made = self.series[key] = Histogram(bounds) if bounds else Series()
        return made


class Tables:
    """The series of every family."""

    def __init__(self, limits: Limits, births: Births) -> None:
        self.words = Words()
        self.births = births
        self.rows: dict[Labels, Group] = {}
        """The groups of session counters that are shown."""
        self.budgets: dict[Labels, Group] = {}
        """The groups of budget gauges that are shown."""
        self.standing = 0
        self.sessions = 0
        """How many series of sessions are admitted, shown or not."""
        self._families = {each.name: self._rows_of(each) for each in CATALOGUE}  # type: dict[str, Table | Column]
        self.limit(limits)

    def _rows_of(self, each: Family) -> Table | Column:
        if each.name in ROW_FAMILIES:
            return Column(self.rows, ROW_FAMILIES.index(each.name))
        if each.name in BUDGET_FAMILIES:
            fields = period_labels if each.name == BUDGET_FAMILIES[-1] else None
            return Column(self.budgets, BUDGET_FAMILIES.index(each.name), fields)
        return Table(each, self.words)

    def limit(self, limits: Limits) -> None:
        """Make new series by these limits from now on; those there are stay."""
        self.limits = limits
        self._kept = {
            "customer": frozenset(map(label_text, limits.kept_customers)),
            "team": frozenset(map(label_text, limits.kept_teams)),
        }

    def rows_of(self, name: str) -> Table | Column:
        """Return the series of a family by their labels."""
        return self._families[name]

    def series(self, name: str, names: Mapping[str, str], at: int) -> tuple[Any, bool]:
        """Return a standing series, made if need be, and whether it has its own labels.

        `at` is when the event was recorded that it may be made for. When there are too many
        series, the labels from outside all become `_other`, except names that are kept; what the
        others can take is a handful, so totals stay exact and the number of series bounded.
        """
        table, wanted = self._families[name], family(name).labels
        assert isinstance(table, Table)
        labels = tuple([names[label] for label in wanted])
        key = self.words.key(labels)
        series = table.series.get(key)
        if series is not None:
            return series, True
        fits = self.room(table.family.width)
        if not fits:
            key = self.words.key(tuple([self.when_full(each, names[each]) for each in wanted]))
            series = table.series.get(key)
        if series is None:
            series = table.new(key)
            self.births.register(series, at)
            self.standing += table.family.width
        return series, fits

    def room(self, count: int) -> bool:
        """Tell whether that many more standing series fit."""
        return self.standing + count <= self.limits.standing_series

    def session_room(self, count: int) -> bool:
        """Tell whether that many more session series fit."""
        return self.sessions + count <= self.limits.session_series

    def when_full(self, label: str, name: str) -> str:
        """Return what a label shows instead when there are too many series."""
        return OTHER if label in _FREE and name not in self._kept.get(label, ()) else name

    def __iter__(self) -> Iterator[tuple[Family, Table | Column]]:
        for each in CATALOGUE:
            yield each, self._families[each.name]


_FREE = frozenset((*BOUNDED, "source", "target"))
