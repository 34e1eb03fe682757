"""What tracking adds to a call of the real clients: against the bare client, in turn, on loopback.

The provider is another process. Everything is on: a SQLite file, a session with a ceiling, an
agent with an envelope and a max_cost. Rivals are measured the same way (see `rivals`).
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import anthropic
import openai

import spendtree
from bench.figure import Figure
from spendtree.testing import LoopbackProvider, Received, Reply
from spendtree.testing.reply import answer
from spendtree.usage import Usage

MODEL = "bench-model"
PRICE = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "15", "context_window": 200_000}
CAP = "9000000"
BODY: Any = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "Which heat pumps are quiet enough for a house? " * 12},
    ],
    "max_tokens": 400,
}
CHUNKS = 200
TEXT = "word " * (CHUNKS - 2)

Ask = Callable[[], object]


def figures(quick: bool = False) -> list[Figure]:
    calls = 200 if quick else 3_000
    with provider() as url, _agent():
        return [*_openai(url, calls), *_anthropic(url, calls), *_streams(url, max(calls // 20, 10))]


def _openai(url: str, calls: int) -> list[Figure]:
    bare, tracked = (openai.OpenAI(base_url=f"{url}/v1", api_key="k") for _ in range(2))
    spendtree.wrap(tracked)
    without, with_us = in_turn(
        lambda: bare.chat.completions.create(**BODY),
        lambda: tracked.chat.completions.create(**BODY),
        calls,
    )
    return [
        Figure("openai call, bare, p50", _p(without, 50), "us"),
        Figure("openai call, added p50", _p(with_us, 50) - _p(without, 50), "us", 120),
        Figure("openai call, added p99", (_p(with_us, 99) - _p(without, 99)) / 1e3, "ms", 2),
    ]


def _anthropic(url: str, calls: int) -> list[Figure]:
    bare, tracked = (anthropic.Anthropic(base_url=url, api_key="k") for _ in range(2))
    spendtree.wrap(tracked)
    without, with_us = in_turn(
        lambda: bare.messages.create(**BODY), lambda: tracked.messages.create(**BODY), calls
    )
    return [Figure("anthropic call, added p50", _p(with_us, 50) - _p(without, 50), "us")]


def _streams(url: str, calls: int) -> list[Figure]:
    """Both ask for the usage themselves, so that both read the same chunks."""
    bare, tracked = (openai.OpenAI(base_url=f"{url}/v1", api_key="k") for _ in range(2))
    spendtree.wrap(tracked)
    told: Any = {"stream": True, "stream_options": {"include_usage": True}}
    without, with_us = in_turn(
        lambda: list(bare.chat.completions.create(**BODY, **told)),
        lambda: list(tracked.chat.completions.create(**BODY, stream=True)),
        calls,
    )
    added = (_p(with_us, 50) - _p(without, 50)) / CHUNKS
    return [
        Figure(f"openai stream of {CHUNKS} chunks, bare, a chunk", _p(without, 50) / CHUNKS, "us"),
        Figure(f"openai stream of {CHUNKS} chunks, added a chunk", added, "us", 15),
    ]


def in_turn(one: Ask, other: Ask, calls: int) -> tuple[list[float], list[float]]:
    """Return the microseconds of each, ordered; they take turns, so both see the same machine."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(calls + 20):
        for ask, into in zip((one, other), taken, strict=True):
            start = time.perf_counter()
            ask()
            if turn >= 20:  # connections and caches are warm by then
                into.append((time.perf_counter() - start) * 1e6)
    return sorted(taken[0]), sorted(taken[1])


@contextmanager
def provider() -> Iterator[str]:
    """Yield the address of a loopback provider in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("close")
        process.join()


def _serve(pipe: Connection) -> None:
    cache: dict[tuple[str, bool], Reply] = {}

    def respond(ordinal: int, received: Received) -> Reply:
        key = received.path, bool(received.body.get("stream"))
        if key not in cache:
            cache[key] = answer(received.path, received.body, Usage(150, 40), TEXT)
        return cache[key]

    with LoopbackProvider(respond) as made:
        pipe.send(made.origin)
        pipe.recv()


@contextmanager
def _agent() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="spendtree-bench-") as directory:
        tracker = spendtree.Spendtree(
            f"sqlite:///{directory}/clients.db", {"prices": {MODEL: PRICE}}
        )
        with (
            tracker.session(ceiling=CAP) as session,
            session.agent("worker", envelope=CAP, max_cost=CAP),
        ):
            yield
        tracker.close()


def _p(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
