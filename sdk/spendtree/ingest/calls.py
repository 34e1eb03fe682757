"""Which spans of a session are calls: each call once, however often its usage is told. Pure.

Agents are instrumented in layers, so the usage of one call stands on several spans:

* on AGENT, CHAIN, TOOL and SESSION spans it is a total: never a call, nor is a marked roll-up;
* of LLM spans within each other the innermost with usage is the call, the ones around it are
  wrappers, whether their counts agree or not (no model call makes another one; a TOOL or AGENT
  span between them ends this, since an agent used as a tool does make its own calls);
* without any usage the innermost are the calls: they failed, or nobody metered them;
* a failed span without usage inside a span with usage was an attempt of its own;
* two spans of one response id are one response, and the fuller record is kept (in one trace
  here, in several in `sessions`).

A span whose kind is not told (SPAN) is an LLM span if it carries usage.
"""

from collections.abc import Sequence
from typing import NamedTuple

from spendtree.ingest.span import SpanRecord

_BORDERS = frozenset({"TOOL", "AGENT", "SESSION"})
NONE = -1
"""The index of no span."""


class Shape(NamedTuple):
    """A session's spans and how they hang together, by index.

    `parents` holds NONE for a root, an orphan, and where a circle of parents was cut; `order`
    names parents before their children; `calls` are the spans that are calls.
    """

    spans: Sequence[SpanRecord]
    parents: list[int]
    order: list[int]
    calls: list[int]


def shape(spans: Sequence[SpanRecord]) -> Shape:
    """Return how the spans of one session hang together and which are calls."""
    parents = _parents(spans)
    order = _order(parents)
    calls = _one_per_response(spans, _calls(spans, parents, order))
    return Shape(spans, parents, order, calls)


def _parents(spans: Sequence[SpanRecord]) -> list[int]:
    places = {(span.trace_id, span.span_id): i for i, span in enumerate(spans)}
    return [
        places.get((span.trace_id, span.parent_span_id), NONE) if span.parent_span_id else NONE
        for span in spans
    ]


def _order(parents: list[int]) -> list[int]:
    """Return the indices, parents first; cuts circles, in `parents`, where they are entered."""
    order: list[int] = []
    state = bytearray(len(parents))  # 0 not met, 1 on the way up, 2 placed
    for start in range(len(parents)):
        way: list[int] = []
        i = start
        while i != NONE and not state[i]:
            state[i] = 1
            way.append(i)
            i = parents[i]
        if i != NONE and state[i] == 1:
            parents[way[-1]] = NONE
        for i in reversed(way):
            state[i] = 2
            order.append(i)
    return order


def _calls(spans: Sequence[SpanRecord], parents: list[int], order: list[int]) -> list[int]:
    llm = [_is_llm(span) for span in spans]
    around = _around(spans, parents, order, llm)
    wraps, wraps_usage = bytearray(len(spans)), bytearray(len(spans))
    for i in reversed(order):
        outer = around[i]
        if llm[i] and outer != NONE:
            wraps[outer] = True
            wraps_usage[outer] |= wraps_usage[i] or spans[i].usage is not None
    metered_around = bytearray(len(spans))  # the span around it has the usage and is the call
    calls = []
    for i in order:
        outer = around[i]
        if not llm[i]:
            continue
        if outer != NONE and not wraps_usage[outer]:
            metered_around[i] = metered_around[outer] or spans[outer].usage is not None
        if _is_call(spans[i], bool(wraps[i]), bool(wraps_usage[i]), bool(metered_around[i])):
            calls.append(i)
    calls.sort()
    return calls


def _is_llm(span: SpanRecord) -> bool:
    told = span.kind == "LLM" or (span.kind == "SPAN" and span.usage is not None)
    return told and not span.rollup


def _is_call(span: SpanRecord, wraps: bool, wraps_usage: bool, metered_around: bool) -> bool:
    if span.usage is not None:
        return not wraps_usage
    return not wraps and (span.status == "failed" or not metered_around)


def _around(
    spans: Sequence[SpanRecord], parents: list[int], order: list[int], llm: list[bool]
) -> list[int]:
    """Return for each span the nearest LLM span around it, not looking past a border."""
    around = [NONE] * len(spans)
    for i in order:
        parent = parents[i]
        if parent == NONE:
            continue
        if llm[parent]:
            around[i] = parent
        elif spans[parent].kind not in _BORDERS:
            around[i] = around[parent]
    return around


def _one_per_response(spans: Sequence[SpanRecord], calls: list[int]) -> list[int]:
    kept: dict[tuple[str, str], int] = {}
    repeated = set()
    for i in calls:
        span = spans[i]
        if not span.response_id:
            continue
        response = (span.trace_id, span.response_id)
        other = kept.setdefault(response, i)
        if other != i and same_response(span, spans[other]):
            fuller = i if fullness(span) > fullness(spans[other]) else other
            repeated.add(i + other - fuller)
            kept[response] = fuller
    return [i for i in calls if i not in repeated] if repeated else calls


def same_response(one: SpanRecord, other: SpanRecord) -> bool:
    """Return whether two records of one response id are of one response: usage or model agree."""
    if fullness(one) == fullness(other) or -1 in (fullness(one), fullness(other)):
        return True
    return not _models(one).isdisjoint(_models(other))


def _models(span: SpanRecord) -> set[str]:
    """Return the models that a span names, without what a gateway puts before them."""
    return {name.rpartition("/")[2] for name in (span.model, span.answered) if name}


def fullness(span: SpanRecord) -> int:
    """Return how much usage a record tells; -1 for none. Of two records the fuller is the later."""
    return -1 if span.usage is None else span.usage.total_tokens
