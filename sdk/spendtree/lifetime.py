"""What lives as long as its process: told of a fork, and given a last chance at the end.

One hook of each kind for all of them, set when the first is made.
"""

import atexit
import os
import weakref
from typing import Protocol


class Lasting(Protocol):
    """What has something to do when its process ends, or goes on as two."""

    def after_fork_in_child(self) -> None:
        """Leave to the parent what is the parent's."""

    def at_exit(self) -> None:
        """Do what was put off; in a second or two, whatever the store does."""


_living: "weakref.WeakSet[Lasting]" = weakref.WeakSet()
_is_watching = False


def watch(made: Lasting) -> None:
    """Tell it, as long as it lives, of forks and of the end of the process."""
    global _is_watching
    _living.add(made)
    if not _is_watching:
        _is_watching = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork_in_child)


def _at_exit() -> None:
    for each in list(_living):
        each.at_exit()


def _after_fork_in_child() -> None:
    for each in list(_living):
        each.after_fork_in_child()
