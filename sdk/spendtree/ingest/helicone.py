"""Helicone's requests, as its API and its export give them. Pure.

https://docs.helicone.ai/rest/request/post-v1requestquery: one object a request, with the body of
its response, which is read as that of a live call; its own counts stand in where there is none.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.scalars import opened
from spendtree.ingest.span import SpanRecord

_COUNTS = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "prompt_cache_read_tokens": "cached_tokens",
    "prompt_cache_write_tokens": "cache_write_tokens",
    "prompt_audio_tokens": "input_audio_tokens",
    "completion_audio_tokens": "output_audio_tokens",
    "total_tokens": "total_tokens",
}
_ENDS = ("response_created_at", "responseCreatedAt")
_STARTS = ("request_created_at", "requestCreatedAt", "created_at")


def is_request(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one request."""
    has_id = "request_id" in document or "response_id" in document
    return has_id and ("request_created_at" in document or "helicone_user" in document)


def span(item: Mapping[str, Any]) -> SpanRecord:
    """Return one request."""
    properties = opened(item.get("request_properties") or item.get("properties"))
    body = opened(item.get("response_body"))
    asked = scalars.text(
        item.get("request_model")
        or item.get("model")
        or opened(item.get("request_body")).get("model")
    )
    fields = bodies.fields(body, asked=asked)
    if fields["usage"] is None:
        own = {name: item[key] for key, name in _COUNTS.items() if item.get(key)}
        fields = bodies.usage_fields(own, asked=asked)
    answered = scalars.text(item.get("response_model") or item.get("model_override"))
    if answered and answered != asked and not fields["answered"]:
        fields["answered"] = answered
    id = scalars.text(item.get("request_id") or item.get("response_id"))
    session = scalars.text(properties.get("Helicone-Session-Id"))
    status = item.get("response_status", item.get("status"))
    failed = type(status) is int and (status >= 400 or status < 0)
    cost = next(
        (scalars.dollars(item[key]) for key in ("costUSD", "cost_usd", "cost") if item.get(key)),
        None,
    )
    start = next((item[key] for key in _STARTS if item.get(key)), None)
    end = next((item[key] for key in _ENDS if item.get(key)), None)
    if not fields["is_bill"]:
        fields["reported_cost"] = cost
    return SpanRecord(
        trace_id=session or id,
        span_id=id,
        kind="LLM",
        name=scalars.text(item.get("request_path") or properties.get("Helicone-Session-Path")),
        agent=scalars.text(properties.get("Helicone-Session-Name")),
        provider=scalars.text(item.get("provider")).lower(),
        start_us=scalars.micros(start, "request_created_at"),
        end_us=scalars.micros(end, "response_created_at"),
        status="failed" if failed else "ok",
        error=f"HTTP {status}" if failed else "",
        customer=scalars.text(item.get("request_user_id") or item.get("user_id")),
        response_id=scalars.text(body.get("id")),
        **fields,
    )
