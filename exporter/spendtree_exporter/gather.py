"""Gather: spans that come one by one, in any order, kept by trace until a trace can be booked.

A child's span is sent before its parent's, and who ran a call is known only from its parents: a
trace is booked as a whole, once its root has come and some seconds are quiet, or after a longer
quiet without a root. Until then a journal has it, for the case that this process is killed. It is
remembered for a while: what comes late is then booked with all that is known of its trace, and by
the rules of import only what the store lacks. No HTTP here.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from spendtree.errors import StoreError
from spendtree.ingest import Loader, SpanRecord, Terms, sort
from spendtree.pricing import PriceBook
from spendtree.store import Store
from spendtree_exporter.journal import Journal

log = logging.getLogger("spendtree.exporter")

_LOOK_SECONDS = 0.5
_OURS = ("LLM", "AGENT", "SESSION")
"""A trace in which nothing is of these kinds is somebody else's: a web request, a query."""


class Patience(NamedTuple):
    """Seconds of quiet after which a trace is booked and forgotten, and how much is kept.

    `rooted` once its root has come (exporters send every 5 s), `rootless` before; `known` until a
    booked trace is forgotten. `spans` are kept at most; beyond it the quietest traces go first.
    """

    rooted: float = 6.0
    rootless: float = 30.0
    known: float = 300.0
    spans: int = 50_000


class Figures(NamedTuple):
    """How many spans were taken and are booked, are somebody else's, or wait."""

    accepted: int
    ignored: int
    pending: int


class _Trace:
    __slots__ = ("by_id", "fresh", "last", "rooted", "since", "spans")

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []
        self.by_id: dict[str, SpanRecord] = {}
        self.fresh = 0
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
        self._kept = self._accepted = self._ignored = 0
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
        with self._lock:
            pending = sum(trace.fresh for trace in self._traces.values())
            return Figures(self._accepted, self._ignored, pending)

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
                left = self._journal.left()
        except OSError as error:
            log.error("spans that were received before cannot be read: %s", error)
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
        if self._kept + len(spans) > self._patience.spans:
            self._make_room(len(spans))
        with self._lock:
            if self._kept + len(spans) > self._patience.spans:
                return False
            now = self._now()
            for span in spans:
                trace = self._traces.setdefault(span.trace_id, _Trace())
                self._kept += trace.add(span, now)
            if journal is not None and spans:
                journal.write(spans, now)
            return True

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
        if ours and not self._load(spans):
            return False
        with self._lock:
            trace.fresh -= fresh
            if ours:
                self._accepted += fresh
            else:
                self._ignored += fresh
        return ours

    def _load(self, spans: Iterable[SpanRecord]) -> bool:
        terms = Terms(
            prices=self._prices,
            origin="import",
            now_us=time.time_ns() // 1000,
            charge=self._charge,
        )
        try:
            loader = Loader(self._store, terms, live=True)
            for session in sort(spans).sessions:
                loader.add(session)
            loader.flush()
            if loader.refusal:
                log.warning("received spans are lost: %s", loader.refusal)
        except StoreError as error:
            if not self._failing:
                log.error("received spans wait, the store cannot take them: %s", error)
            self._failing = True
            return False
        self._failing = False
        return True

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

    def _make_room(self, count: int) -> None:
        """Let go of traces, booked ones first, those first that have been quiet for longest."""
        with self._booking:
            with self._lock:
                order = sorted(
                    self._traces, key=lambda id: (self._traces[id].fresh > 0, self._traces[id].last)
                )
            for id in order:
                if self._kept + count <= self._patience.spans:
                    return
                self._book(id)
                with self._lock:
                    if not self._traces[id].fresh:
                        self._drop([id])

    def _drop(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._kept -= len(self._traces.pop(id).spans)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.book()
            except Exception:
                # One trace that nobody thought of must not keep all others waiting for ever.
                log.exception("received spans could not be booked")
