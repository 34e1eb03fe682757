"""The lock of a store's verbs, which a thread that is inside already never waits for.

A garbage collection may end a forgotten call or scope in the middle of a verb, in the very thread
that runs it: waiting there would be waiting for itself, for good.
"""

import threading

from spendtree.errors import StoreUnavailableError


class EnteredError(StoreUnavailableError):
    """This thread is inside a verb of the store: what is asked for must be done after it."""


class VerbLock:
    """A lock that raises EnteredError where a thread would wait for itself."""

    __slots__ = ("_inside", "_lock")

    def __init__(self) -> None:
        # One that its thread may enter again: a collection right before or after a verb, when it is
        # had but nothing is under way, may run a verb of its own.
        self._lock = threading.RLock()
        self._inside = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._inside:
            self._lock.release()
            raise EnteredError("the store is in use by this very thread")
        self._inside = True

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self._lock.release()

    def acquire(self, timeout: float) -> bool:
        """Wait so long at most; tell whether the lock is had, to be released."""
        if not self._lock.acquire(timeout=timeout):
            return False
        if self._inside:
            self._lock.release()
            return False
        self._inside = True
        return True

    def release(self) -> None:
        """Let others in."""
        self.__exit__()
