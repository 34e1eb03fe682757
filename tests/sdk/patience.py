"""Waiting in tests for what another thread does, without sleeping and not for ever."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 20.0


def until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds; fail if it does not in a time that no machine needs."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "what is waited for does not happen"
