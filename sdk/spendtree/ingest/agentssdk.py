"""Exports of OpenAI's Agents SDK: one object a trace and a span. Pure.

https://openai.github.io/openai-agents-python/tracing/: `span_data` says what a span is. The usage
of `response` spans stands in newer versions only; without it such a call is unmetered.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.span import SpanKind, SpanRecord

_TYPES: dict[str, SpanKind] = {
    "agent": "AGENT",
    "generation": "LLM",
    "response": "LLM",
    "transcription": "LLM",
    "speech": "LLM",
    "function": "TOOL",
    "mcp_tools": "TOOL",
    "guardrail": "SPAN",
    "handoff": "EVENT",
    "custom": "SPAN",
}


def is_object(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a trace or a span of an export."""
    return document.get("object") in ("trace", "trace.span") and "id" in document


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one span; a trace is a frame around its spans, without a time of its own."""
    if item["object"] == "trace":
        return SpanRecord(
            trace_id=scalars.trace_id(item["id"]),
            span_id=scalars.text(item["id"]),
            kind="CHAIN",
            name=scalars.text(item.get("workflow_name")),
            conversation=scalars.text(item.get("group_id")),
        )
    data = scalars.mapping(item.get("span_data"))
    kind = _TYPES.get(str(data.get("type")), "SPAN")
    error = scalars.mapping(item.get("error"))
    told: dict[str, Any] = {}
    if kind == "LLM":
        asked = scalars.text(data.get("model"))
        response = data.get("response")
        body = response if isinstance(response, dict) else {}
        told = bodies.fields(
            {**body, "usage": data["usage"]} if data.get("usage") else body, asked=asked
        )
        told["response_id"] = scalars.text(data.get("response_id") or body.get("id"))
    return SpanRecord(
        trace_id=scalars.trace_id(item.get("trace_id")),
        span_id=scalars.text(item["id"]),
        parent_span_id=scalars.text(item.get("parent_id") or item.get("trace_id")),
        kind=kind,
        name=scalars.text(data.get("name") or data.get("type")),
        agent=scalars.text(data.get("name")) if kind == "AGENT" else "",
        provider="openai" if data.get("type") == "response" else "",
        start_us=scalars.micros(item.get("started_at"), "started_at"),
        end_us=scalars.micros(item.get("ended_at"), "ended_at"),
        status="failed" if error else "",
        error=scalars.text(error.get("message")),
        **told,
    )
