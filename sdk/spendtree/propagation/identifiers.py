"""Which scope is meant, as one process tells another: identifiers, and never limits. Values.

What another process says is text from outside: what is no identifier is left out, and the store's
own word about a session or a run goes before it.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from spendtree.event import RECEIVED
from spendtree.scope.options import MAX_TEXT
from spendtree.store.text import storable

PREFIX = "spendtree."

LEVEL_MAX = 1_000
CYCLE_MAX = 1_000_000

_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """A session, and where in it its caller stands.

    `run`, `parent` and `level` are those of an agent run ("" is none); `cycle` is the routing cycle
    that is fixed there, 0 where none is. The most important come first: what does not fit into a
    header is left out from the end.
    """

    session: str
    run: str = ""
    cycle: int = 0
    customer: str = ""
    team: str = ""
    agent: str = ""
    parent: str = ""
    level: int = 0
    task: str = ""

    def members(self) -> dict[str, str]:
        """Return what baggage says of it, by key."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {PREFIX + name: str(value) for name, value in fields.items() if value}

    @classmethod
    def read(cls, members: dict[str, str]) -> Self | None:
        """Return what baggage says, None if it names no session."""
        found: dict[str, Any] = {}
        for name in cls.__slots__:
            value = _READERS.get(name, _text)(members.get(PREFIX + name, ""))
            if value:
                found[name] = value
        return cls(**found) if "session" in found else None


def _text(value: str) -> str:
    return storable(value) if len(value) <= MAX_TEXT else ""


def _session(value: str) -> str:
    return "" if value.startswith(RECEIVED) else _text(value)


def _run(value: str) -> str:
    return value if _RUN.fullmatch(value) else ""


def _level(value: str) -> int:
    return _number(value, LEVEL_MAX)


def _cycle(value: str) -> int:
    return _number(value, CYCLE_MAX)


def _number(value: str, most: int) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    return number if number <= most else 0


_READERS = {
    "session": _session,
    "run": _run,
    "parent": _run,
    "level": _level,
    "cycle": _cycle,
}
