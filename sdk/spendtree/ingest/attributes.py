"""Span attributes -> what they mean: the tables of the conventions that agents emit today. Pure.

Read are OpenTelemetry's `gen_ai.*` in its current and older names, OpenInference, OpenLLMetry
(traceloop), Langfuse's and LangSmith's own, the Vercel AI SDK's `ai.*`, and our `spendtree.*`.
Where several stand on one span, as they do, the first that is filled in a row holds.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from spendtree.ingest.counts import (
    EITHER,
    EXCLUSIVE,
    NOTHING_STATED,
    Counts,
    Stated,
    Way,
    note,
    stated,
)
from spendtree.ingest.counts import usage_of as usage_of_counts
from spendtree.ingest.scalars import dollars, opened, text, tokens
from spendtree.ingest.span import SpanKind, SpanRecord
from spendtree.pricing.providers import canonical
from spendtree.response.served import word

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
    **dict.fromkeys(("chat_model", "llm_request", "text_embeddings"), _LLM),
    "agent": "AGENT",
    "invoke_agent": "AGENT",
    "interaction": "CHAIN",
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
    "span.type",
    "mlflow.spanType",
    "braintrust.span_attributes.type",
)

REQUEST_MODEL_KEYS = (
    "gen_ai.request.model",
    "llm.request.model",
    "llm.model_name",
    "langfuse.observation.model.name",
    "ai.model.id",
    "ai.request.model",
)
RESPONSE_MODEL_KEYS = ("gen_ai.response.model", "llm.response.model", "ai.response.model")
MODEL_KEYS = (*REQUEST_MODEL_KEYS, *RESPONSE_MODEL_KEYS)
BARE_MODEL_KEYS = ("model", "model_name", "gen_ai.model", "model_id")
"""Names that mean a model where a usage stands beside them."""
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
RESPONSE_KEYS = ("gen_ai.response.id", "llm.response.id", "ai.response.id", "request_id")
ERROR_KEYS = ("error.type", "exception.type")

USAGE_PREFIXES = (
    "gen_ai.usage.",
    "llm.token_count.",
    "llm.usage.",
    "ai.usage.",
    "gen_ai.response.usage.",
)
"""What stands before the name of a count, in the order in which they are believed."""

USAGE_OBJECTS = ("langfuse.observation.usage_details", "mlflow.chat.tokenUsage")
"""Attributes that hold a whole usage object, as JSON in a text."""

COST_KEYS = (
    "llm.cost.total",
    "operation.cost",
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "gen_ai.usage.cost_usd",
    "gen_ai.cost.total_cost",
    "cost_usd",
    "response_cost",
)
COST_PARTS = (
    ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost"),
    ("gen_ai.cost.input_cost", "gen_ai.cost.output_cost"),
    ("llm.cost.prompt", "llm.cost.completion"),
)
COST_OBJECTS = ("langfuse.observation.cost_details", "mlflow.llm.cost")
BILLING = frozenset(("openrouter",))
"""Providers that state in their usage what they charged; instrumentation passes it on."""

SERVED_KEYS = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "gen_ai.response.service_tier",
    "gen_ai.usage.service_tier",
    "anthropic.response.service_tier",
    "aws.bedrock.response.service_tier",
    "gen_ai.usage.traffic_type",
    "service_tier",
)
ASKED_KEYS = (
    "openai.request.service_tier",
    "gen_ai.openai.request.service_tier",
    "gen_ai.request.service_tier",
    "aws.bedrock.request.service_tier",
)
"""How a call was to be served; how it was, where that is stated, goes before it."""
SPEED_KEYS = ("gen_ai.usage.speed", "anthropic.response.speed", "gen_ai.request.speed", "speed")
REGION_KEYS = ("gen_ai.usage.inference_geo", "anthropic.response.inference_geo", "inference_geo")
PARAMETERS = ("llm.invocation_parameters", "langfuse.observation.model.parameters")
"""Objects of what a request asked for, as JSON in a text."""


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
    usage, unread = usage_of(attributes)
    kind = kind_of(attributes, metered=usage is not None)
    asked, answered = _models(attributes, metered=usage is not None)
    provider = first(attributes, PROVIDER_KEYS)
    cost = cost_of(attributes)
    known = kind != "SPAN"
    return SpanRecord(
        trace_id=frame.trace_id,
        span_id=frame.span_id,
        parent_span_id=frame.parent_span_id,
        session=first(attributes, ("spendtree.session",)),
        kind=kind,
        name=frame.name,
        agent=first(attributes, RUN_NAME_KEYS if kind == "AGENT" else AGENT_KEYS),
        role=first(attributes, ("spendtree.role",)),
        provider=provider,
        model=asked,
        start_us=frame.start_us,
        end_us=frame.end_us,
        status="failed" if frame.failed else "ok" if frame.ok else "",
        error=first(attributes, ERROR_KEYS) or frame.error,
        usage=usage,
        reported_cost=cost,
        customer=first(attributes, ("spendtree.customer",)),
        team=first(attributes, ("spendtree.team",)),
        conversation=first(attributes, CONVERSATION_KEYS),
        response_id=first(attributes, RESPONSE_KEYS),
        cycle=cycle_of(attributes),
        task_id=first(attributes, ("spendtree.task_id",)),
        purpose=first(attributes, ("spendtree.purpose",)) or "work",
        answered=answered,
        served=served_of(attributes) if known else None,
        unread=unread,
        is_bill=cost is not None and canonical(provider) in BILLING,
        keys=() if usage is not None else _keys(attributes, kind),
    )


KEYS_MAX = 40


def _keys(attributes: Attributes, kind: SpanKind) -> tuple[str, ...]:
    """Return what a span says that was not understood: all of it, or of a call what may count."""
    if kind == "SPAN":
        return tuple(map(text, list(attributes)[:KEYS_MAX]))
    if kind != "LLM":
        return ()
    counts = [key for key in attributes if "token" in key or "usage" in key]
    return tuple(map(text, counts[:KEYS_MAX]))


def kind_of(attributes: Attributes, *, metered: bool) -> SpanKind:
    """Return what a span is: as it says, else by what only calls and agent runs carry."""
    for key in KIND_KEYS:
        value = attributes.get(key)
        if isinstance(value, str) and value.strip('"').lower() in _NAMED_KINDS:
            return _NAMED_KINDS[value.strip('"').lower()]
    if attributes.get("agent_name"):  # pydantic-ai before it named its operations
        return "AGENT"
    return "LLM" if metered or first(attributes, MODEL_KEYS) else "SPAN"


def _models(attributes: Attributes, *, metered: bool) -> tuple[str, str]:
    """Return the model that was asked, and the one that answered if it is another."""
    asked = first(attributes, REQUEST_MODEL_KEYS)
    answered = first(attributes, RESPONSE_MODEL_KEYS)
    if not (asked or answered) and metered:
        asked = first(attributes, BARE_MODEL_KEYS).strip('"')
    if not asked:
        return answered, ""
    return asked, "" if answered == asked else answered


def usage_of(attributes: Attributes) -> Stated:
    """Return the usage that attributes state, in disjoint buckets."""
    counts: Counts = {}
    unread: dict[str, Any] = {}
    embeds = attributes.get("gen_ai.operation.name") in _EMBEDDING_NAMES or (
        attributes.get("openinference.span.kind") == "EMBEDDING"
    )
    found = [key for key in attributes if key.startswith(USAGE_PREFIXES)]
    for prefix in USAGE_PREFIXES if found else ():
        for key in found:
            if key.startswith(prefix) and attributes[key] is not None:
                note(counts, unread, _name(key.removeprefix(prefix)), attributes[key])
    if not counts:
        for key in USAGE_OBJECTS:
            if key in attributes:
                return stated(opened(attributes[key]), Way(apart=True, input_only=embeds))
        return _bare_usage(attributes)
    return usage_of_counts(counts, unread, Way(input_only=embeds))


def _bare_usage(attributes: Attributes) -> Stated:
    """Return the usage that attributes without any prefix state: Claude Code's, Gemini CLI's.

    Claude Code counts as Anthropic does: what a cache served is beside the input.
    """
    if _BARE.isdisjoint(attributes):
        return NOTHING_STATED
    named = {key: value for key, value in attributes.items() if "." not in key and _is_bare(key)}
    exclusive = "input_tokens" in named and not _CLAUDE_CACHES.isdisjoint(named)
    return stated(named, EXCLUSIVE if exclusive else EITHER)


_BARE = frozenset(
    ("input_tokens", "output_tokens", "prompt_tokens", "input_token_count", "output_token_count")
)
_CLAUDE_CACHES = frozenset(
    ("cache_read_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
)
_EMBEDDING_NAMES = ("embedding", "embeddings", "text_embeddings")
_WIDER_NAMES = {"tokens": "input_tokens"}
"""The Vercel AI SDK counts an embedding's tokens so."""


def _name(name: str) -> str:
    return _WIDER_NAMES.get(name, name)


def _is_bare(key: str) -> bool:
    return "token" in key or key.startswith("cache_")


def served_of(attributes: Attributes) -> tuple[str, ...] | None:
    """Return how a call was served: as its response states, else as its request asked."""
    if _SERVED.isdisjoint(attributes):
        return None
    tier = first(attributes, SERVED_KEYS)
    asked = "" if tier else first(attributes, ASKED_KEYS) or _parameter(attributes)
    speed, region = first(attributes, SPEED_KEYS), first(attributes, REGION_KEYS)
    if not (tier or asked or speed or region):
        return None
    words = [word(tier or asked), word(speed), f"region:{word(region)}" if word(region) else ""]
    return tuple(sorted({each for each in words if each}))


def _parameter(attributes: Attributes) -> str:
    for key in PARAMETERS:
        value = attributes.get(key)
        if isinstance(value, (str, dict)) and "service_tier" in value:
            return text(opened(value).get("service_tier"))
    return ""


def cost_of(attributes: Attributes) -> Decimal | None:
    """Return the dollars (Decimal) that a source says a call has cost, None if it does not."""
    if _COSTS.isdisjoint(attributes):
        return None
    for key in COST_KEYS:
        amount = dollars(attributes.get(key))
        if amount is not None:
            return amount
    for keys in COST_PARTS:
        parts = [amount for key in keys if (amount := dollars(attributes.get(key))) is not None]
        if parts:
            return sum(parts[1:], parts[0])
    for key in COST_OBJECTS:
        if key in attributes:
            costs = opened(attributes[key])
            return dollars(costs.get("total", costs.get("total_cost")))
    return None


_COSTS = frozenset((*COST_KEYS, *(key for keys in COST_PARTS for key in keys), *COST_OBJECTS))
_SERVED = frozenset((*SERVED_KEYS, *ASKED_KEYS, *SPEED_KEYS, *REGION_KEYS, *PARAMETERS))
"""What most spans have none of, so that one look is enough."""


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
