"""Waiting for money: who is next at which account, within this process.

First come first served, holding nothing. A waiter is woken when a hold of its account ends here;
the first in line also looks again by itself, since other processes' holds end unseen.
"""

import random
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

from spendtree.store.event_loop import in_event_loop, in_trio

__all__ = [
    "DONE",
    "RETRY_SECONDS",
    "Bell",
    "Lines",
    "Pauses",
    "Ring",
    "TaskBell",
    "Turn",
    "Waiter",
    "in_event_loop",
    "nap",
]

POLL_SECONDS = (0.005, 0.025)
"""Between looks of the first in line, at random: processes must not look in step."""

RETRY_SECONDS = 0.002
"""What a call gives to the ends of others that the store could not take before."""

IDLE_SECONDS = 1.0
"""Between looks of those behind, in case that a wake-up was lost with its thread."""


class Turn:
    """What waiting for one's turn belongs to: dropped when that is over, however it ended."""


class Ring:
    """What wakes a waiter, for as long as its turn is there."""

    def __init__(self, ring: Callable[[], None], turn: Turn) -> None:
        self._ring = ring
        self._turn = weakref.ref(turn)

    def __call__(self) -> None:
        """Wake whoever waits."""
        self._ring()

    @property
    def is_over(self) -> bool:
        """Tell whether nobody waits any more: an exception may have come before it could leave."""
        return self._turn() is None


class Waiter:
    """One place in one line."""

    __slots__ = ("account", "wake")

    def __init__(self, account: str, wake: Callable[[], None]) -> None:
        self.account = account
        self.wake = wake

    @property
    def is_gone(self) -> bool:
        """Tell whether who waited here does so no more."""
        return isinstance(self.wake, Ring) and self.wake.is_over


class Lines:
    """The lines of waiters, one per account that refused somebody."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """One that its thread may enter again: a garbage collection may end a call in there."""
        self.by_account: dict[str, deque[Waiter]] = {}
        """The lines that are not empty; asked by every call whether there are any."""

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self.by_account)

    def busy(self, path: Iterable[str]) -> str:
        """Return the first account of the path at which somebody waits, else ""."""
        for account in path:
            if account in self.by_account:
                return account
        return ""

    def join(self, account: str, wake: Callable[[], None], *, ahead: bool = False) -> Waiter:
        """Queue up at an account, `ahead` of all where they may be waiting for who waits here."""
        waiter = Waiter(account, wake)
        self._enter(waiter, ahead)
        return waiter

    def move(self, waiter: Waiter, account: str, *, ahead: bool = False) -> None:
        """Queue up at the account that refuses now, if it is another one."""
        if waiter.account == account:
            return
        self.leave(waiter)
        waiter.account = account
        self._enter(waiter, ahead)

    def _enter(self, waiter: Waiter, ahead: bool) -> None:
        with self._lock:
            line = self.by_account.setdefault(waiter.account, deque())
            (line.appendleft if ahead else line.append)(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Go, with or without money; the next in line takes a look."""
        with self._lock:
            line = self.by_account.get(waiter.account)
            if line is None:
                return
            with suppress(ValueError):
                line.remove(waiter)
            following = _first(line)
            if following is None:
                del self.by_account[waiter.account]
        if following is not None:
            following.wake()

    def is_first(self, waiter: Waiter) -> bool:
        """Tell whether it is this waiter's turn."""
        with self._lock:
            line = self.by_account.get(waiter.account)
            return line is not None and _first(line) is waiter

    def wake(self, path: Iterable[str]) -> None:
        """Tell the first in line at each account that money may be free."""
        with self._lock:
            lines = [line for account in path if (line := self.by_account.get(account))]
            first = [_first(line) for line in lines]
        for waiter in first:
            if waiter is not None:
                waiter.wake()

    def pause(self, waiter: Waiter) -> float:
        """Return the seconds after which a waiter looks again unasked."""
        return random.uniform(*POLL_SECONDS) if self.is_first(waiter) else IDLE_SECONDS


def _first(line: deque[Waiter]) -> Waiter | None:
    """Return the first of a line who is still there; the caller has the lock."""
    while line:
        if not line[0].is_gone:
            return line[0]
        line.popleft()
    return None


class Bell:
    """What wakes a waiting thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.ring = self._event.set

    def wait(self, seconds: float) -> None:
        """Wait until it rings, or so long."""
        self._event.wait(seconds)
        self._event.clear()


class TaskBell:
    """What wakes a waiting task of asyncio or trio, from whatever thread."""

    def __init__(self) -> None:
        self._trio = sys.modules["trio"] if in_trio() else None
        if self._trio is not None:
            self._event = self._trio.Event()
            self._soon = self._trio.lowlevel.current_trio_token().run_sync_soon
            return
        import asyncio  # noqa: PLC0415 - 40 ms that a program without a loop need not pay

        self._asyncio = asyncio
        self._soon = asyncio.get_running_loop().call_soon_threadsafe
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the task; a loop that is closed has nobody waiting."""
        with suppress(RuntimeError):
            self._soon(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, or so long; cancellation passes through."""
        if self._trio is not None:
            with self._trio.move_on_after(seconds):
                await self._event.wait()
            self._event = self._trio.Event()
            return
        with suppress(TimeoutError):
            async with self._asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


def in_worker() -> bool:
    """Tell whether this thread is neither the main one nor runs an event loop."""
    return threading.current_thread() is not threading.main_thread() and not in_event_loop()


async def nap(seconds: float) -> None:
    """Let other tasks run for so long; cancellation passes through."""
    if in_trio():
        await sys.modules["trio"].sleep(seconds)
        return
    import asyncio  # noqa: PLC0415 - loaded already by whoever runs the loop

    await asyncio.sleep(seconds)


class Pauses:
    """How a task waits for a store that another process keeps busy: longer and longer."""

    LONGEST_SECONDS = 0.05
    LIMIT_SECONDS = 10.0

    def __init__(self) -> None:
        self._until = time.monotonic() + self.LIMIT_SECONDS
        self._next = 0.002

    async def again(self) -> bool:
        """Wait a while and return True, or False where the store is not waited for any more."""
        if time.monotonic() > self._until:
            return False
        await nap(random.uniform(self._next / 2, self._next))
        self._next = min(1.5 * self._next, self.LONGEST_SECONDS)
        return True


class _Done:
    """What can be awaited and is done already, any number of times."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


DONE = _Done()
