"""Single values as the dialects write them: token counts, times, ids, amounts, texts.

Real traces hold integers as strings, times in four formats, and ids in decimal and hexadecimal.
Each function takes anything and returns the one value it can mean, None or "" where nothing is
told, and raises SpanError where it cannot be meant.
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from spendtree.ingest.span import InexactNumberError, SpanError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = _EPOCH.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = 253_402_300_800_000_000
"""The year 10000, where datetime ends."""

# Numbers of a time since 1970 grow a thousandfold from unit to unit; each bound is March 1973 in
# its unit, before which no trace was recorded.
_UNITS = ((10**17, 1, 1000), (10**14, 1, 1), (10**11, 1000, 1), (0, 1_000_000, 1))
"""From this number on: times that, divided by that, gives microseconds (ns, us, ms, s)."""

_DAY_FIRST = re.compile(r"(\d{4})-(1[3-9]|2\d|3[01])-(0\d|1[0-2])(.*)")
"""A date that can only be year-day-month: real logs write it, and converted ones keep it."""

_LARGEST_TIME = 10**21
"""Larger than any nanosecond before the year 10000; also keeps infinity from the arithmetic."""

MOST_TOKENS = 10**9
"""More than any call has by a factor of a hundred; what is above is a unit error."""

_SHOWN = 80
"""Characters of a value that a message shows: a span may hold megabytes of it."""

_LARGEST_AMOUNT, _SMALLEST_AMOUNT = 15, -30
"""Exponents of ten: 1e999999999 is one line of JSON, and a gigabyte when it is written out."""

_LONGEST_ID = 100

_LONGEST_OBJECT = 2**16
"""Characters of a text that may be parsed as an object: one of counts has a few hundred."""

_HEX = frozenset("0123456789abcdefABCDEF")

LONGEST_TEXT = 1000
"""Characters kept of a name: what is longer is no name, and labels of that size help nobody."""


def tokens(value: Any, what: str) -> int | None:
    """Return a token count; None if there is none. `what` names it in the message."""
    if value is None or value == "":
        return None
    count: Any = value
    if isinstance(value, str):
        count = _number(value, what)
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if type(count) is not int:
        raise SpanError(f"{what}: {shown(value)} is no token count")
    if not 0 <= count <= MOST_TOKENS:
        raise SpanError(f"{what}: {shown(value)} is not between 0 and {MOST_TOKENS}")
    return count


def micros(value: Any, what: str) -> int | None:
    """Return a time as microseconds since 1970 UTC; None for no time and for 0, "never set".

    Takes ISO 8601 (without an offset it is read as UTC: the source's own zone is not known) and
    seconds, milli-, micro- or nanoseconds since 1970 as numbers or digits, told by their size.
    """
    if value is None or value == "":
        return None
    if type(value) is list:  # seconds and nanoseconds, as JavaScript's SDK writes a time
        return _pair(value, what)
    if isinstance(value, str) and (value[4:5] == "-" or not value.replace(".", "", 1).isdigit()):
        return _iso(value, what)
    number = _number(value, what) if isinstance(value, str) else value
    if type(number) not in (int, float) or number >= _LARGEST_TIME:
        raise SpanError(f"{what}: {shown(value)} is no time")
    for least, times, divided in _UNITS:
        if number >= least:
            time = int(number * times // divided)
            break
    else:
        raise SpanError(f"{what}: {shown(value)} is before 1970")
    if time >= _LAST_US:
        raise SpanError(f"{what}: {shown(value)} is after the year 9999")
    return time or None


def trace_id(value: Any) -> str:
    """Return a trace id as 32 hexadecimal digits where it is one, else the text that it is."""
    return _id(value, "trace id", 32)


def span_id(value: Any) -> str:
    """Return a span id as 16 hexadecimal digits where it is one, else the text that it is."""
    return _id(value, "span id", 16)


def dollars(value: Any) -> Decimal | None:
    """Return an amount of dollars that a source states; None for none, 0 and what is no amount.

    It is told beside our own figure and adds up to nothing, so a bad one is not worth a span.
    """
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    digits = str(value)
    try:
        amount = Decimal(digits) if len(digits) <= _SHOWN else Decimal(0)
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount <= 0:
        return None
    return amount if _SMALLEST_AMOUNT <= amount.adjusted() <= _LARGEST_AMOUNT else None


def text(value: Any) -> str:
    """Return a name as text that every store can hold; "" for what is no name."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)[:LONGEST_TEXT] if type(value) is int else ""
    name = value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT]
    if name.isascii():
        return name
    # A lone surrogate, which JSON can write, is no text: it cannot be encoded.
    return name.encode("utf-8", "replace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a value as a message shows it: the beginning of what is long."""
    if isinstance(value, (str, bytes)) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}…"
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a number of {value.bit_length()} bits"
    told = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return told[:_SHOWN]


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the mapping that a value is, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def opened(value: Any) -> Mapping[str, Any]:
    """Return a mapping that may be written as JSON in a text, as many exports do."""
    if isinstance(value, str) and len(value) > _LONGEST_OBJECT:
        return {}  # no few counts, and to be parsed it takes a hundred times as much
    if isinstance(value, str) and value.lstrip()[:1] in ("{", '"'):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
        if isinstance(value, str):
            return opened(value) if value.startswith("{") else {}
    return mapping(value)


def _number(digits: str, what: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        pass
    try:
        return float(digits)
    except ValueError:
        raise SpanError(f"{what}: {shown(digits)} is no number") from None


def _pair(value: list[Any], what: str) -> int | None:
    if len(value) != 2 or any(type(part) is not int or part < 0 for part in value):
        raise SpanError(f"{what}: {value!r} is no time")
    return micros(value[0], what) and value[0] * 1_000_000 + value[1] // 1000


def _iso(value: str, what: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        swapped = _DAY_FIRST.fullmatch(value)
        if swapped is None:
            raise SpanError(f"{what}: {shown(value)} is no time") from None
        return _iso("{0}-{2}-{1}{3}".format(*swapped.groups()), what)
    time = (moment - (_LOCAL_EPOCH if moment.tzinfo is None else _EPOCH)) // _MICROSECOND
    if time < 0:
        raise SpanError(f"{what}: {shown(value)} is before 1970")
    return time


def _id(value: Any, what: str, digits: int) -> str:
    if isinstance(value, str):
        # What is remembered of ids must not be megabytes.
        return _written(value, digits) if len(value) <= _LONGEST_ID else text(value)
    if value is None:
        return ""
    if isinstance(value, float):
        raise InexactNumberError(f"{what}: {shown(value)} has lost digits")
    if type(value) is not int or value < 0 or value.bit_length() > 128:
        raise SpanError(f"{what}: {shown(value)} is no id")
    return f"{value:0{digits}x}" if value else ""


@lru_cache(maxsize=4096)  # an id stands on a span, on its children, a trace's on all of them
def _written(value: str, digits: int) -> str:
    """Read hexadecimal digits, with a prefix ("0x…") or not, base64, and any other text.

    Base64 is what protobuf's own JSON mapping makes of ids (OTLP asks for hexadecimal).
    """
    if len(value) == digits and _HEX.issuperset(value):
        lowered = value.lower()
        return "" if lowered.strip("0") == "" else lowered
    if value[:2] == "0x" and _HEX.issuperset(value[2:]):
        return _written(value[2:].zfill(digits), digits) if len(value) <= digits + 2 else value
    if len(value) == (digits // 2 + 2) // 3 * 4 and value[-1] == "=":
        try:
            return _written(b64decode(value, validate=True).hex(), digits)
        except ValueError:
            return text(value)
    return text(value)
