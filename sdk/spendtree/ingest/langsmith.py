"""LangSmith runs, as its SDK and its bulk export write them, one an object. Pure.

https://docs.langchain.com/langsmith/run-data-format: `run_type` says what a run is, the usage
stands in its outputs or its metadata, and its sums beside it. Counts of runs that hold others are
sums of these.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.scalars import opened
from spendtree.ingest.span import SpanKind, SpanRecord

_TYPES: dict[str, SpanKind] = {
    "llm": "LLM",
    "embedding": "LLM",
    "chain": "CHAIN",
    "tool": "TOOL",
    "agent": "AGENT",
}
_MODELS = ("ls_model_name", "model_name", "model")
_DEEP = 6


def is_run(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one run."""
    return "run_type" in document and "id" in document


def span(run: Mapping[str, Any]) -> SpanRecord:
    """Return one run."""
    kind = _TYPES.get(str(run.get("run_type")), "SPAN")
    outputs = opened(run.get("outputs"))
    extra = opened(run.get("extra"))
    metadata = {**opened(run.get("metadata")), **opened(extra.get("metadata"))}
    asked = scalars.text(next((metadata[name] for name in _MODELS if metadata.get(name)), None))
    told = _told(run, outputs, metadata, asked) if kind == "LLM" else {}
    failed = run.get("status") == "error" or bool(run.get("error"))
    cost = scalars.dollars(run.get("total_cost")) if kind == "LLM" else None
    return SpanRecord(
        trace_id=scalars.trace_id(run.get("trace_id") or run["id"]),
        span_id=scalars.span_id(run["id"]),
        parent_span_id=scalars.span_id(run.get("parent_run_id")),
        kind=kind,
        name=scalars.text(run.get("name")),
        agent=_agent(metadata, kind, run),
        provider=scalars.text(metadata.get("ls_provider")),
        start_us=scalars.micros(run.get("start_time"), "start_time"),
        end_us=scalars.micros(run.get("end_time"), "end_time"),
        status="failed" if failed else "ok" if run.get("status") == "success" else "",
        error=scalars.text(run.get("error"))[:200] if failed else "",
        conversation=scalars.text(metadata.get("thread_id") or metadata.get("session_id")),
        **{**told, "reported_cost": cost or told.get("reported_cost"), "is_bill": False},
    )


def _agent(metadata: Mapping[str, Any], kind: SpanKind, run: Mapping[str, Any]) -> str:
    name = metadata.get("lc_agent_name") or metadata.get("langgraph_node")
    return scalars.text(name or (run.get("name") if kind == "AGENT" else None))


def _told(
    run: Mapping[str, Any], outputs: Mapping[str, Any], metadata: Mapping[str, Any], asked: str
) -> dict[str, Any]:
    """Return usage and what belongs to it: what says most comes first."""
    embeds = run.get("run_type") == "embedding"
    sources = [metadata.get("usage_metadata"), *_usages(outputs, _DEEP)]
    fields: dict[str, Any] = {"model": asked, "usage": None}
    for usage in sources:
        if isinstance(usage, dict):
            fields = bodies.usage_fields(usage, asked=asked)
            if fields["usage"] is not None:
                break
    if fields["usage"] is None:
        counts = ("prompt_tokens", "completion_tokens", "total_tokens", *_DETAILS)
        own = {name: run[name] for name in counts if run.get(name)}
        if embeds and "total_tokens" in own:
            own.setdefault("completion_tokens", 0)
        fields = bodies.usage_fields(own, asked=asked)
    answer = _answer(outputs, _DEEP)
    answered = scalars.text(answer.get("model_name") or answer.get("model"))
    if answered and answered != asked:
        fields |= {"answered": answered} if asked else {"model": answered}
    served = bodies.tier(answer.get("service_tier"))
    if served is not None:
        fields["served"] = served
    return fields | {"response_id": scalars.text(answer.get("id"))}


_DETAILS = ("prompt_token_details", "completion_token_details")


def _usages(value: Any, depth: int) -> Iterator[Any]:
    """Return the usage objects in outputs: of messages, generations and `llm_output`."""
    if isinstance(value, list):
        for each in value[:10]:
            yield from _usages(each, depth - 1)
    elif isinstance(value, dict) and depth:
        for name in ("usage_metadata", "token_usage", "usage"):
            if isinstance(value.get(name), dict):
                yield value[name]
        for name in (
            "generations",
            "message",
            "kwargs",
            "llm_output",
            "response_metadata",
            "messages",
            "output",
        ):
            yield from _usages(value.get(name), depth - 1)


def _answer(value: Any, depth: int) -> Mapping[str, Any]:
    """Return what the provider said beside the answer: `response_metadata`, else `llm_output`."""
    if isinstance(value, list):
        found = (_answer(each, depth - 1) for each in value[:10])
        return next((each for each in found if each), {})
    if not isinstance(value, dict) or not depth:
        return {}
    if isinstance(value.get("response_metadata"), dict):
        return dict(value["response_metadata"])
    for name in ("generations", "message", "kwargs", "messages", "output"):
        found_here = _answer(value.get(name), depth - 1)
        if found_here:
            return found_here
    said = scalars.mapping(value.get("llm_output"))
    if said:
        return said
    is_body = "choices" in value or "usage" in value
    return value if is_body else {}
