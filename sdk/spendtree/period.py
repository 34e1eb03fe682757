"""Budget periods: which UTC day, week or month a moment belongs to. Pure.

A period's name is ISO 8601: "2026-11-23", "2026-W48" (weeks begin on Monday), "2026-11". Periods
never reset: a new one is a new account. Their ends are counted in days and not made as dates,
which end with the year 9999.
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

PeriodKind = Literal["day", "week", "month"]

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()

CALENDAR_END = (date.max.toordinal() + 1 - _EPOCH) * DAY_US
"""The first microsecond (since 1970 UTC) that no calendar has a date for: the year 10000 begins."""


class Period(NamedTuple):
    """A period by name; `end` is its first microsecond (since 1970 UTC) that is not in it."""

    name: str
    end: int


def period(kind: PeriodKind, at: int) -> Period:
    """Return the period that the microsecond `at` is in, which is from 1 to 9999 AD."""
    day = date.fromordinal(_EPOCH + at // DAY_US)
    name, following = _KINDS[kind](day)
    return Period(name, (following - _EPOCH) * DAY_US)


def end_of(name: str) -> int:
    """Return the `end` of the period of that name; ValueError for other texts."""
    # Not by `strptime`: it has a lock of its own, which a forked child may find taken for good.
    kind: PeriodKind = "week" if "W" in name else "month" if len(name) == 7 else "day"
    first = date.fromisoformat(f"{name}-01" if kind == "month" else name)
    found = period(kind, _microseconds(first))
    if found.name != name:  # "20261123", "2026W48" and "2026-W48-2" are dates as well
        raise ValueError(f"{name!r} is not the name of a period")
    return found.end


def _microseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _day(day: date) -> tuple[str, int]:
    return day.isoformat(), day.toordinal() + 1


def _week(day: date) -> tuple[str, int]:
    year, week, weekday = day.isocalendar()
    return f"{year}-W{week:02d}", day.toordinal() + 8 - weekday


def _month(day: date) -> tuple[str, int]:
    days = monthrange(day.year, day.month)[1]
    return f"{day.year:04d}-{day.month:02d}", day.toordinal() + 1 + days - day.day


_KINDS: dict[PeriodKind, Callable[[date], tuple[str, int]]] = {
    "day": _day,
    "week": _week,
    "month": _month,
}
"""By kind: a period's name, and the day after its last as an ordinal."""
