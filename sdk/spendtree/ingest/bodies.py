"""Bodies and usage objects of providers inside traces, read like those of live calls. Pure."""

from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.span import SpanError
from spendtree.response import read
from spendtree.response.served import word


def fields(body: Any, *, asked: str = "") -> dict[str, Any]:
    """Return what the body of a response says, as fields of a SpanRecord.

    `asked` is the model that was asked. A cost in it is the provider's own. Raises SpanError for
    counts that contradict each other.
    """
    found = read(body, asked)
    if found.error is not None and found.usage is None:
        raise SpanError(str(found.error))
    cost = found.cost or None
    return {
        "usage": _within(found.usage),
        "model": asked or found.model,
        "answered": found.model if asked and found.model != asked else "",
        "served": found.served,
        "unread": found.unread,
        "parts": found.parts,
        "reported_cost": cost,
        "is_bill": cost is not None,
    }


def usage_fields(usage: Any, *, asked: str = "") -> dict[str, Any]:
    """Return what a usage object says that stands apart from its response."""
    return fields({"usage": usage} if isinstance(usage, dict) else {}, asked=asked)


def tier(value: Any) -> tuple[str, ...] | None:
    """Return the modifier that one word for a service tier means, None if there is no word."""
    if not isinstance(value, str) or not value:
        return None
    found = word(value)
    return (found,) if found else ()


def _within(usage: Any) -> Any:
    """Return a usage whose counts some call can have; raises SpanError otherwise."""
    if usage is not None and usage.total_tokens > scalars.MOST_TOKENS:
        raise SpanError(f"usage: {usage.total_tokens} is not between 0 and {scalars.MOST_TOKENS}")
    return usage


def lapse(start: Any, seconds: Any) -> int | None:
    """Return a start plus a duration in seconds, as microseconds since 1970; None without both."""
    if start is None or isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return int(start + seconds * 1_000_000) if 0 <= seconds < 10**9 else None
