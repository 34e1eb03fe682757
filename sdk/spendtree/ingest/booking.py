"""The events of one call, one run, one session, from spans whose place is known. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spendtree.event import NO_REQUEST, Context, Event, Kind, derived_id
from spendtree.ingest.cost import priced, request_of
from spendtree.ingest.runs import Run
from spendtree.ingest.span import SpanRecord
from spendtree.pricing import PriceBook
from spendtree.usage import TOKEN_FIELDS, Usage

UNMETERED = "the imported span has no usage"
"""The reason that stands in the event of a call whose usage nobody told."""

_NO_USAGE = Usage(0, 0)
_SESSION_OPENED, _RUN_OPENED, _CALLED, _RUN_CLOSED, _SESSION_CLOSED = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for all spans of one import.

    `origin` is "import" or "history" (see `Context`). `customer` and `team` are for sessions whose
    spans name none. `now_us` is the time of a session in which nothing has a time, microseconds
    since 1970 UTC: for spans that have just come. At 0 there is none, and it is left out.
    `charge` is whether sessions' accounts are charged. Spans that anybody may have sent charge
    none, and make sessions of their own: see `sessions.received`.
    """

    prices: PriceBook
    origin: str
    customer: str = ""
    team: str = ""
    now_us: int = 0
    charge: bool = True


class Timed(NamedTuple):
    """An event and what sorts it: its time, then that nothing happens outside what is open."""

    at: int
    rank: int
    level: int
    event: Event


def call(
    span: SpanRecord, time: tuple[int, int], context: Context, terms: Terms, *, loose: bool = False
) -> Event:
    """Return the CALL or LAPSE of a span, priced at the time at which it began.

    `time` is its start and end. A failed call without usage cost nothing; a successful one was not
    metered: its cost is not known, and no hold says what it may be at most, so 0 is presumed. Where
    the source states a cost all the same, that is it.
    """
    started, at = time
    usage, failed = span.usage, span.status == "failed"
    kind, status = Kind.CALL, "failed" if failed else "ok"
    cost: int | None = 0
    said: dict[str, Any] = {}
    request = request_of(span)
    if usage is not None or span.reported_cost:
        cost, said = priced(span, request, started, terms.prices)
    elif not failed:
        kind, status = Kind.LAPSE, "unmetered"
    if span.cycle != context.cycle:
        context = context._replace(cycle=span.cycle)
    counts = usage or _NO_USAGE
    return Event(
        0,
        kind,
        at,
        derived_id("span", span.trace_id, span.span_id),
        context,
        request,
        cost,
        0,
        counts.input_tokens,
        counts.output_tokens,
        counts.cache_read_tokens,
        counts.cache_write_tokens,
        counts.cache_write_1h_tokens,
        counts.reasoning_tokens,
        status,
        started,
        said | _told(span, unmetered=kind == Kind.LAPSE, loose=loose) or None,
    )


def _told(span: SpanRecord, *, unmetered: bool, loose: bool) -> dict[str, Any]:
    """Return what a call's event says beside its fields; mostly nothing."""
    data: dict[str, Any] = {}
    if loose:
        data["unattributed"] = "imported"
    if unmetered:
        data["reason"] = UNMETERED
    if span.status == "failed" and span.error:
        data["error"] = span.error
    if span.reported_cost is not None:
        data["reported_cost_usd"] = f"{span.reported_cost:f}"
    if span.refused_before:
        data["refused_before"] = span.refused_before
    if span.end_us is None and span.start_us is None:
        data["undated"] = True
    return data


def called(event: Event) -> Timed:
    """Return a call's event with its place."""
    return Timed(event.at, _CALLED, 0, event)


def run(run: Run, context: Context, calls: Sequence[Event]) -> Iterator[Timed]:
    """Return the two events of an agent run; `calls` are its own."""
    start, end, span = run.start_us, run.end_us, run.span
    task = {"task": run.task} if run.task else None
    yield Timed(
        start,
        _RUN_OPENED,
        run.level,
        Event(0, Kind.RUN_OPENED, start, run.id, context, NO_REQUEST, started=start, data=task),
    )
    failed = span.status == "failed" if span is not None else calls[-1].status == "failed"
    data: dict[str, Any] = {}
    if failed and span is not None and span.error:
        data["reason"] = span.error
    if is_total(run):
        data |= _total(run)
    status = "failed" if failed else "succeeded"
    closed = closing(Kind.RUN_CLOSED, end, run.id, context, start, calls, status, data)
    yield Timed(end, _RUN_CLOSED, -run.level, closed)


def is_total(run: Run) -> bool:
    """Return whether a usage is told of a run as a whole, and not one call in it."""
    return not run.inner and run.span is not None and run.span.usage is not None


def _total(run: Run) -> dict[str, Any]:
    assert run.span is not None
    assert run.span.usage is not None
    usage, cost = run.span.usage, run.span.reported_cost
    told = {name: getattr(usage, name) for name in TOKEN_FIELDS if getattr(usage, name)}
    if usage.units:
        told["units"] = dict(usage.units)
    return {"reported_total": told} | ({} if cost is None else {"reported_cost_usd": f"{cost:f}"})


def session(
    context: Context,
    time: tuple[int, int],
    calls: Sequence[Event],
    failed: SpanRecord | None,
    conversation: str,
) -> Iterator[Timed]:
    """Return the two events of a session; `failed` is the span whose failure is the session's."""
    start, end = time
    id = derived_id("session", context.session)
    data = {"conversation": conversation} if conversation else None
    yield Timed(
        start,
        _SESSION_OPENED,
        0,
        Event(0, Kind.SESSION_OPENED, start, id, context, NO_REQUEST, started=start, data=data),
    )
    status = "succeeded" if failed is None else "failed"
    reason = {"reason": failed.error} if failed is not None and failed.error else {}
    closed = closing(Kind.SESSION_CLOSED, end, id, context, start, calls, status, reason)
    yield Timed(end, _SESSION_CLOSED, 0, closed)


def closing(
    kind: Kind,
    at: int,
    id: bytes,
    context: Context,
    started: int,
    calls: Sequence[Event],
    status: str,
    data: dict[str, Any],
) -> Event:
    """Return the event that closes a run or a session, with the sums of its calls."""
    return Event(
        0,
        kind,
        at,
        id,
        context,
        NO_REQUEST,
        cost=sum([each.cost or 0 for each in calls]),
        input_tokens=sum([each.input_tokens for each in calls]),
        output_tokens=sum([each.output_tokens for each in calls]),
        cache_read_tokens=sum([each.cache_read_tokens for each in calls]),
        cache_write_tokens=sum([each.cache_write_tokens for each in calls]),
        cache_write_1h_tokens=sum([each.cache_write_1h_tokens for each in calls]),
        reasoning_tokens=sum([each.reasoning_tokens for each in calls]),
        status=status,
        started=started,
        data=data or None,
    )
