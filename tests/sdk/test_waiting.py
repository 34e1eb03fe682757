"""Waiting for money: the lines themselves, and what wakes a thread or a task."""

import asyncio
import threading
import time

import pytest

from spendtree.waiting import IDLE_SECONDS, POLL_SECONDS, Bell, Lines, TaskBell, in_event_loop


class Rung:
    """A wake-up that counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_lines_are_true_only_while_somebody_waits() -> None:
    lines = Lines()
    assert not lines
    waiter = lines.join("a", Rung())
    assert lines
    assert (lines.busy(("x", "a")), lines.busy(("x",))) == ("a", "")
    lines.leave(waiter)
    lines.leave(waiter)
    assert not lines


def test_who_came_first_is_first_and_the_next_is_woken_when_it_leaves() -> None:
    lines, rings = Lines(), [Rung(), Rung(), Rung()]
    waiters = [lines.join("a", ring) for ring in rings]
    assert [lines.is_first(waiter) for waiter in waiters] == [True, False, False]
    lines.leave(waiters[1])
    lines.leave(waiters[0])
    assert lines.is_first(waiters[2])
    assert rings[2].times >= 1
    assert rings[1].times == 0


def test_only_the_first_at_each_account_of_the_path_is_woken() -> None:
    lines, rings = Lines(), {name: Rung() for name in ("a1", "a2", "b1", "c1")}
    for name, ring in rings.items():
        lines.join(name[0], ring)
    lines.wake(("a", "b", "nobody"))
    assert {name: ring.times for name, ring in rings.items()} == {
        "a1": 1,
        "a2": 0,
        "b1": 1,
        "c1": 0,
    }


def test_a_waiter_that_another_account_refuses_moves_to_the_end_of_that_line() -> None:
    lines = Lines()
    moving, before = lines.join("a", Rung()), lines.join("b", Rung())
    lines.move(moving, "a")
    assert lines.is_first(moving)
    lines.move(moving, "b")
    assert lines.busy(("a",)) == ""
    assert not lines.is_first(moving)
    lines.leave(before)
    assert lines.is_first(moving)


def test_the_first_looks_again_soon_and_at_random_the_others_seldom() -> None:
    lines = Lines()
    first, second = lines.join("a", Rung()), lines.join("a", Rung())
    pauses = {lines.pause(first) for _ in range(50)}
    assert len(pauses) > 1
    assert all(POLL_SECONDS[0] <= pause <= POLL_SECONDS[1] for pause in pauses)
    assert lines.pause(second) == IDLE_SECONDS


def test_lines_keep_their_order_under_many_threads() -> None:
    lines = Lines()
    start = threading.Barrier(8)

    def come_and_go() -> None:
        start.wait()
        for _ in range(300):
            waiter = lines.join("a", Rung())
            lines.wake(("a",))
            lines.is_first(waiter)
            lines.leave(waiter)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lines


def test_a_bell_that_rang_before_the_wait_is_not_missed() -> None:
    """A ring that is missed would cost the whole minute, twice."""
    started = time.monotonic()
    bell = Bell()
    bell.ring()
    bell.wait(60)
    bell.wait(0)

    async def main() -> None:
        task_bell = TaskBell()
        thread = threading.Thread(target=task_bell.ring)
        thread.start()
        thread.join()
        await task_bell.wait(60)
        await task_bell.wait(0)

    asyncio.run(main())

    assert time.monotonic() - started < 60


def test_a_cancelled_wait_is_cancelled_and_no_timeout() -> None:
    async def main() -> None:
        task = asyncio.create_task(TaskBell().wait(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_ringing_for_a_loop_that_is_closed_does_nothing() -> None:
    async def make() -> TaskBell:
        return TaskBell()

    asyncio.run(make()).ring()


def test_only_the_thread_of_a_running_loop_is_in_it() -> None:
    async def main() -> tuple[bool, bool]:
        return in_event_loop(), await asyncio.to_thread(in_event_loop)

    assert asyncio.run(main()) == (True, False)
    assert not in_event_loop()
