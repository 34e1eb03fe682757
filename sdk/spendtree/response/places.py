"""Where the usage objects of a response stand, and what else is to be read of it. Only tables.

A response is walked along the keys that wrap others; nothing else of it is looked at, so that a
long answer costs no time.
"""

USAGES = frozenset(("usage", "usageMetadata", "usage_metadata", "usageEvent", "usage_info", "meta"))
"""Keys whose value is a usage object. `meta` is Cohere's, `usageEvent` Amazon Nova Sonic's,
`usage_info` that of Mistral's OCR."""

ENVELOPES = frozenset(
    (
        *("message", "response", "data", "x_groq", "metadata", "delta", "result", "body", "raw"),
        *("event", "modelOutput", "context_wrapper", "generations"),
    )
)
"""Keys whose value may hold one of those: events of streams (Anthropic's `message`, OpenAI's
`response`, Bedrock's `metadata`, Cohere's `delta`, `data` of Mistral's client), lines of batches
(`result`, `response.body`, `modelOutput`) and results of frameworks (LlamaIndex' `raw`, the Agents
SDK's `context_wrapper`, LangChain's `generations`)."""

SECOND = frozenset(("response_metadata", "llm_output", "generation_info", "additional_kwargs"))
"""LangChain's repetition of what the provider said; it counts where nothing else does."""
SECOND_USAGES = ("token_usage", "usage", "usage_metadata")

METRICS = "amazon-bedrock-invocationMetrics"
"""Bedrock's own count, for models whose body states none: in the last event of
InvokeModelWithResponseStream. Where a model states more (Claude with tools: 133 output tokens
against 97) the larger count is the safe one, so it counts where nothing else does."""
HEADERS = ("ResponseMetadata", "HTTPHeaders")
"""The same for InvokeModel."""
HEADER_PREFIX = "x-amzn-bedrock-"

TRACES = frozenset(("trace", "amazon-bedrock-trace"))
"""What Bedrock's guardrails checked: of Converse, and beside the body of InvokeModel."""

BREAKDOWN = "usage_breakdown"
"""The usage of each model that worked together: Groq's compound systems."""

BATCHES = ("custom_id", "recordId")
"""Keys of a line of a batch: Anthropic's and OpenAI's, Bedrock's."""

MODELS = ("model", "modelVersion", "model_version", "model_name", "model_id")
MODELS_OF_CALLS = ("modelUsage", "model_usage")
"""Usage by model: the result of a Claude Code session."""

BODY = frozenset(("output", "candidates", "choices"))
"""Keys of bodies in which fees show as items of what was answered."""

INPUT_ONLY = frozenset(
    (*("embedding", "embeddings", "embeddingsByType", "predictions", "results", "reranked"),)
)
"""Keys of responses that bill no output: embeddings and rerankers."""
MAKES_OUTPUT = frozenset(
    ("choices", "output", "candidates", "content", "completion", "outputText", "generation")
)

FACTS = frozenset(
    (
        *USAGES,
        *ENVELOPES,
        *SECOND,
        *MODELS,
        *MODELS_OF_CALLS,
        *BODY,
        *TRACES,
        BREAKDOWN,
        *(METRICS, HEADERS[0], "tool_usage", "service_tier", "serviceTier", "speed", "object"),
        *("type", "total_cost_usd", "response_cost", "total_cost", "performanceConfig"),
        *("custom_id", "embeddings", "results", "embedding", "total_tokens", "document_annotation"),
    )
)
"""What is asked of an object that does not list its fields."""
