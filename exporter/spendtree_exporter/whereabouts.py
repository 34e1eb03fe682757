"""Whereabouts: whether the file of a store is still the one that was opened.

SQLite goes on with a file that was deleted or replaced as if nothing had happened: whoever holds it
open reads and writes what nobody else will ever see.
"""

import os
import time
from contextlib import closing

from spendtree.errors import StoreError
from spendtree.store import Store, open_store
from spendtree_exporter.lock import store_path

LOOK_SECONDS = 1.0
"""How often, at most, the file is looked at, as long as it is there."""


class Whereabouts:
    """The place of one store's file; not for several threads. A store in memory has none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        path = store_path(store.url)
        self._path = path and os.path.realpath(path)
        self._opened = _identity(self._path) if path else None
        self._look_at = 0.0

    def look(self) -> None:
        """Go on with the file that stands there now, if it is the same store's.

        Raises StoreError while none does, or that of another store; then nothing has changed.
        """
        if not self._path or time.monotonic() < self._look_at:
            return
        found = _identity(self._path)
        if found != self._opened:
            self._check(found)
            self._store.close()  # it opens again on use
            self._opened = found
        self._look_at = time.monotonic() + LOOK_SECONDS

    def _check(self, found: tuple[int, int] | None) -> None:
        if found is None:
            raise StoreError(f"store {self._path}: the file is gone; put it back, or restart")
        if not os.path.getsize(self._path):  # opening would make a new store of it
            raise StoreError(f"store {self._path}: the file was replaced by an empty one")
        with closing(open_store(self._store.url, create=False)) as other:
            if other.id != self._store.id:
                raise StoreError(
                    f"store {self._path}: the file was replaced by that of another store "
                    f"({other.id}, not {self._store.id}); put it back, or restart"
                )


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from every other one, None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
