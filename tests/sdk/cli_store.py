"""A small store whose figures are known by heart, for the tests of the command line."""

import asyncio
from decimal import Decimal
from pathlib import Path

import spendtree
from spendtree.testing import ProviderError

PRICES = {
    "fake-model": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"},
    "cheap-model": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
}
"""A thousand tokens of fake-model in and a thousand out cost two cents, of cheap-model 0.2."""

LONG_TASK = "find out what heat pumps cost in old buildings, and who installs them"

TREE_COST = Decimal("0.131")
BUDGET_COST = Decimal("0.02")
STRAY_COST = Decimal("0.002")
ALL_COST = TREE_COST + BUDGET_COST + STRAY_COST


def make_store(directory: Path) -> str:
    """Fill a store with the sessions `tree-1` (acme) and `budget-1` (globex); return its URL.

    `tree-1`: in cycle 1 a coordinator with five researchers, of which one fails at a refused call
    and one is denied its first by its max_cost; in cycle 2 a coordinator alone. `budget-1` is
    denied its second call. Beside them a call outside any agent, and one outside any session.
    """
    url = f"sqlite:///{directory}/spend.db"
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    tracker = spendtree.Spendtree(url, {"prices": PRICES})
    async with tracker.session(
        "tree-1", customer="acme", team="search", ceiling="0.50", expected_usd="0.10"
    ) as session:
        await _call("cheap-model")
        async with session.cycle(), spendtree.agent("coordinator", task="answer"):
            await _call("fake-model")
            await spendtree.gather(*(_research(number) for number in range(1, 6)))
        async with session.cycle(), spendtree.agent("coordinator", task="answer again"):
            await _call("fake-model")
            await _call("fake-model")
    try:
        async with tracker.session("budget-1", customer="globex", ceiling="0.03"):
            await _call("fake-model")
            await _call("fake-model")
    except spendtree.BudgetExceededError:
        pass
    async with tracker.call("cheap-model", input_tokens=1000, max_output_tokens=1000) as call:
        call.record(spendtree.Usage(1000, 1000))
    tracker.close()


async def _research(number: int) -> None:
    async with spendtree.agent(
        "researcher",
        task_id=f"t-{number}",
        task=LONG_TASK,
        max_cost="0.019" if number == 5 else "0.10",
    ):
        if number == 4:
            async with spendtree.call("fake-model", input_tokens=1, max_output_tokens=1):
                raise ProviderError(429)
        await _call("fake-model")
        await _call("cheap-model", cached=1000)


async def _call(model: str, cached: int = 0) -> None:
    async with spendtree.call(
        model, provider="fake", input_tokens=1000 + cached, max_output_tokens=1000
    ) as call:
        call.record(spendtree.Usage(1000, 1000, cache_read_tokens=cached))
