"""Langfuse trace exports: {"trace": …, "observations": […]}, or a trace that holds them. Pure.

https://langfuse.com/docs/observability/data-model. What an observation got over OpenTelemetry
stands in its metadata; its attributes tell the provider, while type and counts are Langfuse's own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.attributes import Frame, record
from spendtree.ingest.buckets import Counts, disjoint
from spendtree.ingest.pieces import each
from spendtree.ingest.span import Problem, SpanKind, SpanRecord
from spendtree.usage import Usage

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

_INPUT = ("input", "input_tokens", "prompt_tokens", "promptTokens")
_OUTPUT = ("output", "output_tokens", "completion_tokens", "completionTokens")
_CACHE_READ = (
    "input_cached_tokens",
    "cache_read_input_tokens",
    "input_cache_read",
    "prompt_details.cache_read",
    "cached_tokens",
)
_CACHE_WRITE = (
    "cache_creation_input_tokens",
    "input_cache_creation",
    "prompt_details.cache_write",
)
_REASONING = ("output_reasoning", "output_reasoning_tokens", "completion_details.reasoning")
_TOTAL = ("total", "total_tokens", "totalTokens")


def is_observation(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a single observation."""
    return "traceId" in document and str(document.get("type")) in _TYPES


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of an exported trace.

    The trace object repeats the observations; only the list beside it is read.
    """
    trace = scalars.mapping(document.get("trace")) or document
    convert = partial(observation, scalars.text(trace.get("sessionId")))
    yield from each(document["observations"], convert, f"{where} observations".lstrip(), file)


def observation(conversation: str, item: Mapping[str, Any]) -> SpanRecord:
    """Return one observation."""
    level = item.get("level")
    frame = Frame(
        trace_id=scalars.trace_id(item.get("traceId")),
        span_id=scalars.span_id(item.get("id")),
        parent_span_id=scalars.span_id(item.get("parentObservationId")),
        name=scalars.text(item.get("name")),
        start_us=scalars.micros(item.get("startTime"), "startTime"),
        end_us=scalars.micros(item.get("endTime"), "endTime"),
        failed=level == "ERROR",
        ok=level not in (None, "ERROR"),
        error=scalars.text(item.get("statusMessage")),
    )
    attributes = scalars.mapping(_opened(_opened(item.get("metadata")).get("attributes")))
    kind = _TYPES.get(str(item.get("type")), "SPAN")
    told = record(frame, {key: value for key, value in attributes.items() if not _counts(key)})
    return replace(
        told,
        kind=kind,
        agent=told.agent or (frame.name if kind == "AGENT" else ""),
        model=scalars.text(item.get("model")) or told.model,
        usage=_usage(item),
        reported_cost=scalars.dollars(item.get("totalCost")),
        conversation=conversation or told.conversation,
    )


def _counts(key: str) -> bool:
    """Return whether an attribute is a count, which Langfuse has read into usageDetails."""
    return ".usage." in key or ".token_count." in key


def _usage(item: Mapping[str, Any]) -> Usage | None:
    for source in (item.get("usageDetails"), item.get("usage"), item):
        stated = _opened(source)
        if any(stated.get(key) is not None for key in (*_INPUT, *_OUTPUT)) and source is not item:
            return _disjoint(stated)
    return _disjoint({key: item[key] for key in (_INPUT[3], _OUTPUT[3], _TOTAL[2]) if key in item})


def _disjoint(stated: Mapping[str, Any]) -> Usage | None:
    """Langfuse prices each key by itself, so its counts are disjoint, unless its total denies it.

    What came in by OpenTelemetry is stored as it came: OpenInference's cached tokens stay inside
    the input. `total` is then the sum of input and output alone.
    """
    counts = Counts(
        input=_count(stated, _INPUT),
        output=_count(stated, _OUTPUT),
        cache_read=_count(stated, _CACHE_READ),
        cache_write=_count(stated, _CACHE_WRITE),
        reasoning=_count(stated, _REASONING),
        total=_count(stated, _TOTAL),
    )
    inside = counts.total is not None and counts.total == (counts.input or 0) + (counts.output or 0)
    return disjoint(counts._replace(inclusive=inside))


def _count(stated: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    found = (scalars.tokens(stated[key], key) for key in keys if stated.get(key) is not None)
    return next(found, None)


def _opened(value: Any) -> Mapping[str, Any]:
    """Return a mapping that may be written as JSON in a string, as exports do."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return scalars.mapping(value)
