"""SpanRecords -> events and accounts: what an import and a span receiver put into a store. Pure.

Times are the spans' own. A call's id is `derived_id("span", trace, span)`, so that a span counts
once however often, in whichever file, under whichever session it comes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spendtree.account import Account, session_account
from spendtree.event import Context, Event, Kind
from spendtree.ingest import booking
from spendtree.ingest.booking import Terms
from spendtree.ingest.calls import NONE, Shape, shape
from spendtree.ingest.runs import Run, runs
from spendtree.ingest.sessions import SpanSession, sort
from spendtree.ingest.span import SpanRecord


class Converted(NamedTuple):
    """One session as events in the order of time; `session` "" are calls of no session at all.

    `calls` counts CALL and LAPSE events, of which `failed`, `unpriced` and `unmetered`; `totals`
    counts agents of which the source tells a total but not one call: told, and in no sum.
    `undated` counts calls without a time of their own: they have that of the span around them, or
    the latest of their session.
    """

    session: str
    accounts: list[Account]
    events: list[Event]
    runs: int = 0
    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    unmetered: int = 0
    totals: int = 0
    undated: int = 0


def to_events(spans: Iterable[SpanRecord], terms: Terms) -> Iterator[Converted]:
    """Return the sessions of spans as events; several traces may come in any order."""
    for found in sort(spans).sessions:
        yield convert(found, terms)


def convert(found: SpanSession, terms: Terms) -> Converted:
    """Return one session as events."""
    whole = shape(found.spans)
    if not found.session:
        return _loose(whole, terms)
    times = _times(whole, terms.now_us)
    top = _session_context(found, terms)
    agent_runs, of_call = runs(whole, times)
    contexts = {run.id: _run_context(top, run) for run in agent_runs}
    by_span: dict[int, Event] = {}
    for i, run in zip(whole.calls, of_call, strict=True):
        context = top if run is None else contexts[run.id]
        by_span[i] = booking.call(whole.spans[i], times[i], context, terms)
    calls = list(by_span.values())
    timed = [booking.called(event) for event in calls]
    for run in agent_runs:
        timed += booking.run(run, contexts[run.id], [by_span[i] for i in run.calls])
    timed += booking.session(
        top,
        _bounds(times or _times(Shape([found.first], [NONE], [0], []), terms.now_us)),
        calls,
        _failed_root(whole, times),
        next((span.conversation for span in whole.spans if span.conversation), ""),
    )
    timed.sort(key=lambda event: event[:3])
    return Converted(
        session=found.session,
        accounts=[session_account(found.session, top.customer, top.team)] if terms.charge else [],
        events=[event.event for event in timed],
        runs=len(agent_runs),
        totals=sum(booking.is_total(run) for run in agent_runs),
        undated=sum(_is_undated(whole.spans[i]) for i in whole.calls),
        **_counts(calls),
    )


def _loose(whole: Shape, terms: Terms) -> Converted:
    """Convert spans that belong to no trace: their calls are recorded as unattributed."""
    context = Context(origin=terms.origin, customer=terms.customer, team=terms.team)
    times = _times(whole, terms.now_us)
    calls = [
        booking.call(whole.spans[i], times[i], context, terms, loose=True) for i in whole.calls
    ]
    calls.sort(key=lambda event: event.at)
    return Converted(session="", accounts=[], events=calls, **_counts(calls))


def is_dated(found: SpanSession) -> bool:
    """Return whether anything of a session has a time."""
    spans = found.spans or [found.first]
    return any(span.start_us is not None or span.end_us is not None for span in spans)


def _times(whole: Shape, now_us: int) -> list[tuple[int, int]]:
    """Return each span's start and end.

    What has neither is dated like the span around it, else like the latest of them.
    """
    spans = whole.spans
    known = [t for span in spans for t in (span.start_us, span.end_us) if t is not None]
    default = max(known, default=now_us)
    times = []
    for span in spans:
        start, end = span.start_us, span.end_us
        if start is None:
            start = default if end is None else end
        times.append((start, start if end is None or end < start else end))
    for i in whole.order:  # parents first
        parent = whole.parents[i]
        if parent != NONE and _is_undated(spans[i]):
            times[i] = times[parent]
    return times


def _is_undated(span: SpanRecord) -> bool:
    return span.start_us is None and span.end_us is None


def _bounds(times: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(start for start, _ in times), max(end for _, end in times)


def _session_context(found: SpanSession, terms: Terms) -> Context:
    customer = next((span.customer for span in found.spans if span.customer), terms.customer)
    team = next((span.team for span in found.spans if span.team), terms.team)
    path = (session_account(found.session).id,) if terms.charge else ()
    return Context(found.session, customer, team, path=path, origin=terms.origin)


def _run_context(top: Context, run: Run) -> Context:
    span = run.span
    return Context(
        top.session,
        top.customer,
        top.team,
        run.agent,
        run.id.hex(),
        "" if run.parent is None else run.parent.id.hex(),
        run.level,
        1 if span is None else span.cycle,
        "" if span is None else span.task_id,
        top.path,
        top.origin,
    )


def _failed_root(whole: Shape, times: Sequence[tuple[int, int]]) -> SpanRecord | None:
    """Return the span whose failure is the session's: one that nothing else stands around.

    Of calls and tools without anything around them only the last one decides: those before it were
    tried again.
    """
    spans = whole.spans
    tops = [i for i, parent in enumerate(whole.parents) if parent == NONE]
    frames = [i for i in tops if spans[i].kind not in ("LLM", "TOOL", "EVENT")]
    deciding = frames or sorted(tops, key=lambda i: times[i][1])[-1:]
    return next((spans[i] for i in deciding if spans[i].status == "failed"), None)


def _counts(calls: list[Event]) -> dict[str, int]:
    return {
        "calls": len(calls),
        "failed": sum(call.status == "failed" for call in calls),
        "unpriced": sum(call.cost is None for call in calls),
        "unmetered": sum(call.kind == Kind.LAPSE for call in calls),
    }
