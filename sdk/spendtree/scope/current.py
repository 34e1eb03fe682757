"""Which scope is current here: a context variable, and the lookup that skips closed scopes."""

from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spendtree.scope.base import Scope
    from spendtree.tracker import Spendtree

CURRENT: "ContextVar[Scope | None]" = ContextVar("spendtree_scope", default=None)


def current() -> "Scope | None":
    """Return the innermost scope that is open here, None outside any."""
    return _open(CURRENT.get())


def is_bare() -> bool:
    """Tell whether no scope was ever entered in this context: as a new thread begins."""
    return CURRENT not in copy_context()


def current_of(tracker: "Spendtree") -> "Scope | None":
    """Return the innermost open scope of one Spendtree: another's books are its own."""
    scope = current()
    while scope is not None and scope.tracker is not tracker:
        scope = _open(scope._outer)
    return scope


def _open(scope: "Scope | None") -> "Scope | None":
    while scope is not None and not scope.alive:
        scope = scope._outer
    return scope
