"""Measures an exporter's start on a large store: with the state that the last one has kept, and
without it, until the first scrape that has every call.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx

from bench.figure import Figure
from bench.pruning import fill
from bench.scrape import LIVE_SESSIONS, open_session
from spendtree.event import Kind
from spendtree.metrics import PREFIX
from spendtree.store import open_store

EVENTS = 1_000_000
STARTS = 5
PATIENCE_SECONDS = 300.0

CONFIG = "spendtree.yaml"
PROGRAM = "from spendtree_exporter.cli import main; main()"


def figures(quick: bool = False) -> list[Figure]:
    """Return the figures; `quick` takes a twentieth of the events."""
    events = EVENTS // 20 if quick else EVENTS
    with TemporaryDirectory(prefix="spendtree-bench-") as directory:
        url = f"sqlite:///{directory}/spend.db"
        with closing(open_store(url)) as store:
            fill(store, events)
            for number in range(LIVE_SESSIONS):
                open_session(store, number)
            calls = sum(1 for _ in store.events(kinds=[Kind.CALL]))
        # Without the birth hold: a new series would show 0 for a minute, as it should.
        (Path(directory) / CONFIG).write_text("metrics: {birth_hold_seconds: 0}\n")
        cold = _first_scrape(url, calls)
        state = Path(directory) / "spend.db-exporter-state"
        assert state.exists(), "the exporter kept no state"
        warm = [_first_scrape(url, calls) for _ in range(STARTS)]
    what = f"exporter's start on {events:,} events, first correct scrape"
    return [
        Figure(what, median(warm), "s", 2),
        Figure("  the slowest of five", max(warm), "s", 2),
        Figure("  without its state file", cold, "s"),
    ]


def _first_scrape(url: str, calls: int) -> float:
    """Return the seconds from the start of a process until a scrape tells all calls."""
    started = time.monotonic()
    with _exporter(url) as metrics, httpx.Client(timeout=PATIENCE_SECONDS) as client:
        while _calls(client, metrics) != calls:
            if time.monotonic() > started + PATIENCE_SECONDS:
                raise TimeoutError("the exporter never told all calls")
        return time.monotonic() - started


def _calls(client: httpx.Client, metrics: str) -> int:
    answer = client.get(metrics)
    found = re.findall(rf"^{PREFIX}calls_total{{.*}} (\d+)$", answer.text, re.MULTILINE)
    return sum(map(int, found))


@contextmanager
def _exporter(url: str) -> Iterator[str]:
    """Run an exporter of its own process; end it as a service manager does."""
    config = Path(url.removeprefix("sqlite:///")).with_name(CONFIG)
    command = [sys.executable, "-c", PROGRAM, "--store", url, "--config.file", str(config)]
    command += ["--web.listen-address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            match = None
            while match is None:
                match = re.search(r"http://\S+/metrics", process.stderr.readline())
            yield match[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
