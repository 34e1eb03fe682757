"""Fold: events in, counter series out. Pure, integers only; not safe for threads by itself.

Every call is added to one small book per context, request and ending, a few additions in a list.
At the end of `apply` each touched book is posted to all its series, along wirings that are
worked out once. That is what makes the loop fast.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics.catalogue import Family
from spendtree.metrics.names import Limits, Names, Who, label_text
from spendtree.metrics.series import Labels, Series, Tables
from spendtree.metrics.sessions import Row, Session, Sessions
from spendtree.metrics.wiring import (
    CACHE_READ,
    CACHE_WRITE,
    CHARGES,
    COST,
    COUNT,
    FINISHED,
    HELD,
    INPUT,
    OUTPUT,
    TOKENS,
    TRUE,
    Wiring,
    Wirings,
)

LINGER_US = 15 * 60 * 1_000_000
"""How long the series of a session that ended stay: a quarter of an hour."""

_PAYERS_MAX = 20_000
"""Contexts kept at hand (about 2 kB each); more are worked out again."""

_NOTHING = [0] * 8
_RUN_FAMILIES = ("agent_runs_total", "agent_run_cost_usd_total")


class _Book:
    """Sums that are not posted yet, of one payer's calls with one request and ending."""

    __slots__ = ("session_wiring", "sums", "wiring")

    def __init__(self, wiring: Wiring, session_wiring: Wiring) -> None:
        self.sums = _NOTHING.copy()
        self.wiring = wiring
        self.session_wiring = session_wiring


class _Payer:
    """What one context comes to: its labels, its session and its books."""

    __slots__ = ("books", "counts", "row", "session", "stray", "who")

    def __init__(self, who: Who, session: Session, row: Row | None, counts: bool) -> None:
        self.who = who
        self.session = session
        self.row = row
        self.counts = counts
        self.stray = counts and row is None
        self.books: dict[tuple[Request, int, str, bool], _Book] = {}


class Fold:
    """The counters of one store as its log stands.

    `store_id` is the `store` label of every series. `events` counts the events applied, `version`
    changes whenever a series does. Feed it every event of a log once, in log order.
    """

    def __init__(
        self, store_id: str, *, limits: Limits | None = None, linger_us: int = LINGER_US
    ) -> None:
        self.store_id = store_id
        self.limits = limits or Limits()
        self.linger_us = linger_us
        self.events = 0
        self.version = 0
        self._tables = Tables(self.limits)
        self._sessions = Sessions(self._tables, linger_us)
        self._names = Names(self.limits)
        self._wirings = Wirings(self._tables, self._names)
        self._payers: dict[Context, _Payer] = {}
        self._handlers: dict[int, Callable[[Event], None]] = {
            Kind.SESSION_OPENED: self._session_opened,
            Kind.SESSION_CLOSED: self._session_closed,
            Kind.RUN_CLOSED: self._run_closed,
            Kind.DENIED: self._denied,
        }

    def __iter__(self) -> Iterator[tuple[Family, Mapping[Labels, Series]]]:
        """Iterate over all families of the catalogue with their series (those of events)."""
        return iter(self._tables)

    def rows(self, name: str) -> Mapping[Labels, Series]:
        """Return the series of one family by their label values; KeyError if there is none."""
        return self._tables.rows(name)

    @property
    def live_sessions(self) -> int:
        """Return how many sessions are open."""
        return self._sessions.live

    @property
    def session_series(self) -> int:
        """Return how many series carry a session."""
        return self._tables.sessions

    @property
    def standing_series(self) -> int:
        """Return how many series carry no session."""
        return self._tables.standing

    def apply(self, events: Iterable[Event]) -> None:
        """Count the next events of the log. Events of origin "history" count nowhere."""
        payers, handlers, touched = self._payers, self._handlers, list[_Book]()
        for event in events:
            self.events += 1
            (_, kind, at, _, context, request, cost, held, fresh, output, read, write, write_1h,
             _, status, _, _) = event  # fmt: skip
            if kind not in CHARGES:
                if kind in handlers and context.origin != "history":
                    handlers[kind](event)
                continue
            payer = payers.get(context)
            if payer is None:
                payer = self._new_payer(context, at)
            key = (request, kind, status, cost is None)
            book = payer.books.get(key)
            if book is None:
                book = payer.books[key] = self._new_book(payer, *key)
            sums = book.sums
            if not sums[COUNT]:
                touched.append(book)
            cost = cost or 0
            sums[COUNT] += 1
            sums[COST] += cost
            sums[INPUT] += fresh
            sums[CACHE_READ] += read
            sums[CACHE_WRITE] += write + write_1h
            sums[OUTPUT] += output
            sums[HELD] += held
            payer.session.last = at
            if payer.stray:
                self._stray(event, payer)
            if cost > held > 0:
                self._overrun(event, payer)
        _post(touched)
        self.version += 1

    def limit(self, limits: Limits, *, linger_us: int = LINGER_US) -> None:
        """Go on under other limits, from the next event on.

        Nothing shown so far is renamed or taken away, and nothing leaves `_other` afterwards: a
        name that now gets a label of its own has there what it spends from here on.
        """
        self.limits = limits
        self.linger_us = linger_us
        self._names.limit(limits)
        self._tables.limit(limits)
        self._sessions.linger(linger_us)
        self._wirings.clear()
        self._forget_payers()

    def expire(self, now: int) -> None:
        """Let the series of sessions go that ended long enough before `now` (microseconds)."""
        for session in self._sessions.expire(now):
            self.version += 1
            for context in session.contexts:
                self._payers.pop(context, None)

    def _new_payer(self, context: Context, at: int) -> _Payer:
        if len(self._payers) >= _PAYERS_MAX:
            self._forget_payers()
        who = self._names.who(context)
        if context.origin == "history" or not context.session:
            payer = _Payer(who, Session(""), None, context.origin != "history")
        else:
            session = self._sessions.meet(context.session, at)
            session.contexts.add(context)
            payer = _Payer(who, session, self._sessions.row(session, who), True)
        self._payers[context] = payer
        return payer

    def _forget_payers(self) -> None:
        self._payers.clear()
        for session in self._sessions:
            session.contexts.clear()

    def _new_book(
        self, payer: _Payer, request: Request, kind: int, status: str, unpriced: bool
    ) -> _Book:
        if not payer.counts:
            return _Book((), ())
        wiring = self._wirings.standing(payer.who, request, kind, status, unpriced)
        return _Book(wiring, self._wirings.session(payer.row, kind) if payer.row else ())

    def _overrun(self, event: Event, payer: _Payer) -> None:
        if payer.counts and event.kind in TRUE:
            names = self._names.labels(payer.who, event.request, event.status)
            self._add("overrun_usd_total", (event.cost or 0) - event.held, names)

    def _stray(self, event: Event, payer: _Payer) -> None:
        """Count a call outside any session."""
        names = self._names.labels(payer.who, event.request, event.status)
        names["reason"] = label_text(str((event.data or {}).get("unattributed", "no_scope")))
        if event.kind in FINISHED:
            self._add("unattributed_calls_total", 1, names)
        if event.cost is not None:
            self._add("unattributed_cost_usd_total", event.cost, names)

    def _session_opened(self, event: Event) -> None:
        self.expire(event.at)
        self._sessions.open(event.context.session, event.at)

    def _session_closed(self, event: Event) -> None:
        if not (event.data or {}).get("continued"):
            (ended,) = self._wirings.ended(self._who(event), ("sessions_total",), event.status)
            ended.add(1)
        self.expire(event.at)
        self._sessions.close(event.context.session, event.at)

    def _run_closed(self, event: Event) -> None:
        runs, cost = self._wirings.ended(self._who(event), _RUN_FAMILIES, event.status)
        runs.add(1)
        cost.add(event.cost or 0)

    def _denied(self, event: Event) -> None:
        names = self._names.labels(self._who(event), event.request, event.status)
        data = event.data or {}
        names["kind"] = label_text(str(data.get("kind", "")))
        names["reason"] = names["status"]
        self._add("would_deny_calls_total" if data.get("would") else "denied_calls_total", 1, names)

    def _who(self, event: Event) -> Who:
        payer = self._payers.get(event.context)
        return self._names.who(event.context) if payer is None else payer.who

    def _add(self, name: str, amount: int, names: Mapping[str, str]) -> None:
        self._tables.standing_series(name, names)[0].add(amount)


def _post(books: list[_Book]) -> None:
    for book in books:
        sums = book.sums
        sums[TOKENS] = sums[INPUT] + sums[CACHE_READ] + sums[CACHE_WRITE] + sums[OUTPUT]
        for wiring in (book.wiring, book.session_wiring):
            for index, series in wiring:
                if sums[index]:
                    series.value += sums[index]
                    series.fresh = False
        sums[:] = _NOTHING
