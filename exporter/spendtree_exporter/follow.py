"""Follow: one thread that keeps a Fold at the end of a store's log, and says how it is doing.

The only writer of the fold; whoever reads the fold does so under `lock`. No HTTP here.
"""

import logging
import threading
import time
from collections.abc import Callable

from spendtree.errors import StoreError
from spendtree.metrics import Fold, Limits
from spendtree.store import Store
from spendtree.store.protocol import START

PAGE = 5_000
"""Events read at a time: some 20 ms of folding, the longest that a scrape waits for the lock."""

_FASTEST, _SLOWEST, _AFTER_ERROR = 0.02, 0.25, 1.0
"""Seconds between two looks at the log: while events come, when none do, when the store fails."""

log = logging.getLogger("spendtree.exporter")


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class Follower:
    """Keeps `fold` at the end of `store`'s log from `start` to `stop`.

    A store that cannot be read is tried again, while the figures stay as they are. `complete` is
    true once the end of the log was reached. `failure` holds the reason if following ended for
    good: after it the figures are not to be shown, since they might be wrong.
    """

    def __init__(
        self, store: Store, *, fold: Fold | None = None, now: Callable[[], int] = _wall_clock_us
    ) -> None:
        self.store = store
        self.fold = fold or Fold(store.id)
        self.lock = threading.Lock()
        self.complete = False
        self.failure = ""
        self.events_read = 0
        self.store_errors = 0
        self._now = now
        self._cursor = START
        self._failing = False
        self._current_at = time.monotonic()
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lag_seconds(self) -> float:
        """Return how long ago the fold last stood at the end of the log."""
        return time.monotonic() - self._current_at

    def start(self) -> None:
        """Begin to follow, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="spendtree-follow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End following and wait for its thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the figures are complete, following has failed, or the time is over."""
        self._settled.wait(timeout_seconds)

    def limit(self, limits: Limits, *, linger_us: int) -> None:
        """Have the fold go on under other limits, between two pages."""
        with self.lock:
            self.fold.limit(limits, linger_us=linger_us)

    def step(self) -> tuple[int, bool]:
        """Read and fold one page; answer how many events came and if the log holds more.

        Raises StoreError when the store cannot be read; then nothing has changed.
        """
        page = self.store.read(self._cursor, PAGE)
        with self.lock:
            if page.events:
                self.fold.apply(page.events)
            self.fold.expire(self._now())
            self._cursor = page.cursor
            self.events_read += len(page.events)
        if not page.more:
            self._current_at = time.monotonic()
            self.complete = True
            self._settled.set()
        return len(page.events), page.more

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                count, more = self.step()
            except StoreError as error:
                self._store_failed(error)
                pause = _AFTER_ERROR
            except Exception as error:
                # A page may have been folded in part: any figure could be wrong from here on.
                log.exception("following %s ended", self.store.url)
                self.failure = f"following the store ended: {error!r}"
                self._settled.set()
                return
            else:
                self._store_answered()
                pause = _next_pause(pause, count, more)

    def _store_failed(self, error: StoreError) -> None:
        self.store_errors += 1
        if not self._failing:
            log.error("the store cannot be read, serving the last figures: %s", error)
        self._failing = True

    def _store_answered(self) -> None:
        if self._failing:
            log.info("the store can be read again")
        self._failing = False


def _next_pause(pause: float, count: int, more: bool) -> float:
    """Return how long to wait: not at all while behind, ever longer while nothing comes."""
    if more:
        return 0.0
    return _FASTEST if count else min(max(pause * 2, _FASTEST), _SLOWEST)
