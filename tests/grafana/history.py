"""`python -m tests.grafana.history DIRECTORY`: eight days of the demo's workload, as scrapes.

The workload and the exporter's fold run in virtual time; each scrape is the exporter's own body,
with the labels and the series that Prometheus adds to it, and with its time. The files are
OpenMetrics, one for a time that Prometheus keeps in one block.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from spendtree import Spendtree
from spendtree.cli import workload
from spendtree.cli.stream import stream
from spendtree.config.figures import catalogue_figures, configured_figures
from spendtree.config.limits import fold_settings
from spendtree.metrics import Fold
from spendtree.testing import FrozenClock
from spendtree_exporter.follow import Follower
from spendtree_exporter.own import own_figures
from spendtree_exporter.process import process_figures
from spendtree_exporter.render import OPENMETRICS, Own, render
from tests.grafana.virtual import VirtualLoop, live_by

END = 1_794_409_200
"""Wednesday, 2026-11-11, 15:00 UTC: not an hour of budgets that have just begun."""

HOUR, DAY = 3_600, 86_400
START = END - 8 * DAY - 4 * HOUR
WHOLE_FROM = END - 26 * HOUR
"""Before it only the costs are kept, for what looks at a week."""
CLOSE_FROM = END - 6 * HOUR
"""From here on every scrape is kept; before it, every other."""

SCRAPE_SECONDS, COARSE_SECONDS = 60, 120
GAP_SECONDS, PACE = 240.0, 5000.0
"""Half as many sessions as in a stack, which last four times as long: some are always live."""

JOB = b'instance="exporter:9797",job="spendtree"'
COSTS = b"spendtree_cost_usd_total{"


class Scrape(NamedTuple):
    """When a scrape takes place, and whether all of it is kept."""

    at: int
    whole: bool


def schedule() -> Iterator[Scrape]:
    """Yield the scrapes in order."""
    for at in range(START, CLOSE_FROM, COARSE_SECONDS):
        yield Scrape(at, at >= WHOLE_FROM)
    for at in range(CLOSE_FROM, END + 1, SCRAPE_SECONDS):
        yield Scrape(at, True)


def main(directory: Path) -> None:
    """Write the files into a directory."""
    clock = FrozenClock(START * 10**9)
    live_by(clock)
    loop = VirtualLoop(clock)
    # Not in memory: that store looks through all events whenever a session ends.
    store = f"sqlite:///{directory}/spend.db"
    tracker = Spendtree(store, workload.CONFIG, clock=clock)
    ended = asyncio.Event()

    async def live() -> None:
        running = asyncio.create_task(
            stream(
                tracker,
                seed=1,
                ended=ended,
                told=lambda _session: None,
                gap_seconds=GAP_SECONDS,
                pace=PACE,
            )
        )
        await _scrape_all(tracker, clock, directory)
        ended.set()
        await running

    loop.run_until_complete(live())
    loop.close()
    tracker.close()


async def _scrape_all(tracker: Spendtree, clock: FrozenClock, directory: Path) -> None:
    settings = fold_settings(tracker.config)
    follower = Follower(
        tracker.store,
        fold=Fold(tracker.store.id, **settings._asdict()),
        now=lambda: clock.ns // 1000,
    )
    dated = catalogue_figures(tracker.prices.catalogue_timestamp)
    follower.configured = {**dated, **configured_figures(tracker.config)}
    files = _Files(directory)
    took = 0.0
    for scrape in schedule():
        await asyncio.sleep((scrape.at * 10**9 - clock.ns) / 1e9)
        started = time.perf_counter()
        body = _body(follower, took)
        took = time.perf_counter() - started
        files.write(scrape, body, took)
    files.close()


def _body(follower: Follower, took: float) -> bytes:
    """Return what the exporter would answer, as `spendtree_exporter.scrape` puts it together."""
    while follower.step()[1]:
        pass
    own: Own = {**own_figures(follower, round(took * 1e6)), "exporter_writer": [((), 1)]}
    body = render(follower.fold, OPENMETRICS._replace(end=b""), own)
    return body + process_figures(openmetrics=True)


class _Files:
    """The files, each of the scrapes of one time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None
        self._begins = -1

    def write(self, scrape: Scrape, body: bytes, took: float) -> None:
        """Write one scrape into the file of its time."""
        # Costs alone are so few that a day of them is a file; see `promtool`, which reads a file
        # again for each block.
        length = 2 * HOUR if scrape.whole else DAY
        begins = scrape.at - scrape.at % length
        if begins != self._begins:
            self.close()
            self._begins = begins
            self._file = (self._directory / f"{begins}-{length}.om").open("wb")
        assert self._file is not None
        stamp = b" %d\n" % scrape.at
        lines = list(_samples(body, whole=scrape.whole))
        self._file.write(stamp.join([*lines, b""]))
        if scrape.whole:
            for name, value in (
                (b"up", b"1"),
                (b"scrape_duration_seconds", b"%.6f" % took),
                (b"scrape_samples_scraped", b"%d" % len(lines)),
            ):
                self._file.write(b"%b{%b} %b%b" % (name, JOB, value, stamp))

    def close(self) -> None:
        """End the file that is open."""
        if self._file is not None:
            self._file.write(b"# EOF\n")
            self._file.close()


def _samples(body: bytes, *, whole: bool) -> Iterator[bytes]:
    """Yield a body's sample lines with the labels of their target."""
    for line in body.split(b"\n"):
        if not line or line.startswith(b"#") or not (whole or line.startswith(COSTS)):
            continue
        name, brace, rest = line.partition(b"{")
        if brace:
            yield b"%b{%b,%b" % (name, JOB, rest)
        else:
            name, _, rest = line.partition(b" ")
            yield b"%b{%b} %b" % (name, JOB, rest)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
