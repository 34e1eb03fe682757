"""The parent: starts the workers, stops, kills and starves them, and judges what they leave."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from spendtree import Spendtree, StoreError
from spendtree.event import Kind
from spendtree.money import PICO_PER_USD
from tests.chaos import verdict
from tests.chaos.provider import read_bill
from tests.disruption.plan import CUSTOMER, SESSION, WORKERS, Disruption, Plan, Stop, plan

PATIENCE_SECONDS = 40.0
"""For the lives of all workers; they take about two seconds."""

IDLE_US = 10**15
VISITS = 4
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Runs a program as the first process of a PID namespace of its own."""


class Outcome(NamedTuple):
    """What one seed came to; `problems` says what is wrong: nothing."""

    seed: int
    seconds: float
    disruptions: tuple[str, ...]
    dispatched: int
    billed_usd: float
    ceiling_usd: float
    lapses: int
    outcomes: dict[str, int]
    problems: list[str]


def run(seeds: Sequence[int], only: frozenset[Disruption] | None = None) -> Iterator[Outcome]:
    """Run seeds; what a seed with problems left on disk stays there."""
    for seed in seeds:
        place = Path(tempfile.mkdtemp(prefix=f"spendtree-disruption-{seed}-"))
        outcome = run_in(place, seed, only)
        if outcome.problems:
            outcome.problems.append(f"see {place}")
        else:
            shutil.rmtree(place)
        yield outcome


def run_in(place: Path, seed: int, only: frozenset[Disruption] | None = None) -> Outcome:
    """Run one seed in an empty folder, with its own disruptions or with given ones."""
    start, drawn = time.monotonic(), plan(seed, root=os.geteuid() == 0, only=only)
    with _volume(drawn, place) as volume:
        store, bill_file = volume / "spend.db", place / "bill"
        with closing(Spendtree(f"sqlite:///{store}", drawn.config)) as tracker:
            session = tracker.session(SESSION, customer=CUSTOMER, ceiling=drawn.ceiling).open()
            if "copies" in drawn.disruptions and "namespaces" not in drawn.disruptions:
                # What is open here would protect the workers' files. To another namespace this
                # process is gone without it, and its session left.
                tracker.store.close()
            fleet = _Fleet(drawn, place, store, bill_file)
            fleet.work()
            now = tracker.clock() // 1000
            tracker.store.lapse_abandoned(now=now, idle=IDLE_US)
            session.close()
            bill = read_bill(bill_file) if bill_file.exists() else []
            problems = fleet.problems + list(verdict.of_store(tracker.store, store, bill, []))
            problems += _wrongly_lapsed(tracker, fleet.killed)
            balance = tracker.store.balance(f"session/{SESSION}")
            assert balance is not None
            lapses = sum(1 for _ in tracker.store.events(kinds=[Kind.LAPSE]))
    return Outcome(
        seed,
        time.monotonic() - start,
        tuple(sorted(drawn.disruptions)),
        len(bill),
        sum(row.pico for row in bill) / PICO_PER_USD,
        (balance.cap or 0) / PICO_PER_USD,
        lapses,
        dict(fleet.outcomes),
        problems,
    )


class _Fleet:
    """One seed's workers and what is done to them."""

    def __init__(self, drawn: Plan, place: Path, store: Path, bill: Path) -> None:
        self.plan = drawn
        self.problems: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.killed: set[int] = set()
        self._place = place
        self._store = store
        self._bill = bill

    def work(self) -> None:
        """Have all workers work to their end, disturbed as planned."""
        workers = [self._start(number) for number in range(WORKERS)]
        try:
            for worker in workers:
                assert worker.stdout is not None
                if worker.stdout.readline() != "ready\n":
                    self.problems.append(f"a worker did not start: see {self._place}")
            for worker in workers:
                self._say(worker, "go")
            deadline = time.monotonic() + PATIENCE_SECONDS
            self._disturb(workers)
            for number, worker in enumerate(workers):
                self._listen(number, worker, deadline - time.monotonic())
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
                for pipe in (worker.stdin, worker.stdout):
                    if pipe is not None:
                        with suppress(OSError):
                            pipe.close()

    def _start(self, number: int) -> "subprocess.Popen[str]":
        task = {
            "seed": self.plan.seed,
            "root": os.geteuid() == 0,
            "disruptions": sorted(self.plan.disruptions),
            "worker": number,
            "visits": number >= WORKERS,
            "store": str(self._store),
            "bill": str(self._bill),
            "scratch": str(self._place),
        }
        program = [sys.executable, "-m", "tests.disruption.worker"]
        apart = "namespaces" in self.plan.disruptions and number == WORKERS - 1
        with (self._place / f"stderr-{number}").open("w") as complaints:
            worker = subprocess.Popen(
                [*NAMESPACE, *program] if apart else program,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
        self._say(worker, json.dumps(task))
        return worker

    @staticmethod
    def _say(worker: "subprocess.Popen[str]", line: str) -> None:
        assert worker.stdin is not None
        with suppress(OSError):  # it is gone: its exit code says more
            worker.stdin.write(line + "\n")
            worker.stdin.flush()

    def _disturb(self, workers: "list[subprocess.Popen[str]]") -> None:
        """Do what is planned, each in a thread of its own."""
        acts = [
            threading.Thread(target=self._stop, args=(workers[stop.worker], stop))
            for stop in self.plan.stops
        ]
        if self.plan.fills:
            acts.append(threading.Thread(target=self._fill))
        if self.plan.copies:
            acts.append(threading.Thread(target=self._visit))
        if "namespaces" in self.plan.disruptions:
            acts.append(threading.Thread(target=self._sweep))
        for act in acts:
            act.start()
        for act in acts:
            act.join()

    def _stop(self, worker: "subprocess.Popen[str]", stop: Stop) -> None:
        time.sleep(stop.after)
        if stop.seconds:
            worker.send_signal(signal.SIGSTOP)
            time.sleep(stop.seconds)
            worker.send_signal(signal.SIGCONT)
        else:
            self.killed.add(worker.pid)
            worker.kill()

    def _fill(self) -> None:
        """Fill the volume up, and give its space back."""
        hog = self._store.with_name("hog")
        for after, seconds in self.plan.fills:
            time.sleep(after)
            with suppress(OSError), hog.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            time.sleep(seconds)
            hog.unlink()

    def _visit(self) -> None:
        """Spend in processes that come and go: the last one to close a store deletes its WAL."""
        for number in range(WORKERS, WORKERS + VISITS):
            self._listen(number, self._start(number), PATIENCE_SECONDS)

    def _sweep(self) -> None:
        """Look for dead owners, as an exporter in the parent's namespace does."""
        with closing(Spendtree(f"sqlite:///{self._store}", self.plan.config)) as tracker:
            for _ in range(10):
                with suppress(StoreError):  # the volume is full
                    tracker.store.lapse_abandoned(now=tracker.clock() // 1000, idle=IDLE_US)
                time.sleep(0.1)

    def _listen(self, number: int, worker: "subprocess.Popen[str]", patience: float) -> None:
        """Wait for a worker's report and its end; one that hangs says where."""
        try:
            said, _ = worker.communicate(timeout=max(patience, 0.1))
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGUSR1)  # faulthandler writes down where its threads are
            time.sleep(0.5)
            self.problems.append(f"worker {number} hangs: see {self._place}/stderr-{number}")
            return
        if worker.pid in self.killed:
            return
        if worker.returncode:
            self.problems.append(f"worker {number} ended with {worker.returncode}: see its stderr")
            return
        report = json.loads(said)
        self.outcomes.update(report["outcomes"])
        self.problems += report["problems"]


def _wrongly_lapsed(tracker: Spendtree, killed: set[int]) -> Iterator[str]:
    """Yield holds that were lapsed as a dead process' although none had been killed."""
    if killed:
        return
    for event in tracker.store.events(kinds=[Kind.LAPSE]):
        if event.status == "lapsed" and "ended by" not in str(event.data):
            yield f"call {event.id.hex()} lapsed under a living process: {event.data}"


@contextmanager
def _volume(drawn: Plan, place: Path) -> Iterator[Path]:
    """Yield the folder for the store: on a small volume of its own where that is to fill up."""
    if drawn.volume_mb is None:
        yield place
        return
    point = place / "volume"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={drawn.volume_mb}m", "spendtree", str(point)]
    subprocess.run(mount, check=True, timeout=PATIENCE_SECONDS)
    try:
        yield point
    finally:
        for name in ("spend.db", "spend.db-wal"):  # to be looked at where there are problems
            with suppress(OSError):
                shutil.copy(point / name, place)
        subprocess.run(["umount", "-l", str(point)], check=True, timeout=PATIENCE_SECONDS)
