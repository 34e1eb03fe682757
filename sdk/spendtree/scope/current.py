"""Which scope is current here: a context variable, and the lookup that skips closed scopes."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spendtree.scope.base import Scope

CURRENT: "ContextVar[Scope | None]" = ContextVar("spendtree_scope", default=None)


def current() -> "Scope | None":
    """Return the innermost scope that is open here, None outside any."""
    scope = CURRENT.get()
    while scope is not None and not scope.alive:
        scope = scope._outer
    return scope
