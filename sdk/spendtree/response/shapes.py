"""Where each provider states its usage: one row per shape. Only the table; `reading` walks it.

A path is keys joined by dots; `[]` stands for each item of a list and `[key=value]` for those
items that have it, added up. Of a bucket's several paths, the first that is stated counts.
"""

from typing import NamedTuple


class Shape(NamedTuple):
    """One way in which a response, or the events of a stream, state token counts."""

    name: str
    places: tuple[str, ...]
    """Where usage objects stand, in the order in which a stream sends them; "" is the top."""
    counts: dict[str, tuple[str, ...]]
    """For each bucket, its paths from a place. `input`, `cache_read`, `cache_write` (all of it),
    `cache_write_1h`, `output`, `reasoning` and `total` as they are stated; `tool_input` is beside
    `input`."""
    marker: tuple[str, ...] = ("input",)
    """This is the shape if one of these buckets is stated."""
    inclusive: bool = False
    """`input` contains what was read from and written to a cache; otherwise they are beside it."""
    reasoning_beside: bool = False
    """`output` does not contain `reasoning`."""
    opening: str | None = None
    """The place of a stream's first event, whose output is not the final one."""
    omits_zero_input: bool = False
    """An input that is not stated is zero, not unknown."""
    parts: str = ""
    """A list of usages, one for each time the model ran; if stated, their sum is what is billed."""


SHAPES = (
    # OpenAI "chat completions" and "embeddings"; Azure, OpenRouter, Mistral, Together, Cerebras,
    # Hugging Face. Groq puts a stream's usage under x_groq; mistralai wraps events in `data`.
    # DeepSeek: prompt_tokens = prompt_cache_hit_tokens + prompt_cache_miss_tokens.
    Shape(
        "chat completions",
        ("usage", "x_groq.usage", "data.usage"),
        {
            "input": ("prompt_tokens",),
            "cache_read": (
                "prompt_tokens_details.cached_tokens",
                "prompt_cache_hit_tokens",
                "cached_tokens",
            ),
            "cache_write": ("prompt_tokens_details.cache_write_tokens",),
            "output": ("completion_tokens",),
            "reasoning": ("completion_tokens_details.reasoning_tokens",),
            "total": ("total_tokens",),
        },
        inclusive=True,
    ),
    # Anthropic "messages": input_tokens counts what is neither read from nor written to a cache.
    # A stream's message_start has the input, message_delta the cumulative rest. "Compaction":
    # the counts at the top leave out the compaction; the sum of `iterations` is billed.
    Shape(
        "messages",
        ("message.usage", "usage"),
        {
            "input": ("input_tokens",),
            "cache_read": ("cache_read_input_tokens",),
            "cache_write": ("cache_creation_input_tokens",),
            "cache_write_1h": ("cache_creation.ephemeral_1h_input_tokens",),
            "output": ("output_tokens",),
            "reasoning": ("output_tokens_details.thinking_tokens",),
        },
        marker=("cache_read", "cache_write"),
        opening="message.usage",
        parts="iterations",
    ),
    # OpenAI "responses" (a stream's last event holds the response); Anthropic models that know no
    # cache have the same two keys, and Bedrock passes them on.
    Shape(
        "responses",
        ("message.usage", "usage", "response.usage"),
        {
            "input": ("input_tokens",),
            "cache_read": ("input_tokens_details.cached_tokens",),
            "cache_write": ("input_tokens_details.cache_write_tokens",),
            "output": ("output_tokens",),
            "reasoning": ("output_tokens_details.reasoning_tokens",),
            "total": ("total_tokens",),
        },
        inclusive=True,
        opening="message.usage",
    ),
    # Gemini and Vertex AI "UsageMetadata": thoughts are beside candidates, what the provider's
    # own tools put into the prompt is beside the prompt, the cached is inside it.
    Shape(
        "generate content",
        ("usageMetadata", "usage_metadata"),
        {
            "input": ("promptTokenCount", "prompt_token_count"),
            "tool_input": ("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
            "cache_read": ("cachedContentTokenCount", "cached_content_token_count"),
            "output": ("candidatesTokenCount", "candidates_token_count"),
            "reasoning": ("thoughtsTokenCount", "thoughts_token_count"),
            "total": ("totalTokenCount", "total_token_count"),
        },
        inclusive=True,
        reasoning_beside=True,
    ),
    # Bedrock "TokenUsage" (converse; a stream's last event is `metadata`), Nova's InvokeModel.
    Shape(
        "converse",
        ("usage", "metadata.usage"),
        {
            "input": ("inputTokens",),
            "cache_read": ("cacheReadInputTokens", "cacheReadInputTokenCount"),
            "cache_write": ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
            "cache_write_1h": ("cacheDetails[ttl=1h].inputTokens",),
            "output": ("outputTokens",),
            "total": ("totalTokens",),
        },
    ),
    # Cohere: `billed_units` is what is charged; `tokens` adds its own preamble, and
    # `cached_tokens` counts among those. Version 1 says it in `meta`.
    Shape(
        "cohere chat",
        ("usage", "delta.usage", "meta", "response.meta"),
        {
            "input": ("billed_units.input_tokens",),
            "output": ("billed_units.output_tokens",),
        },
    ),
    # Ollama leaves a prompt that it had evaluated before out of what it evaluated (omitempty).
    Shape(
        "ollama",
        ("",),
        {"input": ("prompt_eval_count",), "output": ("eval_count",)},
        marker=("input", "output"),
        omits_zero_input=True,
    ),
    # Bedrock InvokeModel: "Meta Llama models" and "Amazon Titan Text models".
    Shape(
        "llama",
        ("",),
        {"input": ("prompt_token_count",), "output": ("generation_token_count",)},
    ),
    Shape(
        "titan",
        ("",),
        {
            "input": ("inputTextTokenCount",),
            "output": ("totalOutputTextTokenCount", "results[].tokenCount"),
        },
    ),
    # Bedrock's own count, for models whose body states none: the last event of
    # InvokeModelWithResponseStream, the headers of InvokeModel. Last, since where a model states
    # more (Claude with tools: 133 output tokens against 97) the larger count is the safe one.
    Shape(
        "bedrock metrics",
        ("amazon-bedrock-invocationMetrics",),
        {
            "input": ("inputTokenCount",),
            "cache_read": ("cacheReadInputTokenCount",),
            "cache_write": ("cacheWriteInputTokenCount",),
            "output": ("outputTokenCount",),
        },
    ),
    Shape(
        "bedrock headers",
        ("ResponseMetadata.HTTPHeaders",),
        {
            "input": ("x-amzn-bedrock-input-token-count",),
            "cache_read": ("x-amzn-bedrock-cache-read-input-token-count",),
            "cache_write": ("x-amzn-bedrock-cache-write-input-token-count",),
            "output": ("x-amzn-bedrock-output-token-count",),
        },
    ),
)
"""First row first. Sources are the API references of the sections named in quotes."""

PARTED = next(shape for shape in SHAPES if shape.parts)
PARTS_PLACE = f"{PARTED.places[-1]}.{PARTED.parts}"

MODEL_PATHS = (
    "model",
    "message.model",
    "response.model",
    "modelVersion",
    "model_version",
    "data.model",
)
"""Where a response or an event names the model that answered."""

COST_PLACES = ("usage", "response.usage")
COSTS = (("cost", 0), ("cost_in_usd_ticks", -10))
"""Where a provider states what it charged, and in which power of ten dollars: OpenRouter ("usage
accounting") and xAI ("cost tracking")."""

SEARCHES = (
    "server_tool_use.web_search_requests",
    "server_tool_use_details.web_search_requests",
    "num_search_queries",
)
"""Where `usage` counts the web searches that a provider made and charges for: Anthropic ("web
search tool"), OpenRouter, Perplexity."""
