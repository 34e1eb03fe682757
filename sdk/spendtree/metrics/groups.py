"""Groups: series that share a fate, a session's counters or an account's gauges. Pure values.

One object holds them all, with their texts beside each other, since each object of its own would
cost more memory than the figures in it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from spendtree.account import Balance
from spendtree.metrics.family import Labels

ROW_FAMILIES = ("session_cost_usd_total", "session_calls_total", "session_tokens_total")

BUDGET_FAMILIES = (
    "budget_limit_usd",
    "budget_spent_usd",
    "budget_presumed_usd",
    "budget_held_usd",
    "budget_remaining_usd",
    "budget_period_end_timestamp_seconds",
)


def period_labels(labels: Labels) -> Labels:
    """Return a budget's labels as the family of period ends has them."""
    return labels[0], labels[1], labels[4], labels[5]


class Group:
    """Some series of the same labels, one of each of `families`.

    `text_0`, `text_1` … are places for what a renderer made of them, in the order of `families`.
    """

    __slots__ = ("fresh", "labels")

    families: tuple[str, ...] = ()

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.fresh = False

    def values(self) -> tuple[int | None, ...]:
        """Return the values, None for a series that there is not."""
        raise NotImplementedError


class Row(Group):
    """What one session, agent, customer and routing cycle has spent so far.

    `shown` says if these are series of their own, or only counted here for the session's end.
    """

    __slots__ = ("calls", "cost", "shown", "text_0", "text_1", "text_2", "tokens")

    families = ROW_FAMILIES

    def __init__(self, labels: Labels, shown: bool) -> None:
        super().__init__(labels)
        self.shown = shown
        self.cost = 0
        self.calls = 0
        self.tokens = 0
        self.forget_texts()

    def forget_texts(self) -> None:
        """Keep no text of a row that is not shown."""
        self.text_0 = self.text_1 = self.text_2 = b""
        self.fresh = False

    def values(self) -> tuple[int | None, ...]:
        """Return cost, calls and tokens."""
        return self.cost, self.calls, self.tokens


class Budget(Group):
    """The gauges of one live account; `end` is when its period does (microseconds), or None."""

    __slots__ = ("balance", "end", *(f"text_{index}" for index in range(len(BUDGET_FAMILIES))))

    families = BUDGET_FAMILIES

    def __init__(self, labels: Labels, balance: Balance, end: int | None) -> None:
        super().__init__(labels)
        self.balance = balance
        self.end = end
        for index in range(len(BUDGET_FAMILIES)):
            setattr(self, f"text_{index}", b"")

    def values(self) -> tuple[int | None, ...]:
        """Return cap, spent, presumed, held, what is free, and the period's end."""
        cap, spent, presumed, held, *_ = self.balance
        return cap, spent, presumed, held, self.balance.free, self.end


class Sample(NamedTuple):
    """One series of a group, as a value."""

    value: int


class Column(Mapping[Labels, Sample]):
    """The series of one family among groups: those of the groups that have it."""

    def __init__(
        self,
        groups: Mapping[Labels, Group],
        index: int,
        labels: Callable[[Labels], Labels] | None = None,
    ) -> None:
        self.groups = groups
        self.index = index
        self.labels = labels

    def __getitem__(self, labels: Labels) -> Sample:
        if self.labels is None:
            value = self.groups[labels].values()[self.index]
            if value is not None:
                return Sample(value)
        return dict(self._pairs())[labels]

    def __iter__(self) -> Iterator[Labels]:
        return (labels for labels, _ in self._pairs())

    def __len__(self) -> int:
        return sum(1 for _ in self._pairs())

    def _pairs(self) -> Iterator[tuple[Labels, Sample]]:
        for labels, group in self.groups.items():
            value: Any = group.values()[self.index]
            if value is not None:
                yield (labels if self.labels is None else self.labels(labels)), Sample(value)
