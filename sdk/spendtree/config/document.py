"""A YAML file as plain data, its scalars as the text that stands there, and the line of each key.

Text, because YAML's own numbers are binary floats: `0.10` is to stay ten cents. What the data
means is not known here.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spendtree.config.place import Path, Place
from spendtree.errors import ConfigurationError

if TYPE_CHECKING:
    from yaml.nodes import Node

REPEATED_MAX = 200_000
"""Characters and entries that aliases may repeat: a few lines of them can stand for any amount."""


def read_document(file: str) -> tuple[Place, Any]:
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
    except RecursionError:
        raise ConfigurationError(f"{file}: is nested too deeply") from None
    lines: dict[Path, int] = {}
    place = Place(file, lines)
    return place, None if root is None else _Reading(lines).data(place, root)


@dataclass(slots=True)
class _Reading:
    """Turns YAML nodes into dicts, lists, text and None, and notes the line of every place."""

    lines: dict[Path, int]
    entered: list["Node"] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    repeated: int = 0

    def data(self, place: Place, node: "Node") -> Any:
        self.lines.setdefault(place.path, node.start_mark.line + 1)
        if node.tag not in _TAGS:
            raise place.error(f"the tag {node.tag} is not understood, only plain values are")
        if any(node is outer for outer in self.entered):
            raise place.error("contains itself")
        self._count_repeated(place, node)
        self.entered.append(node)
        try:
            if isinstance(node.value, str):
                return None if node.tag.endswith(":null") else node.value
            if node.tag.endswith(":map"):
                return self._mapping(place, node)
            return [self.data(place.at(i), item) for i, item in enumerate(node.value)]
        finally:
            self.entered.pop()

    def _count_repeated(self, place: Place, node: "Node") -> None:
        """Refuse aliases that stand for more than any configuration says."""
        # By identity: the tree that is read keeps its nodes alive, so no id is used twice.
        if id(node) in self.seen:
            self.repeated += len(node.value)
            if self.repeated > REPEATED_MAX:
                raise place.error("aliases (*) repeat too much; write less, or use fewer of them")
        self.seen.add(id(node))

    def _mapping(self, place: Place, node: "Node") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag.endswith(":merge"):
                raise self._at(place, line).error("merge keys (<<) are not understood")
            if not isinstance(key.value, str):
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
    def _at(place: Place, line: int) -> Place:
        return Place(place.file, {place.path: line}, place.path)


# A date such as 2026-11-01 is resolved as a timestamp; it too is read as the text it is.
_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)
