"""The lock of life: how a process of another PID namespace, or another container, is seen to live.

A process that holds money or opens sessions has a lock on one byte of a file beside the store, as
long as it lives; the kernel takes it away in the moment in which the process ends, however it ends.
Who wants to know looks whether the byte is locked. That needs no clock, no pid, no thread and no
writing, and a process that is stopped or waits for hours is seen to live.

The locks are those of open files (OFD locks): they reach exactly as far as the POSIX locks with
which SQLite protects the store itself, but closing another descriptor of the file, which a backup
or a copy does, does not drop them. Where a system has none, nobody is judged by them.
"""

import fcntl
import os
import struct
import sys
import weakref

from spendtree.store.owner import Owner

SUFFIX = "-owners"

_FLOCK = "@hhqqi"
"""C's struct flock: type, whence, start, length, pid."""

_bytes: dict[int, int] = {}
"""The byte that this process locks, in every store's file alike, by its pid."""


class LifeLock:
    """This process' lock beside one store's file; `take` it before anything is held."""

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._held: dict[str, tuple[str, weakref.finalize[..., LifeLock]]] = {}

    def take(self) -> str:
        """Have the lock; return which one it is, for others to look at, "" if there is none.

        Safe in several threads: of two who are first, one gives its own lock up again, and locks
        to read do not exclude each other.
        """
        held = self._held.get("lock")
        if held is None:
            try:
                file = _open(self._store_path)
            except OSError:  # then others can only go by how long it has been silent
                return ""
            try:
                byte = _bytes.setdefault(os.getpid(), int.from_bytes(os.urandom(7), "big"))
                _lock(file, byte)
                name = f"{os.fstat(file).st_ino}:{byte}"
            except (OSError, NotImplementedError):
                os.close(file)
                return ""
            finalizer = weakref.finalize(self, os.close, file)
            finalizer.atexit = False  # the kernel is there until the very end
            held = self._held.setdefault("lock", (name, finalizer))
            if held[1] is not finalizer:
                finalizer()
        return held[0]

    def release(self) -> None:
        """Give the lock up; the next `take` has the same one again."""
        held = self._held.pop("lock", None)
        if held is not None:
            held[1]()

    def after_fork_in_child(self) -> None:
        """Let go of the parent's lock, which would outlive the parent; the parent keeps it."""
        _bytes.clear()
        self.release()


def is_locked(store_path: str, lock: str) -> bool | None:
    """Tell whether a lock of life is held; None if there is none, or it is of another file.

    The file may have been deleted under a process that lives; its locks are then out of sight.
    """
    inode, _, byte = lock.partition(":")
    if not byte.isdecimal():
        return None
    try:
        file = os.open(store_path + SUFFIX, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if str(os.fstat(file).st_ino) != inode:
            return None
        return _is_locked(file, int(byte))
    except (OSError, NotImplementedError):
        return None
    finally:
        os.close(file)


def judged(owner: Owner, store_path: str, here: Owner) -> bool | None:
    """Tell whether a process has ended, None if nothing tells: by its pid, else by its lock.

    Each where it is certain: the pid in one PID namespace of one kernel, the lock in one file.
    """
    dead = owner.is_dead(here)
    if dead is None:
        locked = is_locked(store_path, owner.lock)
        dead = None if locked is None else not locked
    return dead


def _open(store_path: str) -> int:
    """Open the file, making it with the store's own mode where it is not there."""
    path = store_path + SUFFIX
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        mode = os.stat(store_path).st_mode & 0o666
    try:
        file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.fchmod(file, mode)
    return file


def _lock(file: int, byte: int) -> None:
    if sys.platform != "linux":
        raise NotImplementedError
    wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)


def _is_locked(file: int, byte: int) -> bool:
    if sys.platform != "linux":
        raise NotImplementedError
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    kind: int = struct.unpack_from("@h", answer)[0]
    return kind != fcntl.F_UNLCK
