"""Spans as the OpenTelemetry SDKs print them: `ReadableSpan.to_json` and dumps built on it. Pure.

Ids stand under `context` (as "0x…", or as decimal integers in dumps of pydantic models), or, in
flattened dumps, beside the name. Attributes are a plain mapping.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.span import SpanRecord


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one printed span."""
    context = scalars.mapping(item.get("context")) or item
    status = scalars.mapping(item.get("status"))
    code = str(status.get("status_code", status.get("code", ""))).upper()
    frame = Frame(
        trace_id=scalars.trace_id(context.get("trace_id")),
        span_id=scalars.span_id(context.get("span_id")),
        parent_span_id=scalars.span_id(_parent(item)),
        name=scalars.text(item.get("name")),
        start_us=scalars.micros(item.get("start_time"), "start_time"),
        end_us=scalars.micros(item.get("end_time"), "end_time"),
        failed=code.endswith("ERROR") or code == "2",
        ok=code.endswith("OK") or code == "1",
        error=_error(item, status),
    )
    resource = scalars.mapping(scalars.mapping(item.get("resource")).get("attributes"))
    own = scalars.mapping(item.get("attributes"))
    return record(frame, {**resource, **own} if resource else own)


def _parent(item: Mapping[str, Any]) -> Any:
    parent = item.get("parent")
    if isinstance(parent, dict):
        return parent.get("span_id")
    return item.get("parent_id") or item.get("parent_span_id") or parent


def _error(item: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    events = item.get("events") or item.get("span_events")
    for event in events if isinstance(events, list) else ():
        raised = scalars.mapping(scalars.mapping(event).get("attributes")).get("exception.type")
        if raised:
            return scalars.text(raised)
    return scalars.text(status.get("description") or status.get("message"))
