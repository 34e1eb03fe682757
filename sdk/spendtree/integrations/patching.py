"""Puts our `request` in the place of a client's, for all its clients or for one, and back again."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from spendtree.errors import ConfigurationError
from spendtree.integrations.asked import PROVIDER
from spendtree.integrations.attempts import Switch, async_request, sync_request
from spendtree.integrations.library import Library
from spendtree.store.locks import ProcessLock

ORIGINAL = "_spendtree_original"
WRAPPED = "_spendtree_wrapped"

CO_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`: what an `async def` is marked with; that module takes 10 ms to import."""

NEEDED = ("request", "_sleep_for_retry", "_should_retry")
"""What we lean on in a client; it has been so since the versions that our extras ask for."""


class Patch(NamedTuple):
    """One class whose `request` is ours now."""

    owner: type
    ours: Callable[..., Any]
    switch: Switch


_locks = ProcessLock()
_patches: dict[str, list[Patch]] = {}


def is_installed(library: Library) -> bool:
    """Tell whether a library is there; it is not imported for that."""
    try:
        return find_spec(library.name) is not None
    except ImportError:
        return False


def is_patched(library: Library) -> bool:
    """Tell whether all clients of a library are tracked."""
    return library.name in _patches


def patch(library: Library) -> None:
    """Track all clients of a library, those that exist already included."""
    module = load(library)
    with _locks.here:
        if library.name in _patches:
            return
        owners = [_owner(library, getattr(module, name)) for name in library.clients]
        patches = [Patch(owner, *_ours(library, owner)) for owner in owners]
        for owner, ours, _ in patches:
            owner.request = ours  # type: ignore[attr-defined]
        _patches[library.name] = patches


def unpatch(library: Library) -> None:
    """Put the clients' own `request` back; if somebody replaced ours, it only passes through."""
    with _locks.here:
        for owner, ours, switch in _patches.pop(library.name, ()):
            switch.on = False
            if vars(owner).get("request") is ours:
                owner.request = getattr(ours, ORIGINAL)  # type: ignore[attr-defined]


def wrap(library: Library, client: Any, provider: str) -> None:
    """Track one client, and the copies that it makes of itself (`with_options`)."""
    unwrap(client)
    kind = type(client)
    _owner(library, kind)
    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "request": _ours(library, kind)[0],
        WRAPPED: kind,
    }
    if provider:
        names[PROVIDER] = provider
    client.__class__ = type(kind.__name__, (kind,), names)


def unwrap(client: Any) -> bool:
    """Give one client its class back; False if it was not wrapped."""
    kind = getattr(type(client), WRAPPED, None)
    if kind is None:
        return False
    client.__class__ = kind
    return True


def load(library: Library) -> Any:
    """Import a library; ConfigurationError names the extra where it is not there."""
    try:
        return import_module(library.name)
    except ImportError as error:
        raise ConfigurationError(
            f"{library.name!r} cannot be instrumented, since {error.name or library.name!r} is not "
            f"installed: pip install 'spendtree[{library.name}]'"
        ) from error


def _owner(library: Library, client: type) -> type:
    """Return the class that a client has its `request` from."""
    missing = [name for name in NEEDED if not hasattr(client, name)]
    if missing:
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms that nobody else need pay

        raise ConfigurationError(
            f"{library.name} {version(library.name)} is none that Spendtree knows: its clients "
            f"have no {', '.join(missing)}; install one that 'spendtree[{library.name}]' asks for, "
            "or use spendtree.call"
        )
    return next(owner for owner in client.__mro__ if "request" in vars(owner))


def _ours(library: Library, owner: type) -> tuple[Callable[..., Any], Switch]:
    theirs: Any = owner.request  # type: ignore[attr-defined]
    theirs = getattr(theirs, ORIGINAL, theirs)  # never two of ours around one request
    make = async_request if theirs.__code__.co_flags & CO_COROUTINE else sync_request
    switch = Switch()
    ours = make(library, theirs, switch)
    ours.__name__, ours.__qualname__ = theirs.__name__, theirs.__qualname__
    ours.__doc__, ours.__module__ = theirs.__doc__, theirs.__module__
    setattr(ours, ORIGINAL, theirs)
    return ours, switch
