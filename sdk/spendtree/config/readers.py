"""Readers: what each key accepts, turned into a checked value or refused where it stands.

A reader takes a place and what stands there: text from a file, anything from a mapping. Which keys
there are is `loading`'s table; what is special to one section is in `sections`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

from spendtree.config.place import Place
from spendtree.errors import MoneyError
from spendtree.money import to_pico, to_usd
from spendtree.usage import TOKENS_MAX

Reader = Callable[[Place, Any], Any]

SECONDS_MAX = 10**9
"""More than 30 years: nobody waits longer, and clocks and counters of microseconds hold it."""

NUMBER_MAX = 10**15
"""Beyond it Prometheus' floats soon no longer tell one from the next."""


def section(table: Mapping[str, Reader], kind: Callable[..., Any] = dict) -> Reader:
    """Read a mapping of known keys, each by its reader, into `kind(**values)`."""

    def read(place: Place, value: Any) -> Any:
        entries = mapping(place, value, f"of {', '.join(table)}")
        for key in entries:
            if key not in table:
                raise place.at(key).error(f"unknown key; {suggestion(key, table)}")
        return kind(**{key: table[key](place.at(key), entries[key]) for key in entries})

    return read


def each(reader: Reader, what: str) -> Reader:
    """Read a mapping from names that the user chooses to values of one shape."""

    def read(place: Place, value: Any) -> dict[str, Any]:
        entries = mapping(place, value, what)
        if "" in entries:
            raise place.at("").error("a name is empty")
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


def count(what: str, least: int) -> Reader:
    """Read a whole number of something, `least` or more."""

    def read(place: Place, value: Any) -> int:
        number = _number(place, value, f"a count of {what}")
        if number != number.to_integral_value() or not least <= number <= TOKENS_MAX:
            raise place.error(f"{value!r} is no count of {what}; give a whole number from {least}")
        return int(number)

    return read


tokens = count("tokens", 1)


def truth(place: Place, value: Any) -> bool:
    """Read true or false."""
    word = str(value).lower() if isinstance(value, (bool, str)) else ""
    if word not in ("true", "false"):
        raise place.error(f"{value!r} is neither true nor false")
    return word == "true"


def text(what: str) -> Reader:
    """Read a text that is not empty, such as the name of something."""

    def read(place: Place, value: Any) -> str:
        _present(place, value, what)
        if not isinstance(value, str) or not value.strip():
            raise place.error(f"{value!r} is not {what}")
        return value

    return read


def seconds(place: Place, value: Any) -> float:
    """Read a number of seconds, from 0 to SECONDS_MAX."""
    number = float(_number(place, value, "a number of seconds"))
    if number < 0:
        raise place.error(f"{value!r} is no number of seconds; give 0 or more")
    if number > SECONDS_MAX:
        raise place.error(f"{value!r} is too many seconds; give at most {SECONDS_MAX}")
    return number


def number(place: Place, value: Any) -> Decimal:
    """Read a number, from 0 to NUMBER_MAX, of at most six decimal places."""
    found = _number(place, value, "a number")
    if found < 0:
        raise place.error(f"{value!r} is negative; give 0 or more")
    if found > NUMBER_MAX:
        raise place.error(f"{value!r} is too large; give at most {NUMBER_MAX}")
    if found != round(found, 6):
        raise place.error(f"{value!r} has more than six decimal places")
    return found


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


def mapping(place: Place, value: Any, what: str) -> dict[str, Any]:
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


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """Return what to write instead of a word that is not known."""
    names = list(allowed)
    close = get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are {', '.join(names)}"
