"""Where in a program something was done: the line of its own that called us, or a client of ours.

Looked for only where something is wrong, so that a warning names the place, and each place once.
"""

import sys
from types import FrameType

NOT_OURS = frozenset(
    {
        *("spendtree", "contextlib", "contextvars", "functools", "asyncio", "concurrent"),
        *("threading", "multiprocessing", "anyio", "openai", "anthropic", "httpx", "httpx2"),
    }
)
"""Packages that stand between a program and what it calls: no place in them says anything."""

PLACES_MAX = 1_000
"""Places that are remembered; where there are more, the log has enough to read."""

LENGTH_MAX = 200


def call_site() -> str:
    """Return the innermost place of the program itself as "file:line", "" if there is none.

    Of a long path the end: that is what tells files apart.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__") or "").partition(".")[0]
        if package not in NOT_OURS:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"[-LENGTH_MAX:]
        frame = frame.f_back
    return ""


class Places:
    """The places that a warning was logged for. Without a lock, which a fork could leave taken."""

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}

    def is_new(self, warning: str, place: str) -> bool:
        """Tell whether a warning was not asked about before at a place."""
        if len(self._seen) >= PLACES_MAX:
            return False
        mine = object()
        return self._seen.setdefault(f"{warning} {place}", mine) is mine
