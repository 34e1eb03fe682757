"""An anchor: what keeps a store's file, its log and the log's index in place while it is open.

SQLite's locks are POSIX locks, which belong to a process and a file: all of them are gone as soon
as the process closes *any* descriptor of that file, and a copy, a scanner or a backup in the same
process does. The next process to end then believes to be the last, and deletes the log under the
living one. So each open store also has descriptors of its own with locks that belong to the open
file (Linux: OFD locks), over the two ranges that SQLite itself reads:

* the database's SHARED range, 510 bytes from 2**30 + 2: whoever wants to write the log back and
  delete it at its end needs that range for itself (https://sqlite.org/src/file/src/os_unix.c);
* byte 128 of the index, the "dead man's switch": whoever finds it free begins the index anew.

A third lock, of the same kind, is one process' turn to write (`flock` on the database): closing a
descriptor of the index gives up the locks of a transaction that is under way, and another writer
would write over it. Whoever does not get it for long goes on with SQLite's lock alone: nobody must
wait for good for a turn that an exception at the wrong moment left behind.

The first two are given back right before the connections are closed, so that the last one still
does tidy up. If the path leads elsewhere by then, they are kept until after it: SQLite deletes a
log by its name, and it would be another store's.
"""

import fcntl
import os
import random
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spendtree.store import identity
from spendtree.store.identity import SHM, WAL, IdentityError, Seen, Trio
from spendtree.store.walindex import WalIndex

SHARED = (0x40000002, 510)
"""First byte and length of the range of SQLite's SHARED lock."""
DEAD_MAN_SWITCH = (128, 1)
OFD_SETLK = getattr(fcntl, "F_OFD_SETLK", None)
"""The command for locks that belong to an open file; None where the system has none (macOS)."""

NEAR_SECONDS = 200e-6
"""How long a look at the database is good for. A hold that comes later looks again, so that nothing
is sent for money that is held where nobody sees it: 1.3 us, and up to 4 on a machine whose caches
others use. Calls in a tight loop, where each microsecond is 2 %, share one look."""
GOOD_SECONDS = 5e-3
"""How long a look at all three files is good for: whoever deletes a log alone and opens the store
again takes longer than this."""

Execute = Callable[..., Any]

TURN_SECONDS = 2.0
"""How long a turn is waited for: longer than a process that has it is kept from running on a busy
machine. After it SQLite's own lock is what counts, until a turn is had again."""


_flock = fcntl.flock
_TAKE, _END = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


class TurnError(sqlite3.OperationalError):
    """It is another process' turn to write: to be tried again, like a busy database."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY


class Turn:
    """The right to do something that one process does at a time; kept by a descriptor."""

    __slots__ = ("_file", "_refused_at")

    def __init__(self) -> None:
        self._file = -1
        self._refused_at = 0.0

    def of(self, file: int) -> None:
        """Be kept by that descriptor from now on."""
        self._file = file

    def take(self) -> None:
        """Have the turn; TurnError while another process has it."""
        try:
            _flock(self._file, _TAKE)
            self._refused_at = 0.0
        except BlockingIOError:
            now = time.monotonic()
            self._refused_at = self._refused_at or now
            if now - self._refused_at < TURN_SECONDS:
                raise TurnError("another process is writing") from None

    def end(self) -> None:
        """Let others write; nothing where it was not had."""
        _flock(self._file, _END)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Wait so long for the turn, at most; TurnError after that."""
        until = time.monotonic() + seconds
        while True:
            try:
                _flock(self._file, _TAKE)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TurnError("another process is at it") from None
            time.sleep(random.uniform(10e-6, 150e-6))
        try:
            yield
        finally:
            self.end()


class Anchor:
    """The anchor of one Database's connections, from their opening to their closing.

    Whoever checks holds the lock of the database that it belongs to.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._pid = os.getpid()
        self.opened = Trio(None, None, None)
        self._wal_path, self._shm_path = path + WAL, path + SHM
        self._file_key = self._wal_key = self._shm_key = (0, 0, 0)
        self._size = 0
        self.turn, self.trimming, self.writing_back = Turn(), Turn(), Turn()
        """To write, of the connections here and of the one that empties the log; and to write the
        log back: were the log emptied meanwhile, other pages would be copied than are meant."""
        self.near_until = self.good_until = 0.0
        """Until when (monotonic) a look is good for a hold, and for the end of one."""
        self._broken = ""
        self._locked = False
        self._file = self._shm = self._second = -1

    def drop(self, born: Seen | None) -> Seen:
        """Note which files are open now, lock them, and return the database's.

        The connection stands already. `born` is the file that it was before a fork.
        """
        self.opened = files = identity.trio(self.path)
        if files.file is None or files.wal is None or files.shm is None:
            raise IdentityError(
                f"store {self.path}: its files went while it was being opened; put them back, or "
                "restart"
            )
        if born is not None and not files.file.is_same(born):
            raise IdentityError(
                f"store {self.path}: the file was replaced by another one while it was in use; put "
                "it back, or restart"
            )
        self._file = _descriptors.open(self.path, files.file)
        self._shm = _descriptors.open(self.path + SHM, files.shm)
        self._second = _descriptors.open(self.path, files.file)
        self.turn.of(self._file)
        self.trimming.of(self._second)
        self.writing_back.of(self._shm)
        self._lock(fcntl.F_RDLCK)
        self._size = files.file.size
        self._file_key, self._wal_key, self._shm_key = map(_key, (files.file, files.wal, files.shm))
        return files.file

    # Checks.

    def check(self, execute: Execute, *, alone: bool) -> None:
        """Raise IdentityError unless the path still leads to the files that are open.

        `alone` says that the caller is inside a write transaction, so that the log stands still.
        """
        now = time.monotonic()
        if now < self.good_until and self._is_there():
            self.near_until = now + NEAR_SECONDS
            return
        self.good_until = self.near_until = 0.0
        if self._broken or not (self._is_there() and self._is_whole(alone)):
            self._look(execute, alone=alone)
        self.good_until, self.near_until = now + GOOD_SECONDS, now + NEAR_SECONDS

    def _is_there(self) -> bool:
        """Look at the database alone, in about a microsecond."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        if found[1:4] != self._file_key or found[6] < self._size:
            return False
        self._size = found[6]
        return True

    def _is_whole(self, alone: bool) -> bool:
        """Look at the other two, as they are nearly always."""
        try:
            wal, shm = os.stat(self._wal_path), os.stat(self._shm_path)
        except OSError:
            return False
        if wal[1:4] != self._wal_key or shm[1:4] != self._shm_key:
            return False
        return not alone or wal[6] >= WalIndex.read(self._shm).needed

    def is_sound(self) -> bool:
        """Tell whether the path leads to the files that are open, as far as a look shows."""
        now = identity.trio(self.path)
        return not self._broken and not identity.fault(self.path, self.opened, now)

    def _look(self, execute: Execute, *, alone: bool) -> None:
        """Find out what is wrong, if something is."""
        now = identity.trio(self.path)
        reason = self._broken or identity.fault(self.path, self.opened, now)
        if not reason and alone and now.file is not None and now.wal is not None:
            # For good: it may grow again, with another content than what is remembered here.
            reason = self._broken = self._cut(execute, now.file, now.wal)
        if reason:
            raise IdentityError(f"store {self.path}: {reason}")
        if alone and now.file is not None:
            self._size = now.file.size

    def _cut(self, execute: Execute, file: Seen, wal: Seen) -> str:
        """Return why bytes are missing, "" if none are; nobody writes meanwhile.

        A file may become shorter: pruning gives space back. What it does not hold then is in the
        log, until that is written back.
        """
        index = WalIndex.read(self._shm)
        if wal.size < index.needed:
            return identity.WAL_CUT.format(size=wal.size, needed=index.needed)
        if file.size >= self._size:
            return ""
        pages: int = execute("PRAGMA page_count").fetchone()[0]
        page: int = execute("PRAGMA page_size").fetchone()[0]
        missing = set(range(file.size // page + 1, pages + 1))
        # Of an empty file SQLite throws the log away, and no program cuts off a part of a page.
        whole = file.size and not file.size % page
        if not whole or not missing <= index.pages(self._wal_path):
            return identity.CUT.format(size=file.size, before=self._size)
        return ""

    # The end.

    def weigh(self) -> bool:
        """Let the connections tidy up when they are closed, if the files are theirs; tell so."""
        sound = os.getpid() == self._pid and self.is_sound()
        if sound:
            self._lock(fcntl.F_UNLCK)
        return sound

    def close(self, connections: list[sqlite3.Connection]) -> None:
        """Close the connections of this anchor, and give it back."""
        if self.weigh() or OFD_SETLK is not None:
            for connection in connections:
                connection.close()
            self.release()
        else:
            _kept.append((self, connections))  # closed, they would delete a log by its name

    def release(self) -> None:
        """Give back what is left, once the connections are closed."""
        if os.getpid() == self._pid:
            self._lock(fcntl.F_UNLCK)
            _descriptors.close(self.opened.file, self._file)
            _descriptors.close(self.opened.file, self._second)
            _descriptors.close(self.opened.shm, self._shm)
        self._file = self._shm = self._second = -1

    def _lock(self, kind: int) -> None:
        if OFD_SETLK is None or self._file < 0:
            return
        for file, (start, length) in ((self._file, SHARED), (self._shm, DEAD_MAN_SWITCH)):
            fcntl.fcntl(file, OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0))


def _key(file: Seen) -> tuple[int, int, int]:
    """Return what `os.stat` says at 1 to 3 of a file that has one name."""
    return file.inode, file.device, 1


class _Descriptors:
    """Descriptors of files that SQLite has open too, closed when no anchor of the file is left.

    Closing one any earlier would take the locks of all connections of this process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], list[int]] = {}
        self._closed: dict[tuple[int, int], list[int]] = {}

    def open(self, path: str, file: Seen) -> int:
        with self._lock:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(descriptor)
            # Under the file that it is, so that no other file's last anchor closes it.
            key = (found.st_dev, found.st_ino)
            self._open.setdefault(key, []).append(descriptor)
        if key != file[:2]:
            raise IdentityError(f"store {path}: it was replaced while it was being opened")
        return descriptor

    def close(self, file: Seen | None, descriptor: int) -> None:
        if file is None or descriptor < 0:
            return
        with self._lock:
            living = self._open.get(file[:2], [])
            if descriptor in living:
                living.remove(descriptor)
                self._closed.setdefault(file[:2], []).append(descriptor)
            if not living:
                self._open.pop(file[:2], None)
                for each in self._closed.pop(file[:2], ()):
                    os.close(each)


_descriptors = _Descriptors()
_kept: list[tuple[Anchor, list[sqlite3.Connection]]] = []
"""What stays open to the end of the process, since closing it would do harm."""


def forget_parent() -> None:
    """Begin anew in a forked child: what was open is the parent's, and its lock may be taken."""
    global _descriptors
    _descriptors = _Descriptors()
