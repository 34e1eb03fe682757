"""OTLP JSON: `resourceSpans`, as collectors' file exporters and OTLP/HTTP clients write it. Pure.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: names in lowerCamelCase, ids in
hexadecimal, 64-bit integers as strings. The snake_case names of other protobuf printers are read,
too, and base64 ids.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.pieces import each
from spendtree.ingest.span import InexactNumberError, Problem, SpanError, SpanRecord, Unread

_FAILED = (2, "STATUS_CODE_ERROR", "ERROR")
_OK = (1, "STATUS_CODE_OK", "OK")


def received(document: Mapping[str, Any], *, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of an export request; whatever is wrong with one is a Problem of it alone.

    Its numbers are exact. The lists of batches and of spans are walked once, in order.
    """
    return read(document, "", file, convert=_one_received)


def _one_received(resource: Mapping[str, Any], item: Mapping[str, Any]) -> SpanRecord:
    if isinstance(item, Unread):
        raise SpanError(item.reason)
    try:
        return span(resource, item)
    except InexactNumberError as error:
        raise SpanError(str(error)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise SpanError(f"cannot be read: {error!r}"[:200]) from None


def read(
    document: Mapping[str, Any],
    where: str,
    file: str,
    *,
    convert: Callable[[Mapping[str, Any], Mapping[str, Any]], SpanRecord] | None = None,
) -> Iterator[SpanRecord | Problem]:
    """Return the spans of an export request or an exported batch."""
    convert = convert or span
    for i, batch in enumerate(_list(document, "resourceSpans", "resource_spans")):
        at = f"{where} resourceSpans[{i}]".lstrip()
        if not isinstance(batch, dict):
            yield Problem(file, at, "is not an object")
            continue
        resource = attributes_of(scalars.mapping(batch.get("resource")).get("attributes"))
        scopes = _list(batch, "scopeSpans", "scope_spans", "instrumentationLibrarySpans")
        for j, scope in enumerate(scopes):
            spans = _list(scalars.mapping(scope), "spans")
            yield from each(spans, partial(convert, resource), f"{at}.scopeSpans[{j}].spans", file)


def span(resource: Mapping[str, Any], item: Mapping[str, Any]) -> SpanRecord:
    """Return one OTLP span; attributes of its resource stand in where its own are silent."""
    status = scalars.mapping(item.get("status"))
    code = status.get("code")
    frame = Frame(
        trace_id=scalars.trace_id(_get(item, "traceId", "trace_id")),
        span_id=scalars.span_id(_get(item, "spanId", "span_id")),
        parent_span_id=scalars.span_id(_get(item, "parentSpanId", "parent_span_id")),
        name=scalars.text(item.get("name")),
        start_us=scalars.micros(_get(item, "startTimeUnixNano", "start_time_unix_nano"), "start"),
        end_us=scalars.micros(_get(item, "endTimeUnixNano", "end_time_unix_nano"), "end"),
        failed=code in _FAILED,
        ok=code in _OK,
        error=_error(item, status),
    )
    own = attributes_of(item.get("attributes"))
    return record(frame, {**resource, **own} if resource else own)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Return OTLP's list of key and typed value as a mapping; a mapping as it is."""
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list):
        return {}
    return {
        pair["key"]: _value(pair.get("value"))
        for pair in pairs
        if isinstance(pair, dict) and isinstance(pair.get("key"), str)
    }


def _value(typed: Any) -> Any:
    """Return the scalar of an AnyValue; lists and maps hold nothing that is read here."""
    if not isinstance(typed, dict) or len(typed) != 1:
        return None
    ((kind, value),) = typed.items()
    return None if isinstance(value, (dict, list)) or kind.startswith("bytes") else value


def _error(item: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    for event in _list(item, "events"):
        raised = attributes_of(scalars.mapping(event).get("attributes")).get("exception.type")
        if raised:
            return scalars.text(raised)
    return scalars.text(_get(status, "message", "description"))


def _get(item: Mapping[str, Any], *names: str) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _list(item: Mapping[str, Any], *names: str) -> list[Any]:
    value = _get(item, *names)
    return value if isinstance(value, list) else []
