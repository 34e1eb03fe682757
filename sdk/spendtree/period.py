"""Budget periods: which UTC day, week or month a moment belongs to. Pure.

A period's name is ISO 8601: "2026-11-23", "2026-W48" (weeks begin on Monday), "2026-11". Periods
never reset: a new one is a new account.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

PeriodKind = Literal["day", "week", "month"]


class Period(NamedTuple):
    """A period by name; `end` is its first microsecond (since 1970 UTC) that is not in it."""

    name: str
    end: int


def period(kind: PeriodKind, at: int) -> Period:
    """Return the period that the microsecond `at` (since 1970 UTC) is in."""
    day = datetime.fromtimestamp(at // 1_000_000, UTC).date()
    name, following = _KINDS[kind](day)
    end = datetime(following.year, following.month, following.day, tzinfo=UTC)
    return Period(name, int(end.timestamp()) * 1_000_000)


def end_of(name: str) -> int:
    """Return the `end` of the period of that name; ValueError for other texts."""
    if "W" in name:
        monday = datetime.strptime(f"{name}-1", "%G-W%V-%u")
        return period("week", _microseconds(monday)).end
    if len(name) == len("2026-11"):
        return period("month", _microseconds(datetime.strptime(name, "%Y-%m"))).end
    return period("day", _microseconds(datetime.strptime(name, "%Y-%m-%d"))).end


def _microseconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _day(day: date) -> tuple[str, date]:
    return day.isoformat(), day + timedelta(days=1)


def _week(day: date) -> tuple[str, date]:
    year, week, weekday = day.isocalendar()
    return f"{year}-W{week:02d}", day + timedelta(days=8 - weekday)


def _month(day: date) -> tuple[str, date]:
    following = day.replace(day=1) + timedelta(days=32)
    return f"{day:%Y-%m}", following.replace(day=1)


_KINDS: dict[PeriodKind, Callable[[date], tuple[str, date]]] = {
    "day": _day,
    "week": _week,
    "month": _month,
}
