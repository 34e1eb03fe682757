"""Where a store's file may lie, told before SQLite is asked. Nothing here opens a database."""

import os
import re

from spendtree.errors import StoreError
from spendtree.store import identity
from spendtree.store.identity import IdentityError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs"}
)


def check_place(path: str, create: bool) -> None:
    """Make the file, empty and for its user alone, unless it is there; StoreError says why not.

    With `create=False` it must be there, and not be empty.
    """
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise StoreError(f"store {path}: there is no directory {directory}; create it first")
    if os.path.isdir(path):
        raise StoreError(f"store {path}: that is a directory; name a file in it")
    kind = file_system(directory)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"store {path}: {kind} is a network file system, where SQLite's locks do not hold; "
            "put the store on a local disk"
        )
    if not create and not os.path.exists(path):
        raise StoreError(
            f"store {path}: there is no such file; check --store or SPENDTREE_STORE, or record "
            "something first (`spendtree demo`, `spendtree import`)"
        )
    check_file(path)
    if os.path.exists(path):
        if not create and not os.path.getsize(path):
            raise StoreError(f"store {path}: {identity.EMPTY}")
        return
    try:
        # Exclusively: closing a file that another thread has opened in SQLite meanwhile would give
        # up its locks, since POSIX locks belong to the process.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(
            f"store {path}: it cannot be created ({error.strerror}); check that {directory} is "
            "writable for this user"
        ) from error


def check_file(path: str) -> None:
    """Raise IdentityError for a file that has a second name, or that is cut off."""
    reason = identity.fault_at_opening(path, identity.trio(path), mount_points())
    if reason:
        raise IdentityError(f"store {path}: {reason}")


def mount_points() -> frozenset[str]:
    """Return the mount points that this process sees; none where nobody tells."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return frozenset(_unescaped(line.split(" ")[4]) for line in table)
    except OSError:
        return frozenset()


def _unescaped(text: str) -> str:
    """Return a path as it is: the kernel writes space, tab, newline and backslash as octals."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def file_system(directory: str) -> str:
    """Return the type of the file system that holds a directory, "" where nobody tells."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            table = [line.split(" ")[1:3] for line in mounts]
    except OSError:
        return ""
    real = os.path.realpath(directory)
    best = ("", "")
    for point, kind in table:
        point = point.replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
