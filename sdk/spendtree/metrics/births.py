"""Births: when a new series begins to show its value. Pure; the time comes from outside.

Prometheus' increase() does not see the first value of a series, so a new one shows 0 until it was
surely scraped: until its first event's recording time plus the birth hold. That is a function of
the log and the clock alone, so every scraper sees the same, and a restart changes nothing.
"""

import heapq
from typing import Protocol

BIRTH_HOLD_US = 60 * 1_000_000
"""How long a new series shows 0: four scrapes at Prometheus' usual 15 s."""

_DAY_US = 24 * 3600 * 1_000_000
"""Events recorded so far in the future are of a broken clock; nothing waits for them."""


class Newborn(Protocol):
    """A series, as far as its birth goes: `due` is when it shows its value, 0 for already."""

    due: int
    fresh: bool


class Births:
    """The series that show 0 yet. While nobody has told the time, nothing waits."""

    def __init__(self, hold_us: int = BIRTH_HOLD_US) -> None:
        self.hold_us = hold_us
        self.now = 0
        self._waiting: list[tuple[int, int, Newborn]] = []
        self._count = 0

    def register(self, series: Newborn, at: int) -> None:
        """Let a series whose first event was recorded at `at` (microseconds) wait its time."""
        if self.now and self.now - self.hold_us < at <= self.now + _DAY_US:
            self.wait(series, at + self.hold_us)

    def wait(self, series: Newborn, due: int) -> None:
        """Let a series show 0 until a time."""
        series.due = due
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, series))

    def tick(self, now: int) -> bool:
        """Show the series whose time has come; tell if there were any. Time never goes back."""
        self.now = max(self.now, now)
        any_due = False
        while self._waiting and self._waiting[0][0] <= self.now:
            series = heapq.heappop(self._waiting)[2]
            series.due = 0
            series.fresh = False
            any_due = True
        return any_due
