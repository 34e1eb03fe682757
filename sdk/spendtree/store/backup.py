"""A copy of a store's file as it is at one moment, while everything goes on.

SQLite's own backup, in one step: it reads one state of the database from the file and the log,
keeps no writer waiting, and ends. Page by page it would begin anew each time that another process
wrote. A copy of the file alone lacks what is in the log.
"""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from typing import NamedTuple

from spendtree.errors import StoreError
from spendtree.store.database import FOREIGN, store_version, translation
from spendtree.store.identity import SHM, WAL
from spendtree.store.reader import connect

WAIT_SECONDS = 10.0
BESIDE = (WAL, SHM, "-owners", "-exporter")
"""What a store's programs keep beside it."""


class BackedUp(NamedTuple):
    """What was copied: the store's id, its events and calls, and the bytes of the copy."""

    id: str
    schema: int
    events: int
    open_holds: int
    size_bytes: int


def back_up(path: str, target: str, *, force: bool = False) -> BackedUp:
    """Copy the store at `path` to the file `target`, whole or not at all.

    Raises StoreError for a target that stands already (unless `force`) or is the store itself, and
    where the copy is not sound; the target is as it was then.
    """
    path, target = os.path.realpath(path), os.path.abspath(target)
    _check_target(path, target, force)
    directory, name = os.path.split(target)
    try:
        # In the target's directory, to be renamed; for its user alone, like the store.
        descriptor, copy = tempfile.mkstemp(".tmp", f".{name}-", directory)
    except OSError as error:
        raise StoreError(
            f"backup {target}: it cannot be made ({error.strerror}); check that {directory} is "
            "writable for this user"
        ) from error
    os.close(descriptor)
    try:
        done = _copy(path, copy)
        _sync(copy)
        _check_target(path, target, force)  # it took a while
        os.replace(copy, target)
        _sync(directory)
        return done
    except FOREIGN as error:
        kind, advice = translation(error)
        raise kind(f"backup of {path} to {target}: {error}; {advice}") from error
    except OSError as error:
        raise StoreError(f"backup {target}: {error.strerror}; check space and access") from error
    finally:
        for suffix in ("", WAL, SHM, "-journal"):
            with suppress(OSError):
                os.unlink(copy + suffix)


def _check_target(path: str, target: str, force: bool) -> None:
    directory = os.path.dirname(target)
    if not os.path.isdir(directory):
        raise StoreError(f"backup {target}: there is no directory {directory}; create it first")
    real = os.path.realpath(target)
    if real in {path + suffix for suffix in ("", *BESIDE)} or _is_same(path, real):
        raise StoreError(f"backup {target}: that is the store itself; name another file")
    if os.path.isdir(target):
        raise StoreError(f"backup {target}: that is a directory; name a file in it")
    if os.path.lexists(target) and not force:
        raise StoreError(f"backup {target}: there is such a file; --force replaces it")
    for suffix in (WAL, SHM):
        if os.path.lexists(target + suffix):
            raise StoreError(
                f"backup {target}: {target}{suffix} is there: some program has it open, or ended "
                "without closing it, and SQLite would take that for the copy's; name another file"
            )


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _copy(path: str, copy: str) -> BackedUp:
    with closing(connect(path, WAIT_SECONDS)) as source:
        if not store_version(source, path):
            raise StoreError(f"store {path}: nothing was ever recorded in it")
        with closing(sqlite3.connect(copy, isolation_level=None)) as made:
            source.backup(made)
    # Opened anew: what is looked at is what the disk has, not what the connection remembers.
    with closing(sqlite3.connect(copy, isolation_level=None)) as made:
        faults = [text for (text,) in made.execute("PRAGMA integrity_check(3)") if text != "ok"]
        if faults:
            raise StoreError(
                f"backup of {path}: the store is damaged: {'; '.join(faults)}; look for an older "
                f"backup, or `sqlite3 {path} .recover`"
            )
        (id,) = made.execute("SELECT value FROM meta WHERE key='store_id'").fetchone()
        (events,) = made.execute("SELECT count(*) FROM event").fetchone()
        (holds,) = made.execute("SELECT count(*) FROM hold").fetchone()
        schema = store_version(made, copy)
    return BackedUp(id, schema, events, holds, os.path.getsize(copy))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
