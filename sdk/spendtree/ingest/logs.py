"""Log records that state the usage of a call: OTLP logs, and those that JavaScript writes. Pure.

Claude Code (`claude_code.api_request`), Gemini CLI and Qwen Code (`gemini_cli.api_response`), Codex
(`codex.sse_event`) and OpenTelemetry's `gen_ai.client.inference.operation.details` are such events.
Other records state no usage and are passed over. A record has no id of its own: it is what it says.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha1
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import CONVERSATION_KEYS, Frame, first, record
from spendtree.ingest.claudecode import provider_of
from spendtree.ingest.otlp import attributes_of
from spendtree.ingest.span import InexactNumberError, Problem, SpanError, SpanRecord

FAILURES = ("api_error",)
"""The last word of events of calls that failed."""

_CONVERSATIONS = ("session.id", "conversation.id", *CONVERSATION_KEYS)
_AGENTS = {"claude_code": "claude-code", "gemini_cli": "gemini-cli", "codex": "codex"}


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the calls of an export of OTLP logs."""
    for i, batch in enumerate(_list(document, "resourceLogs", "resource_logs")):
        resource = attributes_of(
            scalars.mapping(scalars.mapping(batch).get("resource")).get("attributes")
        )
        for j, scope in enumerate(_list(scalars.mapping(batch), "scopeLogs", "scope_logs")):
            for k, item in enumerate(_list(scalars.mapping(scope), "logRecords", "log_records")):
                at = f"{where} resourceLogs[{i}].scopeLogs[{j}].logRecords[{k}]".lstrip()
                own = attributes_of(scalars.mapping(item).get("attributes"))
                yield from _one(_otlp(scalars.mapping(item)), {**resource, **own}, at, file)


def read_line(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the call of one record as OpenTelemetry's JavaScript SDK writes it."""
    resource = scalars.mapping(scalars.mapping(document.get("resource")).get("attributes"))
    own = scalars.mapping(document.get("attributes"))
    context = scalars.mapping(document.get("spanContext")) or document
    fields = {
        "time": document.get("hrTime") or document.get("timestamp"),
        "body": document.get("_body") or document.get("body"),
        "traceId": context.get("traceId"),
        "spanId": context.get("spanId"),
    }
    yield from _one(fields, {**resource, **own}, where, file)


def is_line(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one log record of the JavaScript SDK."""
    timed = "hrTime" in document or "timestamp" in document
    return timed and ("_body" in document or "body" in document) and "attributes" in document


def _otlp(item: Mapping[str, Any]) -> dict[str, Any]:
    times = ("timeUnixNano", "time_unix_nano", "observedTimeUnixNano")
    body = item.get("body")
    return {
        "time": next((item[name] for name in times if item.get(name)), None),
        "body": body.get("stringValue") if isinstance(body, dict) else body,
        "name": item.get("eventName") or item.get("event_name"),
        "traceId": item.get("traceId") or item.get("trace_id"),
        "spanId": item.get("spanId") or item.get("span_id"),
    }


def _one(
    item: Mapping[str, Any], attributes: Mapping[str, Any], where: str, file: str
) -> Iterator[SpanRecord | Problem]:
    try:
        found = _call(item, attributes)
    except (SpanError, InexactNumberError) as error:
        yield Problem(file, where or "line 1", str(error))
        return
    if found is not None:
        yield found


def _call(item: Mapping[str, Any], attributes: Mapping[str, Any]) -> SpanRecord | None:
    event = scalars.text(item.get("name") or attributes.get("event.name") or item.get("body"))
    body = scalars.text(item.get("body"))
    failed = event.endswith(FAILURES)
    end = scalars.micros(item.get("time") or attributes.get("event.timestamp"), "time")
    conversation = first(attributes, _CONVERSATIONS)
    trace = scalars.trace_id(item.get("traceId"))
    digest = json.dumps([end, event, attributes], sort_keys=True, default=str)
    frame = Frame(
        trace_id=trace or conversation,
        span_id=sha1(digest.encode("utf-8", "replace")).hexdigest()[:16],
        parent_span_id=scalars.span_id(item.get("spanId")) if trace else "",
        name=event,
        start_us=_start(end, attributes),
        end_us=end,
        failed=failed,
        ok=not failed,
        error=first(attributes, ("error.type", "error_type", "status_code")) if failed else "",
    )
    found = record(frame, attributes)
    model = found.model or first(attributes, ("model",))
    if found.usage is None and not (failed and model):
        return None
    tool = (event if "." in event else body).partition(".")[0]
    return replace(
        found,
        kind="LLM",
        session=found.session or ("" if trace else conversation),
        agent=found.agent or _AGENTS.get(tool, ""),
        model=model,
        provider=found.provider or _provider(tool, model),
        keys=(),
    )


def _provider(tool: str, model: str) -> str:
    """Return who answered a tool whose records do not say so; "" leaves it to the model's name."""
    if tool == "claude_code":
        return provider_of(model)
    return "openai" if tool == "codex" else ""


def _start(end: int | None, attributes: Mapping[str, Any]) -> int | None:
    duration = attributes.get("duration_ms")
    if isinstance(duration, str) and duration.isdigit():
        duration = int(duration)
    if end is None or isinstance(duration, bool) or not isinstance(duration, (int, float)):
        return end
    return end - int(duration * 1000) if 0 <= duration * 1000 < end else end


def _list(item: Mapping[str, Any], *names: str) -> list[Any]:
    return next((list(item[name]) for name in names if isinstance(item.get(name), list)), [])
