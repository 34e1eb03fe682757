"""A store that another process keeps locked: a loop goes on, and no end is lost."""

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spendtree import Spendtree, StoreUnavailableError, Usage
from spendtree.event import Kind
from spendtree.store import database
from spendtree.store.circuit import (
    FORGET_SECONDS,
    OPENS_AFTER_SECONDS,
    PROBE_EVERY_SECONDS,
    Circuit,
)
from spendtree.testing import assert_books_balance

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
TWO_CENTS: Any = {"input_tokens": 1000, "max_output_tokens": 1000}
SPENT = Usage(1000, 1000)
TIMEOUT = 30

SOON = 5.0
"""Generous for a loaded machine: without care a call waits 10 s, and the loop with it."""


def made(path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{path}/spend.db", {"prices": PRICES})


@contextmanager
def stopped_writer(path: Path) -> Iterator[None]:
    """Have another process in the middle of a transaction for as long as the block."""
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path / "spend.db")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            other.stdin.close()
            other.wait(TIMEOUT)


async def longest_stall(until: asyncio.Event) -> float:
    worst = 0.0
    while not until.is_set():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - before)
    return worst


def test_a_loop_goes_on_while_a_stopped_process_has_the_store(tmp_path: Path) -> None:
    tracker = made(tmp_path)
    refused: list[float] = []

    async def call(entered: asyncio.Event, leave: asyncio.Event) -> None:
        before = time.monotonic()
        try:
            async with tracker.call("m", **TWO_CENTS) as call:
                entered.set()
                await leave.wait()
                call.record(SPENT)
        except StoreUnavailableError:
            refused.append(time.monotonic() - before)

    async def main() -> float:
        done, leave = asyncio.Event(), asyncio.Event()
        async with tracker.session("s", ceiling="10"):
            entered = [asyncio.Event() for _ in range(20)]
            running = [asyncio.create_task(call(each, leave)) for each in entered]
            for each in entered:
                await each.wait()
            writer = stopped_writer(tmp_path)
            await asyncio.to_thread(writer.__enter__)
            heart = asyncio.create_task(longest_stall(done))
            leave.set()
            new = [asyncio.create_task(call(asyncio.Event(), leave)) for _ in range(10)]
            await asyncio.gather(*running, *new)
            late = asyncio.create_task(call(asyncio.Event(), leave))
            await late
            done.set()
            stall = await heart
            assert len(tracker.unsettled) == 20
            await asyncio.to_thread(writer.__exit__, None, None, None)
        return stall

    stall = asyncio.run(main())
    assert stall < 1.0, "it stood still for 10 s and more"
    assert len(refused) == 11
    assert max(refused) < SOON
    assert refused[-1] < OPENS_AFTER_SECONDS, "while the circuit is open nobody waits"
    tracker.close()
    assert tracker.unsettled == []
    assert len(list(tracker.store.events(kinds=(Kind.CALL,)))) == 20
    assert len(list(tracker.store.events(kinds=(Kind.SESSION_CLOSED,)))) == 1
    assert_books_balance(tracker)
    tracker.close()


def test_tasks_wait_for_a_transaction_that_ends(tmp_path: Path) -> None:
    tracker = made(tmp_path)

    async def call() -> None:
        async with tracker.call("m", **TWO_CENTS) as call:
            call.record(SPENT)

    async def main() -> None:
        async with tracker.session("s", ceiling="10"):
            writer = stopped_writer(tmp_path)
            await asyncio.to_thread(writer.__enter__)
            waiting = [asyncio.create_task(call()) for _ in range(5)]
            await asyncio.sleep(0)
            await asyncio.to_thread(writer.__exit__, None, None, None)
            await asyncio.gather(*waiting)

    asyncio.run(main())
    assert len(list(tracker.store.events(kinds=(Kind.CALL,)))) == 5
    assert_books_balance(tracker)
    tracker.close()


def test_a_session_and_its_runs_that_open_and_close_meanwhile_wait_as_well(tmp_path: Path) -> None:
    tracker = made(tmp_path)

    async def work(number: int) -> None:
        async with (
            tracker.session(f"s{number}", ceiling="10"),
            tracker.agent("a", envelope="1"),
            tracker.call("m", **TWO_CENTS) as call,
        ):
            call.record(SPENT)

    async def main() -> None:
        writer = stopped_writer(tmp_path)
        await asyncio.to_thread(writer.__enter__)
        waiting = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(writer.__exit__, None, None, None)
        await asyncio.gather(*waiting)

    asyncio.run(main())
    for kind in (Kind.SESSION_OPENED, Kind.RUN_OPENED, Kind.RUN_CLOSED, Kind.SESSION_CLOSED):
        assert len(list(tracker.store.events(kinds=(kind,)))) == 5, kind
    assert_books_balance(tracker)
    tracker.close()


def test_a_sync_with_in_a_loop_refuses_at_once_and_says_why(tmp_path: Path) -> None:
    tracker = made(tmp_path)

    async def main() -> None:
        with tracker.session("s", ceiling="10"):
            writer = stopped_writer(tmp_path)
            await asyncio.to_thread(writer.__enter__)
            with pytest.raises(StoreUnavailableError, match="use `async with`"):
                tracker.call("m", **TWO_CENTS).__enter__()
            await asyncio.to_thread(writer.__exit__, None, None, None)

    asyncio.run(main())
    assert tracker.store.open_holds() == 0
    tracker.close()


def test_without_a_cap_calls_go_on_and_are_counted(tmp_path: Path) -> None:
    tracker = made(tmp_path)

    async def main() -> None:
        async with tracker.session("s"):
            writer = stopped_writer(tmp_path)
            await asyncio.to_thread(writer.__enter__)
            async with tracker.call("m", **TWO_CENTS) as call:
                call.record(SPENT)
            await asyncio.to_thread(writer.__exit__, None, None, None)

    asyncio.run(main())
    assert tracker.unrecorded_calls == 1
    tracker.close()


def test_once_a_thread_has_waited_in_vain_the_next_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 2 * OPENS_AFTER_SECONDS)
    tracker = made(tmp_path)
    with tracker.session("s", ceiling="10") as session:
        took = []
        with stopped_writer(tmp_path):
            for _ in range(3):
                before = time.monotonic()
                with pytest.raises(StoreUnavailableError, match="stopped in the middle"):
                    session.call("m", **TWO_CENTS).__enter__()
                took.append(time.monotonic() - before)
        assert took[0] >= 2 * OPENS_AFTER_SECONDS
        assert max(took[1:]) < OPENS_AFTER_SECONDS
        time_to_probe = time.monotonic() + TIMEOUT
        while time.monotonic() < time_to_probe:
            try:
                with session.call("m", **TWO_CENTS) as call:
                    call.record(SPENT)
                break
            except StoreUnavailableError:
                continue
    assert len(list(tracker.store.events(kinds=(Kind.CALL,)))) == 1
    tracker.close()


def test_a_program_that_ends_settles_what_it_could_not_before(tmp_path: Path) -> None:
    program = """
        import sqlite3, sys, spendtree
        import spendtree.store.database as database
        database.BUSY_SECONDS = 0.05
        tracker = spendtree.Spendtree(sys.argv[1])
        session = tracker.session("s", ceiling="1").__enter__()
        call = session.call("gpt-4o", input_tokens=1000, max_output_tokens=750).__enter__()
        other = sqlite3.connect(sys.argv[2], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        call.record(spendtree.Usage(10, 10))
        call.__exit__(None, None, None)
        assert len(tracker.unsettled) == 1
        other.execute("ROLLBACK")
    """
    path = tmp_path / "spend.db"
    command = [sys.executable, "-c", textwrap.dedent(program), f"sqlite:///{path}", str(path)]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    tracker = made(tmp_path)
    assert tracker.store.open_holds() == 0
    assert len(list(tracker.store.events(kinds=(Kind.CALL,)))) == 1
    tracker.close()


# The breaker alone, with times that are told.


def test_the_circuit_opens_after_a_second_without_a_break_and_closes_with_a_success() -> None:
    circuit, now = Circuit(), 100.0
    while now < 100.0 + OPENS_AFTER_SECONDS:
        circuit.found_busy(now, in_loop=True)
        assert circuit.admits(now)
        now += FORGET_SECONDS / 2
    circuit.found_busy(now, in_loop=True)
    assert circuit.is_open
    assert circuit.admits(now), "the first one tries"
    assert not circuit.admits(now + PROBE_EVERY_SECONDS / 2)
    assert circuit.admits(now + 2 * PROBE_EVERY_SECONDS)
    circuit.found_free()
    assert (circuit.is_open, circuit.admits(now)) == (False, True)


def test_looks_that_are_far_apart_open_nothing() -> None:
    circuit = Circuit()
    for count in range(20):
        circuit.found_busy(100.0 + 2 * count * FORGET_SECONDS, in_loop=True)
    assert not circuit.is_open


# Other loops.


def test_trio_waits_for_money_and_for_the_store_as_asyncio_does(tmp_path: Path) -> None:
    trio = pytest.importorskip("trio", reason="pip install trio")
    tracker = made(tmp_path)
    errors: list[BaseException] = []

    async def call() -> None:
        try:
            async with tracker.call("m", **TWO_CENTS) as call:
                await trio.sleep(0.001)
                call.record(SPENT)
        except Exception as error:
            errors.append(error)

    async def main() -> None:
        async with tracker.session("s", ceiling="0.41"):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(call)
            writer = stopped_writer(tmp_path)
            await trio.to_thread.run_sync(writer.__enter__)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.sleep(0.02)
                await trio.to_thread.run_sync(lambda: writer.__exit__(None, None, None))

    trio.run(main)
    assert [type(error).__name__ for error in errors] == ["BudgetExceededError"]
    assert len(list(tracker.store.events(kinds=(Kind.CALL,)))) == 20
    assert_books_balance(tracker)
    tracker.close()
