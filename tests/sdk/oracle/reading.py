"""What one recorded response says by its provider's documentation. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Part:
    """Tokens that one model processed, in disjoint buckets."""

    model: str
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    """The part of the output that was reasoning; not added."""


@dataclass(frozen=True)
class Reading:
    """One response: parts (one for each model that answered), units beside text, what it states."""

    model: str
    """The model that answered, as the response names it; as it was asked where none is named."""
    parts: tuple[Part, ...] = ()
    """None at all: the response states no usage that is billed."""
    units: Mapping[str, int] = field(default_factory=dict)
    """Counts beside text tokens: tokens of other modalities, and what a fee is asked for."""
    served: str = ""
    """How it was served, where that has a price of its own; "" is the everyday."""
    cost: Decimal | None = None
    """What the provider states that was charged, in dollars."""

    def total(self, bucket: str) -> int:
        """Return a bucket's sum over all parts."""
        return sum(int(getattr(part, bucket)) for part in self.parts)


def named(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0."""
    return {name: count for name, count in counts.items() if count}


def count(of: Any, key: str) -> int:
    """Return a count of an object: 0 where the object or the key is absent or null."""
    return int(of.get(key) or 0) if isinstance(of, Mapping) else 0


def dollars(amount: Any) -> Decimal | None:
    """Return a stated amount exactly as its digits say."""
    return None if amount is None else Decimal(str(amount))
