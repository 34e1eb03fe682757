"""Reads the everyday bodies of Gemini and of Bedrock's Converse at once, as `plain` does. Pure."""

from collections.abc import Mapping
from typing import Any

from spendtree.usage import TOKENS_MAX, Usage

GEMINI = frozenset(
    ("candidates", "usageMetadata", "modelVersion", "responseId", "createTime", "sdkHttpResponse")
)
GEMINI_USAGE = frozenset(
    (
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
        *("cachedContentTokenCount", "promptTokensDetails", "candidatesTokensDetails"),
        *("cacheTokensDetails", "trafficType"),
    )
)
CANDIDATE = frozenset(
    ("content", "finishReason", "index", "avgLogprobs", "safetyRatings", "finishMessage")
)
CONVERSE = frozenset(("ResponseMetadata", "output", "stopReason", "usage", "metrics"))
CONVERSE_USAGE = frozenset(
    (
        *("inputTokens", "outputTokens", "totalTokens"),
        *("cacheReadInputTokens", "cacheWriteInputTokens"),
    )
)
TRAFFIC = (None, "ON_DEMAND")

Cloud = tuple[Usage, str, tuple[str, ...] | None]


def gemini(body: Mapping[str, Any]) -> Cloud | None:
    """Return what a body of `generateContent` says if it is all text, without tools of Google's."""
    usage, model = body["usageMetadata"], body.get("modelVersion")
    if type(usage) is not dict or not usage.keys() <= GEMINI_USAGE or type(model) is not str:
        return None
    traffic = usage.get("trafficType")
    if not body.keys() <= GEMINI or traffic not in TRAFFIC or not _is_text_model(model):
        return None
    candidates = body.get("candidates")
    if type(candidates) is not list or not all(map(_is_plain, candidates)):
        return None
    counted = _gemini_usage(usage)
    return None if counted is None else (counted, model, None if traffic is None else ())


def _is_plain(candidate: Any) -> bool:
    """Return whether a candidate has nothing that is billed beside its tokens."""
    if type(candidate) is not dict or not candidate.keys() <= CANDIDATE:
        return False
    content = candidate.get("content")
    parts = content.get("parts") if type(content) is dict else None
    if type(parts) is not list:
        return False
    for part in parts:
        if type(part) is not dict or "toolCall" in part or "tool_call" in part:
            return False
    return True


def _is_text_model(model: str) -> bool:
    return "image" not in model and "embed" not in model


def _gemini_usage(usage: Mapping[str, Any]) -> Usage | None:
    """Return a usage whose total is the sum of prompt, answer and thoughts."""
    prompt, output = usage.get("promptTokenCount"), usage.get("candidatesTokenCount")
    thoughts, cached = usage.get("thoughtsTokenCount", 0), usage.get("cachedContentTokenCount", 0)
    total = usage.get("totalTokenCount")
    if not (
        type(prompt) is type(output) is type(thoughts) is type(cached) is type(total) is int
        and total == prompt + output + thoughts
        and 0 <= cached <= prompt
        and output >= 0 <= thoughts
        and 0 < total <= TOKENS_MAX
    ):
        return None
    for name, whole in (
        ("promptTokensDetails", prompt),
        ("candidatesTokensDetails", output),
        ("cacheTokensDetails", cached),
    ):
        split = usage.get(name)
        if split is not None and not _is_text(split, whole):
            return None
    return Usage(prompt - cached, output + thoughts, cached, 0, 0, thoughts)


def _is_text(split: Any, whole: int) -> bool:
    if type(split) is not list or len(split) != 1 or type(split[0]) is not dict:
        return False
    only = split[0]
    return len(only) == 2 and only.get("modality") == "TEXT" and only.get("tokenCount") == whole


def converse(body: Mapping[str, Any]) -> Cloud | None:
    """Return what a body of Converse says, whose headers and trace count nothing."""
    usage = body.get("usage")
    if not body.keys() <= CONVERSE or type(usage) is not dict or not usage.keys() <= CONVERSE_USAGE:
        return None
    if "output" not in body:
        return None
    inputs, output = usage.get("inputTokens"), usage.get("outputTokens")
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    total = usage.get("totalTokens")
    if not (
        type(inputs) is type(output) is type(read) is type(written) is type(total) is int
        and total == inputs + output + read + written
        and inputs >= 0 <= output
        and read >= 0 <= written
        and 0 < total <= TOKENS_MAX
    ):
        return None
    return Usage(inputs, output, read, written), "", None
