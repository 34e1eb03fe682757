"""Lock: which exporter of a store writes. A file beside the store, locked as long as one lives.

The kernel releases the lock when its process ends, however it ends; the file stays behind, and
says which process had it last. Only for processes of one host, as SQLite files are.
"""

import fcntl
import os
from urllib.parse import unquote

_SQLITE = "sqlite:///"
_SUFFIX = "-exporter"


def store_path(store_url: str) -> str:
    """Return the path of a store's file, "" for one that lives in a process.

    Of a symbolic link the file that it names: one store must not have two locks.
    """
    if not store_url.startswith(_SQLITE):
        return ""
    path = unquote(store_url.removeprefix(_SQLITE).partition("?")[0])
    return os.path.realpath(path) if os.path.islink(path) else path


def lock_path(store_url: str) -> str:
    """Return the path of the lock file of a store, "" for one that lives in a process."""
    path = store_path(store_url)
    return path and path + _SUFFIX


class WriterLock:
    """The lock of one store. `held` tells whether this object has it; not for several threads."""

    def __init__(self, store_url: str) -> None:
        self.path = lock_path(store_url)
        self.held = False
        self._file = -1

    def acquire(self) -> str:
        """Take the lock if it is free; return why it was not taken, "" if it is held."""
        if self.held or not self.path:
            self.held = True
            return ""
        try:
            # 0600 like the store. Never removed: another exporter may wait for this very file.
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return f"{self.path} cannot be opened ({error.strerror})"
        try:
            # flock and not lockf: it belongs to the open file, so two exporters in one process
            # exclude each other, and closing another descriptor does not give it up.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            reason = f"{_holder(file)} has {self.path}"
            os.close(file)
            return reason
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file, self.held = file, True
        return ""

    def release(self) -> None:
        """Give the lock up, for the next one to take."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.held = -1, False


def holder(store_url: str) -> str | None:
    """Return which process has the lock of a store, None if nobody has; nothing is taken."""
    try:
        file = os.open(lock_path(store_url), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who look do not see each other; given back with the file at once.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(file)
    else:
        return None
    finally:
        os.close(file)


def _holder(file: int) -> str:
    pid = os.pread(file, 32, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another process"
