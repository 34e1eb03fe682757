"""OpenAI's APIs, and the providers that document the same usage object."""

from collections.abc import Mapping
from typing import Any

from tests.sdk.oracle.reading import Part, Reading, count, named

Object = Mapping[str, Any]


def chat(body: Object, asked: str) -> Reading:
    """Read a chat completion.

    Source: "The chat completion object", API reference, `usage`: `prompt_tokens` is all of the
    prompt; `prompt_tokens_details` says how many of them were `cached_tokens`, `cache_write_tokens`
    and `audio_tokens`; `completion_tokens` is the whole completion, `completion_tokens_details` its
    `reasoning_tokens` and `audio_tokens`. "Prompt caching", "Pricing": from gpt-5.6 on writes are
    billed, before they cost what input does. Azure OpenAI's reference documents the same object.
    """
    usage = body["usage"]
    return Reading(str(body.get("model") or asked), (text(usage, asked, body),), audio(usage))


def text(usage: Object, asked: str, body: Object) -> Part:
    """Return the text tokens of a chat completion's usage."""
    prompt, answer = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    read, written = count(prompt, "cached_tokens"), count(prompt, "cache_write_tokens")
    heard, spoken = count(prompt, "audio_tokens"), count(answer, "audio_tokens")
    return Part(
        model=str(body.get("model") or asked),
        input=count(usage, "prompt_tokens") - read - written - heard,
        output=count(usage, "completion_tokens") - spoken,
        cache_read=read,
        cache_write=written,
        reasoning=count(answer, "reasoning_tokens"),
    )


def audio(usage: Object) -> dict[str, int]:
    """Return the audio tokens of a chat completion's usage."""
    return named(
        {
            "input_audio": count(usage.get("prompt_tokens_details"), "audio_tokens"),
            "output_audio": count(usage.get("completion_tokens_details"), "audio_tokens"),
        }
    )


def chat_stream(chunks: list[Object], asked: str) -> Reading:
    """Read the chunks of a streamed chat completion.

    Source: "Streaming", "The chat completion chunk object", `usage`: null but for the last chunk,
    and there only with `stream_options: {"include_usage": true}`: "the token usage statistics for
    the entire request".
    """
    for chunk in reversed(chunks):
        if chunk.get("usage"):
            return chat(chunk, asked)
    return Reading(str(chunks[0]["model"]))


def response(body: Object, asked: str) -> Reading:
    """Read a response of the Responses API.

    Sources: "The response object", API reference, `usage`: `input_tokens_details` splits
    `input_tokens`, `output_tokens_details.reasoning_tokens` is part of `output_tokens`; null until
    a response in the background has run. "Web search", "Output and citations": each
    `web_search_call` item whose action is a `search` is a tool call; "Pricing", "Built-in tools":
    $10 per 1,000 calls, the content found is billed as input tokens (within `input_tokens`).
    """
    model, usage = str(body.get("model") or asked), body.get("usage")
    if usage is None:
        return Reading(model)
    details = usage.get("input_tokens_details")
    read, written = count(details, "cached_tokens"), count(details, "cache_write_tokens")
    part = Part(
        model=model,
        input=count(usage, "input_tokens") - read - written,
        output=count(usage, "output_tokens"),
        cache_read=read,
        cache_write=written,
        reasoning=count(usage.get("output_tokens_details"), "reasoning_tokens"),
    )
    searches = [
        item
        for item in body["output"]
        if item["type"] == "web_search_call" and item["action"]["type"] == "search"
    ]
    return Reading(model, (part,), named({"web_search": len(searches)}))


def response_stream(events: list[Object], asked: str) -> Reading:
    """Read the events of a streamed response.

    Source: "Streaming events", API reference: the last event, `response.completed` (or
    `response.incomplete`, `response.failed`), has the whole response with its usage.
    """
    last = events[-1]
    assert last["type"] in ("response.completed", "response.incomplete", "response.failed")
    return response(last["response"], asked)


def embeddings(body: Object, asked: str) -> Reading:
    """Read embeddings.

    Source: "Create embeddings", API reference, `usage`: `prompt_tokens` is all that is billed.
    """
    model = str(body.get("model") or asked)
    return Reading(model, (Part(model, input=count(body["usage"], "prompt_tokens")),))
