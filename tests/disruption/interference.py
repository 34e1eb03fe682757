"""What a worker does to itself while it works: exceptions anywhere, forks, copies, a wrong clock.

Exceptions come only while somebody has agreed to them: outside of that a worker must be able to
count, report and end.
"""

import ctypes
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHILD_SECONDS = 20
"""After which a forked child that is still there counts as hanging."""

HOUR_NS = 3600 * 10**9
JUMPS_NS = (0, 0, HOUR_NS, -HOUR_NS, 49 * HOUR_NS, -49 * HOUR_NS, -40 * 24 * HOUR_NS)


class Interruption(BaseException):
    """What a signal's handler or another thread raises here, between any two instructions."""


class Interrupted:
    """Threads that agree to be interrupted now: by a signal (the main one) or by exceptions."""

    def __init__(self, chance: random.Random, *, signals: bool, exceptions: bool) -> None:
        self.count = 0
        self._chance = chance
        self._signals = signals
        self._exceptions = exceptions
        self._exposed: set[int] = set()
        self._gate = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._interrupt, daemon=True)

    def start(self) -> None:
        """Call from the main thread, which takes the signals."""
        if self._signals:
            signal.signal(signal.SIGALRM, self._on_signal)
        if self._exceptions:
            self._thread.start()

    def stop(self) -> None:
        if self._signals:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._over.set()
        if self._exceptions:
            self._thread.join()

    def attempt(self, function: Callable[[], None]) -> bool:
        """Run a function that may be interrupted anywhere; tell whether it was."""
        interrupted = False
        try:
            self._expose()
            function()
        except Interruption:
            interrupted = True
        finally:
            covered = False
            while not covered:
                try:
                    self._cover()
                    covered = True
                except Interruption:  # at its very first instruction
                    interrupted = True
        return interrupted

    def _expose(self) -> None:
        if self._signals and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(20e-6, 4e-3))
        self._exposed.add(threading.get_ident())

    def _cover(self) -> None:
        """End what `_expose` began; what was on its way arrives here and is taken."""
        while True:
            try:
                with self._gate:
                    self._exposed.discard(threading.get_ident())
                for _ in range(10):  # a place for exceptions to arrive in
                    pass
            except Interruption:
                continue
            return

    def _on_signal(self, *_: object) -> None:
        if threading.main_thread().ident in self._exposed:
            self.count += 1
            raise Interruption("a signal")

    def _interrupt(self) -> None:
        while not self._over.wait(self._chance.uniform(50e-6, 3e-3)):
            with self._gate:
                others = [one for one in self._exposed if one != threading.main_thread().ident]
                if others:
                    self.count += 1
                    target = ctypes.c_ulong(self._chance.choice(others))
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        target, ctypes.py_object(Interruption)
                    )


class JumpingClock:
    """The system's clock, somebody setting it again and again; nanoseconds since 1970."""

    def __init__(self, chance: random.Random, jumps: bool) -> None:
        self._chance = chance
        self._jumps = jumps
        self._offset = 0

    def __call__(self) -> int:
        if self._jumps and self._chance.random() < 0.02:
            self._offset = self._chance.choice(JUMPS_NS)
        return time.time_ns() + self._offset


def fork(work: Callable[[], None], problems: list[str]) -> None:
    """Fork, have the child work, and see that it ends."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(CHILD_SECONDS)
            work()
            code = 0
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        hangs = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        problems.append("a forked child hangs" if hangs else f"a forked child ends with {status}")


@contextmanager
def copying(store: Path, target: Path, times: int) -> Iterator[None]:
    """Copy the store's files again and again, as a backup by hand in this process would."""
    over = threading.Event()

    def copy() -> None:
        for _ in range(times):
            for suffix in ("", "-wal"):
                with suppress(OSError):  # a WAL comes and goes
                    shutil.copyfile(f"{store}{suffix}", f"{target}{suffix}")
            if over.wait(0.01):
                return

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
