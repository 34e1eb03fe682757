"""Waiting for money: who is next at which account, within this process.

First come first served, holding nothing. A waiter is woken when a hold of its account ends here;
the first in line also looks again by itself, since other processes' holds end unseen.
"""

import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

POLL_SECONDS = (0.005, 0.025)
"""Between looks of the first in line, at random: processes must not look in step."""

IDLE_SECONDS = 1.0
"""Between looks of those behind, in case that a wake-up was lost with its thread."""


class Waiter:
    """One place in one line."""

    __slots__ = ("account", "wake")

    def __init__(self, account: str, wake: Callable[[], None]) -> None:
        self.account = account
        self.wake = wake


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
            if line is None or waiter not in line:
                return
            line.remove(waiter)
            if not line:
                del self.by_account[waiter.account]
            following = line[0] if line else None
        if following is not None:
            following.wake()

    def is_first(self, waiter: Waiter) -> bool:
        """Tell whether it is this waiter's turn."""
        line = self.by_account.get(waiter.account)
        return line is not None and line[0] is waiter

    def wake(self, path: Iterable[str]) -> None:
        """Tell the first in line at each account that money may be free."""
        with self._lock:
            lines = [line for account in path if (line := self.by_account.get(account))]
            first = [line[0] for line in lines]
        for waiter in first:
            waiter.wake()

    def pause(self, waiter: Waiter) -> float:
        """Return the seconds after which a waiter looks again unasked."""
        return random.uniform(*POLL_SECONDS) if self.is_first(waiter) else IDLE_SECONDS


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
    """What wakes a waiting asyncio task, from whatever thread."""

    def __init__(self) -> None:
        import asyncio  # noqa: PLC0415 - 40 ms that a program without a loop need not pay

        self._asyncio = asyncio
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the task; a loop that is closed has nobody waiting."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, or so long; cancellation passes through."""
        with suppress(TimeoutError):
            async with self._asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


def in_event_loop() -> bool:
    """Tell whether this thread runs an asyncio event loop right now."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def in_worker() -> bool:
    """Tell whether this thread is neither the main one nor runs an event loop."""
    return threading.current_thread() is not threading.main_thread() and not in_event_loop()
