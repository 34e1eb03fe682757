"""Passwords: which are right, found out by bcrypt without anybody else having to wait for it.

A check takes 50 ms and more of a core on purpose. So checks run in a pool of their own, of half
the cores (bcrypt lets other threads run meanwhile), and only a few wait: each peer has a short
queue, peers take turns, and what there is no room for is refused at once. One that guesses can
therefore fill its own queue and nobody else's. Who gave the right password is known again by a
keyed digest, without bcrypt and without the queue.

Within one peer's queue the newest goes first and the oldest gives way: behind a proxy all clients
are one peer, and after a burst of guesses the next right password should not stand behind them.
"""

import asyncio
import hmac
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any, NamedTuple

from spendtree.errors import ConfigurationError

WAITING_PER_PEER = 4
WAITING_MAX = 64
"""Checks that wait, of one peer and in all; each has a password of at most 72 bytes to keep."""

REMEMBERED_MAX = 100
REMEMBERED_SECONDS = 600.0
"""Right passwords that are known again, and for how long after they were used last."""

_ANY_SALT = "7OoZvb7NmDiRNnhFjTfQ.OHjOz.K3k/F2Qzg.r871XTDzw5QZCxgi"
"""Salt and digest of a hash that no known password has."""


class BusyError(Exception):
    """Too many passwords wait to be checked: this one was not."""


class _Check(NamedTuple):
    proof: bytes
    password: bytes
    hashed: str
    answer: "asyncio.Future[bool]"


class Passwords:
    """Checks passwords against bcrypt hashes; for one event loop."""

    def __init__(
        self, *, workers: int | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers = workers or max((os.cpu_count() or 2) // 2, 1)
        self._now = now
        self._secret = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None
        self._running = 0
        self._asked: dict[bytes, _Check] = {}
        self._waiting: OrderedDict[str, deque[_Check]] = OrderedDict()

    def forget(self) -> None:
        """Know no password again: all are checked anew."""
        self._remembered.clear()

    async def is_right(self, name: str, password: bytes, hashed: str, *, peer: str) -> bool:
        """Tell whether a password is that of a hash. Raises BusyError where too many wait."""
        told = repr((name, hashed, password)).encode("utf-8", "replace")
        proof = hmac.digest(self._secret, told, "sha256")
        if self._is_remembered(proof):
            return True
        check = self._asked.get(proof)
        if check is None:
            answer = asyncio.get_running_loop().create_future()
            check = _Check(proof, password, hashed, answer)
            self._queue(check, peer)
        # Several may wait for one answer, and one of them may go away.
        right = await asyncio.shield(check.answer)
        if right:
            self._remember(proof)
        return right

    def _is_remembered(self, proof: bytes) -> bool:
        until = self._remembered.get(proof)
        if until is None or until <= self._now():
            self._remembered.pop(proof, None)
            return False
        self._remember(proof)
        return True

    def _remember(self, proof: bytes) -> None:
        self._remembered[proof] = self._now() + REMEMBERED_SECONDS
        self._remembered.move_to_end(proof)
        while len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def _queue(self, check: _Check, peer: str) -> None:
        if self._running < self._workers:
            self._start(check)
            return
        self._make_room(peer)
        self._waiting.setdefault(peer, deque()).append(check)
        self._asked[check.proof] = check

    def _make_room(self, peer: str) -> None:
        """Have the oldest of a queue that is full give way, that of the longest if all are."""
        mine = len(self._waiting.get(peer, ()))
        if mine >= WAITING_PER_PEER:
            self._refuse(peer)
        elif sum(map(len, self._waiting.values())) >= WAITING_MAX:
            longest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting[longest]) <= mine + 1:
                raise BusyError
            self._refuse(longest)

    def _refuse(self, peer: str) -> None:
        check = self._waiting[peer].popleft()
        del self._asked[check.proof]
        check.answer.set_exception(BusyError())
        check.answer.exception()  # seen, also if whoever asked has gone away

    def _start(self, check: _Check) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, "spendtree-password")
        self._running += 1
        self._asked[check.proof] = check
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._pool, matches, check.password, check.hashed)
        done.add_done_callback(partial(self._done, check))

    def _done(self, check: _Check, done: "asyncio.Future[bool]") -> None:
        self._running -= 1
        self._asked.pop(check.proof, None)
        if not check.answer.done():
            failed = done.cancelled() or done.exception() is not None
            check.answer.set_result(not failed and done.result())
        while self._waiting and self._running < self._workers:
            peer, checks = self._waiting.popitem(last=False)
            newest = checks.pop()
            if checks:
                self._waiting[peer] = checks  # behind the other peers
            self._start(newest)


def peer_of(client: tuple[str, int] | None) -> str:
    """Return who is behind an address: all of an IPv6 /64 are one, as are Unix sockets."""
    try:
        address = ip_address(client[0].partition("%")[0]) if client else None
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else address.packed[:8].hex()
    return str(address or "")


def nobody(hashes: Iterable[str]) -> str:
    """Return a hash for unknown names, as costly as the most costly one of the known names."""
    cost = max((hashed.split("$")[2] for hashed in hashes), default="10")
    return f"$2b${cost}${_ANY_SALT}"


def matches(password: bytes, hashed: str) -> bool:
    """Tell whether a password is that of a bcrypt hash."""
    try:
        return bool(bcrypt_library().checkpw(password, hashed.encode()))
    except ValueError:  # longer than 72 bytes, or with a NUL: no hash is of such a password
        return False


def bcrypt_library() -> Any:
    """Return the library. Raises ConfigurationError where it is not installed."""
    try:
        import bcrypt  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "basic_auth_users needs bcrypt: pip install 'spendtree[auth]'"
        ) from None
    return bcrypt
