"""Sessions with series of their own: admitted in log order, gone a while after their end. Pure.

Time is the log's own clock, moved by events and by whoever knows what time it is now.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from spendtree.event import Context
from spendtree.metrics.names import OVERFLOW, Who, label_text
from spendtree.metrics.series import Labels, Series, Tables

FAMILIES = ("session_cost_usd_total", "session_calls_total", "session_tokens_total")


class Row(NamedTuple):
    """The three series of one session, agent, customer and routing cycle."""

    labels: Labels
    shown: bool
    cost: Series
    calls: Series
    tokens: Series


class Session:
    """One session that the fold has met and not forgotten.

    `shown` says if it got series of its own when it was first met; `last` is when its last event
    was recorded; `contexts` are its entries in the fold's cache. While it is `open` it stays.
    """

    __slots__ = ("contexts", "label", "last", "open", "rows", "shown")

    def __init__(self, label: str, shown: bool = False) -> None:
        self.label = label
        self.shown = shown
        self.last = 0
        self.open = False
        self.rows: dict[Labels, Row] = {}
        self.contexts: set[Context] = set()


class Sessions:
    """All sessions that are open, or whose last event is less than `linger_us` ago."""

    def __init__(self, tables: Tables, linger_us: int) -> None:
        self._tables = tables
        self._linger_us = linger_us
        self._known: dict[str, Session] = {}
        self._ending: list[tuple[int, str]] = []
        self._clock = 0
        self.live = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._known.values())

    def linger(self, linger_us: int) -> None:
        """Keep sessions that long after their last event from now on, those that ended too."""
        self._linger_us = linger_us
        ended = [session for session in self._known.values() if not session.open]
        self._ending = [(session.last + linger_us, session.label) for session in ended]
        heapq.heapify(self._ending)

    def meet(self, text: str, at: int) -> Session:
        """Return the session that an event names, admitted now if it was not known.

        One that nobody opened (late truth for a session long gone, a trace without its root)
        stays while events come. One that finds no room stays without series for its whole life:
        a later start would show a part of its spend as if it were all.
        """
        label = label_text(text)
        session = self._known.get(label)
        if session is None:
            shown = label != OVERFLOW and self._tables.session_room(len(FAMILIES))
            session = self._known[label] = Session(label, shown)
            self._end(session, at)
        session.last = at
        return session

    def open(self, text: str, at: int) -> None:
        """Keep a session until it is closed."""
        session = self.meet(text, at)
        self.live += not session.open
        session.open = True

    def close(self, text: str, at: int) -> None:
        """Let a session go a while after its last event."""
        session = self.meet(text, at)
        self.live -= session.open
        session.open = False
        self._end(session, at)

    def _end(self, session: Session, at: int) -> None:
        heapq.heappush(self._ending, (at + self._linger_us, session.label))

    def row(self, session: Session, who: Who) -> Row:
        """Return the series that a session's spend by somebody goes to."""
        labels = (session.label, who.agent, who.customer, who.routing_cycle)
        row = session.rows.get(labels)
        if row is None:
            shown = session.shown and self._tables.session_room(len(FAMILIES))
            if shown:
                made = [self._tables.add_session_series(name, labels) for name in FAMILIES]
            else:
                names = {**who._asdict(), "session": OVERFLOW}
                made = [self._tables.standing_series(name, names)[0] for name in FAMILIES]
            row = session.rows[labels] = Row(labels, shown, *made)
        return row

    def expire(self, now: int) -> list[Session]:
        """Forget the sessions whose time is over; their series vanish. Returns them."""
        self._clock = max(self._clock, now)
        gone: list[Session] = []
        while self._ending and self._ending[0][0] <= self._clock:
            session = self._known.get(heapq.heappop(self._ending)[1])
            if session is None or session.open:
                continue
            if session.last + self._linger_us > self._clock:
                self._end(session, session.last)
            else:
                self._forget(session)
                gone.append(session)
        return gone

    def _forget(self, session: Session) -> None:
        del self._known[session.label]
        for row in session.rows.values():
            if row.shown:
                for name in FAMILIES:
                    self._tables.drop_session_series(name, row.labels)
