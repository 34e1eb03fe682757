"""SpanRecords -> events and accounts: what an import and a span receiver put into a store. Pure.

Times are the spans' own. A call's id is `derived_id("span", trace, span)`, so that a span counts
once however often, in whichever file, under whichever session it comes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spendtree.account import Account, session_account
from spendtree.event import NO_REQUEST, Context, Event, Kind, Request, derived_id
from spendtree.ingest.calls import Shape, shape
from spendtree.ingest.runs import Run, runs
from spendtree.ingest.sessions import SpanSession, sort
from spendtree.ingest.span import SpanRecord
from spendtree.pricing import PriceBook
from spendtree.usage import Usage

UNMETERED = "the imported span has no usage"
_NO_USAGE = Usage(0, 0)
_OPENED, _RUN_OPENED, _CALLED, _RUN_CLOSED, _CLOSED = range(5)
"""What comes first of events of one time: nothing happens outside what is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for all spans of one import.

    `origin` is "import" or "history" (see `Context`). `customer` and `team` are for sessions whose
    spans name none. `now_us` is the time of what has no time, microseconds since 1970 UTC.
    """

    prices: PriceBook
    origin: str
    customer: str = ""
    team: str = ""
    now_us: int = 0


class Converted(NamedTuple):
    """One session as events in the order of time; `session` "" are calls of no session at all.

    `calls` counts CALL and LAPSE events, of which `failed`, `unpriced` and `unmetered`; `totals`
    counts agents for which the source tells a total but not one call: told, and not counted.
    """

    session: str
    accounts: list[Account]
    events: list[Event]
    runs: int
    calls: int
    failed: int
    unpriced: int
    unmetered: int
    totals: int


def to_events(spans: Iterable[SpanRecord], terms: Terms) -> Iterator[Converted]:
    """Return the sessions of spans as events; several traces may come in any order."""
    for found in sort(spans).sessions:
        yield convert(found, terms)


def convert(found: SpanSession, terms: Terms) -> Converted:
    """Return one session as events."""
    spans = found.spans
    whole = shape(spans)
    if not found.session:
        return _loose(whole, terms)
    times = _times(spans, terms.now_us)
    agent_runs, of_call = runs(whole, times, whole.calls)
    top = _session_context(found, terms)
    contexts = {id(run): _run_context(top, run) for run in agent_runs}
    calls = [
        _call(
            spans[i], times[i], top if run is None else contexts[id(run)], terms, _undated(spans[i])
        )
        for i, run in zip(whole.calls, of_call, strict=True)
    ]
    by_span = dict(zip(whole.calls, calls, strict=True))
    timed: list[tuple[int, int, int, Event]] = [(e.at, _CALLED, 0, e) for e in calls]
    for run in agent_runs:
        timed += _run_events(run, contexts[id(run)], [by_span[i] for i in run.calls])
    timed += _session_events(found, whole, times, top, calls, terms)
    timed.sort(key=lambda event: event[:3])
    return Converted(
        session=found.session,
        accounts=[session_account(found.session, top.customer, top.team)],
        events=[event for _, _, _, event in timed],
        runs=len(agent_runs),
        totals=sum(_is_total(run) for run in agent_runs),
        **_counts(calls),
    )


def _loose(whole: Shape, terms: Terms) -> Converted:
    """Convert spans that belong to no trace: their calls are recorded as unattributed."""
    context = Context(origin=terms.origin, customer=terms.customer, team=terms.team)
    times = _times(whole.spans, terms.now_us)
    calls = [
        _call(whole.spans[i], times[i], context, terms, {"unattributed": "imported"})
        for i in whole.calls
    ]
    calls.sort(key=lambda event: event.at)
    return Converted(session="", accounts=[], events=calls, runs=0, totals=0, **_counts(calls))


def _times(spans: Sequence[SpanRecord], now_us: int) -> list[tuple[int, int]]:
    """Return each span's start and end; what has neither is dated like the latest of them."""
    known = [t for span in spans for t in (span.start_us, span.end_us) if t is not None]
    default = max(known, default=now_us)
    times = []
    for span in spans:
        start, end = span.start_us, span.end_us
        if start is None:
            start = default if end is None else end
        times.append((start, start if end is None or end < start else end))
    return times


def _session_context(found: SpanSession, terms: Terms) -> Context:
    customer = next((span.customer for span in found.spans if span.customer), terms.customer)
    team = next((span.team for span in found.spans if span.team), terms.team)
    account = session_account(found.session)
    return Context(found.session, customer, team, path=(account.id,), origin=terms.origin)


def _run_context(top: Context, run: Run) -> Context:
    span = run.span
    return top._replace(
        agent=run.agent,
        run=run.id.hex(),
        parent="" if run.parent is None else run.parent.id.hex(),
        level=run.level,
        cycle=1 if span is None else span.cycle,
        task_id="" if span is None else span.task_id,
    )


def _undated(span: SpanRecord) -> dict[str, Any]:
    return {"undated": True} if span.start_us is None and span.end_us is None else {}


def _call(
    span: SpanRecord,
    time: tuple[int, int],
    context: Context,
    terms: Terms,
    data: dict[str, Any],
) -> Event:
    """Return the CALL or LAPSE of a span, priced at the time at which it began."""
    started, at = time
    failed = span.status == "failed"
    usage = span.usage
    kind, status, cost = Kind.CALL, "failed" if failed else "ok", 0
    priced: int | None = cost
    if usage is not None:
        sheet = terms.prices.sheet(span.model, span.provider) if span.model else None
        priced = None if sheet is None else sheet.cost(usage, started)
    elif not failed:
        kind, status = Kind.LAPSE, "unmetered"
        data = {"reason": UNMETERED, **data}
    if failed and span.error:
        data = {"error": span.error, **data}
    if span.reported_cost is not None:
        data = {"reported_cost_usd": f"{span.reported_cost:f}", **data}
    if span.refused_before:
        data = {"refused_before": span.refused_before, **data}
    if span.cycle != context.cycle:
        context = context._replace(cycle=span.cycle)
    counts = usage or _NO_USAGE
    return Event(
        0,
        kind,
        at,
        id,
        context,
        NO_REQUEST,
        cost=sum(call.cost or 0 for call in calls),
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cache_read_tokens=sum(call.cache_read_tokens for call in calls),
        cache_write_tokens=sum(call.cache_write_tokens for call in calls),
        cache_write_1h_tokens=sum(call.cache_write_1h_tokens for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens for call in calls),
        status=status,
        started=started,
        data=data or None,
    )


def _counts(calls: list[Event]) -> dict[str, int]:
    return {
        "calls": len(calls),
        "failed": sum(call.status == "failed" for call in calls),
        "unpriced": sum(call.cost is None for call in calls),
        "unmetered": sum(call.kind == Kind.LAPSE for call in calls),
    }
