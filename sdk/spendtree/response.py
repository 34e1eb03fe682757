"""The usage that a provider's response states, in our disjoint buckets. Pure; imports no client.

One row per shape: a path to the usage, and which key feeds which bucket. OpenAI counts cached
tokens inside its input, Anthropic and Bedrock beside it: `inclusive` says which.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from spendtree.usage import Usage


class _Shape(NamedTuple):
    usage: str
    input: str
    output: str
    cache_read: str
    cache_write: str
    cache_write_1h: str
    reasoning: str
    inclusive: bool
    marker: str
    """A key that only this shape has."""


# Sources: the providers' API references of chat completions, responses, messages, generateContent
# and converse; `marker` decides, first row first.
_SHAPES = (
    _Shape(
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details.cached_tokens",
        "prompt_tokens_details.cache_write_tokens",
        "",
        "completion_tokens_details.reasoning_tokens",
        True,
        "prompt_tokens",
    ),
    _Shape(
        "usage",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "output_tokens_details.thinking_tokens",
        False,
        "cache_read_input_tokens",
    ),
    _Shape(
        "usage",
        "input_tokens",
        "output_tokens",
        "input_tokens_details.cached_tokens",
        "input_tokens_details.cache_write_tokens",
        "",
        "output_tokens_details.reasoning_tokens",
        True,
        "input_tokens",
    ),
    _Shape(
        "usageMetadata",
        "promptTokenCount",
        "candidatesTokenCount",
        "cachedContentTokenCount",
        "",
        "",
        "thoughtsTokenCount",
        True,
        "promptTokenCount",
    ),
    _Shape(
        "usage_metadata",
        "prompt_token_count",
        "candidates_token_count",
        "cached_content_token_count",
        "",
        "",
        "thoughts_token_count",
        True,
        "prompt_token_count",
    ),
    _Shape(
        "usage",
        "inputTokens",
        "outputTokens",
        "cacheReadInputTokens",
        "cacheWriteInputTokens",
        "",
        "",
        False,
        "inputTokens",
    ),
)
_OUTPUT_BESIDE_REASONING = frozenset({"candidatesTokenCount", "candidates_token_count"})
_INPUT_BESIDE = {
    "promptTokenCount": "toolUsePromptTokenCount",
    "prompt_token_count": "tool_use_prompt_token_count",
}
"""Input that Gemini counts beside its input: what its own tools put into the prompt."""


def usage_of(response: Any) -> Usage | None:
    """Return what a response (a parsed body or a client's object) says it used, None if nothing.

    Knows OpenAI chat completions and responses (and what is compatible), Anthropic messages,
    Gemini and Bedrock converse. Raises UsageError if the counts contradict each other.
    """
    for shape in _SHAPES:
        usage = _get(response, shape.usage)
        if usage is not None and _count(usage, shape.marker) is not None:
            return _usage(usage, shape)
    return None


def _usage(usage: Any, shape: _Shape) -> Usage:
    inputs = _count(usage, shape.input) or 0
    inputs += _count(usage, _INPUT_BESIDE.get(shape.input, "")) or 0
    outputs = _count(usage, shape.output) or 0
    read = _count(usage, shape.cache_read) or 0
    long_write = _count(usage, shape.cache_write_1h) or 0
    write = (_count(usage, shape.cache_write) or 0) - long_write
    reasoning = _count(usage, shape.reasoning) or 0
    if shape.inclusive:
        if read + write > inputs:
            # OpenRouter counts what was read as written too, for a model that stores it again.
            write = max(write - read, 0)
        inputs -= read + write
    if shape.output in _OUTPUT_BESIDE_REASONING:
        outputs += reasoning
    return Usage(inputs, outputs, read, write, long_write, reasoning)


def _count(usage: Any, path: str) -> int | None:
    found = usage
    for key in path.split(".") if path else ():
        found = _get(found, key)
    return found if isinstance(found, int) and path else None


def _get(thing: Any, key: str) -> Any:
    if isinstance(thing, Mapping):
        return thing.get(key)
    return getattr(thing, key, None)
