"""Which of two configurations is newer: by the version that they state, else by time. Pure.

Processes of one store may run under different configurations, as while a new one is rolled out. Of
two amounts for one budget that of the newer configuration holds, in whatever order they start.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from spendtree.config.place import Place

NUMBER_MAX = 10**15 - 1
_FIRST, _LAST = datetime(2001, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSTATED = -(2**63)


class Version(NamedTuple):
    """A configuration's place among others: the higher `order` (64 bits) is newer.

    Stated numbers come first, then stated dates, by their nanoseconds since 1970. Times that nobody
    stated, a file's or that of `reconfigure`, are below all of them: negative.
    """

    order: int
    text: str

    @property
    def is_stated(self) -> bool:
        """Tell whether the configuration itself says which version it is."""
        return self.order >= 0


def version(place: Place, value: Any) -> Version:
    """Read a version: a whole number, or a date of ISO 8601 (UTC, if it names no zone)."""
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(NUMBER_MAX)):
        return Version(int(text), text)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        date = _EPOCH
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    if isinstance(value, bool) or not _FIRST <= date <= _LAST:
        raise place.error(
            f"{value!r} is not a version; give a whole number or a date, like 7 or 2026-12-01, "
            "and a higher one whenever a budget changes"
        )
    return Version((date - _EPOCH).days * 86_400 * 10**9 + (date - _EPOCH).seconds * 10**9, text)


def of_time(ns: int, what: str) -> Version:
    """Return the version of what states none, by a time in nanoseconds since 1970 UTC."""
    ns = min(max(ns, 0), -_UNSTATED - 1)
    moment = f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Version(ns + _UNSTATED, f"{what} {moment}")


def is_newer(order: int | None, than: int | None) -> bool:
    """Tell whether a configuration may change what another one has set; None has no order."""
    return order is not None and (than is None or order > than)
