"""Whether this thread runs an event loop: who waits there keeps all its tasks waiting."""

import sys


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
