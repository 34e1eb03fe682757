"""A cold fan-out cannot overspend: 20 calls of two cents under ten, and exactly five are made.

In asyncio, in a pool of threads and over processes on one file, a hundred times each.
"""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import spendtree
from spendtree import BudgetExceededError, Session, Spendtree, ThreadPoolExecutor
from spendtree.call import CallOptions
from spendtree.event import Kind
from spendtree.testing import FakeProvider, assert_books_balance

CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
TOKENS = 1000
TWO_CENTS: CallOptions = {"input_tokens": TOKENS, "max_output_tokens": TOKENS}
CEILING = Decimal("0.10")
CALLS = 20
AFFORDABLE = 5
REPEATS = 100
PROCESSES = 4

made = pytest.mark.parametrize("store", ["memory:", "sqlite:///{}/spend.db"])


def call(tracker: Spendtree, provider: FakeProvider) -> str:
    """Make one call; return how it went."""
    try:
        with tracker.call("m", **TWO_CENTS) as under:
            under.record(provider.complete("m", input_tokens=TOKENS, max_output_tokens=TOKENS))
    except BudgetExceededError as error:
        return error.reason
    return "made"


async def call_async(tracker: Spendtree, provider: FakeProvider) -> None:
    async with tracker.call("m", **TWO_CENTS) as under:
        under.record(
            await provider.complete_async("m", input_tokens=TOKENS, max_output_tokens=TOKENS)
        )


def assert_five(tracker: Spendtree, session: Session, provider: FakeProvider) -> None:
    assert len(provider.requests) == AFFORDABLE
    pico = 100_000_000_000
    balance = tracker.store.balance(f"session/{session.id}")
    assert balance is not None
    assert balance[:4] == (pico, pico, 0, 0)


@made
def test_five_of_twenty_tasks_reach_the_provider(store: str, tmp_path: Path) -> None:
    tracker = Spendtree(store.format(tmp_path), CONFIG)

    async def fan_out() -> None:
        provider = FakeProvider()
        async with tracker.session(ceiling=CEILING) as session:
            results = await spendtree.gather(*(call_async(tracker, provider) for _ in range(CALLS)))
        assert results.count(None) == AFFORDABLE
        denied = [error for error in results if error is not None]
        assert {(type(error), error.reason) for error in denied} == {
            (BudgetExceededError, "exhausted")
        }
        assert_five(tracker, session, provider)

    async def repeat() -> None:
        for _ in range(REPEATS):
            await fan_out()

    asyncio.run(repeat())

    assert_counts(tracker)
    tracker.close()


@made
def test_five_of_twenty_threads_reach_the_provider(store: str, tmp_path: Path) -> None:
    tracker = Spendtree(store.format(tmp_path), CONFIG)
    with ThreadPoolExecutor(CALLS) as pool:
        for _ in range(REPEATS):
            provider = FakeProvider()
            with tracker.session(ceiling=CEILING) as session:
                futures = [pool.submit(call, tracker, provider) for _ in range(CALLS)]
                results = [future.result() for future in futures]
            assert sorted(results) == ["exhausted"] * (CALLS - AFFORDABLE) + ["made"] * AFFORDABLE
            assert_five(tracker, session, provider)

    assert_counts(tracker)
    tracker.close()


def assert_counts(tracker: Spendtree) -> None:
    """Assert that the log says what the callers saw: each call once, each refusal once."""
    assert len(list(tracker.store.events(kinds=[Kind.CALL]))) == REPEATS * AFFORDABLE
    assert len(list(tracker.store.events(kinds=[Kind.DENIED]))) == REPEATS * (CALLS - AFFORDABLE)
    assert list(tracker.store.events(kinds=[Kind.LAPSE])) == []
    assert tracker.store.open_holds() == 0
    assert_books_balance(tracker)


def fan_out_here(url: str, pipe: Connection) -> None:
    """Serve rounds: join the session, wait for the start, make this process' share of calls."""
    tracker = Spendtree(url, CONFIG)
    with ThreadPoolExecutor(CALLS // PROCESSES) as pool:
        for session in iter(pipe.recv, ""):
            provider = FakeProvider()
            with tracker.session(session):
                pipe.send("ready")
                assert pipe.recv() == "go"
                share = range(CALLS // PROCESSES)
                futures = [pool.submit(call, tracker, provider) for _ in share]
                results = [future.result() for future in futures]
            pipe.send((results, len(provider.requests)))
    tracker.close()


@contextmanager
def workers(url: str) -> Iterator[list[Any]]:
    """Start the processes once; each round is a message to all of them."""
    spawn = multiprocessing.get_context("spawn")
    pairs = [spawn.Pipe() for _ in range(PROCESSES)]
    running = [
        spawn.Process(target=fan_out_here, args=(url, theirs), daemon=True) for _, theirs in pairs
    ]
    for process in running:
        process.start()
    for _, theirs in pairs:
        theirs.close()  # so that a process that dies ends the wait for its answer
    try:
        yield [ours for ours, _ in pairs]
        for ours, _ in pairs:
            ours.send("")
    except BaseException:
        for process in running:
            process.terminate()
        raise
    finally:
        for process in running:
            process.join(60)
        for ours, _ in pairs:
            ours.close()
    assert [process.exitcode for process in running] == [0] * PROCESSES


def test_five_of_twenty_calls_over_four_processes_reach_the_provider(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    tracker = Spendtree(url, CONFIG)
    with workers(url) as pipes:
        for _ in range(REPEATS):
            with tracker.session(ceiling=CEILING) as session:
                for pipe in pipes:
                    pipe.send(session.id)
                assert [pipe.recv() for pipe in pipes] == ["ready"] * PROCESSES
                for pipe in pipes:
                    pipe.send("go")
                answers = [pipe.recv() for pipe in pipes]
            results = [result for some, _ in answers for result in some]
            assert sorted(results) == ["exhausted"] * (CALLS - AFFORDABLE) + ["made"] * AFFORDABLE
            assert sum(requests for _, requests in answers) == AFFORDABLE

    assert_counts(tracker)
    tracker.close()
