"""A clock that stands still until it is told to move."""

DEFAULT_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z


class FrozenClock:
    """A clock for `Spendtree(clock=…)`: called, it returns nanoseconds since 1970 UTC."""

    def __init__(self, ns: int = DEFAULT_NS) -> None:
        self.ns = ns

    def __call__(self) -> int:
        """Return the time that it shows."""
        return self.ns

    def advance(self, seconds: float) -> None:
        """Move the clock forward; ValueError for a step back, since the log's order is time's."""
        if seconds < 0:
            raise ValueError(f"seconds={seconds}: a clock does not go back")
        self.ns += round(seconds * 1e9)
