"""Follow: one thread that keeps a Fold at the end of a store's log, and says how it is doing.

Whoever reads the fold does so under `lock`; nobody else changes it. No HTTP here.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from spendtree.config.figures import Figures
from spendtree.errors import PrunedError, StoreError
from spendtree.metrics import BIRTH_HOLD_US, Fold, Limits, state
from spendtree.store import Store
from spendtree.store.protocol import START, Page
from spendtree_exporter import snapshot
from spendtree_exporter.snapshot import Mark
from spendtree_exporter.whereabouts import Whereabouts

PAGE = 5_000
"""Events read at a time: some 20 ms of folding, the longest that a scrape waits for the lock."""

_FASTEST, _SLOWEST, _AFTER_ERROR = 0.02, 0.25, 1.0
"""Seconds between two looks at the log: while events come, when none do, when the store fails."""

_ACCOUNTS_SECONDS = 1.0
"""How old the accounts that a scrape shows may be: two scrapers at once read them once."""

SNAPSHOT_SECONDS = 60.0
"""How often the state is written down while events come; more rarely where writing takes long."""

_SNAPSHOT_SHARE = 20
"""A snapshot is followed by a pause of at least so many times its length: 5 % of a core."""

log = logging.getLogger("spendtree.exporter")


class _PutBackError(StoreError):
    """The log no longer holds what was read of it last."""


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class Follower:
    """Keeps `fold` at the end of `store`'s log from `start` to `stop`.

    A store that cannot be read is tried again, while the figures stay as they are. `complete` is
    true once the end of the log was reached. `failure` holds the reason if following ended for
    good: after it the figures are not to be shown, since they might be wrong. With a `state_file`
    the state is kept there and taken up again at `start`. `oldest_hold` is when the oldest open
    hold was made (microseconds), None while there is none. `configured` are the samples that
    follow from no log: whoever reads the configuration sets them.
    """

    def __init__(
        self,
        store: Store,
        *,
        fold: Fold | None = None,
        now: Callable[[], int] = _wall_clock_us,
        state_file: Path | None = None,
    ) -> None:
        self.store = store
        self.fold = fold or Fold(store.id)
        self.lock = threading.Lock()
        self.complete = False
        self.failure = ""
        self.events_read = 0
        self.store_errors = 0
        self.oldest_hold: int | None = None
        self.configured: Figures = {}
        self._state_file = state_file
        self._place: Mark | None = None
        self._whereabouts = Whereabouts(store)
        self._written = self.fold.events
        self._write_at = time.monotonic() + SNAPSHOT_SECONDS
        self._accounts_at = 0.0
        self._now = now
        self._told: set[str] = set()
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
        """End following, once the state is written down, and wait for its thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the figures are complete, following has failed, or the time is over."""
        self._settled.wait(timeout_seconds)

    def limit(self, limits: Limits, *, linger_us: int, birth_hold_us: int = BIRTH_HOLD_US) -> None:
        """Have the fold go on under other limits, between two pages."""
        with self.lock:
            self.fold.limit(limits, linger_us=linger_us, birth_hold_us=birth_hold_us)

    @property
    def now(self) -> int:
        """Return the time, in microseconds since 1970 UTC."""
        return self._now()

    def refresh(self) -> None:
        """Bring what does not follow from the log up to date; the caller holds the lock.

        That is what the clock changes, and the accounts as they stand. Where the store cannot be
        read, they stay as they were.
        """
        self.fold.tick(self._now())
        if time.monotonic() - self._accounts_at < _ACCOUNTS_SECONDS:
            return
        try:
            self.fold.set_balances(self.store.accounts_named(self.fold.live_accounts))
            self.oldest_hold = self.store.oldest_hold()
        except StoreError as error:
            self._store_failed(error)
        self._accounts_at = time.monotonic()

    def step(self) -> tuple[int, bool]:
        """Read and fold one page; answer how many events came and if the log holds more.

        Raises StoreError when the store cannot be read; then nothing has changed.
        """
        self._whereabouts.look()
        page = self._page(self._place)
        with self.lock:
            now = self._now()
            self.fold.tick(now)  # before, so that what is old already is not born now
            if page.events:
                self.fold.apply(page.events)
                self.fold.tick(now)
            self._place = _behind(page, self._place)
            self.events_read += len(page.events)
        if not page.more:
            self._current_at = time.monotonic()
            self.complete = True
            self._settled.set()
        return len(page.events), page.more

    def _page(self, place: Mark | None) -> Page:
        """Return the page behind a place, if what was folded last still stands there.

        Looked at after reading: a log that is put back in between is found out as well. It may
        also have been pruned, which nobody can tell from here and costs only time.
        """
        page = self.store.read(place.cursor if place else START, PAGE)
        if place and not snapshot.stands(place, self.store):
            raise _PutBackError(
                f"store {self.store.url}: event {place.seq} is gone, which was read before; "
                "an older copy was put back, or it was pruned"
            )
        return page

    def start_over(self) -> tuple[int, bool]:
        """Fold the log anew from its start, and only then show that; answer as `step` does.

        For when the log was pruned where this had not read it yet, or was put back. Raises
        StoreError; then nothing has changed.
        """
        place: Mark | None = None
        fold, more = self._empty(), True
        while more:
            page = self._page(place)
            fold.tick(self._now())
            fold.apply(page.events)
            fold.tick(self._now())
            place, more = _behind(page, place), page.more
            self.events_read += len(page.events)
            if self._stop.is_set():
                return 0, False
        with self.lock:
            if state.settings(fold) != state.settings(self.fold):
                return 0, True  # they were changed just now: once more
            fold.version += self.fold.version  # who knows the old figures sees that they changed
            self.fold, self._place, self._written = fold, place, 0
        return fold.events, True

    def _advance(self) -> tuple[int, bool]:
        try:
            return self.step()
        except (PrunedError, _PutBackError) as error:
            log.info("reading the log anew: %s", error)
            self.store.close()  # it knows names by numbers, which are others in an older copy
            return self.start_over()

    def resume(self) -> None:
        """Take up the state that an earlier exporter has left, if it can be used."""
        if self._state_file is None:
            return
        found = snapshot.read(self._state_file, self.store, self._empty)
        if found is None:
            return
        fold, place = found
        with self.lock:
            if state.settings(fold) != state.settings(self.fold):
                return  # they were changed just now
            self.fold, self._place, self._written = fold, place, fold.events
        log.info("took up the state after %s events", f"{fold.events:,}")

    def _empty(self) -> Fold:
        fold = self.fold
        return Fold(
            fold.store_id,
            limits=fold.limits,
            linger_us=fold.linger_us,
            birth_hold_us=fold.birth_hold_us,
        )

    def _run(self) -> None:
        self.resume()
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                count, more = self._advance()
                if time.monotonic() >= self._write_at:
                    self._write_down()
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
        self._write_down()

    def _write_down(self) -> None:
        """Write the state down, if it is another one than before.

        Without the lock: this thread is the only one that changes it, and scrapes go on meanwhile.
        """
        if self._state_file is None or self._place is None or self._written == self.fold.events:
            return
        started = time.monotonic()
        try:
            snapshot.write(self._state_file, self.fold, self._place)
            self._written = self.fold.events
        except Exception as error:
            # Only a cache: whatever is wrong with it, the figures are right.
            log.warning("the state could not be written to %s: %s", self._state_file, error)
        took = time.monotonic() - started
        self._write_at = time.monotonic() + max(SNAPSHOT_SECONDS, took * _SNAPSHOT_SHARE)

    def _store_failed(self, error: StoreError) -> None:
        self.store_errors += 1
        if str(error) not in self._told:
            log.error("the store cannot be read, serving the last figures: %s", error)
        self._told.add(str(error))

    def _store_answered(self) -> None:
        if self._told:
            log.info("the store can be read again")
        self._told.clear()


def _behind(page: Page, before: Mark | None) -> Mark | None:
    """Return the place behind a page; None while the log has no event."""
    if page.events:
        return snapshot.mark(page.cursor, page.events[-1])
    return before and before._replace(cursor=page.cursor)


def _next_pause(pause: float, count: int, more: bool) -> float:
    """Return how long to wait: not at all while behind, ever longer while nothing comes."""
    if more:
        return 0.0
    return _FASTEST if count else min(max(pause * 2, _FASTEST), _SLOWEST)
