"""Spans as OpenTelemetry's JavaScript SDK has them: console exports as JSON, and files. Pure.

`ConsoleSpanExporter` has `id`, `timestamp` and `duration` in microseconds; files of Copilot and of
VS Code have `spanId`, `startTime` and `endTime` as [seconds, nanoseconds]. Zipkin's JSON is alike.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.otlp import attributes_of
from spendtree.ingest.span import SpanRecord


def is_span(item: Mapping[str, Any]) -> bool:
    """Return whether an object is one span."""
    context = _context(item)
    identified = "traceId" in context and ("spanId" in context or "id" in context)
    hr = isinstance(item.get("startTime"), list) or isinstance(item.get("_spanContext"), dict)
    return identified and (hr or ("timestamp" in item and "duration" in item))


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one span."""
    context = _context(item)
    status = scalars.mapping(item.get("status"))
    code = status.get("code")
    start = scalars.micros(item.get("startTime", item.get("timestamp")), "startTime")
    end = scalars.micros(item.get("endTime"), "endTime")
    duration = item.get("duration")
    if end is None and start is not None and type(duration) in (int, float):
        end = start + int(duration or 0)
    own = attributes_of(item.get("attributes", item.get("tags")))
    frame = Frame(
        trace_id=scalars.trace_id(context.get("traceId")),
        span_id=scalars.span_id(context.get("spanId") or context.get("id")),
        parent_span_id=scalars.span_id(_parent(item)),
        name=scalars.text(item.get("name")),
        start_us=start,
        end_us=end,
        failed=code in (2, "ERROR", "STATUS_CODE_ERROR") or "error" in own,
        ok=code in (1, "OK", "STATUS_CODE_OK"),
        error=_error(item, status) or scalars.text(own.get("error")),
    )
    resource = scalars.mapping(scalars.mapping(item.get("resource")).get("attributes"))
    return record(frame, {**resource, **own} if resource else own)


def _context(item: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("_spanContext", "spanContext"):
        if isinstance(item.get(name), dict):
            return scalars.mapping(item[name])
    return item


def _parent(item: Mapping[str, Any]) -> Any:
    context = scalars.mapping(item.get("parentSpanContext"))
    return context.get("spanId") or item.get("parentSpanId") or item.get("parentId")


def _error(item: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    events = item.get("events")
    for event in events if isinstance(events, list) else ():
        raised = scalars.mapping(scalars.mapping(event).get("attributes")).get("exception.type")
        if raised:
            return scalars.text(raised)
    return scalars.text(status.get("message"))
