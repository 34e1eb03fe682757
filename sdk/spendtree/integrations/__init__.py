"""Client libraries, tracked and enforced as they are: one line, and nothing else changes.

Each library is a table (`openai`, `anthropic`) over one mechanism: `patching` puts our `request`
in place, `attempts` makes each attempt a call, `asked` reads what is asked for, `results` and
`streams` see to what comes back. The libraries are imported on use; each is an extra.
"""

from typing import Any, TypeVar

from spendtree.errors import ConfigurationError
from spendtree.integrations import patching
from spendtree.integrations.anthropic import LIBRARY as ANTHROPIC
from spendtree.integrations.library import Library
from spendtree.integrations.openai import LIBRARY as OPENAI

__all__ = ["LIBRARIES", "instrument", "instrumented", "uninstrument", "wrap"]

Client = TypeVar("Client")

LIBRARIES: dict[str, Library] = {library.name: library for library in (OPENAI, ANTHROPIC)}


def instrument(*names: str) -> tuple[str, ...]:
    """Track every client of these libraries ("openai", "anthropic"), also those that exist already.

    Without names: of all that are installed. Inside a scope their calls are attributed and
    enforced, outside any they are recorded as unattributed. Returns the names. Raises
    ConfigurationError for a library that is not known, or not installed (it names the extra).
    """
    chosen = _chosen(names) or [each for each in LIBRARIES.values() if patching.is_installed(each)]
    if not chosen:
        extras = " or ".join(f"'spendtree[{name}]'" for name in LIBRARIES)
        raise ConfigurationError(f"there is nothing to instrument: pip install {extras}")
    for library in chosen:
        patching.load(library)  # all of them, before the first is changed
    for library in chosen:
        patching.patch(library)
    return tuple(library.name for library in chosen)


def uninstrument(*what: Any) -> None:
    """Restore libraries by their names, or wrapped clients; without either all libraries."""
    names = [each for each in what if isinstance(each, str)]
    for library in _chosen(names) if what else LIBRARIES.values():
        patching.unpatch(library)
    for client in what:
        if not isinstance(client, str) and not patching.unwrap(client):
            raise ConfigurationError(f"{client!r} was not wrapped")


def wrap(client: Client, *, provider: str = "") -> Client:
    """Track one client, and the copies it makes of itself; returns the same object.

    `provider` says who is behind a base URL that does not tell it (a gateway), so that its prices
    are found. Raises ConfigurationError for what is no client of a library that is known.
    """
    for kind in type(client).__mro__:
        library = LIBRARIES.get(kind.__module__.partition(".")[0])
        if library is not None and hasattr(client, "request"):
            patching.wrap(library, client, provider)
            return client
    known = ", ".join(LIBRARIES)
    raise ConfigurationError(
        f"{type(client).__name__} is no client that can be wrapped (of {known}); for others use "
        "spendtree.call"
    )


def instrumented() -> tuple[str, ...]:
    """Return the names of the libraries whose clients are all tracked now."""
    return tuple(name for name, library in LIBRARIES.items() if patching.is_patched(library))


def _chosen(names: Any) -> list[Library]:
    for name in names:
        if name not in LIBRARIES:
            raise ConfigurationError(
                f"{name!r} is no library that can be instrumented; there are {', '.join(LIBRARIES)}"
            )
    return [LIBRARIES[name] for name in names]
