"""LiteLLM's spend logs, and the payloads that its loggers write. Pure.

https://docs.litellm.ai/docs/proxy/spending_monitoring: one row a request, in `spend` what LiteLLM's
own price list says. https://docs.litellm.ai/docs/proxy/logging_spec is the payload of its loggers.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.scalars import opened
from spendtree.ingest.span import SpanRecord

_CACHED = ("true", "1")


def is_row(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one request."""
    spent = "spend" in document or "response_cost" in document
    return spent and "call_type" in document and ("request_id" in document or "id" in document)


def span(row: Mapping[str, Any]) -> SpanRecord:
    """Return one request.

    A row whose answer came from LiteLLM's own cache cost nothing and called nobody: it has no
    usage. The customer is the end user that the request named.
    """
    metadata = opened(row.get("metadata"))
    id = scalars.text(row.get("request_id") or row.get("id"))
    session = scalars.text(row.get("session_id") or row.get("trace_id"))
    asked = scalars.text(row.get("model"))
    cached = str(row.get("cache_hit", "")).lower() in _CACHED
    failed = row.get("status") in ("failure", "error")
    told = {} if cached else _told(row, metadata, asked)
    return SpanRecord(
        trace_id=session or id,
        span_id=id,
        kind="EVENT" if cached else "LLM",
        name=scalars.text(row.get("call_type")),
        agent=scalars.text(row.get("agent_id")),
        provider=scalars.text(row.get("custom_llm_provider")),
        start_us=scalars.micros(row.get("startTime"), "startTime"),
        end_us=scalars.micros(row.get("endTime"), "endTime"),
        status="failed" if failed else "ok",
        error=_error(row, metadata) if failed else "",
        customer=scalars.text(row.get("end_user")),
        team=scalars.text(row.get("team_id") or metadata.get("user_api_key_team_id")),
        response_id=scalars.text(opened(row.get("response")).get("id")) or id,
        **told,
    )


def _told(row: Mapping[str, Any], metadata: Mapping[str, Any], asked: str) -> dict[str, Any]:
    cost = scalars.dollars(row.get("response_cost", row.get("spend")))
    own = ("prompt_tokens", "completion_tokens", "total_tokens")
    response = opened(row.get("response"))
    hidden = opened(row.get("hidden_params"))
    sources = (
        metadata.get("usage_object"),
        hidden.get("usage_object"),
        response.get("usage"),
        {name: row[name] for name in own if row.get(name) is not None},
    )
    found = (bodies.usage_fields(opened(usage), asked=asked) for usage in sources)
    fields: dict[str, Any] = next(
        (each for each in found if each["usage"] is not None), {"model": asked, "usage": None}
    )
    answered = scalars.text(response.get("model"))
    if answered and answered != asked:
        fields["answered"] = answered
    served = bodies.tier(response.get("service_tier"))
    if served is not None:
        fields["served"] = served
    return {**fields, "reported_cost": cost, "is_bill": False}


def _error(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    told = opened(metadata.get("error_information")) or opened(row.get("error_information"))
    return scalars.text(told.get("error_class") or row.get("error_str"))[:200]
