"""Snapshot: the fold's state in a file of its own, so that a restart need not read the whole log.

A cache, nothing more: the log stays the truth. A file that is missing, torn, of another store,
version or settings, or of a log that has since been put back, is not used, and the log is read.

The file is text, a JSON value a line: what it is of, the pieces of `spendtree.metrics.state`, and
a digest of all that. It is JSON because a file may come from anywhere, and reading it must never
run anything.
"""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple

from spendtree.errors import ConfigurationError
from spendtree.event import Event
from spendtree.metrics import Fold, state
from spendtree.store import Store
from spendtree.store.protocol import Cursor
from spendtree_exporter.lock import lock_path, store_path

_BEGINNING = b'{"snapshot":"spendtree"'
"""How each snapshot begins, a torn one too."""

_LINE_CHARACTERS = 64 * 2**20
"""Longer than any piece of a fold: what is damaged may be one line of gigabytes."""

log = logging.getLogger("spendtree.exporter")


class Mark(NamedTuple):
    """A place in the log: the cursor to read on from, and the last event before it."""

    cursor: Cursor
    seq: int
    id: str
    kind: int


def mark(cursor: Cursor, last: Event) -> Mark:
    """Return the place behind an event."""
    return Mark(cursor, last.seq, last.id.hex(), int(last.kind))


def stands(place: Mark, store: Store) -> bool:
    """Tell whether the log holds the event before a place, with its id, where it was."""
    last = store.find(bytes.fromhex(place.id), place.kind)
    return last is not None and last.seq == place.seq


def check_place(path: Path, store_url: str) -> None:
    """Raise ConfigurationError where a snapshot would take the place of another file, or has none.

    Writing replaces whatever is there: the ledger itself would be gone.
    """
    if _is_of_store(path, store_url):
        reason = "belongs to the store; name another file"
    elif not os.access(path.parent, os.W_OK | os.X_OK) or not path.parent.is_dir():
        reason = f"cannot be written: {path.parent} is no directory that this user can write to"
    elif path.exists() and not _may_be_replaced(path):
        reason = "is there and is no state of an exporter; move it away, or name another file"
    else:
        return
    raise ConfigurationError(f"--state-file {path} {reason}")


def _is_of_store(path: Path, store_url: str) -> bool:
    store = store_path(store_url)
    if not store:
        return False
    real = os.path.realpath(store)
    files = [real, *(real + suffix for suffix in ("-wal", "-shm", "-journal"))]
    files.append(lock_path(store_url))
    return any(_same(path, file) for file in files)


def _same(path: Path, file: str) -> bool:
    """Tell whether two paths are one file, also by a hard link, or would be if it were there."""
    try:
        return os.path.samefile(path, file)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(file)


def _may_be_replaced(path: Path) -> bool:
    if not path.is_file():  # a pipe would keep us waiting, and a device must stay
        return False
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) in (b"", _BEGINNING)


def write(path: Path, fold: Fold, place: Mark) -> None:
    """Replace the snapshot; the fold must not change meanwhile. Raises OSError.

    Whoever reads the file sees the old one or the new one, never a part.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with open(handle, "w", encoding="ascii") as file:
            digest = blake2b()
            for value in ({**_of(fold), "place": place}, *state.dump(fold)):
                line = json.dumps(value, separators=(",", ":")) + "\n"
                digest.update(line.encode())
                file.write(line)
            file.write(digest.hexdigest() + "\n")
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def read(path: Path, store: Store, empty: Callable[[], Fold]) -> tuple[Fold, Mark] | None:
    """Return the fold of a snapshot and its place in the store's log; None if it cannot be used.

    `empty` makes a fold with the settings that hold now. Why a file is not used is logged.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise OSError("it is not a file")
        with path.open(encoding="ascii") as file:
            return _read(file, store, empty())
    except FileNotFoundError:
        return None
    except Exception as error:
        # Whatever comes of reading what somebody else wrote, or half of it: it is only a cache.
        log.warning("the snapshot %s is not used, the log is read instead: %s", path, error)
        return None


def _read(file: IO[str], store: Store, fold: Fold) -> tuple[Fold, Mark]:
    digest = blake2b()
    first = file.readline(_LINE_CHARACTERS)
    digest.update(first.encode())
    told = json.loads(first)
    place = Mark(*told.pop("place"))
    if told != _of(fold):
        raise ValueError("it is of another store, version or configuration")
    if not stands(place, store):
        raise ValueError("the store's log does not hold what it was made of")
    state.load(fold, _pieces(file, digest.update, digest.hexdigest))
    return fold, place


def _pieces(
    file: IO[str], update: Callable[[bytes], None], digest: Callable[[], str]
) -> Iterator[state.Value]:
    """Yield the pieces of a file; ValueError if it does not end as it was written."""
    while line := file.readline(_LINE_CHARACTERS):
        if line[:1] != "[":
            if line.strip() == digest() and not file.readline():
                return
            break
        update(line.encode())
        name, value = json.loads(line)
        yield name, value
    raise ValueError("it is torn")


def _of(fold: Fold) -> dict[str, Any]:
    return {
        "snapshot": "spendtree",
        "form": state.form(),
        "store": fold.store_id,
        "settings": state.settings(fold),
    }
