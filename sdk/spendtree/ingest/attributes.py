"""Span attributes -> what they mean: the tables of the conventions that agents emit today. Pure.

Read are OpenTelemetry's `gen_ai.*` in its current and older names, OpenInference, OpenLLMetry
(traceloop), Langfuse's and LangSmith's own, the Vercel AI SDK's `ai.*`, and our `spendtree.*`.
Where several stand on one span, as they do, the first that is filled in a row holds.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from spendtree.ingest.buckets import Counts, disjoint
from spendtree.ingest.scalars import dollars, text, tokens
from spendtree.ingest.span import SpanKind, SpanRecord
from spendtree.usage import Usage

Attributes = Mapping[str, Any]

_LLM: SpanKind = "LLM"
_LLM_NAMES = (
    "llm",
    "embedding",
    "embeddings",
    "generation",
    "chat",
    "completion",
    "text_completion",
    "generate_content",
    "call_llm",
    "responses",
    "image_generation",
)
_NAMED_KINDS: dict[str, SpanKind] = {
    **dict.fromkeys(_LLM_NAMES, _LLM),
    "agent": "AGENT",
    "invoke_agent": "AGENT",
    "chain": "CHAIN",
    "workflow": "CHAIN",
    "invoke_workflow": "CHAIN",
    "task": "CHAIN",
    "tool": "TOOL",
    "execute_tool": "TOOL",
    "agent_handoff": "EVENT",
    "event": "EVENT",
}
"""What a value under one of KIND_KEYS means; any other ("unknown", "RETRIEVER") decides nothing."""

KIND_KEYS = (
    "openinference.span.kind",
    "gen_ai.operation.name",
    "langfuse.observation.type",
    "traceloop.span.kind",
    "langsmith.span.kind",
    "llm.request.type",
    "aws.genai.span_kind",
)

MODEL_KEYS = (
    "gen_ai.request.model",
    "gen_ai.response.model",
    "llm.model_name",
    "llm.request.model",
    "llm.response.model",
    "langfuse.observation.model.name",
    "ai.model.id",
)
PROVIDER_KEYS = (
    "gen_ai.provider.name",
    "llm.provider",
    "gen_ai.system",
    "llm.system",
    "ai.model.provider",
)
AGENT_KEYS = ("spendtree.agent", "gen_ai.agent.name", "agent.name", "agent_name")
RUN_NAME_KEYS = (*AGENT_KEYS, "graph.node.id", "traceloop.entity.name")
"""What names an AGENT span's agent; the last two name other things on other spans."""
CONVERSATION_KEYS = (
    "gen_ai.conversation.id",
    "session.id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
)
RESPONSE_KEYS = ("gen_ai.response.id", "llm.response.id", "ai.response.id")
ERROR_KEYS = ("error.type", "exception.type")

INPUT_KEYS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
)
OUTPUT_KEYS = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
CACHE_READ_KEYS = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cached_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.usage.cache_read_input_tokens",
    "ai.usage.cachedInputTokens",
)
CACHE_WRITE_KEYS = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
    "llm.usage.cache_creation_input_tokens",
)
REASONING_KEYS = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "llm.usage.reasoning_tokens",
    "ai.usage.reasoningTokens",
)
TOTAL_KEYS = (
    "gen_ai.usage.total_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
)
COST_KEYS = ("llm.cost.total", "operation.cost", "gen_ai.usage.cost", "gen_ai.usage.total_cost")
COST_PARTS = ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost")


class Frame(NamedTuple):
    """What a span's envelope says, apart from its attributes; as in SpanRecord."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_us: int | None
    end_us: int | None
    failed: bool
    ok: bool
    error: str


def record(frame: Frame, attributes: Attributes) -> SpanRecord:
    """Return the span of an envelope and its attributes; raises SpanError for impossible counts."""
    usage = usage_of(attributes)
    kind = kind_of(attributes, metered=usage is not None)
    return SpanRecord(
        trace_id=frame.trace_id,
        span_id=frame.span_id,
        parent_span_id=frame.parent_span_id,
        session=first(attributes, ("spendtree.session",)),
        kind=kind,
        name=frame.name,
        agent=first(attributes, RUN_NAME_KEYS if kind == "AGENT" else AGENT_KEYS),
        role=first(attributes, ("spendtree.role",)),
        provider=first(attributes, PROVIDER_KEYS),
        model=first(attributes, MODEL_KEYS),
        start_us=frame.start_us,
        end_us=frame.end_us,
        status="failed" if frame.failed else "ok" if frame.ok else "",
        error=first(attributes, ERROR_KEYS) or frame.error,
        usage=usage,
        reported_cost=cost_of(attributes),
        customer=first(attributes, ("spendtree.customer",)),
        team=first(attributes, ("spendtree.team",)),
        conversation=first(attributes, CONVERSATION_KEYS),
        response_id=first(attributes, RESPONSE_KEYS),
        cycle=cycle_of(attributes),
        task_id=first(attributes, ("spendtree.task_id",)),
        purpose=first(attributes, ("spendtree.purpose",)) or "work",
    )


def kind_of(attributes: Attributes, *, metered: bool) -> SpanKind:
    """Return what a span is: as it says, else by what only calls and agent runs carry."""
    for key in KIND_KEYS:
        value = attributes.get(key)
        if isinstance(value, str) and value.lower() in _NAMED_KINDS:
            return _NAMED_KINDS[value.lower()]
    if attributes.get("agent_name"):  # pydantic-ai before it named its operations
        return "AGENT"
    return "LLM" if metered or first(attributes, MODEL_KEYS) else "SPAN"


def usage_of(attributes: Attributes) -> Usage | None:
    """Return the usage that attributes state, in disjoint buckets."""
    input_tokens = _count(attributes, INPUT_KEYS)
    output_tokens = _count(attributes, OUTPUT_KEYS)
    if input_tokens is None and output_tokens is None:
        return None
    counts = Counts(
        input=input_tokens,
        output=output_tokens,
        cache_read=_count(attributes, CACHE_READ_KEYS),
        cache_write=_count(attributes, CACHE_WRITE_KEYS),
        reasoning=_count(attributes, REASONING_KEYS),
        total=_count(attributes, TOTAL_KEYS),
    )
    return disjoint(counts)


def cost_of(attributes: Attributes) -> Decimal | None:
    """Return the dollars (Decimal) that a source says a call has cost, None if it does not."""
    for key in COST_KEYS:
        amount = dollars(attributes.get(key))
        if amount is not None:
            return amount
    parts = [amount for key in COST_PARTS if (amount := dollars(attributes.get(key))) is not None]
    return sum(parts[1:], parts[0]) if parts else None


def cycle_of(attributes: Attributes) -> int:
    """Return the routing cycle that our own attribute tells; 1 without it."""
    return max(1, tokens(attributes.get("spendtree.cycle"), "spendtree.cycle") or 1)


def first(attributes: Attributes, keys: tuple[str, ...]) -> str:
    """Return the first filled value of some attributes as text."""
    for key in keys:
        value = attributes.get(key)
        if value is not None and value != "":
            return text(value)
    return ""


def _count(attributes: Attributes, keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = attributes.get(key)
        if value is not None:
            return tokens(value, key)
    return None
