"""What waiting for money costs: 200 tasks queue up, all behind one hold, or a dozen at a time.

Processor time of the whole process per task, until all have spent; what the same calls cost where
nobody waits is taken off.
"""

import asyncio
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import spendtree
from bench.figure import Figure

TASKS = 200
HOLD_SECONDS = 1.0
"""How long one call holds everything; the first in line looks up about 60 times in it."""
USAGE = spendtree.Usage(1000, 0)
CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
TOKENS = 1000
HELD = 2
"""Cents that a call of so many tokens in and out holds; it costs half of that."""
ABREAST = 12


def figures(quick: bool = False) -> list[Figure]:
    seconds = HOLD_SECONDS / 4 if quick else HOLD_SECONDS
    with tempfile.TemporaryDirectory(prefix="spendtree-bench-") as directory:
        file = f"sqlite:///{Path(directory)}/spend.db"
        return [*_figures("memory store", "memory:", seconds), *_figures("SQLite", file, seconds)]


def _figures(name: str, url: str, seconds: float) -> list[Figure]:
    tracker = spendtree.Spendtree(url, CONFIG)
    enough = _cents(TASKS * HELD)
    nobody = asyncio.run(fan_out(tracker, enough))
    behind_one = asyncio.run(behind_one_hold(tracker, enough, seconds))
    # A dozen holds fit when all but the last dozen have spent: more do before, fewer never.
    abreast = asyncio.run(fan_out(tracker, _cents(TASKS + ABREAST)))
    tracker.close()
    return [
        Figure(f"{TASKS} tasks wait {seconds} s, CPU of each, {name}", *_ms(behind_one, nobody)),
        Figure(f"{TASKS} tasks, few at a time, CPU of waiting, {name}", *_ms(abreast, nobody)),
    ]


def _ms(waiting: float, nobody: float) -> tuple[float, str, float]:
    return (waiting - nobody) / TASKS * 1e3, "ms", 1


def _cents(cents: int) -> Decimal:
    return Decimal(cents) / 100


async def fan_out(tracker: spendtree.Spendtree, ceiling: Decimal) -> float:
    """Return the processor seconds of the calls under a ceiling that all of them can pay."""
    async with tracker.session(ceiling=ceiling) as session:
        start = time.process_time()
        await asyncio.gather(*(one(session) for _ in range(TASKS)))
        return time.process_time() - start


async def behind_one_hold(tracker: spendtree.Spendtree, ceiling: Decimal, seconds: float) -> float:
    """Return the same where a call that was first holds all the money for so long."""
    async with tracker.session(ceiling=ceiling) as session:
        start = time.process_time()
        tokens = TOKENS * TASKS
        async with session.call("m", input_tokens=tokens, max_output_tokens=tokens) as first:
            tasks = [asyncio.create_task(one(session)) for _ in range(TASKS)]
            await asyncio.sleep(seconds)
            assert not any(task.done() for task in tasks), "nobody had to wait"
            first.void("the benchmark made it")
        await asyncio.gather(*tasks)
        return time.process_time() - start


async def one(session: spendtree.Session) -> None:
    async with session.call("m", input_tokens=TOKENS, max_output_tokens=TOKENS) as made:
        await asyncio.sleep(0)
        made.record(USAGE)
