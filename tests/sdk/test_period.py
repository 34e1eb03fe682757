"""Budget periods: UTC days, ISO weeks and months, each moment in exactly one of each."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.period import PeriodKind, end_of, period

KINDS: tuple[PeriodKind, ...] = ("day", "week", "month")
SECOND = 1_000_000

moments = st.integers(0, int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * SECOND)
kinds = st.sampled_from(KINDS)


def at(*moment: int) -> int:
    year, month, day, *rest = moment
    hour, minute, second = (*rest, 0, 0, 0)[:3]
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("kind", "moment", "name", "end"),
    [
        ("day", (2026, 11, 23, 23, 59, 59), "2026-11-23", (2026, 11, 24)),
        ("day", (2026, 11, 24), "2026-11-24", (2026, 11, 25)),
        ("day", (2028, 2, 29), "2028-02-29", (2028, 3, 1)),
        ("week", (2026, 11, 29, 23, 59, 59), "2026-W48", (2026, 11, 30)),
        ("week", (2026, 11, 30), "2026-W49", (2026, 12, 7)),
        ("week", (2026, 12, 31), "2026-W53", (2027, 1, 4)),
        ("week", (2027, 1, 3), "2026-W53", (2027, 1, 4)),
        ("week", (2025, 12, 29), "2026-W01", (2026, 1, 5)),
        ("month", (2026, 11, 30, 23, 59, 59), "2026-11", (2026, 12, 1)),
        ("month", (2026, 12, 1), "2026-12", (2027, 1, 1)),
        ("month", (2026, 1, 31), "2026-01", (2026, 2, 1)),
        ("month", (2028, 2, 29), "2028-02", (2028, 3, 1)),
    ],
)
def test_a_moment_is_in_the_utc_period_of_its_name_until_the_next_begins(
    kind: PeriodKind, moment: tuple[int, ...], name: str, end: tuple[int, ...]
) -> None:
    assert period(kind, at(*moment)) == (name, at(*end))


@given(kinds, moments)
def test_a_period_holds_every_moment_up_to_its_end_and_none_after(
    kind: PeriodKind, moment: int
) -> None:
    found = period(kind, moment)
    assert moment < found.end
    assert period(kind, found.end - 1) == found
    assert period(kind, found.end).name > found.name
    assert period(kind, found.end).end > found.end


@given(kinds, moments)
def test_the_end_of_a_period_is_known_by_its_name(kind: PeriodKind, moment: int) -> None:
    found = period(kind, moment)
    assert end_of(found.name) == found.end


@given(moments)
def test_a_period_is_as_long_as_the_calendar_says(moment: int) -> None:
    days = {
        kind: (period(kind, period(kind, moment).end).end - period(kind, moment).end)
        // (86_400 * SECOND)
        for kind in KINDS
    }
    assert (days["day"], days["week"]) == (1, 7)
    following = datetime.fromtimestamp(period("month", moment).end // SECOND, UTC)
    assert days["month"] == ((following + timedelta(days=31)).replace(day=1) - following).days


@pytest.mark.parametrize(
    "name", ["", "2026", "2026-13", "2026-W54", "2026-11-31", "soon", "2026-W"]
)
def test_what_is_no_period_has_no_end(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        end_of(name)
