"""Compact span records: one JSON object a span, without message text. Pure.

`session_id, trace_id, span_id, parent_span_id, kind (SESSION|AGENT|CHAIN|LLM|TOOL|EVENT|SPAN),
name, agent, role, model, start, end, status, error_type, usage{}, usage_semantics, rollup,
attrs{}`; an absent key is not known. `usage_semantics` "inclusive" counts cached tokens inside
input_tokens, everything else beside them. `rollup: true` is a total that repeats other spans.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import COST_PARTS, cost_of, cycle_of
from spendtree.ingest.buckets import Counts, disjoint
from spendtree.ingest.span import KINDS, SpanError, SpanRecord
from spendtree.usage import Usage

_FAILED = frozenset({"error", "failed", "ERROR"})
_UNSET = frozenset({None, "", "unset", "UNSET"})
_NOTHING: dict[str, Any] = {}


def is_record(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a compact span record."""
    return document.get("kind") in KINDS and "span_id" in document


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return the span of one record."""
    get = item.get
    text = scalars.text
    kind = item["kind"]
    status = get("status")
    attrs = get("attrs") or _NOTHING
    if not isinstance(attrs, dict):
        raise SpanError("attrs: is not an object")
    usage = get("usage")
    return SpanRecord(
        trace_id=scalars.trace_id(get("trace_id")),
        span_id=scalars.span_id(get("span_id")),
        parent_span_id=scalars.span_id(get("parent_span_id")),
        session=text(get("session_id")),
        kind=kind,
        name=text(get("name")),
        agent=text(get("agent")),
        role=text(get("role")),
        provider=text(get("provider")),
        model=text(get("model")),
        start_us=scalars.micros(get("start"), "start"),
        end_us=scalars.micros(get("end"), "end"),
        status="failed" if status in _FAILED else "" if status in _UNSET else "ok",
        error=text(get("error_type")),
        usage=None if usage is None else _usage(usage, get("usage_semantics")),
        rollup=get("rollup") is True,
        reported_cost=_cost(attrs) if attrs else None,
        customer=text(attrs.get("spendtree.customer")),
        team=text(attrs.get("spendtree.team")),
        conversation=text(attrs.get("conversation_id")),
        response_id=text(attrs.get("response_id")),
        cycle=cycle_of(attrs) if "spendtree.cycle" in attrs else 1,
        task_id=text(attrs.get("spendtree.task_id")),
        purpose=text(attrs.get("spendtree.purpose")) or "work",
        refused_before=scalars.tokens(attrs.get("rate_limit_errors_before"), "attrs") or 0,
    )


def _usage(stated: Any, semantics: Any) -> Usage | None:
    if not isinstance(stated, dict):
        raise SpanError("usage: is not an object")
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_1h_input_tokens",
        "reasoning_tokens",
        "total_tokens",
    )
    counts = Counts(
        *[scalars.tokens(stated.get(name), name) for name in names],
        inclusive=None if semantics is None else semantics == "inclusive",
    )
    return disjoint(counts)


def _cost(attrs: Mapping[str, Any]) -> Any:
    stated = attrs.get("reported_cost_usd")
    if stated is not None:
        return scalars.dollars(stated)
    return cost_of(attrs) if COST_PARTS[0] in attrs else None
