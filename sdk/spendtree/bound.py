"""The most that a call can cost, before it is made. Pure: texts and limits in, token counts out.

A token is at least one byte of text for every tokenizer in use (byte-level BPE, SentencePiece with
byte fallback), but some normalise to NFKC first, which can lengthen a text ("\ufdfa" grows from 3
bytes to 33). So the bound is the larger of both counts; bytes / 4 is an average, not a bound.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

MESSAGE_OVERHEAD_TOKENS = 16
"""Role markers and separators around one message; the widest chat template in use needs 8."""

PART_OVERHEAD_TOKENS = 6
"""Quotes, colon, comma and spaces around one key, value or item, where a provider writes tools or
arguments into the prompt as JSON."""

REQUEST_OVERHEAD_TOKENS = 32
"""Markers around a whole request: start, priming of the answer, a hidden system preamble."""


def text_tokens(text: str) -> int:
    """Return a bound of the tokens of a text."""
    if text.isascii():
        return len(text)
    encoded = len(text.encode("utf-8", "surrogatepass"))
    return max(encoded, len(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")))


def input_tokens(content: Any) -> int | None:
    """Return a bound of the input tokens of a text, a list of messages, or any JSON-like request.

    None means that it cannot be bounded by its text (images, files, audio, references to what the
    provider keeps): then the model's context window is the bound.
    """
    total = _tokens(content)
    return None if total is None else total + REQUEST_OVERHEAD_TOKENS


def _tokens(content: Any) -> int | None:
    if content is None or isinstance(content, bool):
        return 5
    if isinstance(content, str):
        return text_tokens(content)
    if isinstance(content, (int, float)):
        return len(repr(content))
    if isinstance(content, Mapping):
        return _mapping_tokens(content)
    if isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        return _sum([_tokens(part) for part in content])
    return None


def _mapping_tokens(content: Mapping[Any, Any]) -> int | None:
    kind = content.get("type")
    if isinstance(kind, str) and any(word in kind for word in _UNBOUNDED_TYPES):
        return None
    if not _UNBOUNDED_KEYS.isdisjoint(content):
        return None
    parts = _sum([_tokens(part) for pair in content.items() for part in pair])
    return None if parts is None else parts + MESSAGE_OVERHEAD_TOKENS


def _sum(parts: list[int | None]) -> int | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part + PART_OVERHEAD_TOKENS
    return total


_UNBOUNDED_TYPES = ("image", "file", "audio", "video", "document")
_UNBOUNDED_KEYS = frozenset(
    {
        "image_url",
        "file_id",
        "file_url",
        "file_data",
        "fileData",
        "inlineData",
        "inline_data",
        "s3Location",
        "previous_response_id",
        "conversation",
        "cachedContent",
        "cached_content",
    }
)
