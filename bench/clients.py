"""What tracking adds to a call of the real clients: against the bare client, in turn, on loopback.

The provider is another process. Everything is on: a SQLite file, a session with a ceiling, an
agent with an envelope and a max_cost. Rivals are measured the same way (see `rivals`).
"""

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import anthropic
import openai

import spendtree
from bench import rivals
from bench.figure import Figure
from bench.rivals.probe import BODY, MODEL, RECORDED, in_turn, median_added
from spendtree.testing import LoopbackProvider, Received, Reply
from spendtree.testing.reply import answer, json_reply
from spendtree.usage import Usage

PRICE = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "15", "context_window": 200_000}
CAP = "9000000"
CHUNKS = 200
TEXT = "word " * (CHUNKS - 2)


def figures(quick: bool = False) -> list[Figure]:
    calls = 200 if quick else 3_000
    with provider() as url, _agent():
        ours = _openai(url, calls)
        return [
            *ours,
            *_anthropic(url, calls),
            *_streams(url, max(calls // 20, 10)),
            *([] if quick else _rivals(url, calls // 3, ours[1].value)),
        ]


def _rivals(url: str, calls: int, ours: float) -> list[Figure]:
    """Measure other trackers beside us; the figure to reach is half of the quickest's."""
    added = rivals.added(url, calls)
    rows = [
        Figure(f"  {name}: openai call, added p50", value, "us") for name, value in added.items()
    ]
    if added:
        rows.append(
            Figure("openai call, quickest rival / ours", min(added.values()) / ours, "x", 2)
        )
    return rows


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
        Figure("openai call, added p50", median_added(without, with_us), "us", 120),
        Figure("openai call, added p99", (_p(with_us, 99) - _p(without, 99)) / 1e3, "ms", 2),
    ]


def _anthropic(url: str, calls: int) -> list[Figure]:
    bare, tracked = (anthropic.Anthropic(base_url=url, api_key="k") for _ in range(2))
    spendtree.wrap(tracked)
    without, with_us = in_turn(
        lambda: bare.messages.create(**BODY), lambda: tracked.messages.create(**BODY), calls
    )
    return [Figure("anthropic call, added p50", median_added(without, with_us), "us")]


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
    added = median_added(without, with_us) / CHUNKS
    return [
        Figure(f"openai stream of {CHUNKS} chunks, bare, a chunk", _p(without, 50) / CHUNKS, "us"),
        Figure(f"openai stream of {CHUNKS} chunks, added a chunk", added, "us", 15),
    ]


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

    recorded = 0

    def respond(ordinal: int, received: Received) -> Reply:
        nonlocal recorded
        if received.path == RECORDED:
            told, recorded = recorded, 0
            return json_reply({"recorded": told})
        if not received.body.get("model"):  # what other trackers send home
            recorded += "auth" not in received.path
            return json_reply({"token": "a.b.c", "project_id": "bench"})
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


def _p(taken: Sequence[float], percent: int) -> float:
    ordered = sorted(taken)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
