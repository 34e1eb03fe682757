"""Texts as every engine can keep them, and times as they say them."""

import time


def storable(text: str) -> str:
    """Return a text that UTF-8 can say: lone surrogates, from broken input, become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def minute(at: int) -> str:
    """Return a time (microseconds since 1970) as its date and minute in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at // 1_000_000))
