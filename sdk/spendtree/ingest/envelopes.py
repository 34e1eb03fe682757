"""Envelopes that several dialects share: OTLP under other names, bare lists of spans. Pure.

How each is recognised and read; the table of `dialects` says what is what.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from spendtree.ingest import compact, jaeger, javascript, otelsdk, otlp
from spendtree.ingest.pieces import each
from spendtree.ingest.span import Problem, SpanRecord

Document = Mapping[str, Any]
Found = Iterable[SpanRecord | Problem]


def batches(document: Document, where: str, file: str) -> Found:
    """Return the spans of Tempo's traces, and of batches without their envelope."""
    inner = document.get("trace", document)
    batches = inner.get("batches") or inner.get("resourceSpans") or inner.get("resource_spans")
    if batches is None:
        batches = [inner]
    return otlp.read({"resourceSpans": batches}, where, file)


def is_otlp(document: Document) -> bool:
    """Return whether a document is an export request or batch of spans."""
    return isinstance(document.get("resourceSpans", document.get("resource_spans")), list)


def is_wrapped(document: Document) -> bool:
    """Return whether a document wraps batches of OTLP under other names."""
    inner = document.get("trace", document)
    if not isinstance(inner, dict) or "observations" in document:
        return False
    names = ("batches", "resourceSpans", "resource_spans", "scopeSpans")
    return any(isinstance(inner.get(name), list) for name in names)


def is_logs(document: Document) -> bool:
    """Return whether a document is an export request or batch of logs."""
    return isinstance(document.get("resourceLogs", document.get("resource_logs")), list)


def is_list_of_spans(document: Document) -> bool:
    """Return whether a document is a bare list of spans."""
    spans = document.get("spans")
    return isinstance(spans, list) and not jaeger.is_trace(document)


def list_of_spans(document: Document, where: str, file: str) -> Found:
    """Return the spans of a bare list, each of whichever format it is."""
    at = f"{where} spans".lstrip()
    yield from each(document["spans"], _any_span, at, file, nested=_inner)


def _inner(item: Document, where: str, file: str) -> Found | None:
    return otelsdk.nested(item, where, file) if otelsdk.is_nested(item) else None


def _any_span(value: Document) -> SpanRecord:
    if compact.is_record(value) and "attributes" not in value:
        return compact.span(value)
    if "spanId" in value:
        return javascript.span(value) if javascript.is_span(value) else otlp.span({}, value)
    return otelsdk.span(value)


def is_otlp_span(document: Document) -> bool:
    """Return whether a document is a single span of OTLP."""
    return "spanId" in document and "traceId" in document


def is_compact(document: Document) -> bool:
    """Return whether a document is a compact span record."""
    return compact.is_record(document) and "attributes" not in document
