"""Configuration: spendtree.yaml, or a mapping of the same shape, into typed and checked values.

The tables SESSION, AGENT and SECTIONS are the whole vocabulary: a new key is a reader in a table
and a field in the dataclass beside it. Scalars of a file are read as the text that stands there,
so that `0.10` never passes through binary floating point. Nothing here reads the environment,
opens a store or acts on a setting.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from spendtree.errors import ConfigurationError, MoneyError
from spendtree.money import to_pico
from spendtree.pricing import PriceBook
from spendtree.usage import TOKENS_MAX

if TYPE_CHECKING:
    from yaml.nodes import Node

__all__ = ["AgentSettings", "Config", "Mode", "SessionSettings", "load_config"]

Mode = Literal["record", "warn", "enforce"]
MODES: tuple[Mode, ...] = ("record", "warn", "enforce")

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What holds for every session that says nothing else.

    `ceiling_usd` is its cap in dollars (None: no cap); `warn_at` are the fractions of a cap,
    ascending, each above 0 and at most 1, at which a warning is given.
    """

    ceiling_usd: Decimal | None = None
    warn_at: tuple[Decimal, ...] = (Decimal("0.8"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What holds for every run of one agent role that says nothing else; None is no limit.

    `envelope_usd` caps what the role itself spends in one session, `max_cost_usd` caps one run and
    everything it spawns (both dollars), `max_output_tokens` is the output limit of one call.
    """

    envelope_usd: Decimal | None = None
    max_cost_usd: Decimal | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked. `prices` are what PriceBook takes."""

    mode: Mode = "enforce"
    session: SessionSettings = SessionSettings()
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    busy_timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: the file ("" for a mapping), its key path, and the lines of paths."""

    file: str
    lines: Mapping[Path, int]
    path: Path = ()

    def at(self, key: str | int) -> "_Place":
        return _Place(self.file, self.lines, (*self.path, key))

    @property
    def key(self) -> str:
        return ".".join(_segment(part) for part in self.path)

    def error(self, problem: str) -> ConfigurationError:
        """Return the error that says where, and what is wrong."""
        line = self.lines.get(self.path)
        where = f"{self.file}:{line}" if line else self.file
        return ConfigurationError(": ".join(part for part in (where, self.key, problem) if part))


Reader = Callable[[_Place, Any], Any]
"""Turns what stands at a place into a checked value, or refuses it there."""


def load_config(source: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file (by its path) or a mapping of the same shape; None is all defaults.

    Raises ConfigurationError naming the file and line (for a mapping, the key), the value and what
    is allowed: for unknown or duplicate keys, values that cannot be meant, and unreadable files.
    """
    if source is None:
        return Config()
    if isinstance(source, Mapping):
        place, data = _Place("", {}), source
    elif isinstance(source, (str, os.PathLike)):
        place, data = _read_file(os.fspath(source))
    else:
        raise ConfigurationError(f"config: {source!r} is neither a path nor a mapping")
    return Config(**_section(SECTIONS)(place, data))


def _section(table: Mapping[str, Reader], kind: Callable[..., Any] = dict) -> Reader:
    """Read a mapping of known keys, each by its reader, into `kind(**values)`."""

    def read(place: _Place, value: Any) -> Any:
        entries = _mapping(place, value, f"of {', '.join(table)}")
        for key in entries:
            if key not in table:
                raise place.at(key).error(_unknown(key, table))
        return kind(**{key: table[key](place.at(key), entries[key]) for key in entries})

    return read


def _each(reader: Reader, what: str) -> Reader:
    """Read a mapping from names that the user chooses to values of one shape."""

    def read(place: _Place, value: Any) -> dict[str, Any]:
        entries = _mapping(place, value, what)
        return {name: reader(place.at(name), entry) for name, entry in entries.items()}

    return read


def _one_of(allowed: tuple[str, ...]) -> Reader:
    def read(place: _Place, value: Any) -> str:
        if value not in allowed:
            raise place.error(f"{value!r} is none of {', '.join(allowed)}")
        return str(value)

    return read


def _dollars(place: _Place, value: Any) -> Decimal:
    _present(place, value, "an amount of dollars")
    try:
        to_pico(value, what="amount")
    except MoneyError as error:
        raise place.error(str(error).removeprefix("amount: ")) from None
    return Decimal(repr(value) if isinstance(value, float) else value)


def _tokens(place: _Place, value: Any) -> int:
    number = _number(place, value, "a count of tokens")
    if number != number.to_integral_value() or not 1 <= number <= TOKENS_MAX:
        raise place.error(f"{value!r} is no count of tokens; give a whole number from 1")
    return int(number)


def _seconds(place: _Place, value: Any) -> float:
    number = float(_number(place, value, "a number of seconds"))
    if not 0 <= number < math.inf:
        raise place.error(f"{value!r} is no number of seconds; give 0 or more")
    return number


def _marks(place: _Place, value: Any) -> tuple[Decimal, ...]:
    given = value if isinstance(value, (list, tuple)) else [value]
    marks = []
    for index, one in enumerate(given):
        spot = place.at(index) if given is value else place
        mark = _number(spot, one, "a fraction of the cap")
        if not 0 < mark <= 1:
            raise spot.error(f"{one!r} is no fraction of the cap; give a number above 0, at most 1")
        if mark in marks:
            raise spot.error(f"{one!r} is given twice")
        marks.append(mark)
    return tuple(sorted(marks))


def _prices(place: _Place, value: Any) -> dict[str, dict[str, Any]]:
    prices = {}
    for model, entry in _mapping(place, value, "of models").items():
        spot = place.at(model)
        prices[model] = _mapping(spot, entry, "of prices")
        try:
            PriceBook({model: entry})
        except ConfigurationError as error:
            raise _price_error(spot, prices[model], str(error)) from None
    return prices


def _price_error(model: _Place, entry: dict[str, Any], text: str) -> ConfigurationError:
    """Say where the price book's complaint stands: it knows the key, the file knows the line."""
    named = [key for key in entry if key in text]
    place = model.at(max(named, key=len)) if named else model
    return place.error(text.rsplit(f"{place.path[-1]}: ", 1)[-1])


def _mapping(place: _Place, value: Any, what: str) -> dict[str, Any]:
    """Return a mapping with text keys; an empty section of a file is an empty mapping."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise place.error(f"{value!r} is no mapping {what}")
    for key in value:
        if not isinstance(key, str):
            raise place.error(f"the key {key!r} is no text")
    return dict(value)


def _number(place: _Place, value: Any, what: str) -> Decimal:
    _present(place, value, what)
    try:
        if not isinstance(value, bool):
            number = Decimal(repr(value) if isinstance(value, float) else value)
            if number.is_finite():
                return number
    except (InvalidOperation, TypeError, ValueError):
        pass
    raise place.error(f"{value!r} is not {what}")


def _present(place: _Place, value: Any, what: str) -> None:
    if value is None:
        raise place.error(f"is empty; give {what}, or leave the key out")


def _unknown(key: str, table: Mapping[str, Reader]) -> str:
    close = get_close_matches(key, table, n=1)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key; allowed are {', '.join(table)}"


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"'


def _read_file(file: str) -> tuple[_Place, Any]:
    """Return a YAML file as plain data, scalars as text, and the lines its keys stand on."""
    # yaml takes 20 ms to import, and most programs are configured by arguments alone.
    import yaml  # noqa: PLC0415

    try:
        with open(file, "rb") as stream:
            root = yaml.compose(stream, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: there is no such configuration file") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise ConfigurationError(f"{where}: is no YAML: {error.problem or error}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: is no YAML: {str(error).splitlines()[0]}") from error
    lines: dict[Path, int] = {}
    place = _Place(file, lines)
    return place, None if root is None else _Reading(lines).data(place, root)


@dataclass(slots=True)
class _Reading:
    """Turns YAML nodes into dicts, lists, text and None, and notes the line of every place."""

    lines: dict[Path, int]
    entered: list["Node"] = field(default_factory=list)

    def data(self, place: _Place, node: "Node") -> Any:
        self.lines.setdefault(place.path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            raise place.error(
                f"the tag {node.tag} is not understood; give text, lists and mappings"
            )
        if any(node is outer for outer in self.entered):
            raise place.error("contains itself")
        self.entered.append(node)
        try:
            if node.id == "mapping":
                return self._mapping(place, node)
            if node.id == "sequence":
                return [self.data(place.at(i), item) for i, item in enumerate(node.value)]
            return None if node.tag.endswith(":null") else node.value
        finally:
            self.entered.pop()

    def _mapping(self, place: _Place, node: "Node") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag.endswith(":merge"):
                raise self._at(place, line).error("merge keys (<<) are not understood")
            if key.id != "scalar":
                raise self._at(place, line).error("a key is no text")
            spot = place.at(key.value)
            if key.value in found:
                first = self.lines[spot.path]
                self.lines[spot.path] = line
                raise spot.error(f"is given twice, first on line {first}")
            self.lines[spot.path] = line
            found[key.value] = self.data(spot, value)
        return found

    @staticmethod
    def _at(place: _Place, line: int) -> _Place:
        return _Place(place.file, {place.path: line}, place.path)


# A date such as 2026-11-01 is resolved as a timestamp; it too is read as the text it is.
_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)


SESSION: dict[str, Reader] = {"ceiling_usd": _dollars, "warn_at": _marks}

AGENT: dict[str, Reader] = {
    "envelope_usd": _dollars,
    "max_cost_usd": _dollars,
    "max_output_tokens": _tokens,
}

SECTIONS: dict[str, Reader] = {
    "mode": _one_of(MODES),
    "session": _section(SESSION, SessionSettings),
    "agents": _each(_section(AGENT, AgentSettings), "of agent roles"),
    "prices": _prices,
    "busy_timeout_seconds": _seconds,
}
