"""Providers whose usage is OpenAI's with something of their own, or something else altogether."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.sdk.oracle import openai
from tests.sdk.oracle.reading import Part, Reading, count, dollars, named

Object = Mapping[str, Any]


def deepseek(body: Object, asked: str) -> Reading:
    """Read DeepSeek's chat completion.

    Source: "Create chat completion", DeepSeek API docs, `usage`: `prompt_tokens` "equals
    prompt_cache_hit_tokens + prompt_cache_miss_tokens"; reasoning is part of `completion_tokens`.
    """
    usage = body["usage"]
    part = Part(
        model=str(body["model"]),
        input=count(usage, "prompt_cache_miss_tokens"),
        output=count(usage, "completion_tokens"),
        cache_read=count(usage, "prompt_cache_hit_tokens"),
        reasoning=count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )
    return Reading(part.model, (part,))


def deepseek_stream(chunks: list[Object], asked: str) -> Reading:
    """Read DeepSeek's streamed chat completion: usage in the last chunk, as documented there."""
    return deepseek(chunks[-1], asked)


def groq(body: Object, asked: str) -> Reading:
    """Read Groq's chat completion.

    Sources: "Create chat completion", Groq API reference: usage as OpenAI's, times beside it;
    `usage_breakdown`: "Detailed usage breakdown by model when multiple models are used in the
    request for compound AI systems". "Compound", "Pricing": the tokens of each underlying model at
    its own price, and a fee for each use of a built-in tool, which `executed_tools` lists.
    """
    (choice,) = body["choices"]
    return _compound(body, body, choice["message"].get("executed_tools") or (), asked)


def groq_stream(chunks: list[Object], asked: str) -> Reading:
    """Read Groq's streamed chat completion.

    Source: "Create chat completion", Groq API reference, `stream`: the last chunk's `x_groq` has
    usage and breakdown. A tool is told of when it begins and when it ends, by the same index.
    """
    chunks = [chunk for chunk in chunks if "choices" in chunk]  # an error may end the stream
    tools = {
        tool["index"]: tool
        for chunk in chunks
        for choice in chunk["choices"]
        for tool in choice["delta"].get("executed_tools") or ()
    }
    last = chunks[-1].get("x_groq") or {}
    if not last.get("usage"):
        return Reading(str(chunks[0]["model"]))
    return _compound(last, chunks[-1], list(tools.values()), asked)


def _compound(told: Object, body: Object, tools: Any, asked: str) -> Reading:
    whole = openai.text(told["usage"], asked, body)
    models = (told.get("usage_breakdown") or {}).get("models") or ()
    parts = tuple(openai.text(one["usage"], asked, one) for one in models)
    # One recording was edited to repeat the total for each model: then only the total is known.
    split = parts if sum(part.input for part in parts) == whole.input else (whole,)
    kinds = [tool["type"] for tool in tools]
    units = {"web_search": kinds.count("search"), "tool_request": kinds.count("visit")}
    return Reading(whole.model, split, named(units))


def together_stream(chunks: list[Object], asked: str) -> Reading:
    """Read Together's streamed chat completion.

    Source: "Chat completions", Together API reference: `cached_tokens` stands in usage itself and
    is part of `prompt_tokens`.
    """
    reading = openai.chat_stream(chunks, asked)
    (part,) = reading.parts
    read = count(chunks[-1]["usage"], "cached_tokens")
    return replace(reading, parts=(replace(part, input=part.input - read, cache_read=read),))


def cohere(body: Object, asked: str) -> Reading:
    """Read Cohere's chat, version 2.

    Source: "How does Cohere's pricing work?", "What's the difference between billed tokens and
    generic tokens?": "the billed input and output tokens are the tokens that you're actually billed
    for"; `tokens` has what Cohere adds, "you are not charged for them". `cached_tokens` counts
    prompt tokens found in the inference cache; the pricing page has no price of its own for them.
    """
    billed = body["usage"]["billed_units"]
    part = Part(asked, input=count(billed, "input_tokens"), output=count(billed, "output_tokens"))
    return Reading(asked, (part,))


def cohere_stream(events: list[Object], asked: str) -> Reading:
    """Read Cohere's streamed chat: `message-end` has usage ("Streaming responses")."""
    (end,) = [event for event in events if event["type"] == "message-end"]
    return cohere(end["delta"], asked)


def ollama(body: Object, asked: str) -> Reading:
    """Read Ollama's chat.

    Source: "Generate a chat completion", Ollama API: `prompt_eval_count` is the number of tokens of
    the prompt, left out where the prompt was cached; `eval_count` that of the response.
    """
    part = Part(
        str(body["model"]),
        input=count(body, "prompt_eval_count"),
        output=count(body, "eval_count"),
    )
    return Reading(part.model, (part,))


def ollama_stream(lines: list[Object], asked: str) -> Reading:
    """Read Ollama's streamed chat: the line that is `done` has the counts."""
    return ollama(lines[-1], asked)


def openrouter(body: Object, asked: str) -> Reading:
    """Read OpenRouter's chat completion.

    Source: "Usage accounting": counts by the model's own tokenizer, as OpenAI's object;
    `cached_tokens` were read from a cache, `cache_write_tokens` written to one; `cost` is "the
    total amount charged to your account" and has the fees of searches. "BYOK": with a key of one's
    own the provider charges `cost_details.upstream_inference_cost` beside it.
    """
    usage = body["usage"]
    part = openai.text(usage, asked, body)
    return _stated(body, part)


def openrouter_stream(chunks: list[Object], asked: str) -> Reading:
    """Read OpenRouter's streamed chat completion: usage "in the last SSE message"."""
    return openrouter(chunks[-1], asked)


def openrouter_response(body: Object, asked: str) -> Reading:
    """Read OpenRouter's response: the Responses API's usage with OpenRouter's cost."""
    (part,) = openai.response(body, asked).parts
    return _stated(body, part)


def openrouter_response_stream(events: list[Object], asked: str) -> Reading:
    """Read OpenRouter's streamed response: as the Responses API's."""
    return openrouter_response(events[-1]["response"], asked)


def _stated(body: Object, part: Part) -> Reading:
    usage = body["usage"]
    if part.input < 0:
        # Google's caches bill the same tokens as written and as read: they overlap in the prompt.
        part = replace(part, input=count(usage, "prompt_tokens") - part.cache_read)
    searches = count(usage.get("server_tool_use_details"), "web_search_requests")
    cost = dollars(usage.get("cost"))
    if cost is not None and usage.get("is_byok"):
        cost += dollars(usage["cost_details"]["upstream_inference_cost"]) or Decimal(0)
    units = named({"web_search": searches, **openai.audio(usage)})
    return Reading(part.model, (part,), units, cost=cost)


def token_count(body: Object, asked: str) -> Reading:
    """Read a count of tokens.

    Sources: "Token counting", Anthropic: "free to use"; "CountTokens", Bedrock: "There are no
    charges". Nothing was inferred, so nothing was used.
    """
    return Reading(asked)
