"""Series: one integer each, in one table per family, never more of them than the limits say.

Pure. Who may have a session series is decided in `sessions`, names in `names`.
"""

from collections.abc import Iterator, Mapping

from spendtree.metrics.catalogue import CATALOGUE, Family, family
from spendtree.metrics.names import BOUNDED, OTHER, Limits, label_text

Labels = tuple[str, ...]
"""Label values in the order of the family's `labels`."""


class Series:
    """One series: `value` in the family's integer unit.

    `text` is a place for what a renderer made of it, `fresh` whether that still shows the value;
    kept here because a table beside it would cost more than the series itself.
    """

    __slots__ = ("fresh", "text", "value")

    def __init__(self) -> None:
        self.value = 0
        self.text = b""
        self.fresh = False

    def add(self, amount: int) -> None:
        """Add an amount."""
        self.value += amount
        self.fresh = False


class Tables:
    """The series of every family, in the order in which the log made them."""

    def __init__(self, limits: Limits) -> None:
        self._rows: dict[str, dict[Labels, Series]] = {each.name: {} for each in CATALOGUE}
        self.standing = 0
        self.sessions = 0
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Make new series by these limits from now on; those there are stay."""
        self._limits = limits
        self._kept = {
            "customer": frozenset(map(label_text, limits.kept_customers)),
            "team": frozenset(map(label_text, limits.kept_teams)),
        }

    def rows(self, name: str) -> Mapping[Labels, Series]:
        """Return the series of a family by their labels."""
        return self._rows[name]

    def standing_series(self, name: str, names: Mapping[str, str]) -> tuple[Series, bool]:
        """Return a series without a session, made if need be, and whether it has its own labels.

        When there are too many, the labels from outside all become `_other`, except names that are
        kept; what the others can take is a handful, so totals stay exact and the number of series
        stays bounded.
        """
        rows, wanted = self._rows[name], family(name).labels
        labels = tuple([names[label] for label in wanted])
        series = rows.get(labels)
        if series is not None:
            return series, True
        fits = self.standing < self._limits.standing_series
        if not fits:
            labels = tuple([self._when_full(each, names[each]) for each in wanted])
        series = rows.get(labels)
        if series is None:
            series = rows[labels] = Series()
            self.standing += 1
        return series, fits

    def _when_full(self, label: str, name: str) -> str:
        return OTHER if label in _FREE and name not in self._kept.get(label, ()) else name

    def session_room(self, count: int) -> bool:
        """Tell whether that many more session series fit."""
        return self.sessions + count <= self._limits.session_series

    def add_session_series(self, name: str, labels: Labels) -> Series:
        """Make one session series; the caller has asked for room."""
        series = self._rows[name][labels] = Series()
        self.sessions += 1
        return series

    def drop_session_series(self, name: str, labels: Labels) -> None:
        """Take one session series away."""
        del self._rows[name][labels]
        self.sessions -= 1

    def __iter__(self) -> Iterator[tuple[Family, Mapping[Labels, Series]]]:
        for each in CATALOGUE:
            yield each, self._rows[each.name]


_FREE = frozenset(BOUNDED)
