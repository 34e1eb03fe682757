"""The lock of a store's verbs, which a thread that is inside already never waits for.

A garbage collection may end a forgotten call or scope in the middle of a verb, in the very thread
that runs it: waiting there would be waiting for itself, for good.
"""

import threading
from threading import get_ident

from spendtree.errors import StoreUnavailableError


class EnteredError(StoreUnavailableError):
    """This thread is inside a verb of the store: what is asked for must be done after it."""


class VerbLock:
    """A lock that raises EnteredError where a thread would wait for itself."""

    __slots__ = ("_lock", "_owner")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0

    def __enter__(self) -> None:
        me = get_ident()
        if self._owner == me:
            raise EnteredError("the store is in use by this very thread")
        self._lock.acquire()
        self._owner = me

    def __exit__(self, *_: object) -> None:
        self._owner = 0
        self._lock.release()

    def acquire(self, timeout: float) -> bool:
        """Wait so long at most; tell whether the lock is had, to be released."""
        acquired = self._lock.acquire(timeout=timeout)
        if acquired:
            self._owner = get_ident()
        return acquired

    def release(self) -> None:
        """Let others in."""
        self.__exit__()
