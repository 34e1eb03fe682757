"""The lock of a store's verbs, and what is raised where a verb cannot run now.

The lock is one of C, used by `with` in the very function that needs it: Python runs handlers of
signals and exceptions from other threads between its own instructions, so a lock that is had and
given back by Python code can be left taken for good by a Ctrl-C in between. For the same reason
nothing here notes who is inside: the lock itself knows.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from spendtree.errors import StoreUnavailableError

Lock = Any
"""A `threading.Lock` or `RLock`: the types that those functions return have no public name."""


class EnteredError(StoreUnavailableError):
    """This thread is inside a verb of the store: what is asked for must be done after it."""


class StoreBusyError(StoreUnavailableError):
    """Another process has the store locked, and an event loop does not stand still for that.

    Its tasks wait without it. Where nobody waits any longer, it is a StoreUnavailableError.
    """


def unowned(lock: Lock) -> Lock:
    """Return a lock to enter with `with`; EnteredError where this thread is inside already.

    A garbage collection may end a forgotten call or scope in the middle of a verb, in the very
    thread that runs it: it would wait for itself, or change what the verb is just changing.
    """
    if lock._is_owned():
        raise EnteredError("the store is in use by this very thread")
    return lock


class ProcessLock:
    """A lock for the threads of one process: `with lock.here:`; a forked child has its own.

    A thread of the parent may have had the parent's at the fork, and is not in the child to give
    it back.
    """

    __slots__ = ("_locks", "_make")

    def __init__(self, make: Callable[[], Lock] = threading.Lock) -> None:
        self._make = make
        self._locks: dict[int, Lock] = {}

    @property
    def here(self) -> Lock:
        """Return the lock of this process."""
        pid = os.getpid()
        # Another thread may make one at the same moment: `setdefault` takes one of the two.
        return self._locks.get(pid) or self._locks.setdefault(pid, self._make())
