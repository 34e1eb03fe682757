"""Gather: spans that come one by one, in any order, kept by trace until a trace can be booked.

A child's span is sent before its parent's, and who ran a call is known only from its parents: a
trace is booked as a whole, once its root has come and some seconds are quiet, or after a longer
quiet without a root. Until then a journal has it, for the case that this process is killed. It is
remembered for a while: what comes late is then booked with all that is known of its trace, and by
the rules of import only what the store lacks. No HTTP here.
"""

import json
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from spendtree.errors import (
    LedgerConflictError,
    PrunedError,
    StoreError,
    StoreUnavailableError,
)
from spendtree.event import Event
from spendtree.ingest import Loader, SpanRecord, Terms, sort, to_events
from spendtree.pricing import PriceBook
from spendtree.store import Store
from spendtree_exporter import journal as journal_file
from spendtree_exporter.journal import Journal
from spendtree_exporter.set_aside import SetAside

log = logging.getLogger("spendtree.exporter")

_LOOK_SECONDS = 0.5
_OURS = ("LLM", "AGENT", "SESSION")
"""A trace in which nothing is of these kinds is somebody else's: a web request, a query."""


_TRIES = 20
"""How often a trace is tried again that the store refuses while it takes others."""

_LARGEST = 2**63
"""Whole numbers of this size and above have no place in a store."""

_RECORD_BYTES = 700
"""A span without its texts, its place in the trace included."""


class Patience(NamedTuple):
    """Seconds of quiet after which a trace is booked and forgotten, and how much is kept.

    `rooted` once its root has come (exporters send every 5 s), `rootless` before; `known` until a
    booked trace is forgotten. `spans`, and `bytes` of them, are kept at most; beyond it the
    quietest traces go first.
    """

    rooted: float = 6.0
    rootless: float = 30.0
    known: float = 300.0
    spans: int = 50_000
    bytes: int = 40 * 2**20


class Figures(NamedTuple):
    """How many spans were taken and are booked, are somebody else's, or wait."""

    accepted: int
    ignored: int
    pending: int


class _Trace:
    __slots__ = ("by_id", "bytes", "fresh", "last", "recorded", "rooted", "since", "spans", "tries")

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []
        self.by_id: dict[str, SpanRecord] = {}
        self.bytes = 0
        self.fresh = 0
        self.tries = 0
        self.recorded = -1
        """How many traces had been recorded when this one was refused for the first time."""
        self.since = 0.0
        """When the first of the fresh ones came."""
        self.last = 0.0
        self.rooted = False

    def add(self, span: SpanRecord, now: float) -> int:
        """Take a span; answer how many are new: 0 for one that was delivered before."""
        self.last = now
        if self.by_id.get(span.span_id) == span:
            return 0
        self.by_id[span.span_id] = span
        self.spans.append(span)
        self.bytes += _size(span)
        self.since = self.since if self.fresh else now
        self.fresh += 1
        self.rooted = self.rooted or not span.parent_span_id
        return 1


class Gatherer:
    """Keeps spans by trace and books traces, in a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        store: Store,
        prices: PriceBook,
        *,
        patience: Patience | None = None,
        journal: Journal | None = None,
        charge: bool = False,
        set_aside: SetAside | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._charge = charge
        self._prices = prices
        self._patience = patience or Patience()
        self._journal = journal
        self._now = now
        self._lock = threading.Lock()
        self._booking = threading.Lock()
        self._traces: dict[str, _Trace] = {}
        self._aside = set_aside or SetAside()
        self._kept = self._kept_bytes = self._pending = 0
        self._accepted = self._ignored = self._recorded = 0
        self._failing = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to book what is complete."""
        self._thread = threading.Thread(target=self._run, name="spendtree-gather", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Book everything that waits, and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.book(everything=True)
        if left := self.figures().pending:
            log.error("%d spans are lost: the store could not take them", left)

    def figures(self) -> Figures:
        """Return how many spans there were and are."""
        # Without the lock: a scrape must not wait for a request that is being taken.
        return Figures(self._accepted, self._ignored, self._pending)

    @property
    def set_aside(self) -> Mapping[str, int]:
        """Return how many spans and lines of the journal were set aside."""
        return self._aside.counts

    def take(self, spans: Sequence[SpanRecord]) -> bool:
        """Take all spans of a request, or, for want of room, none of them.

        Raises OSError if the journal cannot have them: they are to be sent again.
        """
        return self._take(spans, self._journal)

    def take_up(self) -> None:
        """Take what an exporter has left that was killed; only for who has the store's lock."""
        if self._journal is None:
            return
        try:
            with self._lock:
                left = self._journal.left(self._aside.line)
        except Exception as error:
            # Whatever is wrong with files that were left: what comes now is recorded.
            log.exception("spans that were received before cannot be read: %s", error)
            return
        for spans in left:
            if not self._take(spans, None):
                self.book(everything=True)
                self._take(spans, None)
        with self._lock:
            self._journal.taken_up(self._now())
        if left:
            log.info("took up %d spans that were received before", sum(map(len, left)))

    def _take(self, spans: Sequence[SpanRecord], journal: Journal | None) -> bool:
        size = sum(map(_size, spans))
        if not self._has_room(len(spans), size):
            self._make_room(len(spans), size)
        with self._lock:
            if not self._has_room(len(spans), size):
                return False
            now = self._now()
            if journal is not None and spans:
                journal.write(spans, now)
            for span in spans:
                trace = self._traces.setdefault(span.trace_id, _Trace())
                before = trace.bytes
                new = trace.add(span, now)
                self._kept += new
                self._pending += new
                self._kept_bytes += trace.bytes - before
            return True

    def _has_room(self, count: int, size: int) -> bool:
        return (
            self._kept + count <= self._patience.spans
            and self._kept_bytes + size <= self._patience.bytes
        )

    def book(self, *, everything: bool = False) -> int:
        """Book the traces that are complete, or all; answer how many.

        One that the store cannot take just now stays and is tried again.
        """
        with self._booking:
            with self._lock:
                due = [
                    id for id, trace in self._traces.items() if everything or self._is_due(trace)
                ]
            booked = sum(self._book(id) for id in due)
            self._forget()
            self._settle()
            return booked

    def _is_due(self, trace: _Trace) -> bool:
        quiet = self._now() - trace.last
        enough = self._patience.rooted if trace.rooted else self._patience.rootless
        return trace.fresh > 0 and quiet >= enough

    def _book(self, id: str) -> bool:
        with self._lock:
            trace = self._traces[id]
            spans, fresh = list(trace.spans), trace.fresh
        if not fresh:
            return False
        ours = any(span.kind in _OURS or span.session for span in spans)
        if ours and not self._record(trace, spans, fresh):
            # What is left of a trace of which some spans were set aside is recorded at once.
            return 0 < trace.fresh < fresh and self._book(id)
        with self._lock:
            self._end(trace, fresh)
            if ours:
                self._accepted += fresh
                self._recorded += 1
            else:
                self._ignored += fresh
        return ours

    def _end(self, trace: _Trace, count: int) -> None:
        trace.fresh -= count
        self._pending -= count

    def _record(self, trace: _Trace, spans: Sequence[SpanRecord], fresh: int) -> bool:
        """Record a trace; False if it is to be tried again, or if no part of it is left."""
        try:
            refusal = self._load(spans)
        except Exception as error:
            if self._may_pass(trace, error):
                if not self._failing:
                    log.error("received spans wait, the store cannot take them: %s", error)
                self._failing = True
                return False
            self._give_up(trace, spans, fresh, f"{type(error).__name__}: {error}")
            return False
        self._failing = False
        if refusal:
            self._put_aside(trace, spans[-fresh:], refusal)
            return False
        return True

    def _may_pass(self, trace: _Trace, error: Exception) -> bool:
        """Tell whether an error may be gone later, and is not of this trace alone."""
        if isinstance(error, StoreUnavailableError):
            return True
        if not isinstance(error, StoreError) or isinstance(
            error, LedgerConflictError | PrunedError
        ):
            return False
        if isinstance(error.__cause__, OverflowError | sqlite3.IntegrityError):
            return False  # a number too large for the store, or an account at its limit
        if trace.recorded < 0:
            trace.recorded = self._recorded
        trace.tries += 1
        return trace.tries < _TRIES or trace.recorded == self._recorded

    def _give_up(self, trace: _Trace, spans: Sequence[SpanRecord], fresh: int, reason: str) -> None:
        """Set aside the spans that cannot be recorded; all new ones if none is so by itself."""
        new = spans[-fresh:]
        bad = [span for span in new if not self._can_be_recorded(span)]
        self._put_aside(trace, bad or new, reason)

    def _can_be_recorded(self, span: SpanRecord) -> bool:
        try:
            for found in to_events([span], self._terms()):
                if not all(map(_is_storable, found.events)):
                    return False
        except Exception:
            return False
        return True

    def _put_aside(self, trace: _Trace, spans: Sequence[SpanRecord], reason: str) -> None:
        told = [
            json.loads(json.dumps(journal_file.told(span), default=journal_file.plain))
            for span in spans
        ]
        self._aside.spans(reason, told)
        gone = {id(span) for span in spans}
        with self._lock:
            # Known by their ids all the same: they are not to come a second time.
            trace.spans = [span for span in trace.spans if id(span) not in gone]
            self._kept -= len(spans)
            self._end(trace, len(spans))

    def _terms(self) -> Terms:
        return Terms(
            prices=self._prices,
            origin="import",
            now_us=time.time_ns() // 1000,
            charge=self._charge,
        )

    def _load(self, spans: Iterable[SpanRecord]) -> str:
        """Record the spans of a trace; return why they were not, "" if they were."""
        loader = Loader(self._store, self._terms(), live=True)
        for session in sort(spans).sessions:
            loader.add(session)
        loader.flush()
        return loader.refusal

    def _settle(self) -> None:
        with self._lock:
            if self._journal is not None:
                waiting = [trace.since for trace in self._traces.values() if trace.fresh]
                self._journal.settle(min(waiting, default=None))

    def _forget(self) -> None:
        """Let go of booked traces that have been quiet for long."""
        with self._lock:
            end = self._now() - self._patience.known
            gone = [
                id for id, trace in self._traces.items() if not trace.fresh and trace.last < end
            ]
            self._drop(gone)

    def _make_room(self, count: int, size: int) -> None:
        """Let go of traces, booked ones first, those first that have been quiet for longest."""
        with self._booking:
            with self._lock:
                order = sorted(
                    self._traces, key=lambda id: (self._traces[id].fresh > 0, self._traces[id].last)
                )
            for id in order:
                if self._has_room(count, size):
                    return
                self._book(id)
                with self._lock:
                    if not self._traces[id].fresh:
                        self._drop([id])

    def _drop(self, ids: Iterable[str]) -> None:
        for id in ids:
            gone = self._traces.pop(id)
            self._kept -= len(gone.spans)
            self._kept_bytes -= gone.bytes

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.book()
            except Exception:
                # One trace that nobody thought of must not keep all others waiting for ever.
                log.exception("received spans could not be booked")


def _size(span: SpanRecord) -> int:
    """Return about how many bytes a span takes in memory."""
    texts = (getattr(span, name) for name in journal_file.TEXTS)
    return _RECORD_BYTES + sum(map(sys.getsizeof, texts)) + sum(map(sys.getsizeof, span.keys))


def _is_storable(event: Event) -> bool:
    """Tell whether all numbers of an event have a place in a store."""
    return all(not isinstance(value, int) or -_LARGEST <= value < _LARGEST for value in event)
