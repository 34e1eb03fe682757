"""Reads the everyday body of a text call at once: the walk takes three times as long. Pure.

Only where everything that it states is of a kind listed here; whatever else there is makes it None,
and the walk reads it. Both read alike; a test holds them to that.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import NoneType
from typing import Any

from spendtree.response.numbers import dollars
from spendtree.response.plain_clouds import converse, gemini
from spendtree.usage import TOKENS_MAX, Usage

BODY = frozenset(
    (
        *("id", "object", "created", "model", "choices", "usage", "system_fingerprint"),
        *("service_tier", "type", "role", "content", "stop_reason", "stop_sequence", "output"),
        *("status", "created_at", "error", "incomplete_details", "instructions", "metadata"),
        *("parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background"),
        *("max_output_tokens", "previous_response_id", "reasoning", "text", "truncation", "user"),
        *("store", "prompt_cache_key", "safety_identifier", "max_tool_calls", "top_logprobs"),
        *("container", "context_management", "stop_details", "completed_at", "request_id"),
        *(
            "moderation",
            "diagnostics",
            "presence_penalty",
            "frequency_penalty",
            "prompt",
            "billing",
        ),
        *("prompt_cache_retention", "prompt_cache_options", "conversation"),
    )
)
TIERS = (None, "default", "standard")
ITEMS = frozenset(("message", "reasoning", "function_call"))
"""Items of an output that cost nothing by themselves."""

CHAT = frozenset(
    (
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    )
)
RESPONSES = frozenset(
    (
        *("input_tokens", "output_tokens", "total_tokens"),
        *("input_tokens_details", "output_tokens_details"),
    )
)
MESSAGES = frozenset(
    (
        *("input_tokens", "output_tokens", "cache_read_input_tokens"),
        *("cache_creation_input_tokens", "cache_creation", "service_tier", "server_tool_use"),
        *("output_tokens_details", "speed", "inference_geo"),
    )
)

_UNUSUAL = ("embed", "rerank", "moderation", "image", "-search")
"""Parts of the names of models whose bodies say more than their usage."""

ROUTED = frozenset((*BODY, "provider"))
ROUTED_USAGE = frozenset((*CHAT, "cost", "is_byok", "cost_details"))
"""What OpenRouter says beside OpenAI's body."""

Plain = tuple[Usage, str, tuple[str, ...] | None, Decimal | None]
"""The usage, the model that answered, how it was served, and the cost that is stated."""


def _fields(thing: Any) -> Any:
    """Return a dictionary of a dictionary or of a pydantic object, None of anything else."""
    if type(thing) is dict:
        return thing
    try:
        more, own = thing.__pydantic_extra__, thing.__dict__
    except AttributeError:
        return None
    return {**own, **more} if more else own


def plain(response: Any) -> Plain | None:
    """Return what an everyday body says, None of any other."""
    body = _fields(response)
    if body is None:
        return None
    if not body.keys() <= BODY:
        return _other_body(response) if body is response else None
    if body is not response and getattr(response, "__pydantic_private__", None):
        return None
    usage, model = _fields(body.get("usage")), body.get("model")
    if not usage or type(model) is not str or "-search" in model or body.get("metadata"):
        return None
    tier, kind = body.get("service_tier"), body.get("object")
    if tier not in TIERS or kind == "list" or body.get("type") not in (None, "message"):
        return None
    if "embed" in model or "rerank" in model or "moderation" in model or "image" in model:
        return None
    if "prompt_tokens" in usage:
        counted = None if _used_tools(body.get("choices")) else _chat(usage)
    else:
        counted = _other(usage, body)
    if counted is None or counted.is_nothing:
        return None
    stated = tier is not None or usage.get("service_tier") is not None
    return counted, model, () if stated else None, None


def _other_body(body: Mapping[str, Any]) -> Plain | None:
    """Return what a dictionary says that is not as OpenAI's or Anthropic's."""
    if "usageMetadata" in body:
        known = gemini(body)
    elif "stopReason" in body:
        known = converse(body)
    else:
        return _routed(body) if "provider" in body else None
    return None if known is None else (*known, None)


def _routed(body: Mapping[str, Any]) -> Plain | None:
    """Return what a chat completion of OpenRouter says, and what it was charged."""
    usage, model = body.get("usage"), body.get("model")
    if not body.keys() <= ROUTED or type(usage) is not dict or type(model) is not str:
        return None
    if not usage.keys() <= ROUTED_USAGE or "prompt_tokens" not in usage:
        return None
    if body.get("object") != "chat.completion" or body.get("service_tier") is not None:
        return None
    if body.get("metadata") or body.get("type") is not None or "output" in body:
        return None
    cost = usage.get("cost")
    if type(cost) not in (float, int, NoneType) or usage.get("is_byok") not in (None, False):
        return None
    if any(name in model for name in _UNUSUAL) or _used_tools(body.get("choices")):
        return None
    counted = _chat({name: usage[name] for name in usage if name in CHAT})
    if counted is None or counted.is_nothing:
        return None
    return counted, model, None, None if cost is None else dollars(cost)


def _used_tools(choices: Any) -> bool:
    """Return whether Groq executed tools, or a list of choices is none."""
    if type(choices) is not list:
        return choices is not None
    for choice in choices:
        if type(choice) is dict:
            message = choice.get("message")
            if type(message) is not dict or "executed_tools" in message:
                return True
            continue
        message = getattr(choice, "message", None)
        for place in ("__dict__", "__pydantic_extra__"):
            if "executed_tools" in (getattr(message, place, None) or ()):
                return True
    return False


def _chat(usage: Mapping[str, Any]) -> Usage | None:
    if not usage.keys() <= CHAT:
        return None
    return _inside(
        usage["prompt_tokens"],
        usage.get("completion_tokens"),
        usage.get("total_tokens"),
        usage.get("prompt_tokens_details"),
        usage.get("completion_tokens_details"),
    )


def _other(usage: Mapping[str, Any], body: Mapping[str, Any]) -> Usage | None:
    keys = usage.keys()
    if keys <= RESPONSES and "total_tokens" in usage:
        for item in body.get("output") or ():
            fields = _fields(item)
            if fields is None or fields.get("type") not in ITEMS:
                return None
        return _inside(
            usage.get("input_tokens"),
            usage.get("output_tokens"),
            usage["total_tokens"],
            usage.get("input_tokens_details"),
            usage.get("output_tokens_details"),
        )
    if not keys <= MESSAGES or usage.get("server_tool_use") or usage.get("output_tokens_details"):
        return None
    if usage.get("speed") is not None or usage.get("inference_geo") is not None:
        return None
    if "cache_read_input_tokens" not in usage or usage.get("service_tier") not in TIERS:
        return None
    counts: tuple[Any, Any, Any, Any] = (
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        usage["cache_read_input_tokens"] or 0,
        usage.get("cache_creation_input_tokens") or 0,
    )
    if not _are_counts(counts):
        return None
    lifetimes = usage.get("cache_creation")
    if lifetimes is not None:
        split = _fields(lifetimes)
        if split is None or any(split.values()):
            return None
    return Usage(*counts)


def _inside(inputs: Any, outputs: Any, total: Any, ins: Any, outs: Any) -> Usage | None:
    """Return a usage whose input contains what a cache served, and whose total agrees."""
    read = reasoned = 0
    if ins is not None:
        split = _fields(ins)
        if split is None:
            return None
        for key, value in split.items():
            if value:
                if key != "cached_tokens":
                    return None
                read = value
    if outs is not None:
        split = _fields(outs)
        if split is None:
            return None
        for key, value in split.items():
            if value:
                if key != "reasoning_tokens":
                    return None
                reasoned = value
    if not _are_counts((inputs, outputs, total, read, reasoned)):
        return None
    if total != inputs + outputs or read > inputs or reasoned > outputs:
        return None
    return Usage(inputs - read, outputs, read, 0, 0, reasoned)


def _are_counts(values: tuple[Any, ...]) -> bool:
    for value in values:  # noqa: SIM110  # twice as fast as a generator
        if type(value) is not int or not 0 <= value <= TOKENS_MAX:
            return False
    return True
