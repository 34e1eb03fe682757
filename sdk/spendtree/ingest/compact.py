"""Compact span records: one JSON object a span, without message text. Pure.

`session_id, trace_id, span_id, parent_span_id, kind (SESSION|AGENT|CHAIN|LLM|TOOL|EVENT|SPAN),
name, agent, role, model, start, end, status, error_type, usage{}, usage_semantics, rollup,
attrs{}`; an absent key is not known. `usage_semantics` "inclusive" counts cached tokens inside
input_tokens, everything else beside them. `rollup: true` is a total that repeats other spans.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import cost_of, cycle_of, served_of
from spendtree.ingest.counts import EITHER, NOTHING_STATED, Stated, Way, plain, stated
from spendtree.ingest.span import KINDS, SpanError, SpanRecord

_FAILED = frozenset({"error", "failed", "ERROR"})
_UNSET = frozenset({"", "unset", "UNSET"})
_TEXTS = {
    "spendtree.customer": "customer",
    "spendtree.team": "team",
    "spendtree.task_id": "task_id",
    "spendtree.purpose": "purpose",
    "conversation_id": "conversation",
    "response_id": "response_id",
    "gen_ai.response.model": "answered",
}
"""Attribute -> field of SpanRecord."""


def is_record(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a compact span record."""
    kind = document.get("kind")
    return isinstance(kind, str) and kind in KINDS and "span_id" in document


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return the span of one record."""
    get = item.get
    text = scalars.text
    status = text(get("status"))
    told = get("usage")
    usage = NOTHING_STATED if told is None else _usage(told, get("usage_semantics"))
    attrs = get("attrs")
    return SpanRecord(
        trace_id=scalars.trace_id(get("trace_id")),
        span_id=scalars.span_id(get("span_id")),
        parent_span_id=scalars.span_id(get("parent_span_id")),
        session=text(get("session_id")),
        kind=item["kind"],
        name=text(get("name")),
        agent=text(get("agent")),
        role=text(get("role")),
        provider=text(get("provider")),
        model=text(get("model")),
        start_us=scalars.micros(get("start"), "start"),
        end_us=scalars.micros(get("end"), "end"),
        status="failed" if status in _FAILED else "" if status in _UNSET else "ok",
        error=text(get("error_type")),
        usage=usage.usage,
        unread=usage.unread,
        rollup=get("rollup") is True,
        **(_told(attrs) if attrs else {}),
    )


def _told(attrs: Any) -> dict[str, Any]:
    """Return the fields that attributes fill: what sources tell beyond the record's own keys."""
    if not isinstance(attrs, dict):
        raise SpanError("attrs: is not an object")
    fields: dict[str, Any] = {
        field: scalars.text(attrs[name]) for name, field in _TEXTS.items() if name in attrs
    }
    if "spendtree.cycle" in attrs:
        fields["cycle"] = cycle_of(attrs)
    if "rate_limit_errors_before" in attrs:
        refused = scalars.tokens(attrs["rate_limit_errors_before"], "rate_limit_errors_before")
        fields["refused_before"] = refused or 0
    if (served := served_of(attrs)) is not None:
        fields["served"] = served
    cost = attrs.get("reported_cost_usd")
    cost = cost_of(attrs) if cost is None else scalars.dollars(cost)
    if cost is not None:
        fields["reported_cost"] = cost
    return fields


def _usage(usage: Any, semantics: Any) -> Stated:
    if not isinstance(usage, dict):
        raise SpanError("usage: is not an object")
    if _PLAIN.issuperset(usage):  # most are: the same, without a look at every name
        input_tokens = scalars.tokens(usage.get("input_tokens"), "input_tokens") or 0
        output_tokens = scalars.tokens(usage.get("output_tokens"), "output_tokens") or 0
        if usage.get("total_tokens") not in (None, input_tokens + output_tokens):
            return stated(usage)
        return plain(input_tokens, output_tokens)
    return stated(usage, EITHER if semantics is None else Way(inclusive=semantics == "inclusive"))


_PLAIN = frozenset(("input_tokens", "output_tokens", "total_tokens"))
