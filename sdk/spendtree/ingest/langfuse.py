"""Langfuse: exported traces, pages of its API, rows of its blob storage export. Pure.

https://langfuse.com/docs/observability/data-model. What an observation got over OpenTelemetry
stands in its metadata; its attributes tell the provider, while type and counts are Langfuse's own.
Rows of the blob storage have the same names in snake case, and some are renamed in newer versions.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.counts import Stated, Way, stated, usage_of
from spendtree.ingest.pieces import each
from spendtree.ingest.scalars import opened
from spendtree.ingest.span import Problem, SpanKind, SpanRecord
from spendtree.response.aliases import NOTHING, meaning

_TYPES: dict[str, SpanKind] = {
    "GENERATION": "LLM",
    "EMBEDDING": "LLM",
    "AGENT": "AGENT",
    "TOOL": "TOOL",
    "CHAIN": "CHAIN",
    "EVENT": "EVENT",
    "SPAN": "SPAN",
    "RETRIEVER": "SPAN",
    "EVALUATOR": "SPAN",
    "GUARDRAIL": "SPAN",
}

_UNITS = {
    "CHARACTERS": ("character", 1),
    "MILLISECONDS": ("audio_second", 1000),
    "SECONDS": ("audio_second", 1),
    "IMAGES": ("image", 1),
    "REQUESTS": ("request", 1),
}
"""Units in which `usage` may be counted -> the unit here, and how many of theirs make one."""

_TOP = ("promptTokens", "completionTokens", "totalTokens")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_TRACES = ("sessionId", "session_id")


def is_observation(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a single observation."""
    named = "traceId" in document or "trace_id" in document
    return named and str(document.get("type")).upper() in _TYPES and "id" in document


def is_trace(document: Mapping[str, Any]) -> bool:
    """Return whether a document is an exported trace with its observations."""
    found = document.get("observations")
    return isinstance(found, list) and all(isinstance(item, dict) for item in found)


def is_bare_trace(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a trace that only names its observations."""
    found = document.get("observations")
    return isinstance(found, list) and any(isinstance(item, str) for item in found)


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of an exported trace.

    The trace object repeats the observations; only the list beside it is read.
    """
    trace = scalars.mapping(document.get("trace")) or document
    conversation = scalars.text(next((trace[key] for key in _TRACES if trace.get(key)), None))
    convert = partial(observation, conversation)
    yield from each(document["observations"], convert, f"{where} observations".lstrip(), file)


def observation(conversation: str, item: Mapping[str, Any]) -> SpanRecord:
    """Return one observation."""
    get = partial(_get, item)
    level = item.get("level")
    frame = Frame(
        trace_id=scalars.trace_id(get("traceId")),
        span_id=scalars.span_id(item.get("id")),
        parent_span_id=scalars.span_id(get("parentObservationId")),
        name=scalars.text(item.get("name")),
        start_us=scalars.micros(get("startTime"), "startTime"),
        end_us=scalars.micros(get("endTime"), "endTime"),
        failed=level == "ERROR",
        ok=level not in (None, "ERROR"),
        error=scalars.text(get("statusMessage")),
    )
    attributes = scalars.mapping(opened(opened(item.get("metadata")).get("attributes")))
    kind = _TYPES.get(str(item.get("type")).upper(), "SPAN")
    told = record(frame, {key: value for key, value in attributes.items() if not _counts(key)})
    model = scalars.text(get("model") or get("providedModelName") or get("internalModelName"))
    usage = _usage(item, embeds=str(item.get("type")).upper() == "EMBEDDING")
    return replace(
        told,
        kind=kind,
        agent=told.agent or (frame.name if kind == "AGENT" else ""),
        model=model or told.model,
        usage=usage.usage,
        unread=usage.unread,
        reported_cost=_cost(item),
        is_bill=False,
        served=told.served if told.served is not None else _served(item),
        conversation=conversation or scalars.text(get("sessionId")) or told.conversation,
        keys=tuple(_stated_of(item)) if usage.usage is None and kind == "LLM" else (),
    )


def _get(item: Mapping[str, Any], name: str) -> Any:
    value = item.get(name)
    return item.get(_HUMP.sub(r"_\1", name).lower()) if value is None else value


def _counts(key: str) -> bool:
    """Return whether an attribute is a count, which Langfuse has read into usageDetails."""
    return ".usage." in key or ".token_count." in key


def _served(item: Mapping[str, Any]) -> tuple[str, ...] | None:
    parameters = opened(_get(item, "modelParameters"))
    return bodies.tier(parameters.get("service_tier"))


def _cost(item: Mapping[str, Any]) -> Decimal | None:
    for name in ("totalCost", "calculatedTotalCost"):
        cost = scalars.dollars(_get(item, name))
        if cost is not None:
            return cost
    details = opened(_get(item, "costDetails"))
    total = scalars.dollars(details.get("total"))
    parts = [cost for value in details.values() if (cost := scalars.dollars(value)) is not None]
    return total if total is not None or not parts else sum(parts[1:], parts[0])


def _stated_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that counts, an empty one if none does."""
    for source in (_get(item, "usageDetails"), item.get("usage")):
        found = opened(source)
        if any(_is_count(key) and value for key, value in found.items()):
            return found
    return {key: _get(item, key) for key in _TOP if _get(item, key) is not None}


def _is_count(key: str) -> bool:
    known = meaning(key)
    return known is not None and known is not NOTHING


def _usage(item: Mapping[str, Any], *, embeds: bool) -> Stated:
    """Langfuse prices each key by itself, so its counts are disjoint, unless its total denies it.

    What came in by OpenTelemetry is stored as it came: OpenInference's cached tokens stay inside
    the input. `total` is then the sum of input and output alone.
    """
    found = _stated_of(item)
    unit = str(found.get("unit") or item.get("unit") or "").upper()
    if unit in _UNITS:
        return _of_unit(found, unit)
    found = {key: value for key, value in found.items() if key != "unit"}
    totals = [scalars.tokens(found[key], key) for key in _TOTALS if found.get(key) is not None]
    text = [
        next((scalars.tokens(found[k], k) or 0 for k in keys if found.get(k) is not None), 0)
        for keys in (_INPUT, _OUTPUT)
    ]
    inside = bool(totals) and totals[0] == sum(text)
    return stated(found, Way(inclusive=inside, apart=True, input_only=embeds))


_TOTALS = ("total", "total_tokens", "totalTokens")
_INPUT = ("input", "input_tokens", "prompt_tokens", "promptTokens")
_OUTPUT = ("output", "output_tokens", "completion_tokens", "completionTokens")


def _of_unit(found: Mapping[str, Any], unit: str) -> Stated:
    """Return a usage that is not counted in tokens."""
    name, per = _UNITS[unit]
    counts = {
        key: scalars.tokens(found[key], key) or 0
        for key in ("input", "output", "total")
        if found.get(key) is not None
    }
    count = max(counts.get("total", 0), counts.get("input", 0) + counts.get("output", 0))
    return usage_of({name: -(-count // per)}, {})
