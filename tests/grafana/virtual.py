"""Virtual time: an event loop that jumps to its next timer instead of waiting for it.

A week of the demo's workload passes in a minute, and the same week each time. Only for a process
of its own, since `time.monotonic` is the virtual clock in it, too.
"""

import asyncio
import selectors
import time

from spendtree.testing import FrozenClock


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks on a clock that it moves itself, whenever all of them wait."""

    def __init__(self, clock: FrozenClock) -> None:
        self._virtual_clock = clock
        self._began_ns = clock.ns
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        """Return the seconds since the loop was made: small ones, of which floats are exact."""
        return (self._virtual_clock.ns - self._began_ns) / 1e9


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, clock: FrozenClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        if timeout > 0:
            # A nanosecond more than asked: a timer that is not quite due would be asked for again.
            self._clock.ns += int(timeout * 1e9) + 1
        return super().select(0)


def live_by(clock: FrozenClock) -> None:
    """Let `time.monotonic` be the clock's, for waits that are measured with it."""
    time.monotonic = lambda: clock.ns / 1e9
