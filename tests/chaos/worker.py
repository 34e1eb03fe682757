"""One of the processes: takes a shift, spends in tasks or in threads, and reports."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import NamedTuple

from spendtree import BudgetExceededError, Scope, Spendtree
from tests.chaos.desk import Desk, Sent, Told, teller
from tests.chaos.plan import (
    LEAD,
    PICO_PER_TOKEN,
    SESSION,
    SYNTHESIZER,
    Hand,
    Order,
    Team,
    budgets,
    shift,
)
from tests.chaos.provider import Provider


class Task(NamedTuple):
    """A worker's share of a seed: where the store and the bill are.

    `successor` of a killed worker; `sweeps` away first what that one has left.
    """

    seed: int
    worker: int
    successor: bool
    sweeps: bool
    url: str
    bill: Path


class Report(NamedTuple):
    """What came of a shift: outcomes counted, warnings told, and what should not have happened."""

    outcomes: dict[str, int]
    told: Told
    problems: list[str]


READY, GO, STEP = "ready", "go", "step"


def serve(pipe: Connection) -> None:
    """Work shifts until told to stop by None."""
    complaints = Complaints()
    logging.getLogger("spendtree").addHandler(complaints)
    for task in iter(pipe.recv, None):
        report = work(pipe, task)
        report.problems.extend(complaints.taken())
        pipe.send(report)


def work(pipe: Connection, task: Task) -> Report:
    """Work one shift; the parent says when everybody may begin."""
    told: Told = []
    mine = shift(task.seed, task.worker, task.successor)
    tracker = Spendtree(task.url, budgets(task.seed).config)
    provider = Provider(task.bill)
    session = tracker.session(SESSION, on_warning=teller(told))
    desk = Desk(tracker, session, provider, task.worker, mine.kill, partial(pipe.send, STEP))
    pipe.send(READY)
    assert pipe.recv() == GO
    if task.sweeps:
        tracker.lapse_abandoned()
    with _noted(desk), session:
        if mine.raises is not None:
            session.set_ceiling(mine.raises)
        with _synthesis(desk, mine.synthesizes, float(budgets(task.seed).ceiling)):
            if mine.threads:
                side_by_side([partial(lead_in_thread, desk, team) for team in mine.teams])
            else:
                asyncio.run(all_teams(desk, mine.teams))
    if tracker.unsettled:
        desk.problems.append(f"left unsettled: {tracker.unsettled}")
    tracker.close()
    provider.close()
    return Report(desk.outcomes, told, desk.problems)


# In tasks, with the scope that is current.


async def all_teams(desk: Desk, teams: tuple[Team, ...]) -> None:
    await asyncio.gather(*(lead(desk, team) for team in teams))


async def lead(desk: Desk, team: Team) -> None:
    with _noted(desk):
        async with desk.tracker.agent(LEAD, max_cost=team.max_cost):
            tasks = [asyncio.create_task(spawned(desk, each)) for each in team.hands]
            for task, each in zip(tasks, team.hands, strict=True):
                if each.cancelled_after is not None:
                    asyncio.get_running_loop().call_later(each.cancelled_after, task.cancel)
            await orders(desk, team.lead)
            await asyncio.gather(*tasks, return_exceptions=True)


async def spawned(desk: Desk, hand: Hand) -> None:
    with _noted(desk):
        async with desk.tracker.agent(hand.role):
            await orders(desk, hand)


async def orders(desk: Desk, hand: Hand) -> None:
    for number, order in enumerate(hand.orders):
        sent: list[Sent] = []
        with _noted(desk):
            async with asyncio.timeout(order.patience_seconds):
                await attempt(desk, order, hand.role, sent)
        desk.follow(order, sent[0] if sent else None, _chance(order, number))


async def attempt(desk: Desk, order: Order, role: str, sent: list[Sent]) -> None:
    desk.step()
    async with desk.tracker.call(order.model, **desk.options(order)) as call:
        sent.append(desk.send(call, order, role))
        too_slow = order.fault == "too_slow"
        async with asyncio.timeout(order.latency_seconds / 2 if too_slow else None):
            await asyncio.sleep(order.latency_seconds)
        desk.receive(call, order, sent[0])


# In threads, with the scopes by name.


def side_by_side(functions: list[partial[None]]) -> None:
    """Run functions in a thread each; the parent's patience bounds the wait."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lead_in_thread(desk: Desk, team: Team) -> None:
    with _noted(desk), desk.session.agent(LEAD, max_cost=team.max_cost) as run:
        side_by_side(
            [
                partial(orders_in_thread, desk, run, team.lead),
                *(partial(spawned_in_thread, desk, run, each) for each in team.hands),
            ]
        )


def spawned_in_thread(desk: Desk, parent: Scope, hand: Hand) -> None:
    with _noted(desk), parent.agent(hand.role) as run:
        orders_in_thread(desk, run, hand)


def orders_in_thread(desk: Desk, run: Scope, hand: Hand) -> None:
    with _noted(desk):
        for number, order in enumerate(hand.orders):
            sent: list[Sent] = []
            with _noted(desk):
                attempt_in_thread(desk, run, order, hand.role, sent)
            desk.follow(order, sent[0] if sent else None, _chance(order, number))


def attempt_in_thread(desk: Desk, run: Scope, order: Order, role: str, sent: list[Sent]) -> None:
    desk.step()
    with run.call(order.model, **desk.options(order)) as call:
        sent.append(desk.send(call, order, role))
        sleep(order.latency_seconds)
        desk.receive(call, order, sent[0])


# Around both.


@contextmanager
def _noted(desk: Desk) -> Iterator[None]:
    """Let no failure out; what no call may end with is a finding."""
    try:
        yield
    except Exception as error:
        desk.failed(error)


@contextmanager
def _synthesis(desk: Desk, wanted: bool, ceiling: float) -> Iterator[None]:
    """Reserve an envelope, and pay a last call from it: nobody else can have taken the money."""
    if not wanted:
        yield
        return
    run = desk.session.agent(SYNTHESIZER)
    try:
        run.open()
    except BudgetExceededError as error:
        desk.refused(error)
        yield
        return
    yield
    # Three of them are less than the envelope, which is a tenth of the ceiling.
    tokens = int(ceiling * 0.02 * 1e12) // PICO_PER_TOKEN["small"]
    order = Order("small", 0, tokens, 1.0, "answer", 0, None, False, "")
    try:
        attempt_in_thread(desk, run, order, SYNTHESIZER, [])
    except BudgetExceededError as error:
        desk.refused(error)
        if error.kind != "customer":  # whose budget nobody can reserve
            desk.problems.append(f"the reserved envelope was not kept: {error}")
    else:
        desk.outcomes["paid from reserved money"] += 1
    run.close()


def _chance(order: Order, number: int) -> float:
    """Return a number from 0 to 1 that follows from the order."""
    return (order.latency_seconds * 1e6 + number / 3) % 1


class Complaints(logging.Handler):
    """Collects what spendtree logs as an error: nothing here should make it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said: list[str] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(self._formatter.format(record))

    def taken(self) -> list[str]:
        said, self._said = self._said, []
        return said
