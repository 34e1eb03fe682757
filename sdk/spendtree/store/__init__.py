"""Where accounts, holds and events live: one protocol, several engines, `open_store` by URL."""

from spendtree.errors import StoreError
from spendtree.store.protocol import Store

__all__ = ["Store", "open_store"]

DEFAULT_URL = "sqlite:///spendtree.db"


def open_store(url: str = DEFAULT_URL, *, create: bool = True, read_only: bool = False) -> Store:
    """Open the store that a URL names: `memory:`, `sqlite:///relative.db` or `sqlite:////full/path`.

    `?synchronous=full` makes every commit safe against power loss (sqlite). With `create=False` a
    missing or empty file is an error. With `read_only` the file is not changed, and may be in a
    place that cannot be written; only an older schema is upgraded, where it can be. Raises
    StoreError when the URL or what it names is unusable.
    """
    # Engines are imported on use: a program with a memory store never loads sqlite3.
    if url == "memory:":
        from spendtree.store.memory import MemoryStore  # noqa: PLC0415

        return MemoryStore()
    if url.startswith("sqlite:///"):
        from spendtree.store.sqlite import open_sqlite  # noqa: PLC0415

        return open_sqlite(url, create=create, read_only=read_only)
    raise StoreError(f"store {url!r}: the URL is `memory:` or `sqlite:///file.db`")
