"""Reload: what a configuration means to the exporter, at its start and again at each SIGHUP.

A configuration that is wrong changes nothing. No state is lost by a reload: the fold goes on.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from spendtree.config import load_config
from spendtree.config.limits import LIMITS, FoldSettings, fold_settings
from spendtree.errors import ConfigurationError
from spendtree_exporter.follow import Follower

log = logging.getLogger("spendtree.exporter")

TIMES = {"linger_seconds": "linger_us", "birth_hold_seconds": "birth_hold_us"}
"""Keys of the section `metrics`, and the settings that they are, in microseconds."""

KEPT = {"kept_customers": "customer", "kept_teams": "team"}
"""Limits that are sets of names, and whose names they are."""

_NAMED_MAX = 5
"""Names that one message tells one by one."""


def read_settings(file: Path | None) -> FoldSettings:
    """Return the settings in a file, the defaults without one. Raises ConfigurationError."""
    return fold_settings(load_config(file))


def changes(old: FoldSettings, new: FoldSettings) -> list[str]:
    """Return what is different in the new settings, each as a phrase for the log."""
    found = []
    for key, field in LIMITS.items():
        before, after = getattr(old.limits, field), getattr(new.limits, field)
        if before != after:
            found.append(f"metrics.{key} is {after} (was {before})")
    for key, field in TIMES.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            found.append(f"metrics.{key} is {after / 1e6:g} (was {before / 1e6:g})")
    for field, kind in KEPT.items():
        names, others = getattr(new.limits, field), getattr(old.limits, field)
        found += _named(f"{kind} names always shown", names - others)
        found += _named(f"{kind} names shown while there is room", others - names)
    return found


def _named(what: str, names: frozenset[str]) -> list[str]:
    if not names:
        return []
    told = ", ".join(repr(name) for name in sorted(names)[:_NAMED_MAX])
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return [f"{what}: {told}{more}"]


@contextmanager
def reloading(file: Path | None, follower: Follower, settings: FoldSettings) -> Iterator[None]:
    """Read the file again at each SIGHUP while the block runs. Only in the main thread.

    `settings` are those in force. Without a file a SIGHUP is answered by a line in the log.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None:  # Windows knows no such signal
        yield
        return
    # The handler may interrupt anything, itself too: SimpleQueue.put is made for that. Reading and
    # waiting for the fold are left to a thread, so that no scrape waits for them.
    asked: SimpleQueue[bool] = SimpleQueue()
    thread = threading.Thread(
        target=_reload, args=(asked, file, follower, settings), name="spendtree-reload", daemon=True
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
    asked: "SimpleQueue[bool]", file: Path | None, follower: Follower, settings: FoldSettings
) -> None:
    while asked.get():
        if file is None:
            log.warning("SIGHUP: nothing to read again, since there is no --config.file")
            continue
        try:
            wanted = read_settings(file)
        except ConfigurationError as error:
            log.error("%s; the settings stay as they were", error)
            continue
        except Exception:
            # Without this thread no later SIGHUP would be heard, and nobody would know.
            log.exception("%s could not be read again; the settings stay as they were", file)
            continue
        follower.limit(
            wanted.limits, linger_us=wanted.linger_us, birth_hold_us=wanted.birth_hold_us
        )
        log.info("%s read again: %s", file, "; ".join(changes(settings, wanted)) or "no change")
        settings = wanted
