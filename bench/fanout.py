"""What a cold fan-out spends under a ceiling for a few calls: check-then-add against holds.

The naive budget is the one that people write first: ask what is spent, call, add the cost. Every
call of the fan-out asks before any has been added. Times the ceiling, 1 is the most there may be.
"""

import asyncio
from decimal import Decimal

import spendtree
from bench.figure import Figure
from spendtree.testing import FakeProvider

PARALLEL = (1, 10, 50, 200)
TOKENS = 1000
CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
PRICE = Decimal("0.02")
"""Dollars of a call of so many tokens in and out."""
AFFORDABLE = 5
CEILING = PRICE * AFFORDABLE


def figures() -> list[Figure]:
    rows = []
    for parallel in PARALLEL:
        bill = asyncio.run(naive(parallel))
        rows.append(Figure(f"{parallel} parallel calls, check-then-add", bill, "ceilings"))
        bill = asyncio.run(held(parallel))
        rows.append(Figure(f"{parallel} parallel calls, Spendtree", bill, "ceilings", 1))
    return rows


class Naive:
    """A budget that is checked before a call and added to after it."""

    def __init__(self, ceiling: Decimal) -> None:
        self.ceiling = ceiling
        self.spent = Decimal(0)

    async def call(self, provider: FakeProvider) -> None:
        """Call if there was money when it looked."""
        if self.spent + PRICE > self.ceiling:
            return
        await provider.complete_async("m", input_tokens=TOKENS, max_output_tokens=TOKENS)
        self.spent += PRICE


async def naive(parallel: int) -> float:
    """Return what the provider billed a fan-out, as a multiple of the ceiling."""
    budget, provider = Naive(CEILING), FakeProvider()
    await asyncio.gather(*(budget.call(provider) for _ in range(parallel)))
    return billed(provider)


async def held(parallel: int) -> float:
    """Return the same for calls that hold their worst case first."""
    tracker, provider = spendtree.Spendtree("memory:", CONFIG), FakeProvider()

    async def call() -> None:
        async with tracker.call("m", input_tokens=TOKENS, max_output_tokens=TOKENS) as made:
            made.record(
                await provider.complete_async("m", input_tokens=TOKENS, max_output_tokens=TOKENS)
            )

    async with tracker.session(ceiling=CEILING):
        await tracker.gather(*(call() for _ in range(parallel)))
    tracker.close()
    return billed(provider)


def billed(provider: FakeProvider) -> float:
    return float(PRICE * len(provider.requests) / CEILING)
