"""Params: query parameters into values, strictly. Pure; what cannot be meant is an InvalidError."""

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from spendtree_exporter.queries import Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)
"""A date, or date and time of RFC 3339: day, hour and minute, second, fraction, offset."""

_LONGEST = 10_000
"""Characters of the longest cursor that is looked at."""


class InvalidError(ValueError):
    """A parameter that cannot be meant; the message says which, why and what is allowed."""


class Params:
    """The parameters of one query. Each reader returns None for one that is not given."""

    def __init__(self, items: Iterable[tuple[str, str]], known: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in items:
            if name not in known:
                raise InvalidError(
                    f"there is no parameter {_shown(name)}; known: {', '.join(known) or 'none'}"
                )
            if name in self._values:
                raise InvalidError(f"{name} is given more than once")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Return a text, which may be empty."""
        return self._values.get(name)

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        """Return one of some words."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise InvalidError(f"{name}: {_shown(value)} is none of {', '.join(allowed)}")
        return value

    def several_of(self, name: str, allowed: Collection[str]) -> tuple[str, ...]:
        """Return some of some words, at least one, each once; separated by commas."""
        words = tuple((self.text(name) or "").split(","))
        for word in words:
            if word not in allowed:
                raise InvalidError(
                    f"{name}: {_shown(word)} is none of {', '.join(allowed)}; "
                    "give one or several, separated by commas"
                )
        if len(set(words)) < len(words):
            raise InvalidError(f"{name}: {_shown(','.join(words))} names one of them twice")
        return words

    def count(self, name: str, *, default: int, most: int) -> int:
        """Return a whole number between 1 and `most`."""
        value = self.text(name)
        if value is None:
            return default
        # isdecimal admits digits of all scripts, of which int() knows the meaning, and isascii not.
        if not (value.isascii() and value.isdecimal()) or not 1 <= int(value[:10]) <= most:
            raise InvalidError(
                f"{name}: {_shown(value)} is not a whole number between 1 and {most}"
            )
        return int(value)

    def time(self, name: str) -> int | None:
        """Return a time as microseconds since 1970 UTC; a date is its midnight in UTC."""
        value = self.text(name)
        return None if value is None else _micros(name, value)

    def place(self, name: str, sort: str) -> Place | None:
        """Return the place in a list that a cursor names; it must be of the same sorting."""
        value = self.text(name)
        if value is None:
            return None
        try:
            found = json.loads(urlsafe_b64decode(value[:_LONGEST].encode("ascii") + b"=="))
            of, number, session = found
        except (ValueError, TypeError, RecursionError, binascii.Error):
            found = None
        if found is None or type(number) is not int or type(session) is not str:
            raise InvalidError(f"{name}: {_shown(value)} is no cursor; take `next` of an answer")
        if of != sort:
            raise InvalidError(f"{name} is of a list sorted by {_shown(str(of))}, not {sort}")
        return Place(number, session)


def cursor(sort: str, place: Place | None) -> str | None:
    """Return the cursor of a place in a list, for the parameter `after`."""
    if place is None:
        return None
    told = json.dumps([sort, place.value, place.session]).encode()
    return urlsafe_b64encode(told).decode().rstrip("=")


def _micros(name: str, value: str) -> int:
    match = _TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        # RFC 3339 admits leap seconds, fractions of any length and lower case.
        day, clock, second, fraction, offset = match.groups("")
        clock = f"{clock}:{min(second, '59')}{fraction[:7]}" if clock else "00:00:00"
        moment = datetime.fromisoformat(f"{day}T{clock}{offset.upper() or 'Z'}")
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise InvalidError(
            f"{name}: {_shown(value)} is no time; write it like 2026-01-31T12:00:00Z or 2026-01-31"
        ) from None


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
