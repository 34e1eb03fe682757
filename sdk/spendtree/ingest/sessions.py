"""Spans -> sessions: repeated deliveries taken out, and who belongs to which session. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from spendtree.event import RECEIVED
from spendtree.ingest.calls import fullness
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
    grouped: dict[str, list[SpanRecord]] = {name: [] for name in names}
    for span in kept.values():
        name = span.session or by_trace.get(span.trace_id) or span.trace_id
        grouped.setdefault(name, []).append(span)
    sessions = [
        SpanSession(name, name in names, names.get(name) or found[0], found)
        for name, found in grouped.items()
    ]
    return Sorted(sessions, repeated)
