"""Jaeger's JSON, as its page and its query API give it; and Go's console export. Pure.

A trace of Jaeger has `spans` with `tags` [{key, type, value}], times in microseconds, and parents
among `references`. Go's `stdouttrace` writes the fields of its own structures.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.pieces import each
from spendtree.ingest.span import Problem, SpanRecord


def is_trace(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one trace of Jaeger."""
    spans = document.get("spans")
    return (
        isinstance(spans, list)
        and bool(spans)
        and isinstance(spans[0], dict)
        and "spanID" in spans[0]
    )


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of one trace."""
    processes = scalars.mapping(document.get("processes"))
    yield from each(document["spans"], partial(span, processes), f"{where} spans".lstrip(), file)


def span(processes: Mapping[str, Any], item: Mapping[str, Any]) -> SpanRecord:
    """Return one span of Jaeger."""
    tags = _tags(item.get("tags"))
    process = scalars.mapping(processes.get(str(item.get("processID"))))
    start = scalars.micros(item.get("startTime"), "startTime")
    duration = item.get("duration")
    ended = start is not None and type(duration) in (int, float)
    status = str(tags.get("otel.status_code", "")).upper()
    failed = status == "ERROR" or tags.get("error") in (True, "true")
    frame = Frame(
        trace_id=scalars.trace_id(item.get("traceID")),
        span_id=scalars.span_id(item.get("spanID")),
        parent_span_id=scalars.span_id(_parent(item)),
        name=scalars.text(item.get("operationName")),
        start_us=start,
        end_us=start + int(duration or 0) if ended and start is not None else None,
        failed=failed,
        ok=status == "OK",
        error=scalars.text(tags.get("otel.status_description")),
    )
    resource = _tags(process.get("tags"))
    return record(frame, {**resource, **tags} if resource else tags)


def _tags(tags: Any) -> dict[str, Any]:
    if not isinstance(tags, list):
        return {}
    return {
        tag["key"]: tag.get("value")
        for tag in tags
        if isinstance(tag, dict) and isinstance(tag.get("key"), str)
    }


def _parent(item: Mapping[str, Any]) -> Any:
    references = item.get("references")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("refType") == "CHILD_OF":
            return reference.get("spanID")
    return item.get("parentSpanID")


def is_go(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a span as Go's `stdouttrace` writes it."""
    return isinstance(document.get("SpanContext"), dict) and "StartTime" in document


def go_span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one span of Go's console export."""
    context, parent = scalars.mapping(item.get("SpanContext")), scalars.mapping(item.get("Parent"))
    status = scalars.mapping(item.get("Status"))
    code = str(status.get("Code", ""))
    own = _go_attributes(item.get("Attributes"))
    frame = Frame(
        trace_id=scalars.trace_id(context.get("TraceID")),
        span_id=scalars.span_id(context.get("SpanID")),
        parent_span_id=scalars.span_id(parent.get("SpanID")),
        name=scalars.text(item.get("Name")),
        start_us=scalars.micros(item.get("StartTime"), "StartTime"),
        end_us=scalars.micros(item.get("EndTime"), "EndTime"),
        failed=code in ("Error", "1"),
        ok=code in ("Ok", "2"),
        error=scalars.text(status.get("Description")),
    )
    resource = _go_attributes(item.get("Resource"))
    return record(frame, {**resource, **own} if resource else own)


def _go_attributes(pairs: Any) -> dict[str, Any]:
    if not isinstance(pairs, list):
        return {}
    return {
        pair["Key"]: scalars.mapping(pair.get("Value")).get("Value")
        for pair in pairs
        if isinstance(pair, dict) and isinstance(pair.get("Key"), str)
    }
