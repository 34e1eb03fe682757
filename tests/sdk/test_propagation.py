"""Threads, pools, tasks and callbacks: where the scope comes along, and what is said where not."""

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent import futures
from multiprocessing.pool import ThreadPool
from typing import Any

import anyio.to_thread
import pytest

from spendtree import Scope, Spendtree, ThreadPoolExecutor, Usage, current
from spendtree.event import Kind

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}


@pytest.fixture
def tracker() -> Spendtree:
    return Spendtree("memory:", {"prices": PRICES})


def agents(tracker: Spendtree) -> list[str]:
    return sorted(row.context.agent for row in tracker.store.totals() for _ in range(row.calls))


def reasons(tracker: Spendtree) -> list[str]:
    """Return why calls are unattributed, in their order; "" for one that is not."""
    calls = tracker.store.events(kinds=[Kind.CALL])
    return [str((call.data or {}).get("unattributed", "")) for call in calls]


def spend(tracker: Spendtree) -> None:
    with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
        call.record(Usage(1, 1))


async def ask(tracker: Spendtree) -> None:
    async with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
        call.record(Usage(1, 1))


def in_thread(function: Callable[..., object], *args: object) -> None:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


# Our pool.


def test_each_submitted_function_runs_in_its_submitters_scope(tracker: Spendtree) -> None:
    with tracker.session(), ThreadPoolExecutor(2) as pool:
        for name in ("a", "b"):
            with tracker.agent(name):
                futures.wait([pool.submit(spend, tracker) for _ in range(5)])
                list(pool.map(spend, [tracker] * 3))
    assert agents(tracker) == ["a"] * 8 + ["b"] * 8


def test_a_scope_that_a_pooled_function_leaves_open_does_not_stay_in_its_thread(
    tracker: Spendtree,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(tracker.session("left").__enter__).result()
        assert pool.submit(current).result() is None
        assert left.alive


def test_it_is_a_pool_like_any_other() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    def fail() -> None:
        raise ValueError("x")

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ours") as pool:
        assert isinstance(pool, futures.ThreadPoolExecutor)
        variable.set("mine")
        assert pool.submit(variable.get).result() == "mine"
        assert pool.submit(lambda *a, **k: (a, k), 1, x=2).result() == ((1,), {"x": 2})
        assert pool.submit(lambda: threading.current_thread().name).result().startswith("ours")
        with pytest.raises(ValueError, match="x"):
            pool.submit(fail).result()


def test_a_pooled_function_may_submit_in_its_turn(tracker: Spendtree) -> None:
    with tracker.session(), tracker.agent("a"), ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: pool.submit(spend, tracker).result()).result()
    assert agents(tracker) == ["a"]


def test_as_a_loops_default_executor_it_serves_run_in_executor(tracker: Spendtree) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        async with tracker.session(), tracker.agent("a"):
            await loop.run_in_executor(None, spend, tracker)

    asyncio.run(main())
    assert agents(tracker) == ["a"]


# What Python carries by itself.


def test_tasks_threads_of_asyncio_and_callbacks_of_the_loop_come_along(tracker: Spendtree) -> None:
    def call_back(done: asyncio.Event) -> None:
        spend(tracker)
        done.set()

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        async with tracker.session():
            async with tracker.agent("to_thread"):
                await asyncio.to_thread(spend, tracker)
            async with tracker.agent("anyio"):
                await anyio.to_thread.run_sync(spend, tracker)
            async with tracker.agent("task"), asyncio.TaskGroup() as group:
                group.create_task(ask(tracker))
            async with tracker.agent("call_soon"):
                loop.call_soon(call_back, done)
                await done.wait()
            async with tracker.agent("done_callback"):
                done.clear()
                task = loop.create_task(asyncio.sleep(0))
                task.add_done_callback(lambda _: call_back(done))
                await done.wait()
            async with tracker.agent("threadsafe"):
                done.clear()
                context = contextvars.copy_context()
                await asyncio.to_thread(
                    lambda: loop.call_soon_threadsafe(call_back, done, context=context)
                )
                await done.wait()

    asyncio.run(main())
    names = ["anyio", "call_soon", "done_callback", "task", "threadsafe", "to_thread"]
    assert agents(tracker) == names


# bind: everything else.


def test_any_other_pool_needs_only_bind(tracker: Spendtree) -> None:
    with (
        tracker.session() as session,
        futures.ThreadPoolExecutor(2) as pool,
        ThreadPool(2) as other,
    ):
        agent = session.agent("a").open()
        pool.submit(agent.bind(spend), tracker).result()
        other.map(agent.bind(spend), [tracker] * 2)
        pool.submit(spend, tracker).result()
    assert agents(tracker) == ["", "a", "a", "a"]


def test_a_timer_and_the_done_callback_of_a_future_run_in_the_scope_they_are_bound_to(
    tracker: Spendtree,
) -> None:
    with tracker.session(), tracker.agent("a") as agent:
        timer = threading.Timer(0, agent.bind(spend), [tracker])
        timer.start()
        timer.join()
        with futures.ThreadPoolExecutor(1) as pool:
            started = threading.Event()
            future = pool.submit(started.wait)
            future.add_done_callback(agent.bind(lambda _: spend(tracker)))
            started.set()
    assert agents(tracker) == ["a", "a"]


class Handler:
    """What frameworks take as a callback: an object that is called."""

    def __init__(self, tracker: Spendtree) -> None:
        self._tracker = tracker

    def __call__(self) -> None:
        spend(self._tracker)

    def method(self) -> None:
        spend(self._tracker)


class AsyncHandler(Handler):
    async def __call__(self) -> None:  # type: ignore[override]
        await ask(self._tracker)


def test_methods_partials_and_objects_that_are_called_can_be_bound(tracker: Spendtree) -> None:
    with tracker.session(), tracker.agent("a") as agent:
        handler = Handler(tracker)
        for function in (handler, handler.method, functools.partial(spend, tracker)):
            in_thread(agent.bind(function))
        in_thread(agent.bind(Handler), tracker)
    assert agents(tracker) == ["a"] * 3


def test_coroutine_functions_run_in_their_scope_in_another_loop_too(tracker: Spendtree) -> None:
    with tracker.session(), tracker.agent("a") as agent:
        for function in (
            functools.partial(ask, tracker),
            AsyncHandler(tracker),
            lambda: ask(tracker),
        ):
            bound: Callable[[], Any] = agent.bind(function)
            in_thread(lambda bound=bound: asyncio.run(bound()))
    assert agents(tracker) == ["a"] * 3
    assert inspect.iscoroutinefunction(agent.bind(ask))


def test_a_generator_runs_each_of_its_steps_in_its_scope_and_leaves_its_consumer_alone(
    tracker: Spendtree,
) -> None:
    def produce(last: int) -> Generator[int, int, str]:
        got = 0
        try:
            while got < last:
                spend(tracker)
                got = yield got
        finally:
            spend(tracker)
        return "done"

    def consume(steps: Generator[int, int, str]) -> None:
        assert next(steps) == 0
        assert current() is None
        assert steps.send(1) == 1
        with pytest.raises(StopIteration) as end:
            steps.send(2)
        assert end.value.value == "done"

    with tracker.session(), tracker.agent("a") as agent:
        bound = agent.bind(produce)
        in_thread(consume, bound(2))
        left = bound(2)
        next(left)
        in_thread(left.close)
        assert agent.alive
    assert agents(tracker) == ["a"] * 5
    assert inspect.isgeneratorfunction(bound)


def test_an_async_generator_does_so_too(tracker: Spendtree) -> None:
    async def produce() -> AsyncGenerator[int, None]:
        try:
            for number in range(2):
                await ask(tracker)
                yield number
        finally:
            await ask(tracker)

    async def consume(steps: AsyncGenerator[int, None]) -> None:
        async for _ in steps:
            assert current() is None

    async def look(steps: AsyncGenerator[int, None]) -> None:
        await anext(steps)
        with pytest.raises(ZeroDivisionError):
            await steps.athrow(ZeroDivisionError())

    with tracker.session(), tracker.agent("a") as agent:
        bound = agent.bind(produce)
        in_thread(lambda: asyncio.run(consume(bound())))
        in_thread(lambda: asyncio.run(look(bound())))
        assert agent.alive
    assert agents(tracker) == ["a"] * 5


def test_what_a_bound_function_raises_comes_through_and_its_thread_has_no_scope_after(
    tracker: Spendtree,
) -> None:
    seen: list[object] = []

    def fail() -> Iterator[int]:
        raise ZeroDivisionError

    def run(bound: Callable[[], object]) -> None:
        with pytest.raises(ZeroDivisionError):
            bound()
        seen.append(current())

    with tracker.session() as session:
        in_thread(run, session.bind(fail))
    assert seen == [None]


# What is said of a scope that was lost.


def test_a_thread_that_has_lost_its_scope_says_so(tracker: Spendtree) -> None:
    with tracker.session(), tracker.agent("a"):
        in_thread(spend, tracker)
        with futures.ThreadPoolExecutor(1) as pool:
            pool.submit(spend, tracker).result()
    assert reasons(tracker) == ["lost_thread"] * 2
    assert agents(tracker) == ["", ""]


def test_run_in_executor_loses_it_and_says_so(tracker: Spendtree) -> None:
    async def main() -> None:
        async with tracker.session():
            await asyncio.get_running_loop().run_in_executor(None, spend, tracker)

    asyncio.run(main())
    assert reasons(tracker) == ["lost_thread"]


def test_a_thread_that_was_lent_a_scope_has_lost_the_next_one_all_the_same(
    tracker: Spendtree,
) -> None:
    with tracker.session() as session, futures.ThreadPoolExecutor(1) as pool:
        pool.submit(session.bind(spend), tracker).result()
        pool.submit(spend, tracker).result()
    assert reasons(tracker) == ["", "lost_thread"]


def own_session(tracker: Spendtree) -> None:
    with tracker.session():
        spend(tracker)


def no_session(tracker: Spendtree) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(spend, tracker).result()


@pytest.mark.parametrize("elsewhere", [True, False], ids=["a session elsewhere", "none"])
def test_nothing_was_lost_where_there_was_nothing(tracker: Spendtree, elsewhere: bool) -> None:
    """In the main thread, in a loop of a thread, in a thread with sessions of its own, in a pool
    whose submitter has none."""
    session: Scope | None = tracker.session("elsewhere").open() if elsewhere else None

    def serve() -> None:
        own_session(tracker)
        spend(tracker)

    spend(tracker)
    in_thread(lambda: asyncio.run(ask(tracker)))
    in_thread(serve)
    no_session(tracker)

    assert reasons(tracker) == ["no_scope", "no_scope", "", "no_scope", "no_scope"]
    if session is not None:
        session.close()


def test_a_thread_that_outlives_every_session_has_lost_none(tracker: Spendtree) -> None:
    with tracker.session():
        pass
    in_thread(spend, tracker)
    assert reasons(tracker) == ["no_scope"]


def test_another_trackers_session_is_no_scope_that_was_lost(tracker: Spendtree) -> None:
    other = Spendtree("memory:")
    with other.session():
        in_thread(spend, tracker)
    assert reasons(tracker) == ["no_scope"]
