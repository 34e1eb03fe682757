"""Anthropic's Messages API."""

from collections.abc import Mapping
from typing import Any

from tests.sdk.oracle.reading import Part, Reading, count, named

Object = Mapping[str, Any]


def message(body: Object, asked: str) -> Reading:
    """Read a message.

    Source: "Messages", API reference, `usage`: "Total input tokens in a request is the summation
    of `input_tokens`, `cache_creation_input_tokens`, and `cache_read_input_tokens`", so the three
    are disjoint; `cache_creation` splits the writes by lifetime;
    `output_tokens_details.thinking_tokens` is within `output_tokens`.
    """
    return _reading(body["usage"], str(body.get("model", asked)))


def message_stream(events: list[Object], asked: str) -> Reading:
    """Read the events of a streamed message.

    Source: "Streaming messages", "Event types": `message_start` has a first usage; "the token
    counts shown in the usage field of the message_delta event are cumulative", so a count that a
    delta states holds, and one that it does not state stays as it was.
    """
    usage: dict[str, Any] = {}
    model = asked
    for event in events:
        if event["type"] == "message_start":
            model = event["message"]["model"]
            usage.update(event["message"]["usage"])
        elif event["type"] == "message_delta":
            usage.update(event["usage"])
    return _reading(usage, model)


def _reading(usage: Object, model: str) -> Reading:
    """Return a usage object's reading.

    Sources: "Compaction", "Understanding usage": the top-level counts leave out what compaction
    used; "to calculate total tokens consumed and billed, sum across all entries in the
    `usage.iterations` array". "Advisor tool", "Usage and billing": iterations of the type
    `advisor_message` are billed at the rates of the advisor's model and are not in the top-level
    totals. "Pricing", "Web search tool": $10 per 1,000 searches, counted in
    `server_tool_use.web_search_requests`; "Web fetch tool": no charge beside tokens. "Pricing",
    "Code execution tool": billed by the hour and by organization, so no response states it.
    """
    rounds = usage.get("iterations") or [usage]
    thinking = count(usage.get("output_tokens_details"), "thinking_tokens")
    parts = []
    for position, one in enumerate(rounds):
        written = count(one, "cache_creation_input_tokens")
        hour = count(one.get("cache_creation"), "ephemeral_1h_input_tokens")
        parts.append(
            Part(
                model=str(one.get("model") or model),
                input=count(one, "input_tokens"),
                output=count(one, "output_tokens"),
                cache_read=count(one, "cache_read_input_tokens"),
                cache_write=written - hour,
                cache_write_1h=hour,
                reasoning=thinking if position == 0 else 0,
            )
        )
    tools = usage.get("server_tool_use")
    return Reading(model, tuple(parts), named({"web_search": count(tools, "web_search_requests")}))
