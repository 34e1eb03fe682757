"""Worst-case holds waste no budget: it is used up to the ceiling less one hold, and never over it.

200 parallel calls of one to eight cents, each held at eight, under one dollar: the calls wait for
what the others give back, and stop when not even all of it would be enough.
"""

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from spendtree import BudgetExceededError, Session, Spendtree, Usage
from spendtree.testing import FakeProvider, assert_books_balance

CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
CALLS = 200
CEILING = 10**12
HELD = 8 * 10**10
TOKENS = 8000

stores = pytest.mark.parametrize("store", ["memory:", "sqlite:///{}/spend.db"])
seeds = pytest.mark.parametrize("seed", [1, 2, 3])


def provider(seed: int) -> FakeProvider:
    """Return a provider whose answers cost one to eight cents."""
    draw = random.Random(seed)
    return FakeProvider(lambda *_: Usage(0, draw.randint(TOKENS // 8, TOKENS)))


def bill(of: FakeProvider) -> int:
    """Return what the provider charges for all that reached it, in pico-dollars."""
    return sum(request.usage.output_tokens for request in of.requests) * 10_000_000


def assert_filled(tracker: Spendtree, session: Session, asked: FakeProvider) -> None:
    balance = tracker.store.balance(f"session/{session.id}")
    assert balance is not None
    assert balance[:4] == (CEILING, bill(asked), 0, 0)
    assert CEILING - HELD <= balance.spent <= CEILING
    assert len(asked.requests) < CALLS
    assert_books_balance(tracker)


def assert_ended(results: list[Any]) -> None:
    """Check that whoever was not served was told that the money is gone, not that it was busy."""
    refused = [each for each in results if each is not None]
    assert {type(each) for each in refused} == {BudgetExceededError}
    assert {each.reason for each in refused} == {"exhausted"}


@stores
@seeds
def test_two_hundred_tasks_spend_nearly_all_of_a_budget_and_never_more(
    store: str, seed: int, tmp_path: Path
) -> None:
    tracker, asked = Spendtree(store.format(tmp_path), CONFIG), provider(seed)
    pauses = random.Random(seed)

    async def one() -> None:
        async with tracker.call("m", input_tokens=0, max_output_tokens=TOKENS) as call:
            for _ in range(pauses.randint(0, 20)):
                await asyncio.sleep(0)
            answer = await asked.complete_async("m", input_tokens=0, max_output_tokens=TOKENS)
            call.record(answer)

    async def main() -> Session:
        async with tracker.session(ceiling="1.00") as session:
            assert_ended(await tracker.gather(*(one() for _ in range(CALLS))))
        return session

    assert_filled(tracker, asyncio.run(main()), asked)
    tracker.close()


@stores
@seeds
def test_two_hundred_threads_spend_nearly_all_of_a_budget_and_never_more(
    store: str, seed: int, tmp_path: Path
) -> None:
    tracker, asked = Spendtree(store.format(tmp_path), CONFIG), provider(seed)
    start = threading.Barrier(CALLS)
    results: list[Any] = []

    def one() -> None:
        start.wait()
        try:
            with tracker.call("m", input_tokens=0, max_output_tokens=TOKENS) as call:
                call.record(asked.complete("m", input_tokens=0, max_output_tokens=TOKENS))
        except Exception as error:
            results.append(error)
        else:
            results.append(None)

    with tracker.session(ceiling="1.00") as session:
        threads = [threading.Thread(target=session.bind(one)) for _ in range(CALLS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == CALLS
    assert_ended(results)
    assert_filled(tracker, session, asked)
    tracker.close()


@stores
def test_clamping_uses_the_rest_of_the_budget_too(store: str, tmp_path: Path) -> None:
    policy = {"policies": {"fill": ["wait", "clamp"]}, "agents": {"a": {"policy": "fill"}}}
    tracker, asked = Spendtree(store.format(tmp_path), {**CONFIG, **policy}), FakeProvider()

    async def one() -> None:
        async with tracker.call("m", input_tokens=0, max_output_tokens=TOKENS) as call:
            limit = call.max_output_tokens or 0
            call.record(await asked.complete_async("m", input_tokens=0, max_output_tokens=limit))

    async def main() -> Session:
        async with tracker.session(ceiling="1.00") as session, tracker.agent("a"):
            assert_ended(await tracker.gather(*(one() for _ in range(CALLS))))
        return session

    session = asyncio.run(main())
    assert session.remaining() == 0
    assert bill(asked) == CEILING
    tracker.close()
