"""Stream: an endless, lifelike run of the demo's workload, for a stack to look at.

Sessions arrive at random, more of them in the afternoon than at night, last a minute or two and
overlap; stray calls come in between. The same seed spends the same, whenever it is run.
"""

import asyncio
import math
from collections.abc import Callable
from random import Random

import spendtree
from spendtree.cli import workload
from spendtree.cli.asking import Asking

GAP_SECONDS = 120.0
"""Between the beginnings of two sessions, on average over a day."""

PACE = 1200.0
"""How many times slower than in the quick demo the provider answers: in 2 to 18 seconds."""

DAY_SECONDS = 86_400
BUSIEST_HOUR, SWING = 14, 0.5
"""Half as many sessions again at two in the afternoon (UTC), and half as many at two at night."""

STRAY_EVERY, UNPRICED_EVERY, LOST_EVERY = 4, 7, 13
"""After every so many sessions' beginnings comes a call that belongs to none of them."""

Told = Callable[[str], None]


async def stream(
    tracker: spendtree.Spendtree,
    *,
    seed: int,
    ended: asyncio.Event,
    told: Told,
    first: int = 0,
    gap_seconds: float = GAP_SECONDS,
    pace: float = PACE,
    asking: Asking | None = None,
) -> None:
    """Run sessions from number `first` on until `ended` is set, and tell the id of each that ends.

    Open sessions are then given up: they end as any program's do that is interrupted. Without
    `asking` the agents ask directly.
    """
    random = Random(f"{seed}/stream")
    running: set[asyncio.Task[None]] = set()

    async def run(number: int) -> None:
        session = workload.Session(tracker, seed=seed, number=number, pace=pace, asking=asking)
        told(await session.run())

    number = first
    while not await _passed(ended, _gap(random, tracker.clock(), gap_seconds)):
        task = asyncio.create_task(run(number))
        running.add(task)
        task.add_done_callback(running.discard)
        await _stray(tracker, number, seed)
        number += 1
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def _gap(random: Random, now_ns: int, mean_seconds: float) -> float:
    """Return the seconds until the next session, by the time of the day."""
    hour = now_ns / 1e9 % DAY_SECONDS / 3600
    bustle = 1 + SWING * math.cos((hour - BUSIEST_HOUR) / 24 * math.tau)
    return min(random.expovariate(1), 4.0) * mean_seconds / bustle


async def _stray(tracker: spendtree.Spendtree, number: int, seed: int) -> None:
    # A thread can only have lost a session that is open: this one has begun by then.
    await asyncio.sleep(1)
    if number % STRAY_EVERY == 0:
        workload.stray_call(tracker, seed=seed + number)
    if number % UNPRICED_EVERY == 0:
        workload.unpriced_call(tracker)
    if number % LOST_EVERY == 0:
        workload.lost_call(tracker, seed=seed + number)


async def _passed(ended: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until it has ended; tell whether it has."""
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return False
    return True
