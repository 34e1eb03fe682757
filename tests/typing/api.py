"""Uses of the public API that must type-check; mypy reads this file, nothing runs it."""

import os
from collections.abc import AsyncGenerator, Generator, Mapping, MutableMapping
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import anthropic
import httpx
import openai
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

import spendtree
from spendtree.collector.collecting import Collector
from spendtree.collector.serving import MetricsApp
from spendtree.explanation import Explanation
from spendtree.integrations.asgi import SpendtreeMiddleware
from spendtree.integrations.httpx import propagate
from spendtree.testing import (
    FakeProvider,
    FrozenClock,
    LoopbackProvider,
    Received,
    Reply,
    assert_books_balance,
    assert_calls,
    assert_spent,
)


def configuring(prices: Mapping[str, Any]) -> None:
    assert_type(spendtree.configure(), spendtree.Spendtree)
    spendtree.configure("sqlite:///spend.db", config="spendtree.yaml")
    spendtree.configure("memory:", config=Path("spendtree.yaml"))
    spendtree.configure(config={"mode": "warn", "prices": prices})
    tracker = spendtree.Spendtree("memory:")
    assert_type(tracker.session(customer="acme"), spendtree.Session)
    tracker.close()


def scopes() -> None:
    with spendtree.session(customer="acme", team="search", ceiling=0.25) as session:
        assert_type(session, spendtree.Session)
        assert_type(session.id, str)
        with session.cycle() as cycle:
            assert_type(cycle, spendtree.Cycle)
            with spendtree.agent("coordinator", envelope=Decimal("0.05")) as agent:
                assert_type(agent, spendtree.Agent)
                agent.fail("no answer")
            with session.agent("researcher", task_id="t-17", task="find sources", max_cost=1):
                assert_type(spendtree.current(), spendtree.Scope | None)
        assert_type(session.breakdown(), dict[str, Decimal])
        session.tree()
    with spendtree.session("request-4711", ceiling="0.25", expected_usd=0.1, cycles="auto"):
        pass


def integrations(client: openai.OpenAI, other: anthropic.AsyncAnthropic) -> None:
    assert_type(spendtree.instrument("openai", "anthropic"), tuple[str, ...])
    assert_type(spendtree.instrument(), tuple[str, ...])
    assert_type(spendtree.wrap(client), openai.OpenAI)
    assert_type(spendtree.wrap(other, provider="openrouter"), anthropic.AsyncAnthropic)
    spendtree.uninstrument()
    spendtree.uninstrument("openai", client)
    with LoopbackProvider() as provider:
        assert_type(provider.url, str)
        provider.play(Reply(status=500, fault="stall"))
        assert_type(provider.received, list[Received])


def calls(response: object) -> None:
    with spendtree.call("gpt-4o", provider="openai", input_tokens=1, max_output_tokens=2) as call:
        assert_type(call, spendtree.Call)
        assert_type(call.max_output_tokens, int | None)
        call.record(response)
        call.record(spendtree.Usage(input_tokens=1, output_tokens=2, reasoning_tokens=1))
    with spendtree.call(
        "gpt-5", served=["priority"], modalities=["image"], units={"web_search": 2}
    ) as call:
        call.record(spendtree.Usage(200, 100, units={"input_image": 800, "web_search": 1}))
    assert_type(call.explain(), Explanation)
    assert_type(call.explain().to_dict(), dict[str, Any])
    messages = [{"role": "user", "content": "hello"}]
    with spendtree.purpose("plan"), spendtree.call("gpt-4o", input=messages, purpose="route"):
        pass


async def asynchronously() -> None:
    async def branch(name: str) -> str:
        return name

    async with spendtree.session(ceiling="1") as session:
        assert_type(session, spendtree.Session)
        async with session.cycle(), spendtree.agent("coordinator") as agent:
            assert_type(agent, spendtree.Agent)
            async with agent.call("gpt-4o") as call:
                assert_type(call, spendtree.Call)
    await spendtree.gather(branch("a"), branch("b"))


@spendtree.agent("planner", max_cost="0.02")
def decorated(question: str, *, depth: int = 1) -> str:
    return question * depth


@spendtree.agent("writer")
async def decorated_async(question: str) -> int:
    return len(question)


@spendtree.agent("streamer")
async def decorated_stream(question: str) -> AsyncGenerator[str, None]:
    yield question


@spendtree.session(customer="acme")
def decorated_generator(count: int) -> Generator[int, None, str]:
    yield count
    return "done"


async def decorators_keep_signatures() -> None:
    assert_type(decorated("why", depth=2), str)
    assert_type(await decorated_async("why"), int)
    async for chunk in decorated_stream("why"):
        assert_type(chunk, str)
    assert_type(next(decorated_generator(1)), int)


def threads(scope: spendtree.Scope) -> None:
    assert_type(scope.bind(decorated)("why", depth=3), str)
    with spendtree.ThreadPoolExecutor(4) as pool:
        assert_type(pool.submit(decorated, "why", depth=2).result(), str)
        assert_type(list(pool.map(decorated, ["a", "b"])), list[str])


async def tools(scope: spendtree.Scope) -> None:
    with spendtree.tool("web_search", cost="0.01") as tool:
        assert_type(tool, spendtree.Tool)
        tool.record(Decimal("0.008"))
    async with scope.tool("sandbox", cost=0.05, optional=True) as tool:
        assert_type(tool.name, str)


def processes(headers: dict[str, str], client: httpx.AsyncClient) -> None:
    assert_type(spendtree.inject(), MutableMapping[str, str])
    spendtree.inject(headers)
    spendtree.inject(dict(os.environ), environment=True)
    with spendtree.extract(os.environ) as scope:
        assert_type(scope, spendtree.Scope | None)
    with spendtree.extract([(b"baggage", b"spendtree.session=s")]) or spendtree.session():
        pass
    inbound = spendtree.extract(httpx.Headers(headers))
    assert_type(inbound, spendtree.Inbound)
    assert_type((inbound.session, inbound.customer), tuple[str, str])
    assert_type(propagate(client, hosts=["*.internal"]), httpx.AsyncClient)
    Starlette(middleware=[Middleware(SpendtreeMiddleware, accept=lambda connection: True)])


def errors() -> None:
    try:
        scopes()
    except spendtree.EnvelopeExhaustedError as error:
        assert_type(error.affordable_output_tokens, int | None)
    except spendtree.BudgetExceededError as error:
        assert_type((error.requested, error.free), tuple[Decimal, Decimal])
        assert_type((error.cap, error.spent, error.held), tuple[Decimal, Decimal, Decimal])
        assert_type(
            (error.account, error.kind, error.name, error.reason), tuple[str, str, str, str]
        )
    except spendtree.UnknownPriceError as error:
        assert_type((error.model, error.provider), tuple[str, str])
    except (spendtree.StoreUnavailableError, spendtree.ConfigurationError) as error:
        assert_type(error, spendtree.StoreUnavailableError | spendtree.ConfigurationError)
    except spendtree.SpendtreeError:
        pass


def own_metrics(registry: CollectorRegistry, tracker: spendtree.Spendtree) -> None:
    assert_type(spendtree.collector(), Collector)
    spendtree.collector(registry, tracker=tracker).close()
    app = spendtree.metrics_app(registry)
    assert_type(app, MetricsApp)
    Starlette(routes=[Route("/metrics", app), Mount("/mounted", app)])


def testing() -> None:
    clock, provider = FrozenClock(), FakeProvider()
    clock.advance(1.5)
    tracker = spendtree.Spendtree("memory:", clock=clock)
    with tracker.session() as session, session.call("fake-model") as call:
        call.record(provider.complete("fake-model", input_tokens=1, max_output_tokens=2))
    assert_spent(tracker, "0.02", session=session.id, agent="coordinator")
    assert_calls(tracker.store, 1)
    assert_books_balance(tracker)
