"""Spans -> sessions: repeated deliveries taken out, and who belongs to which session. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from spendtree.event import RECEIVED
from spendtree.ingest.calls import fullness, same_response
from spendtree.ingest.span import SpanRecord


class SpanSession(NamedTuple):
    """The spans of one session; "" is no session. `stated` is whether its source names it.

    `first` is the span by which the session was first met, also where it counts for another.
    A session is one request's run, which tracing calls a trace; a conversation
    (`gen_ai.conversation.id`, Langfuse's `sessionId`) is many of them and makes no session.
    """

    session: str
    stated: bool
    first: SpanRecord
    spans: list[SpanRecord]


def received(name: str) -> str:
    """Return the name that a session has here whose spans anybody may have sent.

    Spans state any session they like, also one that an application has open or will open. Under
    a name of their own they can neither add to its tree and its account, nor be there before it,
    with another customer and without its ceiling. No session ("") stays none.
    """
    return f"{RECEIVED}{name}" if name else ""


class Sorted(NamedTuple):
    """All sessions in the order of their first span, and how many spans came more than once."""

    sessions: list[SpanSession]
    repeated: int


def sort(spans: Iterable[SpanRecord]) -> Sorted:
    """Return the sessions of spans that may come in any order and any number of times.

    Of two deliveries of a span the one that tells more usage is kept: exporters send a span again
    when it has grown. A session whose spans were all delivered as another's is kept, empty.
    """
    kept: dict[tuple[str, str], SpanRecord] = {}
    names: dict[str, SpanRecord] = {}
    by_trace: dict[str, str] = {}
    repeated = 0
    for span in spans:
        key = (span.trace_id, span.span_id)
        first = kept.setdefault(key, span)
        if span.session:
            names.setdefault(span.session, span)
            by_trace.setdefault(span.trace_id, span.session)
        if first is not span:
            repeated += 1
            if fullness(span) > fullness(first):
                kept[key] = replace(span, session=first.session)
    repeated += _one_per_response(kept)
    grouped: dict[str, list[SpanRecord]] = {name: [] for name in names}
    for span in kept.values():
        name = span.session or by_trace.get(span.trace_id) or span.trace_id
        grouped.setdefault(name, []).append(span)
    sessions = [
        SpanSession(name, name in names, names.get(name) or found[0], found)
        for name, found in grouped.items()
    ]
    return Sorted(sessions, repeated)


def _one_per_response(kept: dict[tuple[str, str], SpanRecord]) -> int:
    """Mark repetitions of a response in other traces as roll-ups; return how many there were.

    An SDK and a gateway that it calls log the same response, each in a trace of its own. Ids of
    responses are random, and two records of one id are one call if their usage or their model
    agrees. Repetitions in one trace are told apart by where they stand, in `calls`.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for key, span in kept.items():
        if span.response_id and span.usage is not None and span.kind in ("LLM", "SPAN"):
            found.setdefault(span.response_id, []).append(key)
    repeated = 0
    for keys in found.values():
        if len({(kept[key].trace_id, kept[key].session) for key in keys}) < 2:
            continue
        best = max(keys, key=lambda key: _detail(kept[key]))
        trace = kept[best].trace_id
        for key in keys:
            if key[0] != trace and same_response(kept[key], kept[best]):
                kept[key] = replace(kept[key], rollup=True)
                repeated += 1
    return repeated


def _detail(span: SpanRecord) -> tuple[int, int, bool]:
    """Return how much a record says: its tokens, how finely they are split, and where it stands."""
    usage = span.usage
    buckets = 0 if usage is None else sum(bool(getattr(usage, name)) for name in usage.__slots__)
    return fullness(span), buckets, bool(span.parent_span_id)


def has_calls(found: SpanSession) -> bool:
    """Return whether a session has something to show: a call, a total, or a name of its own.

    A trace of something else (a web request, a query) has not, nor has one whose calls are written
    in names that nobody knows here.
    """
    if found.stated:
        return True
    return any(
        not span.rollup and (span.kind in ("LLM", "SESSION") or span.usage is not None)
        for span in found.spans
    )
