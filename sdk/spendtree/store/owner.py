"""Which process holds money, and whether it still lives."""

import os
from typing import NamedTuple


class Owner(NamedTuple):
    """A process: host name, boot id, pid and start time (clock ticks since boot).

    All four, since pids are used again and containers on one kernel see different pids.
    """

    host: str
    boot: str
    pid: int
    start: int

    def is_dead(self, here: "Owner") -> bool | None:
        """Tell whether this process has ended; None if that cannot be known from `here`."""
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            return True
        return _start_of(self.pid) != self.start


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
    """Return when a process started, 0 if it lives but nobody tells, -1 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return _alive_without_proc(pid)
    # A zombie has ended; only its parent has not noticed yet. Field 3 is the state, 22 the start.
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def _alive_without_proc(pid: int) -> int:
    if os.path.isdir("/proc/self"):
        return -1
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except PermissionError:
        return 0
    return 0
