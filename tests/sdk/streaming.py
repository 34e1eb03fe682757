"""`python -m tests.sdk.streaming URL SEED HOURS`: the demo's endless stream for virtual hours.

A process of its own, since its clock is not the world's.
"""

import asyncio
import sys

from spendtree import Spendtree
from spendtree.cli import workload
from spendtree.cli.stream import stream
from spendtree.testing import FrozenClock
from tests.grafana.virtual import VirtualLoop, live_by


def main(url: str, seed: int, hours: float) -> None:
    """Run it from midnight on, and print the sessions that ended."""
    clock = FrozenClock()
    live_by(clock)
    tracker = Spendtree(url, workload.CONFIG, clock=clock)
    ended = asyncio.Event()

    async def live() -> None:
        running = asyncio.create_task(
            stream(tracker, seed=seed, ended=ended, told=lambda session: print(session))
        )
        await asyncio.sleep(hours * 3_600)
        ended.set()
        await running

    loop = VirtualLoop(clock)
    loop.run_until_complete(live())
    loop.close()
    tracker.close()


if __name__ == "__main__":
    with workload.quiet_troubles():
        main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
