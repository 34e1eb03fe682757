"""The asynchronous clients, in every form in which their users ask beside plain calls."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from spendtree import BudgetExceededError
from spendtree.event import Kind
from spendtree.money import to_usd
from spendtree.testing.reply import answer, error_reply
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    MESSAGES,
    MODEL,
    PICO_PER_TOKEN,
    Desk,
    async_anthropic_client,
    async_openai_client,
)

pytestmark = pytest.mark.asyncio

CHAT: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50}
RESPONSE: Any = {"model": MODEL, "input": "How are you?", "max_output_tokens": 50}


class Weather(pydantic.BaseModel):
    city: str
    celsius: int


async def parsed(raw: Any) -> Any:
    """Return what a raw response holds: older clients parse at once, newer ones are awaited."""
    found = raw.parse()
    return await found if inspect.isawaitable(found) else found


async def response(client: openai.AsyncOpenAI) -> None:
    answered = await client.responses.create(**RESPONSE)
    assert answered.usage is not None


async def response_stream(client: openai.AsyncOpenAI) -> None:
    stream: Any = await client.responses.create(**RESPONSE, stream=True)
    assert len([event async for event in stream]) > 5


async def response_helper(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(**RESPONSE) as stream:
        assert (await stream.get_final_response()).usage is not None


async def raw_response(client: openai.AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(**RESPONSE)
    assert raw.http_response.json()["model"] == MODEL


async def chat_helper(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(**CHAT) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content


async def raw_chat(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(**CHAT)
    assert (await parsed(raw)).usage is not None


async def raw_chat_stream(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(**CHAT, stream=True)
    assert all([chunk.choices async for chunk in await parsed(raw)])


async def streaming_chat(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.with_streaming_response.create(**CHAT) as streamed:
        assert (await streamed.parse()).usage is not None


async def streaming_lines(client: openai.AsyncOpenAI) -> None:
    streaming = client.chat.completions.with_streaming_response
    async with streaming.create(**CHAT, stream=True) as streamed:
        lines = [line async for line in streamed.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert not [line for line in lines if '"choices": []' in line]


@pytest.mark.parametrize(
    "ask",
    [
        *(response, response_stream, response_helper, raw_response),
        *(chat_helper, raw_chat, raw_chat_stream, streaming_chat, streaming_lines),
    ],
)
async def test_every_form_of_openai_settles(
    desk: Desk, ask: Callable[[openai.AsyncOpenAI], Awaitable[None]]
) -> None:
    async with (
        desk.tracker.session(ceiling=1) as session,
        session.agent("asker", envelope="0.5"),
        async_openai_client(desk) as client,
    ):
        await ask(client)

    assert desk.statuses() == ["ok"]
    assert desk.end().context.agent == "asker"
    desk.agree()


async def test_embeddings_of_openai_have_no_output(desk: Desk) -> None:
    async with desk.tracker.session(ceiling=5), async_openai_client(desk) as client:
        found = await client.embeddings.create(model=MODEL, input=["word " * 8_000] * 4)

    assert len(found.data) == 4
    assert desk.end().output_tokens == 0
    assert desk.end().held == desk.end().cost
    assert desk.end().held > 100_000 * PICO_PER_TOKEN
    desk.agree()


async def test_a_structured_output_of_openai_is_parsed_and_settled(desk: Desk) -> None:
    text = '{"city": "Bonn", "celsius": 7}'
    desk.provider.play(answer("/v1/chat/completions", {"model": MODEL}, Usage(30, 12), text))

    async with desk.tracker.session(ceiling=1), async_openai_client(desk) as client:
        answered = await client.chat.completions.parse(**CHAT, response_format=Weather)

    assert answered.choices[0].message.parsed == Weather(city="Bonn", celsius=7)
    assert desk.end().usage == Usage(30, 12)
    desk.agree()


async def test_a_response_stream_of_openai_closed_half_way_is_presumed_spent(desk: Desk) -> None:
    async with desk.tracker.session(ceiling=1), async_openai_client(desk) as client:
        stream: Any = await client.responses.create(**RESPONSE, stream=True)
        await anext(aiter(stream))
        await stream.close()

    assert (desk.end().kind, desk.end().status) == (Kind.LAPSE, "lapsed")
    desk.agree()


async def embedded(client: openai.AsyncOpenAI) -> None:
    await client.embeddings.create(model=MODEL, input="x")


@pytest.mark.parametrize("ask", [response, embedded])
async def test_a_refused_request_of_openai_costs_nothing(
    desk: Desk, ask: Callable[[openai.AsyncOpenAI], Awaitable[None]]
) -> None:
    desk.provider.play(error_reply(400))

    async with desk.tracker.session(ceiling=1), async_openai_client(desk) as client:
        with pytest.raises(openai.BadRequestError):
            await ask(client)

    assert (desk.end().status, desk.end().cost) == ("failed", 0)
    desk.agree()


async def test_of_twenty_responses_of_openai_five_reach_the_provider(desk: Desk) -> None:
    async with async_openai_client(desk) as client:
        async with desk.tracker.session(ceiling=1):
            await client.responses.create(**RESPONSE)
        for_five = to_usd(5 * desk.end().held)

        async with desk.tracker.session(ceiling=for_five):
            asked = [client.responses.create(**RESPONSE) for _ in range(20)]
            answers = await asyncio.gather(*asked, return_exceptions=True)

    refused = [each for each in answers if isinstance(each, BudgetExceededError)]
    assert (len(desk.provider.received), len(refused)) == (1 + 5, 15)
    desk.agree()


@pytest.mark.parametrize("stream", [False, True])
async def test_raw_and_streaming_responses_of_anthropic_settle(desk: Desk, stream: bool) -> None:
    body: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50, "stream": stream}
    async with desk.tracker.session(ceiling=1), async_anthropic_client(desk) as client:
        raw = await client.messages.with_raw_response.create(**body)
        found = await parsed(raw)
        assert [event async for event in found] if stream else found.usage
        async with client.messages.with_streaming_response.create(**body) as streamed:
            assert [line async for line in streamed.iter_lines()]

    assert desk.statuses() == ["ok"] * 2
    desk.agree()


async def test_a_refused_request_of_anthropic_costs_nothing(desk: Desk) -> None:
    desk.provider.play(error_reply(400))

    async with desk.tracker.session(ceiling=1), async_anthropic_client(desk) as client:
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=50)

    assert (desk.end().status, desk.end().cost) == ("failed", 0)
    desk.agree()
