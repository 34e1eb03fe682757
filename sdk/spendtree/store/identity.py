"""The identity of a store's file: that the path leads to the file that is open, and to no other.

SQLite knows a database by its open descriptors, and its write-ahead log by a name. So it goes on
without a word where the file was deleted, replaced or given a second name: whoever has it open then
spends what nobody else will see, and a ceiling counts twice. Here is what a file is known by, and
what a change of it means; `anchor` keeps the file itself in its place.
"""

import os
import stat
from typing import NamedTuple

from spendtree.errors import StoreUnavailableError

WAL, SHM = "-wal", "-shm"
"""What SQLite appends to a file's name: its log, and the index of the log in shared memory."""


class IdentityError(StoreUnavailableError):
    """The path of a store does not lead to the file that is open any more."""


class Seen(NamedTuple):
    """What a look at one name finds: device, inode, number of names, bytes."""

    device: int
    inode: int
    links: int
    size: int

    def is_same(self, other: "Seen") -> bool:
        """Tell whether both are one file."""
        return (self.device, self.inode) == (other.device, other.inode)


class Trio(NamedTuple):
    """A database, its log and the log's index, each None where there is none."""

    file: Seen | None
    wal: Seen | None
    shm: Seen | None


def seen(path: str) -> Seen | None:
    """Look at a path; None if it leads to no regular file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Seen(found.st_dev, found.st_ino, found.st_nlink, found.st_size)


def trio(path: str) -> Trio:
    """Look at a database and at what SQLite keeps beside it."""
    return Trio(seen(path), seen(path + WAL), seen(path + SHM))


def fault(path: str, opened: Trio, now: Trio) -> str:
    """Return what has become of the files since they were opened, and what to do; "" if nothing.

    Sizes are not compared: a file may become shorter rightly, see `anchor`.
    """
    name = os.path.basename(path)
    for suffix, before, after in zip(("", WAL, SHM), opened, now, strict=True):
        what = f"the file {name}{suffix}" if suffix else "the file"
        if before is None:
            continue
        if after is None:
            return f"{what} is gone: it was deleted or moved, or its directory was; {_BACK}"
        if not after.is_same(before):
            return f"{what} was replaced by another one while it was in use; {_BACK}"
        if after.links > 1:
            return f"{what} has {after.links} names (hard links); {ONE_NAME}"
    return ""


_BACK = (
    "put it back, or end every process that uses the store and start again (a copy is made by "
    "`spendtree backup`, and put in place while nothing runs)"
)
ONE_NAME = (
    "SQLite keeps a log for each name, and processes that open it by different ones do not see "
    "each other's spend: remove all names but one"
)
MOUNTED = (
    "the file itself is a mount point: its log would lie beside this name, and whoever opens the "
    "file elsewhere has another one; mount the directory that holds it"
)
CUT = (
    "the file was cut off while it was in use: it has {size:,} bytes, and had {before:,}; restore "
    "a backup while nothing runs, then start again"
)
WAL_CUT = (
    "its log was cut off while it was in use: it has {size:,} bytes, and recorded calls take "
    "{needed:,}; end every process that uses the store and start again; what the log held is lost"
)
EMPTY = "the file is empty, nothing was ever recorded in it; check --store or SPENDTREE_STORE"
LOG_ALONE = (
    "there is no file, but its log {name} has {size:,} bytes: the file was deleted or moved; put "
    "it back, or move the log away to begin anew"
)
EMPTIED = (
    "the file is empty, but its log {name} has {size:,} bytes: the file was cut off; restore a "
    "backup, or move both away to begin anew"
)


def fault_at_opening(path: str, now: Trio, mounted: frozenset[str]) -> str:
    """Return why a file must not be opened under this path; "" if it may be.

    `mounted` are the mount points of this process.
    """
    if now.file is None:
        if now.wal is None or not now.wal.size:
            return ""
        return LOG_ALONE.format(name=os.path.basename(path) + WAL, size=now.wal.size)
    if now.file.links > 1:
        return f"the file has {now.file.links} names (hard links); {ONE_NAME}"
    if path in mounted:
        return MOUNTED
    if not now.file.size and now.wal is not None and now.wal.size:
        return EMPTIED.format(name=os.path.basename(path) + WAL, size=now.wal.size)
    return ""
