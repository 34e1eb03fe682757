"""Keeper: what one exporter of each store does to it, while the others only read.

It lapses the holds of processes that are gone, and closes sessions that nobody will close. Whoever
has the store's lock is the writer; the others try for it, and take over when it is free.
"""

import logging
import threading
import time
from collections.abc import Callable

from spendtree.errors import LedgerConflictError, StoreError
from spendtree.event import Event, Kind
from spendtree.store import Store
from spendtree.store.owner import Owner
from spendtree_exporter.lock import WriterLock

SESSION_IDLE_SECONDS = 3600.0
"""After this long without an event the open session of a process that is gone, or that cannot be
seen from here, is abandoned, and a foreign hold lapses."""

LIVING_PATIENCE = 24
"""So many times longer may the session of a living process be silent: it may wait for a person, or
have been forgotten; its series must not stay for ever."""

_TRY_SECONDS = 1.0
"""How often a reader tries to become the writer."""

_ROUND_SECONDS = 60.0
"""How often the writer looks for what was abandoned; more rarely where looking takes long."""

_SHARE = 100
"""A round is followed by a pause of at least so many times its length: 1 % of a core."""

_SESSIONS = (Kind.SESSION_OPENED, Kind.SESSION_CLOSED)

log = logging.getLogger("spendtree.exporter")


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class Keeper:
    """Keeps one store in order, in a thread of its own, from `start` to `stop`.

    `writer` tells whether this exporter has the store's lock. `session_idle_seconds` is how long
    an open session may be silent whose process is gone or unknown; `LIVING_PATIENCE` times that if
    it lives. `when_writer` is called when this exporter has become the writer.
    """

    def __init__(
        self,
        store: Store,
        *,
        session_idle_seconds: float = SESSION_IDLE_SECONDS,
        when_writer: Callable[[], object] = lambda: None,
        now: Callable[[], int] = _wall_clock_us,
    ) -> None:
        self._store = store
        self._idle_us = round(session_idle_seconds * 1e6)
        self._now = now
        self._when_writer = when_writer
        self._lock = WriterLock(store.url)
        self._told = ""
        self._quiet_until: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def writer(self) -> bool:
        """Tell whether this exporter is the one that writes."""
        return self._lock.held

    def start(self) -> None:
        """Take the lock if it is free, and begin."""
        self.try_to_write()
        self._thread = threading.Thread(target=self._run, name="spendtree-keep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, wait for the thread, and leave the lock to the next."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._lock.release()

    def try_to_write(self) -> bool:
        """Become the writer if nobody else is; the log says so, or who is, once."""
        if self._lock.held:
            return True
        reason = self._lock.acquire()
        if not reason and self._told:
            log.info("the other exporter is gone: this one closes abandoned sessions from now on")
        elif reason and not self._told:
            log.warning("read-only: %s; serving the same figures, ready to take over", reason)
        self._told = reason
        if reason:
            return False
        self._when_writer()
        return True

    def tidy(self) -> int:
        """Do one round; answer how many sessions were closed. Raises StoreError."""
        now = self._now()
        lapsed = self._store.lapse_abandoned(now=now, idle=self._idle_us)
        if lapsed:
            log.info("%d holds lapsed: nobody is left to settle them", lapsed)
        closed = [session for session in self._idle(now) if self._close(session, now)]
        if closed:
            log.info("%d sessions closed as abandoned: nobody is left to end them", len(closed))
        return len(closed)

    def _idle(self, now: int) -> list[Event]:
        """Return the openings of open sessions that have been silent for too long."""
        opened: dict[str, Event] = {}
        for event in self._store.events(kinds=_SESSIONS):
            if event.kind == Kind.SESSION_OPENED:
                opened[event.context.session] = event
            else:
                opened.pop(event.context.session, None)
        self._quiet_until = {name: at for name, at in self._quiet_until.items() if name in opened}
        return [event for event in opened.values() if self._is_idle(event, now)]

    def _is_idle(self, opened: Event, now: int) -> bool:
        # A session's events are read only when it could be idle by what is known of it.
        session = opened.context.session
        if self._quiet_until.get(session, opened.at + self._idle_us) > now:
            return False
        last = max(event.at for event in self._store.events(session=session))
        self._quiet_until[session] = last + self._patience_us(opened)
        return self._quiet_until[session] <= now

    def _patience_us(self, opened: Event) -> int:
        return self._idle_us * (LIVING_PATIENCE if self._opener_lives(opened) else 1)

    def _opener_lives(self, opened: Event) -> bool:
        """Tell whether the process that opened a session is seen to live."""
        opener = (opened.data or {}).get("opener")
        return opener is not None and self._store.is_dead(Owner.parse(opener)) is False

    def _close(self, opened: Event, now: int) -> bool:
        rows = self._store.totals(opened.context.session)
        event = Event(
            0,
            Kind.SESSION_CLOSED,
            now,
            opened.id,
            opened.context,
            cost=sum(row.cost for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cache_read_tokens=sum(row.cache_read_tokens for row in rows),
            cache_write_tokens=sum(row.cache_write_tokens for row in rows),
            status="abandoned",
            started=opened.started or opened.at,
            data={"reason": f"no event for {self._patience_us(opened) / 1e6:g} s"},
        )
        try:
            return self._store.append(event)
        except LedgerConflictError:  # it was closed otherwise just now
            return False

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = _TRY_SECONDS
            if not self.try_to_write():
                continue
            started = time.monotonic()
            try:
                self.tidy()
            except StoreError as error:
                log.error("abandoned sessions could not be closed: %s", error)
            except Exception:
                # Figures are served all the same; the next round may fare better.
                log.exception("abandoned sessions could not be closed")
            pause = max(_ROUND_SECONDS, _SHARE * (time.monotonic() - started))
