"""Family: what one metric is, as a value, and the buckets that histograms have. Nothing counts."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

PREFIX = "spendtree_"

_DECIMALS = {"usd": 12, "seconds": 6, "ratio": 6}
"""Series hold integers: pico-dollars, microseconds and millionths in families of these units."""

Labels = tuple[str, ...]
"""Label values in the order of a family's `labels`."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric family.

    `name` is without the prefix; `labels` are those beside `store`, which every series has;
    `unit` is the unit that the name ends with ("" where it names none); `buckets` are the upper
    bounds of a histogram as text, as OpenMetrics writes numbers, () for other kinds. `help` is what
    it means, `counts` what is in it and what is not, `query` an example in PromQL. `places` are the
    decimal places of values whose unit does not tell.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[str, ...] = ()
    counts: str = ""
    query: str = ""
    places: int | None = None

    @property
    def full_name(self) -> str:
        """Return the name as it is scraped."""
        return PREFIX + self.name

    @cached_property
    def decimals(self) -> int:
        """Return how many decimal places a series' integer value has."""
        return _DECIMALS.get(self.unit, 0) if self.places is None else self.places

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Return the buckets' upper bounds in the family's integer unit."""
        return tuple(_scaled(text, self.decimals) for text in self.buckets)

    @property
    def width(self) -> int:
        """Return how many series one set of labels makes: buckets, +Inf, sum and count, or 1."""
        return len(self.buckets) + 3 if self.kind == "histogram" else 1


def _scaled(text: str, decimals: int) -> int:
    return int(Decimal(text).scaleb(decimals))


def counter(name: str, labels: str, help: str, counts: str, query: str) -> Family:
    """Return a counter; its unit is in its name, `labels` are separated by spaces."""
    unit = name.removesuffix("_total").rpartition("_")[2]
    return Family(
        name=name,
        kind="counter",
        unit=unit if unit in ("usd", "tokens", "seconds") else "",
        labels=tuple(labels.split()),
        help=help,
        counts=counts,
        query=query,
    )


def gauge(
    name: str, labels: str, help: str, counts: str, query: str, places: int | None = None
) -> Family:
    """Return a gauge; its unit is in its name, `labels` are separated by spaces."""
    unit = name.rpartition("_")[2]
    return Family(
        name=name,
        kind="gauge",
        unit=unit if unit in ("usd", "seconds") else "",
        labels=tuple(labels.split()),
        help=help,
        counts=counts,
        query=query,
        places=places,
    )


def histogram(name: str, labels: str, buckets: str, help: str, counts: str, query: str) -> Family:
    """Return a histogram; `labels` and `buckets` are separated by spaces."""
    unit = name.rpartition("_")[2]
    return Family(
        name=name,
        kind="histogram",
        unit=unit if unit in ("usd", "seconds", "ratio") else "",
        labels=tuple(labels.split()),
        buckets=tuple(buckets.split()),
        help=help,
        counts=counts,
        query=query,
    )
