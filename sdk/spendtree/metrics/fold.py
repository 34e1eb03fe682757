"""Fold: events in, series out. Pure, integers only; not safe for threads by itself.

What a call adds to standing series is summed up in a book per payer, request and ending, which is
posted to its series at the end of `apply`; what it adds to its session goes to the session's row.
Books and series are looked up once and kept at hand. That is what makes the loop fast.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spendtree.account import Account, Balance
from spendtree.event import Context, Event
from spendtree.metrics.beside import Beside
from spendtree.metrics.births import BIRTH_HOLD_US, Births
from spendtree.metrics.budgets import Budgets
from spendtree.metrics.ends import Ends, Handler
from spendtree.metrics.family import Family, Labels
from spendtree.metrics.groups import Row
from spendtree.metrics.names import Limits, Names, Who, label_text
from spendtree.metrics.notes import Notes
from spendtree.metrics.series import Tables
from spendtree.metrics.sessions import LINGER_US, Cap, Session, Sessions
from spendtree.metrics.wiring import CHARGES, FINISHED, Book, BookKey, Wirings
from spendtree.usage import tokens_of

PAYERS_MAX = 8_000
"""Contexts kept at hand (about 500 bytes each); more are worked out again."""


class _Payer:
    """What one context comes to: its books, its session, the row and the caps it spends from.

    `shared` is the row of all who have none of their own, if it is one of them; `odd` says so, or
    that it is outside any session. `who` is None for history, which counts nowhere.
    """

    __slots__ = ("books", "caps", "odd", "row", "session", "shared", "who", "worker")

    def __init__(
        self, who: Who | None, books: dict[BookKey, Book], session: Session, row: Row
    ) -> None:
        self.who = who
        self.books = books
        self.session = session
        self.row = row
        self.caps: tuple[Cap, ...] = ()
        self.worker = False
        self.shared: Row | None = None
        self.odd = False


class Fold:
    """The series of one store as its log stands.

    `store_id` is the `store` label of every series. `events` counts the events applied, `version`
    changes whenever something that is shown does. Feed it every event of a log once, in log order,
    and `tick` it; a series whose first event is younger than `birth_hold_us` shows 0.
    """

    def __init__(
        self,
        store_id: str,
        *,
        limits: Limits | None = None,
        linger_us: int = LINGER_US,
        birth_hold_us: int = BIRTH_HOLD_US,
    ) -> None:
        self.store_id = store_id
        self.limits = limits or Limits()
        self.events = 0
        self.version = 0
        self._births = Births(birth_hold_us)
        self._tables = Tables(self.limits, self._births)
        self._sessions = Sessions(self._tables, linger_us)
        self._names = Names(self.limits)
        self._budgets = Budgets(self._tables, self._names, self._sessions)
        self._wirings = Wirings(self._tables, self._names)
        self._notes = Notes(self._tables, self._names, self._sessions)
        self._beside = Beside(self._tables, self._names, self._wirings)
        self._payers: dict[Context, _Payer] = {}
        self._recorded = 0
        ends = Ends(self._names, self._wirings, self._sessions)
        self._handlers = {**ends.handlers, **self._notes.handlers}

    def __iter__(self) -> Iterator[tuple[Family, Mapping[Labels, Any]]]:
        """Iterate over all families of the catalogue with their series (those of events)."""
        return iter(self._tables)

    def rows(self, name: str) -> Mapping[Labels, Any]:
        """Return the series of one family by their label values; KeyError if there is none."""
        return self._tables.rows_of(name)

    @property
    def linger_us(self) -> int:
        """Return how long the series of a session stay after its end."""
        return self._sessions.linger_us

    @property
    def birth_hold_us(self) -> int:
        """Return how long a new series shows 0."""
        return self._births.hold_us

    @property
    def live_sessions(self) -> int:
        """Return how many sessions are open."""
        return self._sessions.live

    @property
    def session_series(self) -> int:
        """Return how many series that carry a session are shown."""
        return self._sessions.shown_series + self._budgets.session_series

    @property
    def standing_series(self) -> int:
        """Return how many series carry no session."""
        return self._tables.standing

    def apply(self, events: Iterable[Event]) -> None:
        """Count the next events of the log. Events of origin "history" count nowhere."""
        payers, handlers, touched = self._payers, self._handlers, list[Book]()
        for event in events:
            self.events += 1
            count = 1
            (_, kind, at, _, context, request, cost, held, fresh, output, read, write, write_1h,
             _, status, _, data) = event  # fmt: skip
            if data is not None:
                if "recorded" in data:
                    self._recorded = data["recorded"]
                if "rollup" in data:
                    count, at = event.times, event.first_at
            if kind not in CHARGES:
                if kind in handlers and context.origin != "history":
                    self._handle(handlers[kind], event)
                continue
            payer = payers.get(context)
            if payer is None:
                payer = self._new_payer(context, at)
            key = (request, kind, status, cost is None)
            book = payer.books.get(key)
            if book is None:
                book = payer.books[key] = self._new_book(payer, key, context, at)
            sums = book.sums
            if sums is None:
                sums = book.sums = [0, 0, 0, 0, 0, 0, 0]
                touched.append(book)
            if cost is None:
                cost = 0
            write += write_1h
            sums[0] += count
            sums[1] += cost
            sums[2] += fresh
            sums[3] += read
            sums[4] += write
            sums[5] += output
            sums[6] += held
            row = payer.row
            row.calls += count if kind in FINISHED else 0
            row.cost += cost
            row.tokens += fresh + output + read + write
            row.fresh = False
            session = payer.session
            session.last = at
            if payer.worker:
                session.worker += cost
            for cap in payer.caps:
                cap.spent += cost
            if payer.odd or cost > held > 0 or data is not None:
                self._oddly(event, payer)
        _post(touched)
        self.version += 1

    def limit(
        self,
        limits: Limits,
        *,
        linger_us: int = LINGER_US,
        birth_hold_us: int = BIRTH_HOLD_US,
    ) -> None:
        """Go on under other limits, from the next event on.

        Nothing shown so far is renamed or taken away, and nothing leaves `_other` afterwards: a
        name that now gets a label of its own has there what it spends from here on.
        """
        self.limits = limits
        self._births.hold_us = birth_hold_us
        self._names.limit(limits)
        self._tables.limit(limits)
        self._sessions.linger(linger_us)
        self._wirings.clear()
        self._forget_payers()

    def tick(self, now: int) -> None:
        """Say what time it is (microseconds): series are born and sessions' series go."""
        hidden = self._sessions.tick(now)
        for session in hidden:
            self._forget(session)
        if self._births.tick(now) or hidden:
            self.version += 1

    @property
    def live_accounts(self) -> list[str]:
        """Return the ids of the accounts whose gauges are to be shown."""
        return self._budgets.live(self._births.now)

    def set_balances(self, accounts: Iterable[tuple[Account, Balance]]) -> None:
        """Show these accounts as they stand, and no others."""
        self.version += self._budgets.set(accounts)

    def _handle(self, handler: Handler, event: Event) -> None:
        changed = handler(event, self._recorded_at(event.context, event.first_at))
        if self._sessions.forgotten:
            self._purge()
        if changed is not None:
            self._forget(changed)

    def _recorded_at(self, context: Context, at: int) -> int:
        """Return when an event was recorded: a live one at its own time.

        An imported one says when it happened; its import says when that took place.
        """
        return self._recorded or at if context.origin == "import" else at

    def _new_payer(self, context: Context, at: int) -> _Payer:
        if len(self._payers) >= PAYERS_MAX:
            self._forget_payers()
        if context.origin == "history":
            payer = _Payer(None, {}, Session(""), Row((), False))
        elif not context.session:
            who = self._names.who(context)
            payer = _Payer(who, self._wirings.books(who), Session(""), Row((), False))
            payer.odd = True
        else:
            payer = self._payer_of_session(context, at)
        if context.origin != "history":
            self._budgets.meet(context, at)
        self._payers[context] = payer
        return payer

    def _payer_of_session(self, context: Context, at: int) -> _Payer:
        who = self._names.who(context)
        session = self._sessions.meet(context.session, at)
        if self._sessions.forgotten:
            self._purge()
        row = self._sessions.row(session, who)
        payer = _Payer(who, self._wirings.books(who), session, row)
        payer.worker = context.level > 1
        if session.caps:
            payer.caps = tuple([session.caps[a] for a in context.path if a in session.caps])
        if not row.shown:
            payer.shared = self._sessions.overflow(row)
            payer.odd = True
        if session.contexts is None:
            session.contexts = []
        session.contexts.append(context)
        if context.agent:
            session.several = session.several or session.agent not in ("", context.agent)
            session.agent = session.agent or context.agent
        return payer

    def _new_book(self, payer: _Payer, key: BookKey, context: Context, at: int) -> Book:
        if payer.who is None:
            return Book((), ())
        return self._wirings.book(payer.who, key, self._recorded_at(context, at))

    def _oddly(self, event: Event, payer: _Payer) -> None:
        """Count what is special about a call or charge."""
        if payer.who is None:
            return
        at = self._recorded_at(event.context, event.first_at)
        payer.session.last = event.at
        if payer.shared is not None:
            self._overflow(event, payer.shared, at)
        if not event.context.session or (event.data and "unattributed" in event.data):
            self._stray(event, payer.who, at)
        overrun = event.overrun
        if overrun:
            names = self._names.labels(payer.who, event.request, event.status)
            self._add("overrun_usd_total", overrun, names, at)
        difference = event.stated_difference
        if difference:
            names = self._names.labels(payer.who, event.request, event.status)
            self._add("stated_cost_difference_usd", difference, names, at)
        for kind, waited_us in event.waits:
            self._notes.waited(kind, waited_us, at)
        data = event.data
        if data is not None and ("units" in data or "marks" in data):
            payer.row.tokens += tokens_of(event.units)
            self._beside.count(event, payer.who, at)

    def _stray(self, event: Event, who: Who, at: int) -> None:
        """Count a call outside any session, or in the one of an agent that lost its own."""
        names = self._names.labels(who, event.request, event.status)
        names["reason"] = label_text(str((event.data or {}).get("unattributed", "no_scope")))
        if event.kind in FINISHED:
            self._add("unattributed_calls_total", event.times, names, at)
        if event.cost is not None:
            self._add("unattributed_cost_usd_total", event.cost, names, at)

    def _overflow(self, event: Event, shared: Row, at: int) -> None:
        """Count a call whose session has no series of its own."""
        shared.cost += event.cost or 0
        shared.tokens += sum(event[8:13]) + tokens_of(event.units)
        shared.fresh = False
        if event.kind in FINISHED:
            shared.calls += event.times
            self._wirings.overflow("session", at).add(event.times)

    def _purge(self) -> None:
        for session in self._sessions.forgotten:
            self._forget(session)
        self._sessions.forgotten.clear()

    def _forget(self, session: Session) -> None:
        """Keep nothing of a session at hand."""
        for context in session.contexts or ():
            self._payers.pop(context, None)
        session.contexts = None

    def _forget_payers(self) -> None:
        self._payers.clear()
        for session in self._sessions:
            session.contexts = None

    def _add(self, name: str, amount: int, names: Mapping[str, str], at: int) -> None:
        self._tables.series(name, names, at)[0].add(amount)


def _post(books: list[Book]) -> None:
    for book in books:
        sums, book.sums = book.sums, None
        assert sums is not None
        for index, series in zip(book.indexes, book.series, strict=True):
            amount = sums[index]
            if amount:
                series.value += amount
                series.fresh = False
