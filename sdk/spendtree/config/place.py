"""Where a value stands in a configuration, so that a message can say so."""

from collections.abc import Mapping
from dataclasses import dataclass

from spendtree.errors import ConfigurationError

Path = tuple[str | int, ...]
"""The keys, and positions in lists, from the outermost to a value."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the file ("" for a mapping), its key path, and the lines of paths."""

    file: str
    lines: Mapping[Path, int]
    path: Path = ()

    def at(self, key: str | int) -> "Place":
        """Return the place of one key, or position, below this one."""
        return Place(self.file, self.lines, (*self.path, key))

    @property
    def key(self) -> str:
        """Return the key path for a person: `agents."a b".max_cost_usd`."""
        return ".".join(_segment(part) for part in self.path)

    @property
    def line(self) -> int:
        """Return the line, counted from 1; 0 where there are none."""
        # A key that is missing has no line of its own: the one of what it is missing from.
        spots = (self.path[:end] for end in range(len(self.path), -1, -1))
        return next((self.lines[spot] for spot in spots if spot in self.lines), 0)

    def below(self, path: Path) -> "Place":
        """Return the place of a path below this one."""
        return Place(self.file, self.lines, (*self.path, *path))

    def error(self, problem: str) -> ConfigurationError:
        """Return the error that says where, and what is wrong."""
        return ConfigurationError(self.tell(problem))

    def tell(self, problem: str) -> str:
        """Return where this is, and what there is to say about it."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.key, problem) if part)


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"'
