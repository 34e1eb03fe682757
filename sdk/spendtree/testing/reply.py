"""What a loopback provider answers: bytes as they are, or a body made up of a usage; and faults.

Values and their makers; nothing here opens a socket.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from spendtree.usage import Usage

Fault = Literal["", "stall", "reset"]
JSON: Mapping[str, str] = {"content-type": "application/json"}
EVENTS: Mapping[str, str] = {"content-type": "text/event-stream; charset=utf-8"}

_EVENT = re.compile(r".*?(?:\r\n\r\n|\n\n)|.+\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer: a status, headers and the body, sent in the pieces given.

    `fault` happens after `fault_after` pieces, or before the first byte (-1): "stall" sends nothing
    more until the client goes, "reset" resets the connection. `pause_seconds` passes between two
    pieces; nothing is sent until `gate` is set, where one is given.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    pieces: Sequence[bytes] = (b"{}",)
    fault: Fault = ""
    fault_after: int = -1
    pause_seconds: float = 0
    gate: threading.Event | None = None


def json_reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with a JSON body."""
    return Reply(status=status, headers={**JSON, **(headers or {})}, pieces=(_json(body),))


def event_reply(text: str) -> Reply:
    """Return a reply with a stream of server-sent events, one piece for each event."""
    return Reply(headers=EVENTS, pieces=tuple(each.encode() for each in _EVENT.findall(text)))


def error_reply(status: int, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a refusal in a form that both OpenAI's and Anthropic's clients read."""
    error = {"type": "error", "message": f"the loopback provider answers {status}"}
    return json_reply({"type": "error", "error": error}, status=status, headers=headers)


def recorded_reply(recording: Mapping[str, Any]) -> Reply:
    """Return a recorded response, byte for byte; its stream in one piece for each event.

    `recording["response"]` has `status`, `headers`, and `body_json` or `body_text`.
    """
    response = recording["response"]
    if "body_json" in response:
        return json_reply(
            response["body_json"], status=response["status"], headers=response["headers"]
        )
    return Reply(
        status=response["status"],
        headers=response["headers"],
        pieces=tuple(each.encode() for each in _EVENT.findall(response["body_text"])),
    )


def answer(path: str, body: Mapping[str, Any], usage: Usage, text: str = "fake") -> Reply:
    """Return what the API at a path answers, streamed if the request says so.

    Knows chat completions, completions, responses and embeddings of OpenAI, and Anthropic's
    messages; anything else is a 404.
    """
    model = str(body.get("model", ""))
    stream = bool(body.get("stream"))
    if path.endswith("/chat/completions"):
        return (
            _chat(model, usage, text, body)
            if not stream
            else _chat_stream(model, usage, text, body)
        )
    if path.endswith("/responses"):
        return _response(model, usage, text, stream)
    if path.endswith("/embeddings"):
        return _embedding(model, usage, body)
    if path.endswith("/messages"):
        return _message(model, usage, text) if not stream else _message_stream(model, usage, text)
    if path.endswith("/completions"):
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        return json_reply(
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 0,
                "model": model,
                "choices": [choice],
                "usage": chat_usage(usage),
            }
        )
    return error_reply(404)


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Return a usage as chat completions state it."""
    writes = usage.cache_write_tokens + usage.cache_write_1h_tokens
    heard, spoken = (usage.units.get(f"{way}_audio", 0) for way in ("input", "output"))
    prompt = usage.input_tokens + usage.cache_read_tokens + writes + heard
    written = usage.output_tokens + spoken
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, **_audio(heard)},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            **_audio(spoken),
        },
    }


def _audio(tokens: int) -> dict[str, int]:
    return {"audio_tokens": tokens} if tokens else {}


def responses_usage(usage: Usage) -> dict[str, Any]:
    """Return a usage as the responses API states it."""
    inputs = usage.input_tokens + usage.cache_read_tokens
    return {
        "input_tokens": inputs,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": inputs + usage.output_tokens,
    }


def message_usage(usage: Usage) -> dict[str, Any]:
    """Return a usage as Anthropic's messages state it."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        **_searches(usage.units.get("web_search", 0)),
    }


def _searches(count: int) -> dict[str, Any]:
    return {"server_tool_use": {"web_search_requests": count}} if count else {}


def served_reply(reply: Reply, tier: str) -> Reply:
    """Return a reply with a JSON body that says it was served in a tier: flex, priority, fast …

    Where an API says so: `service_tier`, and Anthropic's `speed` in its usage.
    """
    body = json.loads(b"".join(reply.pieces))
    if tier == "fast" and isinstance(body.get("usage"), dict):
        body["usage"]["speed"] = tier
    else:
        body["service_tier"] = tier
    return json_reply(body, status=reply.status, headers=reply.headers)


def events(*bodies: Any, named: bool = False, done: bool = False) -> Reply:
    """Return a stream of these bodies, with the names of events if they are `named`."""
    name = "event: {}\n" if named else ""
    text = "".join(
        f"{name.format(body['type']) if named else ''}data: {json.dumps(body)}\n\n"
        for body in bodies
    )
    return event_reply(text + ("data: [DONE]\n\n" if done else ""))


def _chat(model: str, usage: Usage, text: str, body: Mapping[str, Any]) -> Reply:
    message = {"role": "assistant", "content": text}
    choices = [
        {"index": index, "message": message, "finish_reason": "stop"}
        for index in range(int(body.get("n") or 1))
    ]
    return json_reply(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": choices,
            "usage": chat_usage(usage),
        }
    )


def _chat_stream(model: str, usage: Usage, text: str, body: Mapping[str, Any]) -> Reply:
    asked = (body.get("stream_options") or {}).get("include_usage")
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": model}
    told: dict[str, Any] = {"usage": None} if asked else {}
    deltas: list[tuple[Any, Any]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in _words(text)]
    chunks = [
        {**head, **told, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in (*deltas, ({}, "stop"))
    ]
    if asked:
        chunks.append({**head, "choices": [], "usage": chat_usage(usage)})
    return events(*chunks, done=True)


def _response(model: str, usage: Usage, text: str, stream: bool) -> Reply:
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "completed",
        "output": [item],
        "usage": responses_usage(usage),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    if not stream:
        return json_reply(body)
    begun = {**body, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    opened = {**item, "status": "in_progress", "content": []}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.content_part.added", "part": part, **place},
        *({"type": "response.output_text.delta", "delta": word, **place} for word in _words(text)),
        {"type": "response.output_text.done", "text": text, **place},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": body},
    ]
    numbered = [{**each, "sequence_number": number} for number, each in enumerate(told)]
    return events(*numbered, named=True)


def _embedding(model: str, usage: Usage, body: Mapping[str, Any]) -> Reply:
    texts = body.get("input")
    count = len(texts) if isinstance(texts, list) and texts and not _is_tokens(texts) else 1
    vector: Any = [0.0, 1.0]
    if body.get("encoding_format") == "base64":
        vector = "AAAAAAAAgD8="  # the same two numbers
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)]
    told = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return json_reply({"object": "list", "model": model, "data": data, "usage": told})


def _is_tokens(texts: list[Any]) -> bool:
    return isinstance(texts[0], int)


def _message(model: str, usage: Usage, text: str) -> Reply:
    return json_reply(_message_body(model, message_usage(usage), [{"type": "text", "text": text}]))


def _message_body(
    model: str, told: dict[str, Any], content: list[Any], reason: str | None = "end_turn"
) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": told,
    }


def _message_stream(model: str, usage: Usage, text: str) -> Reply:
    told = message_usage(usage)
    begun = _message_body(model, {**told, "output_tokens": 1}, [], None)
    words = [{"type": "text_delta", "text": word} for word in _words(text)]
    return events(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": word} for word in words),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": told["output_tokens"]},
        },
        {"type": "message_stop"},
        named=True,
    )


def _words(text: str) -> Iterator[str]:
    return iter(re.findall(r"\S+\s*|\s+", text))


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()
