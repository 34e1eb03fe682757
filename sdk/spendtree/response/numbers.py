"""Numbers as responses state them: counts and dollars, also as text. Pure."""

import math
from decimal import Decimal, InvalidOperation
from typing import Any

DIGITS_MAX = 20
"""Of a count that is a text: far more than any, and far less than Python refuses to convert."""


def number(value: Any) -> int | None:
    """Return a count, None of what is none.

    It may be an integer, a text (headers) or a float (Titan, Cohere's client). Part of a second
    or of a page is billed as a whole one by nobody less, so a fraction counts as one more.
    """
    if type(value) is int:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return math.ceil(value)
    is_count = isinstance(value, str) and value.isascii() and value.isdigit()
    return int(value) if is_count and len(value) <= DIGITS_MAX else None


def dollars(value: Any) -> Decimal | None:
    """Return an amount of dollars, None of what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and amount >= 0 else None
