"""Whether this thread runs an event loop: who waits there keeps all its tasks waiting."""

import sys
import threading


class _Here(threading.local):
    """What is so in this thread."""

    awaiting = 0
    """How many of the callers of what runs now wait with `await` for a store that is busy."""


_here = _Here()


class Awaiting:
    """Around what a task does that goes on waiting with `await`, should the store be busy."""

    def __enter__(self) -> None:
        _here.awaiting += 1

    def __exit__(self, *_: object) -> None:
        _here.awaiting -= 1


AWAITING = Awaiting()


def can_await() -> bool:
    """Tell whether a caller goes on waiting with `await`: nothing need wait here."""
    return _here.awaiting > 0


def in_event_loop() -> bool:
    """Tell whether this thread runs a loop of asyncio or trio right now; imports neither."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return True
    return in_trio()


def in_trio() -> bool:
    """Tell whether this thread runs trio right now."""
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel is None:
        return False
    try:
        lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True
