"""Sessions: what is known of each one that is open or ended a while ago. Pure.

Two clocks. Who is admitted, and who is forgotten, follows the log's own clock: every fold of one
log decides alike. What is shown follows the clock of whoever looks: series vanish in time although
nothing more is recorded, and come back if their session does.
"""

import heapq
from collections.abc import Iterator

from spendtree.event import Context
from spendtree.metrics.groups import BUDGET_FAMILIES, ROW_FAMILIES, Row
from spendtree.metrics.names import OTHER, OVERFLOW, Who, label_text
from spendtree.metrics.series import Tables

LINGER_US = 15 * 60 * 1_000_000
"""How long the series of a session that ended stay: a quarter of an hour."""

_COUNTERS = len(ROW_FAMILIES)
_GAUGES = len(BUDGET_FAMILIES) - 1
"""Series of a session's or envelope's account: all but the end of its period."""


class Cap:
    """An envelope or a run's max_cost, of a session that has not ended."""

    __slots__ = ("agent", "cap", "exhausted", "kind", "spent")

    def __init__(self, agent: str, kind: str, cap: int) -> None:
        self.agent = agent
        self.kind = kind
        self.cap = cap
        self.spent = 0
        self.exhausted = False


class Session:
    """One session that the fold has met and not forgotten.

    `admitted` says if it got series of its own when it was first met, `shown` if they are shown
    now; `last` is when its last event was recorded. `agent` is the first agent that made calls,
    `several` says if there were others; `worker` is the cost below level 1. `caps` and `accounts`
    (those with gauges) are by account id, None while there are none. `contexts` are its entries in
    the fold's cache.
    """

    __slots__ = (
        "accounts",
        "admitted",
        "agent",
        "caps",
        "contexts",
        "expected",
        "label",
        "last",
        "open",
        "rows",
        "several",
        "shown",
        "taken",
        "worker",
    )

    def __init__(self, label: str, admitted: bool = False) -> None:
        self.label = label
        self.admitted = admitted
        self.shown = admitted
        self.last = 0
        self.open = False
        self.taken = 0
        self.agent = ""
        self.several = False
        self.worker = 0
        self.expected: int | None = None
        self.rows: tuple[Row, ...] = ()
        self.caps: dict[str, Cap] | None = None
        self.accounts: list[str] | None = None
        self.contexts: list[Context] | None = None


class Sessions:
    """All sessions that are open, or whose last event is less than `linger_us` ago by the log."""

    def __init__(self, tables: Tables, linger_us: int) -> None:
        self.linger_us = linger_us
        self.known: dict[str, Session] = {}
        self.forgotten: list[Session] = []
        """Sessions that went since somebody last looked here."""
        self.clock = 0
        self.live = 0
        self.shown_series = 0
        self._tables = tables
        self._ending: list[tuple[int, str]] = []
        self._hidden: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[Session]:
        return iter(self.known.values())

    def linger(self, linger_us: int) -> None:
        """Keep sessions that long after their last event from now on, those that ended too."""
        self.linger_us = linger_us
        self._ending = [(s.last + linger_us, s.label) for s in self if not s.open]
        self._hidden = []
        heapq.heapify(self._ending)

    def meet(self, text: str, at: int) -> Session:
        """Return the session that an event names, admitted now if it was not known.

        One that nobody opened (late truth for a session long gone, a trace without its root)
        stays while events come. One that finds no room stays without series for its whole life:
        a later start would show a part of its spend as if it were all.
        """
        session = self.find(text)
        if session is None:
            label = label_text(text)
            self._advance(at)
            admitted = label != OVERFLOW and self._tables.session_room(_COUNTERS)
            session = self.known[label] = Session(label, admitted)
            self._end(session, at)
        elif session.admitted and not session.shown:
            self._show(session, at)
        session.last = at
        return session

    def find(self, text: str) -> Session | None:
        """Return the session that an event names, if it is known."""
        # Nearly every id is its own label, and a text that is none is no key here.
        return self.known.get(text) or self.known.get(label_text(text))

    def take_up(self, session: Session) -> None:
        """Take over a session that another one knew; the caller counts what it has taken."""
        self.known[session.label] = session
        self.live += session.open
        if not session.open:
            hidden = session.admitted and not session.shown
            due = session.last + self.linger_us, session.label
            heapq.heappush(self._hidden if hidden else self._ending, due)
        if session.shown:
            self._show_rows(session)

    def open(self, text: str, at: int) -> Session:
        """Keep a session until it is closed."""
        session = self.meet(text, at)
        self.live += not session.open
        session.open = True
        return session

    def close(self, session: Session, at: int) -> None:
        """Let a session go a while after its last event."""
        self.live -= session.open
        session.open = False
        self._end(session, at)

    def row(self, session: Session, who: Who) -> Row:
        """Return what a session's spend by somebody is counted in."""
        labels = (session.label, who.agent, who.customer, who.routing_cycle)
        for row in session.rows:
            if row.labels == labels:
                return row
        shown = session.admitted and self._take(session, _COUNTERS)
        row = Row(labels, shown)
        session.rows = (*session.rows, row)
        if shown:
            self._tables.rows[labels] = row
            self.shown_series += _COUNTERS
        return row

    def overflow(self, row: Row) -> Row:
        """Return the series that the spend of a row without own series goes to."""
        labels = (OVERFLOW, *row.labels[1:])
        shared = self._tables.rows.get(labels)
        if shared is None and not self._tables.room(_COUNTERS):
            labels = (OVERFLOW, OTHER, self._tables.when_full("customer", labels[2]), labels[3])
            shared = self._tables.rows.get(labels)
        if shared is None:
            self._tables.standing += _COUNTERS
            shared = self._tables.rows[labels] = Row(labels, True)
        assert isinstance(shared, Row)
        return shared

    def add_account(self, session: Session, account: str) -> None:
        """Show the gauges of an account of a session, if there is room."""
        known = session.accounts or []
        if session.admitted and account not in known and self._take(session, _GAUGES):
            session.accounts = [*known, account]

    def tick(self, now: int) -> list[Session]:
        """Hide the series of sessions whose time is over for who looks at `now`; return them."""
        hidden: list[Session] = []
        while self._ending and self._ending[0][0] <= now:
            session = self._pop(self._ending, now)
            if session is not None:
                self._hide(session)
                hidden.append(session)
                heapq.heappush(self._hidden, (session.last + self.linger_us, session.label))
        return hidden

    def _take(self, session: Session, count: int) -> bool:
        fits = self._tables.session_room(count)
        if fits:
            session.taken += count
            self._tables.sessions += count
        return fits

    def _end(self, session: Session, at: int) -> None:
        heapq.heappush(self._ending, (at + self.linger_us, session.label))

    def _advance(self, at: int) -> None:
        """Forget the sessions whose time is over by the log's clock."""
        self.clock = max(self.clock, at)
        for waiting in (self._ending, self._hidden):
            while waiting and waiting[0][0] <= self.clock:
                session = self._pop(waiting, self.clock)
                if session is not None:
                    self._forget(session)

    def _pop(self, waiting: list[tuple[int, str]], now: int) -> Session | None:
        """Take the next ending; return its session if that is over, else let it wait on."""
        session = self.known.get(heapq.heappop(waiting)[1])
        if session is None or session.open:
            return None
        if session.last + self.linger_us > now:
            self._end(session, session.last)
            return None
        return session

    def _forget(self, session: Session) -> None:
        self._hide(session)
        del self.known[session.label]
        self._tables.sessions -= session.taken
        self.forgotten.append(session)

    def _hide(self, session: Session) -> None:
        if not session.shown:
            return
        session.shown = False
        for row in session.rows:
            if row.shown:
                del self._tables.rows[row.labels]
                row.forget_texts()
                self.shown_series -= _COUNTERS

    def _show(self, session: Session, at: int) -> None:
        session.shown = True
        self._end(session, at)
        self._show_rows(session)

    def _show_rows(self, session: Session) -> None:
        for row in session.rows:
            if row.shown:
                self._tables.rows[row.labels] = row
                self.shown_series += _COUNTERS
