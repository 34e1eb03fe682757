"""Twenty cold calls at once under a ceiling for five: exactly five requests reach the provider.

The program is what its author wrote for the client alone, with two lines more: one that
instruments, and a session around it.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

import spendtree
from spendtree import BudgetExceededError
from spendtree.bound import input_tokens
from tests.sdk.integrations.desk import (
    MESSAGES,
    MODEL,
    Desk,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    openai_client,
)

CALLS = 20
AFFORDABLE = 5
OUTPUT = 50

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
each_library = pytest.mark.parametrize("library", ["openai", "anthropic"])


def ceiling() -> Decimal:
    """Return what five of the calls can cost at most, and not quite a sixth one."""
    worst = (input_tokens({"model": MODEL, "messages": MESSAGES}) or 0) + OUTPUT
    return Decimal(worst * AFFORDABLE + worst - 1) / 100_000


def read(answer: Any, stream: bool) -> str:
    if stream:
        for _ in answer:
            pass
    return "answered"


def ask_openai(client: openai.OpenAI, stream: bool) -> str:
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=OUTPUT, stream=stream
    )
    return read(answer, stream)


def ask_anthropic(client: anthropic.Anthropic, stream: bool) -> str:
    answer = client.messages.create(
        model=MODEL, messages=MESSAGES, max_tokens=OUTPUT, stream=stream
    )
    return read(answer, stream)


async def ask_openai_async(client: openai.AsyncOpenAI, stream: bool) -> str:
    answer: Any = await client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=OUTPUT, stream=stream
    )
    if stream:
        async for _ in answer:
            pass
    return "answered"


async def ask_anthropic_async(client: anthropic.AsyncAnthropic, stream: bool) -> str:
    answer: Any = await client.messages.create(
        model=MODEL, messages=MESSAGES, max_tokens=OUTPUT, stream=stream
    )
    if stream:
        async for _ in answer:
            pass
    return "answered"


def assert_five(desk: Desk, results: list[Any]) -> None:
    denied = [each for each in results if isinstance(each, BudgetExceededError)]
    assert results.count("answered") == AFFORDABLE
    assert len(denied) == CALLS - AFFORDABLE
    assert {error.reason for error in denied} == {"exhausted"}
    assert len(desk.provider.received) == AFFORDABLE
    desk.agree()


@each_library
@streamed
def test_of_twenty_tasks_five_reach_the_provider(desk: Desk, library: str, stream: bool) -> None:
    async def fan_out() -> list[Any]:
        client: Any
        ask: Callable[[Any, bool], Any]
        if library == "openai":
            client, ask = async_openai_client(desk), ask_openai_async
        else:
            client, ask = async_anthropic_client(desk), ask_anthropic_async
        async with client, desk.tracker.session(ceiling=ceiling()):
            return await spendtree.gather(*(ask(client, stream) for _ in range(CALLS)))

    assert_five(desk, asyncio.run(fan_out()))


@each_library
@streamed
def test_of_twenty_threads_five_reach_the_provider(desk: Desk, library: str, stream: bool) -> None:
    client: Any
    ask: Callable[[Any, bool], str]
    if library == "openai":
        client, ask = openai_client(desk), ask_openai
    else:
        client, ask = anthropic_client(desk), ask_anthropic
    start = threading.Barrier(CALLS)

    def at_once() -> str:
        start.wait()
        return ask(client, stream)

    def result(future: futures.Future[str]) -> Any:
        return future.exception() or future.result()

    with (
        client,
        desk.tracker.session(ceiling=ceiling()),
        spendtree.ThreadPoolExecutor(CALLS) as pool,
    ):
        asked = [pool.submit(at_once) for _ in range(CALLS)]
        results = [result(future) for future in asked]

    assert_five(desk, results)
