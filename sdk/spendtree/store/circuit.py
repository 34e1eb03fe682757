"""A breaker for a store that another process keeps locked: when to wait for it, and when not.

Waiting is right for the milliseconds of somebody else's transaction. A process that is stopped in
the middle of one (a debugger, a frozen container) keeps the store for as long as it likes: then all
calls would wait their full time, one after the other. Times are passed in, and nothing here is
noted that an interrupted thread could leave behind: what is not brought up to date grows old.
"""

OPENS_AFTER_SECONDS = 3.0
"""Busy for so long without a break, it is not waited for any more by the tasks of a loop. On a
machine with more processes than it can run, one may find others at it for a second."""

FORGET_SECONDS = 0.25
"""Two looks that far apart show nothing about the time between them."""

PROBE_EVERY_SECONDS = 0.05
"""While it is open, one verb in so long tries."""


class Circuit:
    """Closed: verbs wait for a busy store. Open: they are refused at once, but for a probe."""

    __slots__ = ("is_open", "seen", "since", "tried")

    def __init__(self) -> None:
        self.since: float | None = None
        """Since when the store has been busy at every look; None if the last one found it free."""
        self.seen = 0.0
        self.tried = 0.0
        self.is_open = False

    def admits(self, now: float) -> bool:
        """Tell whether a verb may try."""
        if not self.is_open:
            return True
        if now - self.tried < PROBE_EVERY_SECONDS:
            return False
        self.tried = now
        return True

    def found_busy(self, now: float, *, in_loop: bool) -> None:
        """Note that a verb found the store busy; a thread without a loop waits its full time."""
        since, seen, self.seen = self.since, self.seen, now
        if since is None or (now - seen > FORGET_SECONDS and not self.is_open):
            self.since = now
        elif in_loop and now - since >= OPENS_AFTER_SECONDS:
            self.is_open = True

    def gave_up(self) -> None:
        """Note that a verb has waited its full time: the next one need not, after one try."""
        self.is_open = True

    def found_free(self) -> None:
        """Note that a verb has had the store."""
        self.since = None
        self.is_open = False

    def busy_seconds(self, now: float) -> float:
        """Return for how long the store has been busy."""
        return 0.0 if self.since is None else now - self.since
