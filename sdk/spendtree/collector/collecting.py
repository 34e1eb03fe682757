"""Collecting: one Collector folds what one tracker books in this process, for one registry.

Events wait in a line and are folded when somebody scrapes, or when many wait: a call pays for an
`append` to that line and no more. Nothing here waits for a lock while a call is made.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from spendtree.collector import families
from spendtree.collector.exemplars import Exemplars, is_observed
from spendtree.collector.hearing import HeardStore
from spendtree.config.figures import Figures, catalogue_figures, configured_figures
from spendtree.config.limits import fold_settings
from spendtree.errors import ConfigurationError, StoreError
from spendtree.event import Context, Event, Kind
from spendtree.metrics import Fold

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from spendtree.scope import Session
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

NO_ID = bytes(16)
"""The id of an event that is told nobody else."""

WAITING_MAX = 1_000
"""Events that wait to be folded: some milliseconds of work, for whichever call is the last."""


class Collector:
    """The figures of what one tracker books in this process; see `spendtree.collector`.

    Registered from the start until `close`. In a forked child it shows nothing, since its counters
    would be its parent's too, and says so once: call `spendtree.collector()` there.
    """

    def __init__(
        self, tracker: "Spendtree", heard: HeardStore, registry: "CollectorRegistry"
    ) -> None:
        self.registry = registry
        self.pid = os.getpid()
        self._tracker = tracker
        self._store = heard
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque()
        self._joined: set[str] = set()
        self._config = tracker.config
        self._configured: Figures | None = None
        self._fold = Fold(heard.bare.id, **fold_settings(self._config)._asdict())
        self._fold.tick(self._now())
        self._exemplars = Exemplars()
        self._wrong = ""
        self._told = False
        self._unread = False
        try:
            registry.register(self)
        except ValueError as error:
            raise ConfigurationError(
                "collector(): this registry has the figures of another Spendtree already. Give "
                "each a registry of its own, collector(CollectorRegistry(), tracker=…), or close() "
                f"the other's collector ({error})"
            ) from error
        heard.listeners += (self,)

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples: prometheus_client asks for their names."""
        return families.describe()

    def collect(self) -> Iterable[Metric]:
        """Return all families with their samples as of now, none where they would be wrong."""
        if os.getpid() != self.pid:
            self._tell_once(
                "spendtree's metrics are left out: this process was forked off the one that made "
                "the collector. Call spendtree.collector() here, after the fork, if this process "
                "serves alone; run spendtree-exporter if several do"
            )
            return []
        with self._lock:
            self._catch_up()
            if self._wrong:
                self._tell_once(f"spendtree's metrics are left out, counting ended: {self._wrong}")
                return []
            self._read_accounts()
            return list(families.collect(self._fold, self._exemplars.of, self._own()))

    def close(self) -> None:
        """Leave the registry and listen no more."""
        with suppress(KeyError):  # the application took it out itself
            self.registry.unregister(self)
        heard = self._store
        heard.listeners = tuple(each for each in heard.listeners if each is not self)
        if not heard.listeners:
            self._tracker.store = heard.bare

    def joined(self, opening: Event) -> None:
        """Take note that a session goes on here that was opened before; `opening` is of now."""
        self._joined.add(opening.context.session)
        self.heard(opening)

    def heard(self, event: Event) -> None:
        """Take note of an event that this process has booked. Never raises, never waits."""
        if self._wrong or os.getpid() != self.pid:
            return
        self._waiting.append(event)
        # Never wait for the lock here: whoever has it may be this very thread, interrupted by a
        # garbage collection that closes a forgotten scope.
        if len(self._waiting) >= WAITING_MAX and self._lock.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self._lock.release()

    def _now(self) -> int:
        return self._tracker.moment()

    def _catch_up(self) -> None:
        """Fold what waits; the caller holds the lock."""
        waiting = self._waiting
        left = self._left()  # before, since a session's last events come before its end
        events = [waiting.popleft() for _ in range(len(waiting))]
        try:
            self._reconfigure()
            self._fold.tick(self._now())  # before, so that what is old already is not born now
            self._apply(events + left)
            self._fold.tick(self._now())
        except Exception as error:
            # Folded in part: any figure could be wrong from here on.
            log.exception("spendtree's collector cannot count on")
            self._wrong = repr(error)
            waiting.clear()

    def _left(self) -> list[Event]:
        """Return ends of sessions that this process has joined and left.

        Their true end is recorded, and counted, by whoever opened them; here it is only the end of
        their series.
        """
        if not self._joined:
            return []
        at = self._now()
        left = self._joined - {session.id for session in self._open_sessions()}
        self._joined -= left
        ended = {"continued": True}
        return [
            Event(0, Kind.SESSION_CLOSED, at, NO_ID, Context(session), data=ended)
            for session in left
        ]

    def _open_sessions(self) -> list["Session"]:
        while True:
            with suppress(RuntimeError):  # another thread has opened one meanwhile
                return list(self._tracker._sessions)

    def _reconfigure(self) -> None:
        if self._tracker.config is not self._config:
            self._config, self._configured = self._tracker.config, None
            limits, linger_us, birth_hold_us = fold_settings(self._config)
            self._fold.limit(limits, linger_us=linger_us, birth_hold_us=birth_hold_us)

    def _apply(self, events: list[Event]) -> None:
        """Fold events; after each that a histogram may have taken, see which one did."""
        start = 0
        for end, event in enumerate(events, 1):
            if is_observed(event):
                self._fold.apply(events[start:end])
                self._exemplars.note(self._fold, event)
                start = end
        self._fold.apply(events[start:])

    def _read_accounts(self) -> None:
        """Bring the gauges up to date; where the store cannot be read they stay as they were."""
        store = self._store
        if store.closed:
            return
        try:
            self._fold.set_balances(store.bare.accounts_named(self._fold.live_accounts))
        except StoreError as error:
            if not self._unread:
                log.warning("budgets cannot be read, their gauges stay as they were: %s", error)
            self._unread = True
        else:
            self._unread = False

    def _own(self) -> families.Samples:
        """Return what is known here and follows from no event."""
        from spendtree import __version__  # noqa: PLC0415 - the package imports this module

        now, holds = self._now(), list(self._store.holds.values())
        if self._configured is None:
            dated = catalogue_figures(self._tracker.prices.catalogue_timestamp)
            self._configured = {**dated, **configured_figures(self._config)}
        return {
            **self._configured,
            "oldest_hold_age_seconds": [((), max(now - min(holds), 0))] if holds else [],
            "unrecorded_calls_total": [((), self._tracker.unrecorded_calls)],
            "build_info": [((__version__,), 1)],
        }

    def _tell_once(self, message: str) -> None:
        if not self._told:
            self._told = True
            log.error("%s", message)
