"""Importing files into a store: reads them, converts their spans, books what the store lacks."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from spendtree.account import Account, session_account
from spendtree.errors import ConfigurationError
from spendtree.event import RECEIVED, Event, Kind, derived_id
from spendtree.ingest import findings
from spendtree.ingest.booking import Terms, closing
from spendtree.ingest.convert import Converted, convert, is_dated
from spendtree.ingest.files import read_file
from spendtree.ingest.payers import charged_to_budgets
from spendtree.ingest.sessions import SpanSession, has_calls, received, sort
from spendtree.ingest.span import Problem, SpanRecord
from spendtree.pricing import PriceBook
from spendtree.store import Store
from spendtree.store.text import minute

BATCH = 5_000
"""Events a transaction: long enough to be fast, short enough to let live calls in between."""

_COUNTED = ("runs", "calls", "failed", "unpriced", "unmetered", "totals", "undated")

_FINISHED = (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT)
_CALLED = (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT)
_OF_SESSIONS = (Kind.SESSION_OPENED, Kind.SESSION_CLOSED)

Progress = Callable[[str, int, int], None]
"""Called with what is done ("read" files, "load" sessions), how many of them, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import found and what it changed.

    `sessions`, `runs`, `calls`, `failed_calls`, `unpriced` and `unmetered` count what the files
    hold, each once; `new_events` what was not in the store before, and `duplicates` what was, plus
    spans that the files hold more than once. `totals_only` counts agents for which the files tell
    a total but no call: it stands in the run's closing event and is in no sum. `problems` name
    what could not be read, one cause of a file once. `undated` counts calls that state no time:
    they have that of the span around them. `left_out` counts spans of traces without any call,
    which make no session. `notes` say what is worth knowing of files that were read.
    """

    files: int = 0
    spans_read: int = 0
    sessions: int = 0
    runs: int = 0
    calls: int = 0
    new_events: int = 0
    duplicates: int = 0
    failed_calls: int = 0
    unpriced: int = 0
    unmetered: int = 0
    totals_only: int = 0
    undated: int = 0
    left_out: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def import_files(
    store: Store,
    paths: Iterable[Path | str],
    *,
    prices: PriceBook,
    history: bool | None = None,
    customer: str = "",
    team: str = "",
    on_progress: Progress | None = None,
) -> ImportReport:
    """Import trace files of any known dialect; importing one again changes nothing.

    All files are read before anything is written, since a trace may be spread over several and a
    wrapper and its call may stand in different ones. `history` True keeps the calls out of counters
    and budgets, False counts them like live ones; None means False, and is refused with
    ConfigurationError where the store already holds live calls, because a backfill would page
    somebody. `customer` and `team` are for sessions whose spans name none.
    """
    origin = _origin(store, history)
    files = [Path(path) for path in paths]
    read, problems = _read(files, on_progress)
    found = sort(span for _, spans in read for span in spans)
    terms = Terms(prices=prices, origin=origin, customer=customer, team=team)
    loader = Loader(store, terms)
    left: list[SpanSession] = []
    latest: dict[tuple[str, str], int] | None = None
    for done, session in enumerate(found.sessions, 1):
        at = 0
        if not is_dated(session):
            latest = findings.latest(read) if latest is None else latest
            at = latest.get((session.first.trace_id, session.first.span_id), 0)
        if has_calls(session) and (at or is_dated(session)):
            loader.add(session, at)
        else:
            left.append(session)
        if on_progress is not None:
            on_progress("load", done, len(found.sessions))
    loader.flush()
    overlooked = findings.of(read, left)
    return loader.report(
        files=len(files),
        spans_read=sum(len(spans) for _, spans in read),
        problems=[*problems, *overlooked.problems],
        repeated=found.repeated,
        notes=overlooked.notes,
        left_out=overlooked.left_out,
    )


def _origin(store: Store, history: bool | None) -> str:
    if history is None and any(total.context.origin == "" for total in store.totals()):
        raise ConfigurationError(
            f"store {store.url} already holds live calls: say --live to count imported ones like "
            "live ones (alerts and budgets see them), or --history to keep them out of counters "
            "and budgets (trees, bills and reports show them)"
        )
    return "history" if history else "import"


def _read(
    files: Sequence[Path], on_progress: Progress | None
) -> tuple[list[tuple[str, list[SpanRecord]]], list[Problem]]:
    """Return the spans of each file, and what of all files could not be read."""
    read: list[tuple[str, list[SpanRecord]]] = []
    causes = findings.Causes()
    for done, path in enumerate(files, 1):
        spans: list[SpanRecord] = []
        before = len(causes)
        for found in read_file(path):
            if isinstance(found, Problem):
                causes.add(found)
            else:
                spans.append(found)
        if not spans and len(causes) == before:
            causes.add(Problem(str(path), "", "is read, and holds no span and no call"))
        read.append((str(path), spans))
        if on_progress is not None:
            on_progress("read", done, len(files))
    return read, causes.problems


class Loader:
    """Books the sessions of one import (each added once) into a store, in batches.

    Into a store that knows a session (or, by its spans, the session that a trace was imported as)
    only what it lacks is booked: late calls, and the usage of calls that came without. If the
    session was closed already, it is closed again as continued, with its sums as they are then.
    What is older than what was pruned is left out, by whole sessions: `refusal` says so. `live`
    spans have just happened: the counters they make are born when they arrive, while those of a
    file's past show their value at once.
    """

    def __init__(self, store: Store, terms: Terms, *, live: bool = False) -> None:
        self._store = store
        self._terms = terms
        self._live = live
        self._empty = not store.read(limit=1).events
        self._pruned_before = store.pruned_before()
        self._too_old = 0
        self._accounts: list[Account] = []
        self._events: list[Event] = []
        self._counted = dict.fromkeys(_COUNTED, 0)
        self._sessions = 0
        self._new = 0
        self._known = 0

    def add(self, session: SpanSession, at: int = 0) -> None:
        """Convert a session and book it, now or with the next full batch.

        `at` is the time of a session in which nothing has one, microseconds since 1970 UTC.
        """
        terms, self._terms = self._terms, replace(self._terms, now_us=at) if at else self._terms
        try:
            self._add(session)
        finally:
            self._terms = terms

    def _add(self, session: SpanSession) -> None:
        if not self._terms.charge:
            session = self._apart(session)
        converted = convert(session, self._terms)
        if self._pruned_before and any(map(self._is_too_old, converted.events)):
            self._too_old += 1
            return
        if not self._empty:
            converted = self._met_before(session, converted)
            converted = self._met_elsewhere(session, converted)
        for name in _COUNTED:
            self._counted[name] += getattr(converted, name)
        self._sessions += bool(converted.session)
        self._accounts += converted.accounts
        self._events += converted.events
        if len(self._events) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Book what is waiting, at most BATCH events a transaction."""
        accounts = self._accounts
        for first in range(0, len(self._events), BATCH):
            batch = self._events[first : first + BATCH]
            new = self._store.load(accounts, self._stamped(batch))
            self._new += new
            self._known += len(batch) - new
            accounts = []
        self._accounts, self._events = [], []

    @property
    def refusal(self) -> str:
        """Return what was left out for being too old, and why; "" if nothing was."""
        if not self._too_old:
            return ""
        pruned = minute(self._pruned_before)
        return (
            f"{self._too_old} session(s) not imported: they have calls of before {pruned}, up to "
            "where the store was pruned, so nobody could tell whether these were here before"
        )

    def report(
        self,
        *,
        files: int,
        spans_read: int,
        problems: list[Problem],
        repeated: int,
        notes: Sequence[Problem] = (),
        left_out: int = 0,
    ) -> ImportReport:
        """Return what has been booked so far."""
        counted = self._counted
        return ImportReport(
            files=files,
            spans_read=spans_read,
            sessions=self._sessions,
            runs=counted["runs"],
            calls=counted["calls"],
            new_events=self._new,
            duplicates=self._known + repeated,
            failed_calls=counted["failed"],
            unpriced=counted["unpriced"],
            unmetered=counted["unmetered"],
            totals_only=counted["totals"],
            undated=counted["undated"],
            left_out=left_out,
            notes=list(notes),
            problems=[*problems, *self._refused()],
        )

    def _refused(self) -> list[Problem]:
        return [Problem(self._store.url, "", self.refusal)] if self.refusal else []

    def _is_too_old(self, event: Event) -> bool:
        """Tell whether an event could have been pruned: it is old, and the store lacks it."""
        if event.at >= self._pruned_before or event.kind in _OF_SESSIONS:
            return False
        find = self._store.find
        return not any(find(event.id, kind) for kind in (event.kind, _met_as(event.kind)))

    def _apart(self, session: SpanSession) -> SpanSession:
        """Return a session under a name of its own, without calls that stand in another one."""
        name = received(session.session)
        spans = [span for span in session.spans if not self._is_elsewhere(span)]
        return session._replace(session=name, spans=spans)

    def _is_elsewhere(self, span: SpanRecord) -> bool:
        """Tell whether a span's call came in by another way: with an import, or charged."""
        id = derived_id("span", span.trace_id, span.span_id)
        known = (self._store.find(id, kind) for kind in _CALLED)
        return any(event and not event.context.session.startswith(RECEIVED) for event in known)

    def _met_before(self, session: SpanSession, converted: Converted) -> Converted:
        """Return a session without the events that the store knows, under the id it knows."""
        if not session.session:
            return converted
        known_as = self._adopted(converted)
        if session.stated and known_as != received(session.session):
            known_as = ""
        if known_as not in ("", session.session):
            session = session._replace(session=known_as)
            converted = convert(session, self._terms)
        opened = derived_id("session", session.session)
        if self._store.find(opened, Kind.SESSION_OPENED) is None:
            return converted
        self._continue(session.session, converted)
        return converted._replace(events=[], accounts=[])

    def _met_elsewhere(self, session: SpanSession, converted: Converted) -> Converted:
        """Return a new session without the calls that the store has in another one.

        A file of a session that was resumed or forked repeats the calls of the one before.
        """
        if not (session.stated and converted.events):
            return converted
        known = {
            event.id
            for event in converted.events
            if event.kind in (Kind.CALL, Kind.LAPSE)
            and (found := self._store.find(event.id, event.kind)) is not None
            and found.context.session != session.session
        }
        if not known:
            return converted
        spans = [
            span
            for span in session.spans
            if derived_id("span", span.trace_id, span.span_id) not in known
        ]
        self._known += len(known)
        return convert(session._replace(spans=spans), self._terms)

    def _adopted(self, converted: Converted) -> str:
        """Return the session in which the store knows the first call or run of a trace, or ""."""
        for event in converted.events:
            if event.kind in (Kind.CALL, Kind.LAPSE, Kind.RUN_OPENED):
                known = self._store.find(event.id, event.kind)
                name = "" if known is None else known.context.session
                return name if self._terms.charge or name.startswith(RECEIVED) else ""
        return ""

    def _continue(self, session: str, converted: Converted) -> None:
        """Book what a session lacks that the store knows, whoever opened it."""
        self.flush()
        known = {(e.id, e.kind): e for e in self._store.events(session=session)}
        fresh = [event for event in converted.events if _is_news(event, known)]
        top = known[derived_id("session", session), Kind.SESSION_OPENED].context
        charged = session_account(session, top.customer, top.team)
        accounts = [charged] if self._terms.charge else []
        new = 0
        for event in fresh:
            if (event.id, Kind.LAPSE) in known:
                late = event._replace(kind=Kind.ADJUSTMENT)
                self._store.adjust(event.id, event.cost, late)
                new += 1
        booked = [event for event in fresh if (event.id, Kind.LAPSE) not in known]
        new += self._store.load(accounts, self._stamped(booked)) if booked else 0
        self._known += len(converted.events) - new
        self._new += new
        closed = known.get((derived_id("session", session), Kind.SESSION_CLOSED))
        if new and closed is not None:
            again = self._closed_again(closed, fresh)
            self._new += self._store.load(accounts, [again])

    def _stamped(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events to book, charged to the budgets that stand if accounts are charged.

        Of live events the first, and each session's, say when they are recorded.

        They are of the time when things happened; a counter that they make must know when it was
        made, or nobody would see it begin.
        """
        if self._terms.charge:
            events = charged_to_budgets(self._store, events)
        if not self._live:
            return events
        now = time.time_ns() // 1000
        return [
            event._replace(data={**(event.data or {}), "recorded": now})
            if not place or event.kind == Kind.SESSION_OPENED
            else event
            for place, event in enumerate(events)
        ]

    def _closed_again(self, closed: Event, fresh: list[Event]) -> Event:
        session = closed.context.session
        finished = list(self._store.events(session=session, kinds=_FINISHED))
        return closing(
            Kind.SESSION_CLOSED,
            max(event.at for event in (closed, *fresh)),
            derived_id("continued", session, *(event.id.hex() for event in fresh)),
            closed.context,
            closed.started,
            finished,
            closed.status,
            {"continued": True},
        )


def _is_news(event: Event, known: Mapping[tuple[bytes, int], Event]) -> bool:
    """Return whether a known session lacks an event. It is opened already, and closed by others."""
    if event.kind in _OF_SESSIONS or (event.id, event.kind) in known:
        return False
    return (event.id, _met_as(event.kind)) not in known


def _met_as(kind: int) -> Kind:
    """Return as what else the store may know a call: its usage may have come, or come late."""
    return Kind.CALL if kind == Kind.LAPSE else Kind.ADJUSTMENT
