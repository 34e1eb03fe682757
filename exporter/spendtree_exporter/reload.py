"""Reload: the configuration is read again at each SIGHUP. What it means is in `settings`."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from spendtree.errors import ConfigurationError
from spendtree_exporter.follow import Follower
from spendtree_exporter.settings import Settings, changes, put_in_force, read_settings
from spendtree_exporter.watch import Reloads

log = logging.getLogger("spendtree.exporter")


@contextmanager
def reloading(
    file: Path | None, follower: Follower, settings: Settings, reloads: Reloads
) -> Iterator[None]:
    """Read the file again at each SIGHUP while the block runs. Only in the main thread.

    `settings` are those in force; `reloads` is told whether others could be put in force. Without
    a file a SIGHUP is answered by a line in the log.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None:  # Windows knows no such signal
        yield
        return
    # The handler may interrupt anything, itself too: SimpleQueue.put is made for that. Reading and
    # waiting for the fold are left to a thread, so that no scrape waits for them.
    asked: SimpleQueue[bool] = SimpleQueue()
    thread = threading.Thread(
        target=_reload,
        args=(asked, file, follower, settings, reloads),
        name="spendtree-reload",
        daemon=True,
    )
    before = signal.signal(hangup, lambda _number, _frame: asked.put(True))
    thread.start()
    try:
        yield
    finally:
        signal.signal(hangup, before)
        asked.put(False)
        thread.join()


def _reload(
    asked: "SimpleQueue[bool]",
    file: Path | None,
    follower: Follower,
    settings: Settings,
    reloads: Reloads,
) -> None:
    while asked.get():
        if file is None:
            log.warning("SIGHUP: nothing to read again, since there is no --config.file")
            continue
        try:
            settings = _read_again(file, follower, settings)
        except ConfigurationError as error:
            log.error("%s; the settings stay as they were", error)
            reloads.record("config", good=False)
        except Exception:
            # Without this thread no later SIGHUP would be heard, and nobody would know.
            log.exception("%s could not be read again; the settings stay as they were", file)
            reloads.record("config", good=False)
        else:
            reloads.record("config", good=True)


def _read_again(file: Path, follower: Follower, settings: Settings) -> Settings:
    """Put what a file says in force, whole or, with an error, not at all; return it."""
    wanted = read_settings(file)
    defaults = Settings()
    if changes(defaults, settings) and not changes(defaults, wanted):
        raise ConfigurationError(
            f"{file} sets nothing any more: to go back to all defaults, start again"
        )
    try:
        put_in_force(wanted, follower)
    except Exception:
        put_in_force(settings, follower)
        raise
    log.info("%s read again: %s", file, "; ".join(changes(settings, wanted)) or "no change")
    return wanted
