"""Which process holds money, and whether it still lives."""

import os
from typing import NamedTuple

UNTOLD = 0
GONE = -1


class Owner(NamedTuple):
    """A process: host name, boot id, pid and start time (clock ticks since boot).

    All four, since pids are used again and containers on one kernel see different pids.
    """

    host: str
    boot: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.host} {self.boot} {self.pid} {self.start}"

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Return the process that `str` of an Owner names; ValueError for other texts."""
        host, boot, pid, start = text.rsplit(" ", 3)
        return cls(host, boot, int(pid), int(start))

    def is_dead(self, here: "Owner") -> bool | None:
        """Tell whether this process has ended; None if that cannot be known from `here`."""
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            return True
        start = _start_of(self.pid)
        if start == GONE:
            return True
        if UNTOLD in (start, self.start):
            return None  # something of that pid lives; it may be another process
        return start != self.start


def current() -> Owner:
    """Return the running process."""
    return Owner(os.uname().nodename, _boot_id(), os.getpid(), _start_of(os.getpid()))


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _start_of(pid: int) -> int:
    """Return when a process started, UNTOLD if it lives and nobody tells, or GONE."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return _alive_without_proc(pid)
    # A zombie has ended; only its parent has not noticed yet. Field 3 is the state, 22 the start.
    return GONE if fields[0] in (b"Z", b"X") else int(fields[19])


def _alive_without_proc(pid: int) -> int:
    """Ask the kernel: there may be no /proc, or one that hides the processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return GONE
    except PermissionError:
        return UNTOLD
    return UNTOLD
