"""What is hidden in a stream or held back for a moment: nobody misses anything by that."""

import dataclasses
from typing import Any

import pytest

from spendtree.testing.reply import Reply, answer
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    MESSAGES,
    MODEL,
    Desk,
    api_errors,
    async_openai_client,
    openai_client,
)

USAGE = Usage(30, 12)
BODY: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50, "stream": True}


def streamed() -> Reply:
    told = {"model": MODEL, "stream": True, "stream_options": {"include_usage": True}}
    return answer("/v1/chat/completions", told, USAGE, "one two")


def broken_after_its_finish() -> Reply:
    whole = streamed()
    ends = [n for n, piece in enumerate(whole.pieces, 1) if b'"finish_reason": "stop"' in piece]
    return dataclasses.replace(whole, fault="reset", fault_after=ends[-1])


@pytest.mark.asyncio
async def test_a_stream_that_a_hook_has_read_hides_the_usage_as_well(desk: Desk) -> None:
    """Logging reads the response before the program does; every chunk it then sees is a choice."""

    def log(response: Any) -> None:
        response.read()

    async def log_async(response: Any) -> None:
        await response.aread()

    desk.provider.play(streamed(), streamed())
    with desk.tracker.session(ceiling=1):
        with openai_client(desk) as client:
            client._client.event_hooks["response"].append(log)
            chunks = list(client.chat.completions.create(**BODY))
        async with async_openai_client(desk) as other:
            other._client.event_hooks["response"].append(log_async)
            more = [each async for each in await other.chat.completions.create(**BODY)]

    for read in (chunks, more):
        assert all(chunk.choices for chunk in read)
        assert read[-1].choices[0].finish_reason == "stop"
    assert [event.usage for event in desk.ends()] == [USAGE, USAGE]
    desk.agree()


@pytest.mark.asyncio
async def test_who_stops_at_the_finish_reason_of_a_stream_that_then_breaks_has_it_all(
    desk: Desk,
) -> None:
    desk.provider.play(broken_after_its_finish(), broken_after_its_finish())
    texts: list[str] = []
    with desk.tracker.session(ceiling=1):
        with openai_client(desk) as client, client.chat.completions.create(**BODY) as stream:
            for chunk in stream:
                texts.append(chunk.choices[0].delta.content or "")
                if chunk.choices[0].finish_reason:
                    break
        async with (
            async_openai_client(desk) as other,
            await other.chat.completions.create(**BODY) as read,
        ):
            async for chunk in read:
                texts.append(chunk.choices[0].delta.content or "")
                if chunk.choices[0].finish_reason:
                    break

    assert "".join(texts).split() == ["one", "twoone", "two"]
    assert desk.statuses() == ["lapsed", "lapsed"]
    desk.agree()


def test_who_reads_on_meets_the_error(desk: Desk) -> None:
    desk.provider.play(broken_after_its_finish())
    reasons: list[Any] = []
    with desk.tracker.session(ceiling=1), openai_client(desk, max_retries=0) as client:
        stream = client.chat.completions.create(**BODY)
        with pytest.raises(api_errors()):
            reasons.extend(chunk.choices[0].finish_reason for chunk in stream)
    assert reasons[-1] == "stop"
    assert desk.statuses() == ["lapsed"]
