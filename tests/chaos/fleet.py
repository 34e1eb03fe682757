"""The parent: starts the workers, kills and replaces some, and judges what they leave."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from spendtree import Spendtree
from spendtree.event import Kind
from spendtree.money import PICO_PER_USD
from spendtree.store import Store
from tests.chaos import verdict
from tests.chaos.plan import CUSTOMER, SESSION, WORKERS, budgets, kill_of
from tests.chaos.provider import read_bill
from tests.chaos.worker import GO, READY, STEP, Report, Task, serve

PATIENCE_SECONDS = 60
"""For the next word of any worker; a seed takes about a second."""

SESSION_IDLE_US = 10**15


class Outcome(NamedTuple):
    """What one seed came to, `problems` says what is wrong: nothing.

    `booked_usd` is what the session's account says, presumptions included;
    `left_by_the_dead` holds were open when everybody had ended.
    """

    seed: int
    seconds: float
    dispatched: int
    billed_usd: float
    ceiling_usd: float
    booked_usd: float
    kills: int
    lapses: int
    left_by_the_dead: int
    late_truths: int
    outcomes: dict[str, int]
    problems: list[str]


class Worker:
    """One process, and what it was told to do."""

    def __init__(self, number: int) -> None:
        # Forked from a server that has everything imported, and neither threads nor open stores.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.chaos.worker"])
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that a process that dies ends the wait for its word

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process, asking first."""
        with suppress(OSError):  # it is dead already
            self.pipe.send(None)
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(10)
        self.pipe.close()


class Fleet:
    """Workers that stay from seed to seed, but for those that are killed."""

    def __init__(self) -> None:
        self._workers = [Worker(number) for number in range(WORKERS)]

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, seed: int, place: Path) -> Outcome:
        """Run one seed in an empty directory."""
        start = time.monotonic()
        file, bill_file = place / "spend.db", place / "bill"
        drawn = budgets(seed)
        url = f"sqlite:///{file}"
        with closing(Spendtree(url, drawn.config)) as tracker:
            session = tracker.session(SESSION, customer=CUSTOMER, ceiling=drawn.ceiling).open()
            shifts = _Shifts(self._workers, seed, url, bill_file)
            shifts.work()
            problems = shifts.problems()
            problems += verdict.of_holds(file, shifts.killed)
            now = tracker.clock() // 1000
            left = tracker.store.lapse_abandoned(now=now, idle=SESSION_IDLE_US)
            session.close()
            bill = read_bill(bill_file) if bill_file.exists() else []
            problems += verdict.of_store(tracker.store, file, bill, shifts.told())
            balance = tracker.store.balance(f"session/{SESSION}")
            assert balance is not None
            return Outcome(
                seed,
                time.monotonic() - start,
                len(bill),
                sum(row.pico for row in bill) / PICO_PER_USD,
                (balance.cap or 0) / PICO_PER_USD,
                (balance.spent + balance.presumed) / PICO_PER_USD,
                len(shifts.killed),
                _count(tracker.store, Kind.LAPSE),
                left,
                _count(tracker.store, Kind.ADJUSTMENT),
                shifts.outcomes(),
                problems,
            )


class _Shifts:
    """One seed's shifts: hands them out, listens, kills, sends successors."""

    def __init__(self, workers: list[Worker], seed: int, url: str, bill: Path) -> None:
        self._workers = workers
        self._seed = seed
        self._url = url
        self._bill = bill
        self._steps: Counter[int] = Counter()
        self._kills = {number: kill_of(seed, number) for number in range(WORKERS)}
        self._reports: list[Report] = []
        self._surprises: list[str] = []
        self.killed: set[int] = set()

    def work(self) -> None:
        """Have all shifts worked, side by side; TimeoutError if a worker hangs."""
        for worker in self._workers:
            worker.pipe.send(Task(self._seed, worker.number, False, False, self._url, self._bill))
        for worker in self._workers:
            assert self._word(worker) == READY
        for worker in self._workers:
            worker.pipe.send(GO)
        busy: dict[Connection, Worker] = {worker.pipe: worker for worker in self._workers}
        while busy:
            for pipe in self._wait(list(busy)):
                worker = busy.pop(pipe)
                follower = self._listen(worker)
                if follower is not None:
                    busy[follower.pipe] = follower

    def problems(self) -> list[str]:
        return self._surprises + [said for report in self._reports for said in report.problems]

    def told(self) -> list[tuple[str, str]]:
        return [warning for report in self._reports for warning in report.told]

    def outcomes(self) -> dict[str, int]:
        together: Counter[str] = Counter()
        for report in self._reports:
            together.update(report.outcomes)
        return dict(together)

    def _listen(self, worker: Worker) -> Worker | None:
        """Take one word of a worker; return who is to be listened to next in its place."""
        try:
            word = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace(worker)
        if isinstance(word, Report):
            self._reports.append(word)
            return None
        assert word == STEP
        self._steps[worker.number] += 1
        kill = self._kills[worker.number]
        if kill is not None and self._steps[worker.number] == kill.step:
            worker.kill()
            self._read_on_to_the_end(worker)
            return self._replace(worker)
        return worker

    def _read_on_to_the_end(self, worker: Worker) -> None:
        """Take what a worker said before it was killed, its report perhaps."""
        try:
            while True:
                self._wait([worker.pipe])
                word = worker.pipe.recv()
                if isinstance(word, Report):
                    self._reports.append(word)
        except (EOFError, OSError):
            return

    def _replace(self, worker: Worker) -> Worker | None:
        """Put a new process in a killed one's place, with a shift of its own or without."""
        worker.process.join(PATIENCE_SECONDS)
        kill = self._kills[worker.number]
        if worker.process.exitcode != -signal.SIGKILL or kill is None:
            self._surprises.append(
                f"worker {worker.number} ended with exit code {worker.process.exitcode}"
            )
        worker.pipe.close()
        self.killed.add(worker.pid)
        successor = self._workers[worker.number] = Worker(worker.number)
        if kill is None or not kill.replaced:
            return None
        successor.pipe.send(
            Task(self._seed, worker.number, True, kill.swept, self._url, self._bill)
        )
        assert self._word(successor) == READY
        successor.pipe.send(GO)
        return successor

    def _word(self, worker: Worker) -> object:
        self._wait([worker.pipe])
        return worker.pipe.recv()

    def _wait(self, pipes: list[Connection]) -> Sequence[Connection]:
        ready = wait(pipes, PATIENCE_SECONDS)
        if not ready:
            raise TimeoutError(f"seed {self._seed}: no word of {len(pipes)} workers")
        return [pipe for pipe in ready if isinstance(pipe, Connection)]


def _count(store: Store, kind: Kind) -> int:
    return sum(1 for _ in store.events(kinds=[kind]))


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Yield a fleet; its processes end with the block."""
    made = Fleet()
    try:
        yield made
    finally:
        made.close()


def run(seeds: Sequence[int]) -> Iterator[Outcome]:
    """Run seeds; what a seed with problems left on disk stays there."""
    with fleet() as workers:
        for seed in seeds:
            place = Path(tempfile.mkdtemp(prefix=f"spendtree-chaos-{seed}-"))
            outcome = workers.run(seed, place)
            if not outcome.problems:
                for path in place.iterdir():
                    path.unlink()
                place.rmdir()
            else:
                outcome.problems.append(f"see {place}")
            yield outcome
