"""The short form of `make chaos`: a few seeds in which nothing is wrong, and wrong books are told.

200 agents in 8 processes spend one session's money while calls fail in every way, tasks are
cancelled, verbs are repeated and processes are killed; `tests.chaos` says how.
"""

import os
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from spendtree.event import Kind
from spendtree.store import open_store
from tests.chaos import verdict
from tests.chaos.__main__ import figures
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.plan import AGENTS, FAULTS, LATER, SESSION, WORKERS, budgets, kill_of, shift
from tests.chaos.provider import Billed, read_bill

SEEDS = range(1, 17)

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL (POSIX)"),
    pytest.mark.slow,
]


class Left(NamedTuple):
    """What a seed leaves: its file and the provider's bill."""

    file: Path
    bill: list[Billed]


@pytest.fixture(scope="module")
def workers() -> Iterator[Fleet]:
    with fleet() as made:
        yield made


@pytest.fixture(scope="module")
def original(workers: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what one seed leaves, to be copied."""
    place = tmp_path_factory.mktemp("original")
    assert workers.run(1, place).problems == []
    return place


@pytest.fixture
def left(original: Path, tmp_path: Path) -> Left:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Left(tmp_path / "spend.db", read_bill(tmp_path / "bill"))


def found(left: Left, told: list[tuple[str, str]] | None = None) -> list[str]:
    with closing(open_store(f"sqlite:///{left.file}")) as store:
        return list(verdict.of_store(store, left.file, left.bill, told or []))


def change(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(sql).rowcount > 0, "nothing was tampered with"


def test_bill_ceiling_and_books_agree_whatever_fails_is_cancelled_repeated_or_killed(
    workers: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcomes = [workers.run(seed, tmp_path_factory.mktemp("seed")) for seed in SEEDS]

    assert {each.seed: each.problems for each in outcomes} == {seed: [] for seed in SEEDS}
    assert_hard(figures(outcomes, 1.0))


def assert_hard(sums: dict[str, float]) -> None:
    """Assert that the seeds killed, lapsed, resolved, denied, and came near their ceilings."""
    assert sums["requests dispatched"] > 50 * len(SEEDS)
    assert sums["processes killed"] > 5
    assert sums["left by the dead, lapsed at the end"] > 0
    assert sums["lapses"] > 10 * len(SEEDS)
    assert sums["late truths"] > len(SEEDS)
    assert 0.8 < sums["largest bill / ceiling"] <= 1
    assert sums["  repeated"] > 10 * len(SEEDS)
    assert sums["  exhausted at session"] > 0
    assert sums["  paid from reserved money"] > 0


def test_200_agents_in_8_processes_of_tasks_and_threads_meet_every_fault() -> None:
    shifts = [shift(seed, worker, False) for seed in SEEDS for worker in range(WORKERS)]
    hands = [hand for each in shifts for team in each.teams for hand in (team.lead, *team.hands)]
    orders = [order for hand in hands for order in hand.orders]

    assert len(hands) == AGENTS * len(SEEDS) == 200 * len(SEEDS)
    assert {each.threads for each in shifts} == {True, False}
    assert {order.fault for order in orders} == set(FAULTS)
    assert {order.later for order in orders} == set(LATER)
    assert any(hand.cancelled_after is not None for hand in hands)
    assert any(order.patience_seconds is not None for order in orders)


def test_what_a_seed_draws_is_always_the_same_and_another_seed_draws_something_else() -> None:
    drawn = [(budgets(seed), kill_of(seed, 0), shift(seed, 0, False)) for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1]
    assert len({str(each) for each in drawn}) == 2
    assert shift(1, 0, successor=True) != shift(1, 0, successor=False)


def test_an_untouched_seed_is_judged_to_be_right(left: Left) -> None:
    assert found(left) == []
    assert len(left.bill) > 20


BILLS: dict[str, tuple[Callable[[list[Billed]], list[Billed]], str]] = {
    "a request that the books do not know": (
        lambda bill: [*bill, Billed(b"?" * 16, 1, 0, 0)],
        "was billed 1 and booked as []",
    ),
    "a price that the books do not have": (
        lambda bill: [row._replace(pico=row.pico + 1) for row in bill],
        "and booked at",
    ),
    "more than was presumed": (
        lambda bill: [row._replace(pico=row.pico + 10**12) for row in bill],
        "and is presumed at",
    ),
    "more than the ceiling": (
        lambda bill: [*bill, Billed(b"?" * 16, 10**15, 0, 0)],
        ", the ceiling ",
    ),
    "more than an account says": (
        lambda bill: [row._replace(pico=row.pico * 9) for row in bill],
        f"session/{SESSION} was billed",
    ),
    "more of a role": (
        lambda bill: [row._replace(role=1) for row in bill],
        "role synthesizer was billed",
    ),
    "nothing of what the books say": (lambda bill: [], "and never reached the provider"),
    "a call twice": (lambda bill: [*bill, bill[0]], "a call was dispatched twice"),
}


@pytest.mark.parametrize("name", BILLS)
def test_a_bill_is_told_that_has(name: str, left: Left) -> None:
    tamper, said = BILLS[name]

    problems = found(left._replace(bill=tamper(left.bill)))

    assert any(said in problem for problem in problems), problems


BOOKS: dict[str, tuple[str, str]] = {
    "an account that its events do not add up to": (
        "UPDATE account SET spent = spent - 1 WHERE kind = 'session'",
        "its events add up to",
    ),
    "calls that do not add up to the session": (
        "UPDATE account SET spent = spent - 1 WHERE kind = 'session'",
        "the calls add up to",
    ),
    "a tree whose leaves do not add up": (
        "UPDATE account SET spent = spent - 1 WHERE kind = 'session'",
        "the tree's leaves add up to",
    ),
    "a session that ended with another sum": (
        "UPDATE event SET cost = cost + 1 WHERE kind = 2",
        "the session ended stating",
    ),
    "an account over its cap": (
        "UPDATE account SET cap = 1 WHERE kind = 'session'",
        "is over its cap",
    ),
    "money held for nobody": (
        "UPDATE account SET held = 1 WHERE kind = 'session'",
        "still holds or reserves money",
    ),
    "money reserved by nobody": (
        "UPDATE account SET reserved = 1 WHERE kind = 'session'",
        "still holds or reserves money",
    ),
    "a hold that nobody will end": (
        "INSERT INTO hold VALUES (x'00', 1, 1, 5, 1, 0)",
        "1 holds are open",
    ),
}


@pytest.mark.parametrize("name", BOOKS)
def test_books_are_told_that_have(name: str, left: Left) -> None:
    sql, said = BOOKS[name]
    change(left.file, sql)

    problems = found(left)

    assert any(said in problem for problem in problems), problems


def test_a_file_that_is_damaged_is_told(left: Left) -> None:
    with closing(sqlite3.connect(left.file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name='event_id'")
        number, size = page.fetchone()[0], connection.execute("PRAGMA page_size").fetchone()[0]
    assert list(verdict.of_file(left.file)) == []
    with left.file.open("r+b") as file:
        file.seek((number - 1) * size)
        file.write(b"\xff" * size)

    assert list(verdict.of_file(left.file)) != []


def test_a_warning_that_was_told_twice_is_told(left: Left) -> None:
    with closing(open_store(f"sqlite:///{left.file}")) as store:
        warned = [event.data for event in store.events(kinds=[Kind.WARNED]) if event.data]
    known = [(each["account"], each["mark"]) for each in warned]

    assert found(left, known) == []
    assert "was told" in found(left, [known[0]] * (Counter(known)[known[0]] + 1))[0]


def test_holds_are_told_that_are_nobodys_or_of_a_process_that_was_not_killed(left: Left) -> None:
    change(left.file, "INSERT INTO owner VALUES (99, 'host', 'boot', 4711, 1, '', '')")
    change(left.file, "INSERT INTO hold VALUES (x'00', 1, 1, 5, 99, 0)")

    assert list(verdict.of_holds(left.file, {4711})) == []
    assert "which was not killed" in next(verdict.of_holds(left.file, {os.getpid()}))
    change(left.file, "DELETE FROM owner WHERE no = 99")
    assert "has owner None" in next(verdict.of_holds(left.file, {4711}))
