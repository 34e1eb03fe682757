"""Whereabouts: whether the file of a store is still the one that was opened.

The store itself refuses to go on with a file that was deleted or replaced. Here is what an
exporter does about it, which must outlive a backup that is put back: it opens what stands there
now, if it is the same store's.
"""

import os
from contextlib import closing

from spendtree.errors import StoreError
from spendtree.store import Store, open_store
from spendtree.store.identity import Seen, seen
from spendtree_exporter.lock import store_path


class Whereabouts:
    """The place of one store's file; not for several threads. A store in memory has none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        path = store_path(store.url)
        self._path = path and os.path.realpath(path)
        self._opened = seen(self._path) if path else None

    def look(self) -> None:
        """Go on with the file that stands there now, if it is the same store's.

        Raises StoreError while none does, or that of another store; then nothing has changed.
        """
        if not self._path:
            return
        found = seen(self._path)
        if found is None or self._opened is None or not found.is_same(self._opened):
            self._check(found)
            self._store.close()  # it opens again on use
            self._opened = found

    def _check(self, found: Seen | None) -> None:
        if found is None:
            raise StoreError(f"store {self._path}: the file is gone; put it back, or restart")
        if not os.path.getsize(self._path):  # opening would make a new store of it
            raise StoreError(f"store {self._path}: the file was replaced by an empty one")
        with closing(open_store(self._store.url, read_only=True)) as other:
            if other.id != self._store.id:
                raise StoreError(
                    f"store {self._path}: the file was replaced by that of another store "
                    f"({other.id}, not {self._store.id}); put it back, or restart"
                )
