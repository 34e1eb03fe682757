"""The module-level functions of `spendtree`: the scope's Spendtree, else a default one.

The default is made on first use, so that importing reads no environment and opens no file.
"""

import os
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Unpack

from spendtree.call import Call, CallOptions, Tool
from spendtree.money import Money
from spendtree.propagation import Inbound
from spendtree.scope import Agent, AgentOptions, Cycle, Session, SessionOptions, current
from spendtree.store.locks import ProcessLock
from spendtree.store.protocol import Store
from spendtree.tracker import Spendtree

if TYPE_CHECKING:
    from spendtree.propagation.carrier import Headers

_locks = ProcessLock()
_default: Spendtree | None = None
_place = ""
"""The working directory that the default's URL was meant in."""


def configure(
    store: str | Store | None = None,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Spendtree:
    """Make the default Spendtree, which the functions of this module use, and return it.

    `store` is a URL, else SPENDTREE_STORE, else `sqlite:///spendtree.db`; `config` is a path or a
    mapping, else SPENDTREE_CONFIG. Configuring again with the same store, or none, gives the same
    Spendtree another configuration, open sessions included (see `Spendtree.reconfigure`); another
    store serves new sessions, open ones keep theirs. Raises StoreError and ConfigurationError.
    """
    global _default, _place
    with _locks.here:
        if _default is not None and _is_of(_default, store):
            _default.reconfigure(config)
        else:
            _default = Spendtree(store, config)
            _place = _directory()
        return _default


def _is_of(made: Spendtree, store: str | Store | None) -> bool:
    """Tell whether a Spendtree has the store that is meant; a relative path is meant from here."""
    if isinstance(store, str):
        return store == made.store.url and _place == _directory()
    return store is None or store is made.store


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted; a store that is no relative path works all the same
        return ""


def default() -> Spendtree:
    """Return the default Spendtree, making it as `configure()` does where there is none."""
    global _default, _place
    if _default is None:
        with _locks.here:
            if _default is None:
                _default = Spendtree()
                _place = _directory()
    return _default


def session(id: str | None = None, **options: Unpack[SessionOptions]) -> Session:
    """Return a session to enter; see `Spendtree.session`."""
    return default().session(id, **options)


def agent(name: str, **options: Unpack[AgentOptions]) -> Agent:
    """Return a run of an agent to enter; see `Spendtree.agent`."""
    return _here().agent(name, **options)


def cycle() -> Cycle:
    """Return the current session's next routing cycle to enter; see `Spendtree.cycle`."""
    return _here().cycle()


def call(model: str, **options: Unpack[CallOptions]) -> Call:
    """Return a call to enter, charged to the current scope; see `Spendtree.call`."""
    scope = current()
    tracker = default() if scope is None else scope.tracker
    return tracker.call_in(scope, model, **options)


def tool(name: str, *, cost: Money, optional: bool = False) -> Tool:
    """Return a tool charge to enter, charged to the current scope; see `Spendtree.tool`."""
    scope = current()
    tracker = default() if scope is None else scope.tracker
    return tracker.tool_in(scope, name, cost=cost, optional=optional)


def inject(
    headers: MutableMapping[str, str] | None = None, *, environment: bool = False
) -> MutableMapping[str, str]:
    """Put the current scope's identifiers into headers; see `Spendtree.inject`."""
    return _here().inject(headers, environment=environment)


def extract(headers: "Headers") -> Inbound:
    """Return the scope that headers name, to enter and go on in; see `Spendtree.extract`."""
    return _here().extract(headers)


def _here() -> Spendtree:
    scope = current()
    return default() if scope is None else scope.tracker


gather = Spendtree.gather
purpose = Spendtree.purpose
