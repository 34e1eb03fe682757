"""What of a clock can be recorded: microseconds from 1970 to the end of the calendar.

Before money moves a clock that says anything else is an error. Afterwards it is not: what was paid
for is recorded at the last time that made sense.
"""

from datetime import UTC, datetime, timedelta

from spendtree.errors import ClockError
from spendtree.period import CALENDAR_END

CLOCK_END = CALENDAR_END * 1000
"""The first nanosecond (since 1970 UTC) that cannot be recorded."""


def clock_error(ns: int) -> ClockError:
    """Return the error for a clock that says nanoseconds outside 0 to CLOCK_END."""
    return ClockError(
        f"the clock says {_date(ns)}, and only times of the years 1970 to 9999 can be recorded; "
        "nothing was sent: set the system's clock, or mend the `clock` given to Spendtree, which "
        "returns nanoseconds since 1970 UTC"
    )


def recordable(us: int, earliest: int = 0) -> int:
    """Return a time in microseconds as it can be recorded, and not before `earliest`."""
    return min(max(us, earliest), CALENDAR_END - 1)


def _date(ns: int) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return f"{ns} nanoseconds since 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
