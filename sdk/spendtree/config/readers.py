"""Readers: what each key accepts, turned into a checked value or refused where it stands.

A reader takes a place and what stands there: text from a file, anything from a mapping. Which keys
there are is `loading`'s table.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

from spendtree.config.place import Place
from spendtree.errors import ConfigurationError, MoneyError
from spendtree.money import to_pico, to_usd
from spendtree.pricing import PriceBook
from spendtree.usage import TOKENS_MAX

Reader = Callable[[Place, Any], Any]


def section(table: Mapping[str, Reader], kind: Callable[..., Any] = dict) -> Reader:
    """Read a mapping of known keys, each by its reader, into `kind(**values)`."""

    def read(place: Place, value: Any) -> Any:
        entries = _mapping(place, value, f"of {', '.join(table)}")
        for key in entries:
            if key not in table:
                raise place.at(key).error(_unknown(key, table))
        return kind(**{key: table[key](place.at(key), entries[key]) for key in entries})

    return read


def each(reader: Reader, what: str) -> Reader:
    """Read a mapping from names that the user chooses to values of one shape."""

    def read(place: Place, value: Any) -> dict[str, Any]:
        entries = _mapping(place, value, what)
        return {name: reader(place.at(name), entry) for name, entry in entries.items()}

    return read


def one_of(allowed: tuple[str, ...]) -> Reader:
    """Read one of a few words."""

    def read(place: Place, value: Any) -> str:
        if value not in allowed:
            raise place.error(f"{value!r} is none of {', '.join(allowed)}")
        return str(value)

    return read


def dollars(place: Place, value: Any) -> Decimal:
    """Read an amount of dollars that an account can hold, 0 or more."""
    _present(place, value, "an amount of dollars")
    try:
        return to_usd(to_pico(value, what="amount"))
    except MoneyError as error:
        raise place.error(str(error).removeprefix("amount: ")) from None


def tokens(place: Place, value: Any) -> int:
    """Read a count of tokens, 1 or more."""
    number = _number(place, value, "a count of tokens")
    if number != number.to_integral_value() or not 1 <= number <= TOKENS_MAX:
        raise place.error(f"{value!r} is no count of tokens; give a whole number from 1")
    return int(number)


def seconds(place: Place, value: Any) -> float:
    """Read a number of seconds, 0 or more."""
    number = float(_number(place, value, "a number of seconds"))
    if not 0 <= number < math.inf:
        raise place.error(f"{value!r} is no number of seconds; give 0 or more")
    return number


def marks(place: Place, value: Any) -> tuple[Decimal, ...]:
    """Read one fraction of a cap or a list of them, into ascending order."""
    given = value if isinstance(value, (list, tuple)) else [value]
    found: list[Decimal] = []
    for index, one in enumerate(given):
        spot = place.at(index) if given is value else place
        mark = _number(spot, one, "a fraction of the cap")
        if not 0 < mark <= 1:
            raise spot.error(f"{one!r} is no fraction of the cap; give a number above 0, at most 1")
        if mark in found:
            raise spot.error(f"{one!r} is given twice")
        found.append(mark)
    return tuple(sorted(found))


def prices(place: Place, value: Any) -> dict[str, dict[str, Any]]:
    """Read own prices: model -> what PriceBook takes, which it checks."""
    found = {}
    for model, entry in _mapping(place, value, "of models").items():
        spot = place.at(model)
        found[model] = _mapping(spot, entry, "of prices")
        try:
            PriceBook({model: entry})
        except ConfigurationError as error:
            raise _price_error(spot, str(error)) from None
    return found


def _price_error(model: Place, text: str) -> ConfigurationError:
    """Say where the price book's complaint stands: it knows the key, the file knows the line."""
    key, _, problem = text.removeprefix(f"prices.{model.path[-1]}").partition(": ")
    return (model.at(key[1:]) if key else model).error(problem)


def _mapping(place: Place, value: Any, what: str) -> dict[str, Any]:
    """Return a mapping with text keys; an empty section of a file is an empty mapping."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise place.error(f"{value!r} is no mapping {what}")
    for key in value:
        if not isinstance(key, str):
            raise place.error(f"the key {key!r} is no text")
    return dict(value)


def _number(place: Place, value: Any, what: str) -> Decimal:
    _present(place, value, what)
    if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            number = Decimal(repr(value) if isinstance(value, float) else value)
            if number.is_finite():
                return number
    raise place.error(f"{value!r} is not {what}")


def _present(place: Place, value: Any, what: str) -> None:
    if value is None:
        raise place.error(f"is empty; give {what}, or leave the key out")


def _unknown(key: str, table: Mapping[str, Reader]) -> str:
    close = get_close_matches(key, table, n=1)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key; allowed are {', '.join(table)}"
