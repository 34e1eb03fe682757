"""What the tests of client libraries share: clients, ways to ask, a comparison of all books."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import openai
from prometheus_client import CollectorRegistry

from spendtree import Spendtree
from spendtree.event import Event, Kind
from spendtree.testing import LoopbackProvider, assert_books_balance

MODEL = "fake-model"
MESSAGES: Any = [{"role": "user", "content": "How are you?"}]
PICO_PER_TOKEN = 10_000_000
CONFIG: dict[str, Any] = {
    "prices": {
        MODEL: {
            "input_usd_per_mtok": "10",
            "output_usd_per_mtok": "10",
            "context_window": 100_000,
        }
    },
    "metrics": {"birth_hold_seconds": 0},
}

ENDS = (Kind.CALL, Kind.LAPSE)


class Desk(NamedTuple):
    """A provider with its bill, and a Spendtree with its books."""

    provider: LoopbackProvider
    tracker: Spendtree
    registry: CollectorRegistry

    def ends(self) -> list[Event]:
        """Return how every call ended, in order."""
        return [event for event in self.tracker.store.events() if event.kind in ENDS]

    def end(self) -> Event:
        """Return how the only call ended."""
        (event,) = self.ends()
        return event

    def statuses(self) -> list[str]:
        return [event.status for event in self.ends()]

    def total(self, name: str) -> float:
        """Return the sum of a family's samples, as a scrape would show them."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name
        )

    def agree(self, *, unreached: int = 0) -> None:
        """Assert that the provider's bill, the accounts, the events and the series are one."""
        ends = self.ends()
        assert len(ends) == len(self.provider.received) + unreached
        assert_books_balance(self.tracker)
        cost = sum(event.cost or 0 for event in ends if event.kind == Kind.CALL)
        presumed = sum(event.held for event in ends if event.kind == Kind.LAPSE)
        assert self.total("spendtree_calls_total") == len(ends)
        assert round(self.total("spendtree_cost_usd_total") * 1e12) == cost
        assert round(self.total("spendtree_presumed_usd_total") * 1e12) == presumed


Ask = Callable[..., Any]


# Clients without certificates: loading those takes longer than most tests.


def openai_client(desk: Desk, *, url: str = "", **options: Any) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(verify=False)
    return openai.OpenAI(
        base_url=url or desk.provider.url, api_key="k", http_client=http, **options
    )


def async_openai_client(desk: Desk, **options: Any) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(base_url=desk.provider.url, api_key="k", http_client=http, **options)


def anthropic_client(desk: Desk, *, url: str = "", **options: Any) -> anthropic.Anthropic:
    http = anthropic.DefaultHttpxClient(verify=False)
    base = url or desk.provider.origin
    return anthropic.Anthropic(base_url=base, api_key="k", http_client=http, **options)


def async_anthropic_client(desk: Desk, **options: Any) -> anthropic.AsyncAnthropic:
    http, url = anthropic.DefaultAsyncHttpxClient(verify=False), desk.provider.origin
    return anthropic.AsyncAnthropic(base_url=url, api_key="k", http_client=http, **options)


def ask_openai(desk: Desk, *, stream: bool = False, **options: Any) -> Any:
    """Ask for a chat completion; read a stream to its end."""
    client, body = _parted(options)
    with openai_client(desk, **client) as made:
        answer = made.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=50, stream=stream, **body
        )
        return list(answer) if stream else answer


def ask_openai_async(desk: Desk, *, stream: bool = False, **options: Any) -> Any:
    client, body = _parted(options)

    async def ask() -> Any:
        async with async_openai_client(desk, **client) as made:
            answer: Any = await made.chat.completions.create(
                model=MODEL, messages=MESSAGES, max_tokens=50, stream=stream, **body
            )
            return [chunk async for chunk in answer] if stream else answer

    return asyncio.run(ask())


def ask_responses(desk: Desk, *, stream: bool = False, **options: Any) -> Any:
    client, body = _parted(options)
    with openai_client(desk, **client) as made:
        answer = made.responses.create(
            model=MODEL, input="How are you?", max_output_tokens=50, stream=stream, **body
        )
        return list(answer) if stream else answer


def ask_anthropic(desk: Desk, *, stream: bool = False, **options: Any) -> Any:
    client, body = _parted(options)
    with anthropic_client(desk, **client) as made:
        answer = made.messages.create(
            model=MODEL, messages=MESSAGES, max_tokens=50, stream=stream, **body
        )
        return list(answer) if stream else answer


def ask_anthropic_async(desk: Desk, *, stream: bool = False, **options: Any) -> Any:
    client, body = _parted(options)

    async def ask() -> Any:
        async with async_anthropic_client(desk, **client) as made:
            answer: Any = await made.messages.create(
                model=MODEL, messages=MESSAGES, max_tokens=50, stream=stream, **body
            )
            return [event async for event in answer] if stream else answer

    return asyncio.run(ask())


ASKS: dict[str, Ask] = {
    "openai": ask_openai,
    "openai-async": ask_openai_async,
    "responses": ask_responses,
    "anthropic": ask_anthropic,
    "anthropic-async": ask_anthropic_async,
}

CLIENT_OPTIONS = ("max_retries", "timeout")


def _parted(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    client = {key: options.pop(key) for key in CLIENT_OPTIONS if key in options}
    return {"max_retries": 0, **client}, options


def api_errors() -> tuple[type[Exception], ...]:
    """Return what both libraries raise for a request that failed, and what below them may."""
    return (openai.APIError, anthropic.APIError, *http_errors())


def http_errors() -> Iterator[type[Exception]]:
    """Yield the errors of the HTTP libraries: older clients let them through from a stream."""
    for name in ("httpx", "httpx2"):
        try:
            yield __import__(name).HTTPError
        except ImportError:
            continue


def spent(desk: Desk) -> int:
    """Return the pico-dollars that the latest session spent, as its account says."""
    name = next(account.id for account, _ in desk.tracker.store.accounts())
    balance = desk.tracker.store.balance(name)
    assert balance is not None
    return balance.spent
