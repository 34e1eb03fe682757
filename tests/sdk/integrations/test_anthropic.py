"""The anthropic client as its users use it: every way to ask settles."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from spendtree.event import Kind
from spendtree.integrations.anthropic import LIBRARY
from spendtree.integrations.asked import provider_of
from spendtree.testing.reply import Reply, answer, error_reply, events, json_reply
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    MESSAGES,
    MODEL,
    PICO_PER_TOKEN,
    Desk,
    anthropic_client,
    async_anthropic_client,
)

USAGE = Usage(30, 12, cache_read_tokens=5, cache_write_tokens=6, cache_write_1h_tokens=7)
BODY: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50}


def message(stream: bool = False) -> Any:
    return answer("/v1/messages", {"model": MODEL, "stream": stream}, USAGE, "one two three")


@pytest.mark.parametrize("stream", [False, True])
def test_cache_tokens_of_both_lifetimes_are_kept_apart(desk: Desk, stream: bool) -> None:
    desk.provider.play(message(stream))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        answered: Any = client.messages.create(**BODY, stream=stream)
        if stream:
            list(answered)

    assert desk.end().usage == USAGE
    desk.agree()


def test_a_stream_helper_settles(desk: Desk) -> None:
    desk.provider.play(message(stream=True))

    with (
        desk.tracker.session(ceiling=1),
        anthropic_client(desk) as client,
        client.messages.stream(**BODY) as stream,
    ):
        assert "".join(stream.text_stream) == "one two three"

    assert desk.end().usage == USAGE
    desk.agree()


@pytest.mark.asyncio
async def test_an_asynchronous_stream_helper_settles(desk: Desk) -> None:
    desk.provider.play(message(stream=True))

    async with (
        desk.tracker.session(ceiling=1),
        async_anthropic_client(desk) as client,
        client.messages.stream(**BODY) as stream,
    ):
        assert await stream.get_final_text() == "one two three"

    assert desk.end().usage == USAGE
    desk.agree()


def test_a_stream_helper_left_half_way_is_presumed_spent(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        with client.messages.stream(**BODY) as stream:
            next(iter(stream))
        assert desk.statuses() == ["lapsed"]
    desk.agree()


def test_the_usage_of_the_last_delta_is_final(desk: Desk) -> None:
    """Who stops at the stop reason, before the stream's very end, is billed by its usage."""
    desk.provider.play(message(stream=True))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        stream = client.messages.create(**BODY, stream=True)
        for event in stream:
            if event.type == "message_delta":
                break
        stream.close()

    assert desk.end().usage == USAGE
    desk.agree()


def test_a_stream_that_told_only_its_beginning_is_unmetered(desk: Desk) -> None:
    """Its first event counts one token of output; that is not what it wrote."""
    first = message(stream=True).pieces[0]
    desk.provider.play(Reply(headers=message(stream=True).headers, pieces=(first,)))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        list(client.messages.create(**BODY, stream=True))

    assert (desk.end().kind, desk.end().status) == (Kind.LAPSE, "unmetered")
    desk.agree()


def test_an_error_in_a_stream_is_presumed_spent(desk: Desk) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    desk.provider.play(events(error, named=True))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        stream = client.messages.create(**BODY, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            list(stream)

    assert desk.statuses() == ["lapsed"]
    desk.agree()


def test_raw_and_streaming_responses_settle(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        client.messages.with_raw_response.create(**BODY)
        with client.messages.with_streaming_response.create(**BODY) as response:
            assert list(response.iter_lines())
        with client.messages.with_streaming_response.create(**BODY, stream=True) as response:
            assert list(response.iter_lines())

    assert desk.statuses() == ["ok"] * 3
    desk.agree()


def test_tools_and_thinking_count_as_input_and_output(desk: Desk) -> None:
    tools: Any = [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        client.messages.create(
            model=MODEL,
            messages=MESSAGES,
            max_tokens=2000,
            tools=tools,
            thinking={"type": "enabled", "budget_tokens": 1024},
            system="You are brief.",
        )

    assert desk.end().output_tokens == 2000
    assert desk.end().held == desk.end().cost
    assert desk.end().held > (2000 + 1024) * PICO_PER_TOKEN
    desk.agree()


def test_a_request_read_from_an_iterator_can_be_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def messages() -> Iterator[Any]:
        yield from MESSAGES

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    desk.provider.play(error_reply(529))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        client.messages.create(model=MODEL, max_tokens=50, messages=messages())

    first, second = desk.provider.received
    assert first.body["messages"] == second.body["messages"] == MESSAGES
    assert desk.ends()[1].held < 1000 * PICO_PER_TOKEN
    desk.agree()


def test_counting_tokens_is_no_call(desk: Desk) -> None:
    desk.provider.play(json_reply({"input_tokens": 12}))

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        counted = client.messages.count_tokens(model=MODEL, messages=MESSAGES)

    assert counted.input_tokens == 12
    assert desk.ends() == []


def test_the_beta_messages_are_calls_like_others(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        client.beta.messages.create(**BODY)

    assert desk.statuses() == ["ok"]
    desk.agree()


@pytest.mark.parametrize(
    ("url", "provider"),
    [("https://api.anthropic.com", "anthropic"), ("https://gateway.example.com", "")],
)
def test_the_base_url_tells_the_provider(desk: Desk, url: str, provider: str) -> None:
    with anthropic_client(desk, url=url) as client:
        assert provider_of(LIBRARY, client, desk.tracker) == provider


def test_the_clients_of_clouds_tell_their_provider(desk: Desk) -> None:
    kinds = {
        "AnthropicBedrock": "aws",
        "AnthropicVertex": "google",
        "AsyncAnthropicVertex": "google",
    }
    for name, provider in kinds.items():
        client: Any = type(name, (), {"base_url": None})()

        assert provider_of(LIBRARY, client, desk.tracker) == provider
