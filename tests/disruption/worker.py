"""One process of the fleet: `python -m tests.disruption.worker`, its task as JSON on stdin.

Its main thread, some more threads and some tasks make calls until each has made its number; what
came of it is one line of JSON on stdout.
"""

import asyncio
import faulthandler
import json
import logging
import random
import signal
import sys
import threading
import traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from spendtree import Agent, BudgetExceededError, Session, Spendtree, StoreError
from spendtree.call import Call
from tests.chaos.plan import HAND_ROLES, LEAD, ROLES
from tests.chaos.provider import Provider, answer
from tests.disruption.interference import Interrupted, Interruption, JumpingClock, copying, fork
from tests.disruption.plan import CUSTOMER, SESSION, plan

PATIENCE_SECONDS = 20.0
"""For a store that comes back: the volume is emptied, the stopped process goes on."""


class Task(NamedTuple):
    """What a worker is told: its seed and number, and where store, bill and copies lie.

    One that `visits` makes a few calls and is gone.
    """

    seed: int
    root: bool
    disruptions: list[str]
    worker: int
    visits: bool
    store: str
    bill: str
    scratch: str


class Worker:
    """One worker's work, and what it has to report."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.plan = plan(task.seed, root=task.root, only=frozenset(task.disruptions))
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []
        chance = random.Random(f"worker/{task.seed}/{task.worker}")
        wanted = self.plan.disruptions
        self.interrupted = Interrupted(
            chance, signals="signals" in wanted, exceptions="async_exceptions" in wanted
        )
        clock = JumpingClock(chance, "clock" in wanted)
        self.provider = Provider(Path(task.bill))
        self.tracker: Spendtree = self._patiently(
            lambda: Spendtree(f"sqlite:///{task.store}", self.plan.config, clock=clock)
        )

    def work(self) -> None:
        """Make all calls, side by side, and settle what is left."""
        session: Session = self._patiently(
            lambda: self.tracker.session(SESSION, customer=CUSTOMER).open()
        )
        threads = [
            threading.Thread(target=self._in_thread, args=(session, number), daemon=True)
            for number in range(self.plan.threads)
        ]
        threads.append(threading.Thread(target=self._in_tasks, args=(session,), daemon=True))
        if "forks" in self.plan.disruptions:
            threads.append(threading.Thread(target=self._in_forks, daemon=True))
        copies = Path(self.task.scratch) / f"copy-{self.task.worker}"
        self.interrupted.start()
        with copying(Path(self.task.store), copies, self.plan.copies):
            for thread in threads:
                thread.start()
            self._in_thread(session, self.plan.threads)
            for thread in threads:
                thread.join()
        self.interrupted.stop()
        self.outcomes["interrupted"] = self.interrupted.count
        session.close()
        self._settle_the_rest()
        self.tracker.close()
        self.provider.close()

    def visit(self) -> None:
        """Make a few calls and go again."""
        self._noting(partial(self._few_calls, random.Random(f"visit/{self.task}")))
        self._settle_the_rest()
        self.tracker.close()
        self.provider.close()

    def _few_calls(self, chance: random.Random) -> None:
        with self.tracker.session(SESSION), self.tracker.agent(LEAD) as lead:
            for _ in range(2):
                self._in_call(lead, chance)

    def _settle_the_rest(self) -> None:
        deadline = monotonic() + PATIENCE_SECONDS
        while self.tracker.unsettled and monotonic() < deadline:
            self.tracker.retry_unsettled()
            sleep(0.01)
        if self.tracker.unsettled:
            self.problems.append(f"left unsettled: {self.tracker.unsettled}")

    def _patiently(self, make: Any) -> Any:
        deadline = monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return make()
            except StoreError:
                if monotonic() > deadline:
                    raise
            sleep(0.02)

    # In threads.

    def _in_thread(self, session: Session, number: int) -> None:
        chance = random.Random(f"thread/{self.task}/{number}")
        lead = self._patiently(lambda: session.agent(LEAD).open())
        for _ in range(self.plan.calls):
            self._noting(partial(self._attempt, lead, chance))
        lead.close()

    def _attempt(self, lead: Agent, chance: random.Random) -> None:
        body = partial(self._in_agent if chance.random() < 0.5 else self._in_call, lead, chance)
        if self.interrupted.attempt(body):
            self.outcomes["ended by an interruption"] += 1

    def _in_agent(self, lead: Agent, chance: random.Random) -> None:
        with lead.agent(chance.choice(HAND_ROLES)) as run:
            self._in_call(run, chance)

    def _in_call(self, run: Agent, chance: random.Random) -> None:
        with run.call("large", input_tokens=500, max_output_tokens=1500) as call:
            tokens = self._send(call, chance)
            sleep(chance.uniform(0, 0.01))
            call.record(answer("large", 500, tokens))

    def _send(self, call: Call, chance: random.Random) -> int:
        tokens = chance.randrange(1500)
        role = ROLES.index(call.context.agent)
        self.provider.arrived(call.id, self.task.worker, role, "large", 500 + tokens)
        self.outcomes["dispatched"] += 1
        return tokens

    def _in_forks(self) -> None:
        chance = random.Random(f"fork/{self.task}")

        def child() -> None:
            with suppress(BudgetExceededError, StoreError):
                self._few_calls(chance)

        for _ in range(4):
            fork(child, self.problems)
            self.outcomes["forked"] += 1
            sleep(chance.uniform(0, 0.05))

    # In tasks.

    def _in_tasks(self, session: Session) -> None:
        self._noting(lambda: asyncio.run(self._all_tasks(session)))

    async def _all_tasks(self, session: Session) -> None:
        chance = random.Random(f"tasks/{self.task}")
        tasks = []
        for _ in range(self.plan.tasks):
            for _ in range(self.plan.calls // 2):
                tasks.append(asyncio.create_task(self._in_task(session, chance)))
            if chance.random() < 0.5:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), tasks[-1].cancel)
            await asyncio.sleep(chance.uniform(0, 0.02))
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, BaseException):
                self._note(ended)

    async def _in_task(self, session: Session, chance: random.Random) -> None:
        async with (
            session.agent(chance.choice(HAND_ROLES)) as run,
            run.call("large", input_tokens=500, max_output_tokens=1500) as call,
        ):
            tokens = self._send(call, chance)
            await asyncio.sleep(chance.uniform(0, 0.01))
            call.record(answer("large", 500, tokens))

    # Around both.

    def _noting(self, function: Any) -> None:
        try:
            function()
        except BaseException as error:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, Interruption):  # between two instructions of who catches them
            self.outcomes["ended by an interruption"] += 1
        elif isinstance(error, BudgetExceededError):
            self.outcomes[f"{error.reason} at {error.kind}"] += 1
        elif isinstance(error, (StoreError, asyncio.CancelledError)):
            self.outcomes[type(error).__name__] += 1
        else:
            self.problems.append("".join(traceback.format_exception(error)))


def main() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.getLogger("spendtree").setLevel(logging.CRITICAL)
    task = Task(**json.loads(sys.stdin.readline()))
    worker = Worker(task)
    if task.visits:
        worker.visit()
    else:
        print("ready", flush=True)
        sys.stdin.readline()
        worker.work()
    print(json.dumps({"outcomes": worker.outcomes, "problems": worker.problems}), flush=True)


if __name__ == "__main__":
    main()
