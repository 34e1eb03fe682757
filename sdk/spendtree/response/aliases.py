"""Names of counts: what each key of a usage object means, whoever wrote it. Only tables.

One row per meaning, for providers, gateways, frameworks and telemetry alike; traces that are
imported are read by the same rows. A name is the path of a key inside a usage object, in lower case
with underscores: `inputTokenDetails.cacheReadTokens` is looked up as
`input_token_details.cache_read_tokens`. A key that no row names is *unread*, and is reported.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a key counts.

    `bucket` is one of the buckets of `buckets.Counts`, or a unit of `spendtree.usage.UNITS`; ""
    for a key that is understood and adds nothing. `beside` says that who uses this name for tokens
    of a cache counts them beside the input, where the input's own name does not say.
    """

    bucket: str
    beside: bool = False


NOTHING = Meaning("")

_IN = (
    *("prompt_tokens_details", "prompt_token_details", "prompt_details", "input_details"),
    *("input_tokens_details", "input_token_details"),
)
_OUT = (
    *("completion_tokens_details", "completion_token_details", "completion_details"),
    *("output_tokens_details", "output_token_details", "output_details"),
    *("candidates_tokens_details", "response_tokens_details"),
)
_CACHED = (
    *(f"{parent}.cached_tokens_details" for parent in _IN),
    *("cache_tokens_details", "cached_tokens_details"),
)
_TOOL = ("tool_use_prompt_tokens_details",)
_SPEECH = "details.total.input.speech_tokens", "details.total.output.speech_tokens"
DETAILS = frozenset((*_IN, *_OUT, *_CACHED, *_TOOL, "details", "cache_creation", "billed_units"))
"""Objects inside a usage object that split its counts."""


def _each(parents: Iterable[str], *leaves: str) -> tuple[str, ...]:
    return tuple(f"{parent}.{leaf}" for parent in parents for leaf in leaves)


def _of(parents: tuple[str, ...], modality: str) -> tuple[str, ...]:
    return _each(parents, f"{modality}_tokens", modality)


_READ = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens", "cache_read", "cached")
_WRITE = (
    *("cache_creation_tokens", "cache_creation_input_tokens", "cache_creation"),
    *("cache_write_tokens", "cache_write_input_tokens", "cache_write"),
)
_REASON = ("reasoning_tokens", "thinking_tokens", "reasoning")

ALIASES: dict[str, tuple[str, ...]] = {
    # Input that contains what a cache served: OpenAI "chat completions", Gemini "UsageMetadata".
    "input_inside": (
        *("prompt_tokens", "prompt_token_count", "prompt", "input_tokens.total"),
        *("prompt_eval_count", "input_text_token_count", "total_input_tokens"),
        "predictions[].embeddings.statistics.token_count",
        "metadata.token_metadata.input_token_count.total_tokens",
    ),
    # Input that contains it or not: OpenAI "responses" does, Anthropic "messages" does not.
    "input": (
        *("input_tokens", "input", "input_token_count", "request_tokens"),
        "billed_units.input_tokens",
    ),
    # Beside the prompt: Gemini's tools put it there.
    "tool_input": ("tool_use_prompt_token_count", "tool_token_count"),
    "output": (
        *("completion_tokens", "output_tokens", "output", "completion", "output_tokens.total"),
        *("candidates_token_count", "response_token_count", "response_tokens", "eval_count"),
        *("generation_token_count", "output_token_count", "total_output_tokens"),
        *("billed_units.output_tokens", "total_output_text_token_count", "results[].token_count"),
        "metadata.token_metadata.output_token_count.total_tokens",
    ),
    "total": ("total_tokens", "total_token_count", "total"),
    "reasoning": (
        *_each(_OUT, *_REASON, "text_reasoning_tokens"),
        *("output_tokens.reasoning", "reasoning_tokens", "output_reasoning_tokens"),
        *("output_reasoning", "reasoning.output_tokens", "details.reasoning_tokens"),
        *("reasoning_output_tokens", "output_tokens.reasoning_tokens", "reasoning_token_count"),
        *_each(_OUT, "flex_reasoning", "priority_reasoning"),
    ),
    # Beside the output: Gemini.
    "thoughts": ("thoughts_token_count",),
    "cache_read": (
        *_each(_IN, *_READ, "flex_cache_read", "priority_cache_read"),
        *("cached_tokens", "prompt_cache_hit_tokens", "cached_content_token_count"),
        *("cached_input_tokens", "input_cached_tokens", "input_cache_read", "cache_read_tokens"),
        *("input_tokens.cache_read", "input_tokens.cached", "cache_read.input_tokens"),
        *("details.cache_read_tokens", "details.cached_tokens", "num_cached_tokens"),
        *("cache_read_input_tokens", "cache_read_input_token_count", "cache_read"),
        *("cache_read_input", "cached_token_count", "input_cached", "input_cached_token"),
    ),
    "cache_write": (
        *_each(_IN, *_WRITE),
        *("input_tokens.cache_write", "input_tokens.cache_creation", "cache_write.input_tokens"),
        *("cache_creation.input_tokens", "input_cache_creation", "input_cache_write"),
        *("details.cache_write_tokens", "details.cache_creation_tokens", "cache_write_tokens"),
        *("cache_creation_tokens", "cache_creation_input_tokens", "cache_write_input_tokens"),
        *("cache_write_input_token_count", "cache_creation_input", "cache_write"),
        "cache_creation_input_token_count",
    ),
    "cache_write_5m": (
        *_each(
            ("cache_creation", "cache_creation_token_details", "details", *_IN),
            *("ephemeral_5m_input_tokens", "ephemeral_5m_tokens", "ephemeral_5m"),
        ),
        *_each(_IN, "cache_creation_token_details.ephemeral_5m_input_tokens"),
        *("ephemeral_5m_input_tokens", "cache_creation_5m_input_tokens", "cache_details.5m"),
        *("input_cache_creation_5m", "cache_write_5m_tokens", "cache_creation.5m_input_tokens"),
        *("cache_creation_ephemeral_5m_input_tokens", "cache_creation_5m_tokens"),
        "cache_creation.ephemeral_5m.input_tokens",
        *("input_ephemeral_5m_input_tokens", "cache_creation_5m", "cache_write_5m"),
    ),
    "cache_write_1h": (
        *_each(
            ("cache_creation", "cache_creation_token_details", "details", *_IN),
            *("ephemeral_1h_input_tokens", "ephemeral_1h_tokens", "ephemeral_1h"),
        ),
        *_each(_IN, "cache_creation_token_details.ephemeral_1h_input_tokens"),
        *("ephemeral_1h_input_tokens", "cache_creation_1h_input_tokens", "cache_details.1h"),
        *("input_cache_creation_1h", "cache_write_1h_tokens", "cache_creation.1h_input_tokens"),
        *("cache_creation_ephemeral_1h_input_tokens", "cache_creation_1h_tokens"),
        "cache_creation.ephemeral_1h.input_tokens",
        *("input_ephemeral_1h_input_tokens", "cache_creation_1h", "cache_write_1h"),
    ),
    # By modality. What a cache served is in these counts, too, and split off by the next ones.
    "input_text": (
        *_of(_IN, "text"),
        "input_text_tokens",
        "text_tokens",
        *("details.total.input.text_tokens", "text.input_tokens"),
    ),
    "input_audio": (
        *_of(_IN, "audio"),
        "input_audio_tokens",
        "input_audio",
        _SPEECH[0],
        "audio.input_tokens",
        "details.input_audio_tokens",
    ),
    "input_image": (
        *_of(_IN, "image"),
        *_of(_IN, "document"),
        "input_image_tokens",
        "image.input_tokens",
        "input_image",
        "details.input_image_tokens",
    ),
    "input_video": (*_of(_IN, "video"), "input_video_tokens", "video.input_tokens", "input_video"),
    "cache_read_text": (*_of(_CACHED, "text"), "cache_text_read_tokens"),
    "cache_read_audio": (
        *(*_of(_CACHED, "audio"), "cache_audio_read_tokens", "cache_read_audio_tokens"),
        *_each(_IN, "cached_audio_tokens", "cache_read_audio"),
    ),
    "cache_read_image": (
        *_of(_CACHED, "image"),
        *_of(_CACHED, "document"),
        "cache_image_read_tokens",
    ),
    "cache_read_video": (*_of(_CACHED, "video"), "cache_video_read_tokens"),
    "tool_audio": _of(_TOOL, "audio"),
    "tool_image": (*(*_of(_TOOL, "image"), *_of(_TOOL, "document"), "billed_units.image_tokens"),),
    "tool_video": _of(_TOOL, "video"),
    "output_text": (
        *_of(_OUT, "text"),
        "output_text_tokens",
        "output_tokens.text",
        "text.output_tokens",
    ),
    "output_audio": (
        *_of(_OUT, "audio"),
        "output_audio_tokens",
        "output_audio",
        _SPEECH[1],
        "audio.output_tokens",
        "details.output_audio_tokens",
    ),
    "output_image": (
        *_of(_OUT, "image"),
        *_of(_OUT, "document"),
        "output_image_tokens",
        "image.output_tokens",
        "output_image",
        "details.output_image_tokens",
    ),
    "output_video": (
        *_of(_OUT, "video"),
        "output_video_tokens",
        "video.output_tokens",
        "output_video",
    ),
    # What is billed beside tokens.
    "citation": ("citation_tokens", *_each(_OUT, "citation_tokens")),
    "web_search": (
        *("server_tool_use.web_search_requests", "server_tool_use_details.web_search_requests"),
        *("server_side_tool_usage_details.web_search_calls", "web_search_requests"),
        *("server_side_tool_usage.server_side_tool_web_search", "num_search_queries"),
        *("details.web_search_requests", "web_search.num_requests", "web_searches"),
    ),
    "social_search": (
        "server_side_tool_usage_details.x_search_calls",
        "server_side_tool_usage.server_side_tool_x_search",
    ),
    "search_source": ("num_sources_used",),
    "file_search": (
        *("server_side_tool_usage_details.file_search_calls", "file_searches"),
        "server_side_tool_usage_details.document_search_calls",
        "server_side_tool_usage.server_side_tool_collections_search",
        "server_side_tool_usage.server_side_tool_file_search",
    ),
    "code_session": (
        "server_tool_use.code_execution_requests",
        "server_side_tool_usage_details.code_interpreter_calls",
        "server_side_tool_usage.server_side_tool_code_execution",
        "server_side_tool_usage.server_side_tool_code_interpreter",
    ),
    "rerank_search": ("billed_units.search_units", "search_units", "rerank_units"),
    "classification": ("billed_units.classifications",),
    "audio_second": ("prompt_audio_seconds", "seconds", "audio_seconds", "input_audio_seconds"),
    "character": ("characters", "input_characters", "character_count", "num_characters"),
    "image": ("billed_units.images", "generated_images"),
    "pixel": ("image_pixels", "input_pixels"),
    "page": ("pages_processed", "pages"),
    "annotated_page": ("pages_processed_annotation",),
    # Amazon Bedrock "GuardrailUsage".
    "guardrail_content": ("content_policy_units",),
    "guardrail_image": ("content_policy_image_units",),
    "guardrail_topic": ("topic_policy_units",),
    "guardrail_sensitive": ("sensitive_information_policy_units",),
    "guardrail_grounding": ("contextual_grounding_policy_units",),
    "guardrail_reasoning": ("automated_reasoning_policy_units",),
}
"""For each bucket of `buckets.Counts`, and each unit, the names that it goes by."""

BESIDE = frozenset(
    (
        *("cache_read_input_tokens", "cache_read_input_token_count", "cache_creation_input_tokens"),
        *("cache_write_input_tokens", "cache_write_input_token_count", "cache_read_input"),
        *("cache_creation_input", "cache_creation_input_token_count"),
        *_each(("cache_creation",), "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        *("cache_details.5m", "cache_details.1h"),
    )
)
"""Names of cache tokens of those who count them beside the input: Anthropic, Bedrock."""

UNDERSTOOD = (
    # Parts of counts that are read: their sum, or billed as what they are a part of.
    *_each(_OUT, "accepted_prediction_tokens", "rejected_prediction_tokens"),
    *_each(_IN, "no_cache_tokens", "no_cache"),
    *("prompt_cache_miss_tokens", "input_tokens.no_cache", "details.cache_miss_tokens"),
    *("tokens", "iterations", "usage_breakdown", "raw", "image_count"),
    *_each(_TOOL, "text", "text_tokens"),
    "details",
    # Counts of what is not billed by itself.
    *("requests", "tool_calls", "num_turns", "request_usage_entries", "llm_requests"),
    *("server_tool_use.web_fetch_requests", "server_tool_use.tool_search_requests"),
    *_each(("server_tool_use_details", "server_tool_use"), "tool_calls_executed"),
    *_each(("server_tool_use_details", "server_tool_use"), "tool_calls_requested"),
    *("num_server_side_tools_used", "server_side_tool_usage_details.mcp_calls"),
    *("server_side_tool_usage.server_side_tool_view_image", "total_chat_search_calls"),
    *("cached_tokens_billed_as_prompt", "context_details", "billable_characters"),
    *("metadata.billable_character_count", "billable_character_count", "doc_size_bytes"),
    *("predictions[].embeddings.statistics.truncated", "results[].output_text"),
    *("results[].completion_reason",),
    *("api_version", "warnings", "is_cached", "details.delta"),
    # How it was served, and what it cost: read by `served` and `costs`.
    *("service_tier", "speed", "inference_geo", "traffic_type", "search_context_size", "type"),
    *("cost", "cost_details", "total_cost", "estimated_cost", "cost_in_usd_ticks", "is_byok"),
    *("cost_in_nano_usd", "upstream_inference_cost", "currency", "model", "object", "id"),
    *("cost_usd", "context_window", "max_output_tokens"),
    # How long it took.
    *("queue_time", "prompt_time", "completion_time", "total_time", "time_info", "latency"),
    *("latency_ms", "e2e_latency", "ttft", "ttlt", "tokens_per_second", "gen_throughput"),
    *(
        "invocation_latency",
        "first_byte_latency",
        "completion_tokens_per_sec",
        "latency_checkpoint",
    ),
    *("first_token_time", "total_latency", "prompt_eval_duration", "eval_duration"),
    # What is free of Amazon Bedrock's "Guardrails", and how many policies there were.
    *("word_policy_units", "sensitive_information_policy_free_units"),
    "automated_reasoning_policies",
)
"""Names that are understood and add nothing, with everything below them."""

_MEANINGS = {
    name: Meaning(bucket, name in BESIDE) for bucket, names in ALIASES.items() for name in names
}
_UNDERSTOOD = frozenset(UNDERSTOOD)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=4096)
def meaning(path: str) -> Meaning | None:
    """Return what the key at a path inside a usage object means, None if nobody knows.

    `NOTHING` is what is understood and adds nothing.
    """
    known = _MEANINGS.get(path)
    if known is not None:
        return known
    name = canonical(path)
    known = _MEANINGS.get(name)
    if known is not None:
        return known
    while name:
        if name in _UNDERSTOOD:
            return NOTHING
        name = name.rpartition(".")[0].removesuffix("[]")
    return None


def canonical(path: str) -> str:
    """Return a path in lower case with underscores."""
    text = _HUMP.sub("_", path).replace("-", "_").lower()
    return text.removeprefix("x_amzn_bedrock_")
