"""Which process holds money, and whether its pid says that it still lives.

A pid means something only inside one PID namespace of one running kernel. Wherever that is not
certain to be the same, nothing here judges: `liveness` does, by a lock.
"""

import os
import sys
from typing import NamedTuple

UNTOLD = 0
GONE = -1

NO_NAMESPACES = "none"
"""The namespace of every process of a system that has none."""


class Owner(NamedTuple):
    """A process: host name, boot id, pid, start time (clock ticks since boot), and more.

    `namespace` names its PID and time namespaces, "" if they are not known: containers on one
    kernel see different pids, and different start times. `lock` is its lock of life on a store's
    file (see `liveness`), "" without one.
    """

    host: str
    boot: str
    pid: int
    start: int
    namespace: str = ""
    lock: str = ""

    def __str__(self) -> str:
        return " ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Return the process that `str` of an Owner names; ValueError for other texts.

        Older versions wrote the first four fields alone.
        """
        host, boot, pid, start, *rest = text.split(" ")
        return cls(host, boot, int(pid), int(start), *rest[:2])

    def shares_pids(self, here: "Owner") -> bool:
        """Tell whether a pid certainly means the same process here as it does there.

        Two kernels may have one host name (virtual machines, sandboxes), so the boot ids must be
        known and the same.
        """
        if self.host != here.host or self.boot != here.boot or self.namespace != here.namespace:
            return False
        return bool(here.namespace and (here.boot or here.namespace == NO_NAMESPACES))

    def is_dead(self, here: "Owner") -> bool | None:
        """Tell whether this process has ended; None if its pid cannot tell that `here`."""
        if not self.shares_pids(here):
            return None
        start = _start_of(self.pid)
        if start == GONE:
            return True
        if UNTOLD in (start, self.start):
            return None  # something of that pid lives; it may be another process
        return start != self.start


def current() -> Owner:
    """Return the running process."""
    pid = os.getpid()
    return Owner(os.uname().nodename, _boot_id(), pid, _start_of(pid), _namespace(pid))


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace(pid: int) -> str:
    """Return the PID and the time namespace of this process, "" where they are not known.

    Start times are counted from the boot as the reader's time namespace has it.
    """
    if sys.platform == "darwin":
        return NO_NAMESPACES
    try:
        # A /proc that was mounted for another namespace tells of other processes.
        if os.readlink("/proc/self") != str(pid):
            return ""
        spaces = [os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("pid", *_time_kinds())]
    except OSError:
        return ""
    return ".".join(map(str, spaces))


def _time_kinds() -> tuple[str, ...]:
    """Return the namespaces beside that of pids which count: kernels before 5.6 have none."""
    return ("time",) if os.path.exists("/proc/self/ns/time") else ()


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
