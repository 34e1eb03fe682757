"""Spans as OpenTelemetry's Python SDK prints them, and what is built on that. Pure.

`ReadableSpan.to_json` has ids under `context` (as "0x…", or as decimal integers in dumps of
pydantic models); flattened dumps have them beside the name. Phoenix' REST pages nest attributes,
its data frames have them as columns, Logfire's rows and TRAIL's files have names of their own for
the same. Attributes are a mapping, or its JSON in a text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.pieces import one
from spendtree.ingest.span import Problem, SpanError, SpanRecord

_STARTS = ("start_time", "start_timestamp", "start_time_unix_nano", "timestamp")
_ENDS = ("end_time", "end_timestamp", "end_time_unix_nano")
_NAMES = ("name", "span_name")
_ATTRIBUTES = ("attributes", "span_attributes")
_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")

NEST_MAX = 6
LEAVES_MAX = 500


def is_span(item: Mapping[str, Any]) -> bool:
    """Return whether an object is one span: it has an id, and times or attributes."""
    context = item.get("context")
    named = "span_id" in item or (isinstance(context, dict) and "span_id" in context)
    return named and any(key in item for key in (*_ATTRIBUTES, *_STARTS, "context"))


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one printed span."""
    context = scalars.mapping(item.get("context")) or item
    status = scalars.mapping(item.get("status"))
    code = _code(item, status)
    start, end = _time(item, _STARTS), _time(item, _ENDS)
    if end is None and start is not None:
        end = _ended(start, item.get("duration"))
    frame = Frame(
        trace_id=scalars.trace_id(context.get("trace_id")),
        span_id=scalars.span_id(context.get("span_id")),
        parent_span_id=scalars.span_id(_parent(item)),
        name=scalars.text(_first(item, _NAMES)),
        start_us=start,
        end_us=end,
        failed=code.endswith("ERROR") or code == "2",
        ok=code.endswith("OK") or code == "1",
        error=_error(item, status),
    )
    resource = scalars.mapping(scalars.mapping(item.get("resource")).get("attributes"))
    own = attributes_of(_first(item, _ATTRIBUTES))
    kind = item.get("span_kind")
    if isinstance(kind, str) and "openinference.span.kind" not in own:
        own = {**own, "openinference.span.kind": kind}
    return record(frame, {**resource, **own} if resource else own)


def nested(item: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return a span and those that hang in its `child_spans`: TRAIL."""
    waiting = [(item, where)]
    while waiting:
        parent, at = waiting.pop()
        yield one(parent, span, at, file)
        children = parent.get("child_spans")
        for i, child in enumerate(children if isinstance(children, list) else ()):
            if isinstance(child, dict):
                waiting.append((child, f"{at}.child_spans[{i}]"))


def is_nested(item: Mapping[str, Any]) -> bool:
    """Return whether a span holds other spans."""
    return "child_spans" in item and "span_id" in item


def is_pending(item: Mapping[str, Any]) -> bool:
    """Return whether a row of Logfire is of a span that had only begun: its end is another row."""
    return item.get("kind") == "pending_span" and "span_id" in item


def attributes_of(value: Any) -> Mapping[str, Any]:
    """Return attributes as one mapping of dotted names. Raises SpanError for what is none."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise SpanError(
                "attributes: is a text that is not JSON; write the dump with json.dumps"
            ) from None
    if not isinstance(value, dict):
        return {}
    if any(type(each) is dict for each in value.values()):
        flat: dict[str, Any] = {}
        _flatten(value, "", flat, NEST_MAX)
        return flat
    return value


def _flatten(value: Mapping[str, Any], prefix: str, flat: dict[str, Any], depth: int) -> None:
    for key, each in value.items():
        if len(flat) >= LEAVES_MAX:
            return
        if type(each) is dict and depth and each:
            _flatten(each, f"{prefix}{key}.", flat, depth - 1)
        else:
            flat[f"{prefix}{key}"] = each


def _first(item: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _time(item: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return scalars.micros(_first(item, names), names[0])


def _ended(start: int, duration: Any) -> int | None:
    """Return an end from a duration: ISO 8601, or seconds (Logfire)."""
    if isinstance(duration, str):
        found = _DURATION.fullmatch(duration)
        if found is None:
            return None
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        duration = hours * 3600 + minutes * 60 + seconds
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        return None
    return start + int(duration * 1_000_000) if 0 <= duration < 10**9 else None


def _code(item: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    code = status.get("status_code", status.get("code"))
    if code is None:
        code = _first(item, ("status_code", "otel_status_code"))
    if code is None and item.get("is_exception") is True:
        return "ERROR"
    return "" if code is None else str(code).upper()


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
    for name in ("description", "message"):
        if status.get(name):
            return scalars.text(status[name])
    return scalars.text(_first(item, ("exception_type", "status_message", "otel_status_message")))
