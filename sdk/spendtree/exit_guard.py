"""The exit of a `with` that no exception can lose. Nothing here knows what is left.

Python runs handlers of signals (Ctrl-C, the time limits of task queues) and exceptions from other
threads between its own instructions, also right before the first one of an `__exit__`: then the
block is left and nobody else will ever end what was entered. But a `with` has fetched the exit
before it enters, and lets go of it when it is left, however. So what it fetches is an object of its
own, and its end is heard of.
"""

import weakref
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, Protocol, TypeVar, cast

Exit = TypeVar("Exit", bound=Callable[..., Any])


class Interrupted(BaseException):
    """Stands for the exception that came while something was entered or left; never raised."""


class Guardable(Protocol):
    """What is entered with `with` and must be left."""

    _stage: int
    """0 until it begins to be entered: an exit that is fetched later belongs to no `with`."""
    _guard: Any

    def _was_left(self, guard: object = None) -> None:
        """End it if nobody has; called when its `with` is over, and never to be interrupted."""


def guarded(leave: Exit) -> Exit:
    """Make a method the exit of a `with`: `_was_left` is called when that is over.

    Not where the exit has run to its end and set `_guard` to None, which is what it costs then.
    """
    return cast("Exit", _Guarded(leave))


class _Guarded:
    """A method whose every fetching for a `with` is an object that nobody else knows."""

    def __init__(self, leave: Callable[..., Any]) -> None:
        self._leave = leave
        self.__doc__ = leave.__doc__

    def __get__(self, manager: Guardable | None, owner: type) -> Callable[..., Any]:
        if manager is None:
            return self._leave
        if manager._stage:
            return MethodType(self._leave, manager)
        # A partial, not a method: calling one of those lets go of it before the call begins.
        leave = partial(self._leave, manager)
        manager._guard = weakref.ref(leave, manager._was_left)
        return leave
