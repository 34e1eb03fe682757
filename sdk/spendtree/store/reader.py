"""Reading a store's file without changing it, also where nothing can be written.

SQLite reads a write-ahead log by an index in shared memory, which it makes beside the file. In a
directory that cannot be written it can read a log only where a writer has left that index.
"""

import os
import sqlite3
from collections.abc import Callable
from urllib.parse import quote

from spendtree.errors import StoreError
from spendtree.store import identity
from spendtree.store.identity import EMPTY, IdentityError, Trio

READ_WRITE = "mode=rw"
"""Where the directory can be written: the last one to close tidies up."""
READ_ONLY = "mode=ro"
IMMUTABLE = "mode=ro&immutable=1"
"""SQLite takes no locks and looks for no log: right only while nobody writes."""

_ALONE = (
    "its log has {size:,} bytes that are not in the file yet, and they can only be read with an "
    "index beside it: this place cannot be written. Copy the file and the log to one that can"
)


def way(writable: bool, now: Trio) -> str:
    """Return how SQLite is to open a file, as parameters of its URI; "" if it cannot be read."""
    if writable:
        return READ_WRITE
    if now.wal is not None and now.shm is not None:
        return READ_ONLY
    return "" if now.wal is not None and now.wal.size else IMMUTABLE


def is_writable(path: str) -> bool:
    """Tell whether a store can be written here: the file, and files beside it."""
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)


def connect(path: str, timeout: float, *, tidy: bool = True) -> sqlite3.Connection:
    """Return a connection that reads a file; StoreError if there is no way.

    It changes nothing that is recorded. With `tidy` the last one to close writes back what the log
    holds and removes it, as every program does; without it not even that.
    """
    now = identity.trio(path)
    if now.file is not None and not now.file.size:
        raise StoreError(f"store {path}: {EMPTY}")
    chosen = way(is_writable(path), now)
    if chosen == READ_WRITE and not tidy:
        chosen = READ_ONLY
    if not chosen:
        size = now.wal.size if now.wal is not None else 0
        raise StoreError(f"store {path}: {_ALONE.format(size=size)}")
    connection = sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?{chosen}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA query_only=1")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    except BaseException:
        connection.close()
        raise
    return connection


class Reader:
    """The connection of a store that is only read; it opens anew when writers come and go.

    Not for several threads at once.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._state: tuple[object, ...] = ()
        self._opened: Trio | None = None

    @property
    def execute(self) -> Callable[..., sqlite3.Cursor]:
        """Return `execute` of a connection to the file that stands there.

        Raises IdentityError where it is another one than at first, until this is closed.
        """
        now = identity.trio(self._path)
        if self._opened is not None:
            file = self._opened._replace(wal=None, shm=None)
            reason = identity.fault(self._path, file, now)
            if reason:
                raise IdentityError(f"store {self._path}: {reason}")
        state = _state(self._path, now)
        if self._connection is None or state != self._state:
            self._disconnect()
            self._connection = connect(self._path, self._timeout)
            self._state, self._opened = state, self._opened or now
        return self._connection.execute

    def close(self) -> None:
        """Close the file; it may be another one when it is read again."""
        self._disconnect()
        self._opened = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _state(path: str, now: Trio) -> tuple[object, ...]:
    """Return what makes a connection outdated when it changes."""
    chosen = way(is_writable(path), now)
    if chosen != IMMUTABLE:
        return chosen, now.wal and now.wal[:2], now.shm and now.shm[:2]
    found = os.stat(path)
    return chosen, found.st_size, found.st_mtime_ns
