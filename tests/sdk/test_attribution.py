"""What belongs to no session: recorded and told where a thread has lost it, refused on request."""

import asyncio
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from spendtree import BudgetExceededError, ScopeError, SessionRequiredError, Spendtree, Usage
from spendtree.config import load_config
from spendtree.config.review import review
from spendtree.event import Event, Kind
from spendtree.metrics import Fold
from spendtree.tree import build

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
LOST = {"unattributed": "lost_thread"}

Log = pytest.LogCaptureFixture


def made(**config: Any) -> Spendtree:
    return Spendtree("memory:", {"prices": PRICES, **config})


def call(tracker: Spendtree, tokens: int = 100) -> None:
    with tracker.call("m", input_tokens=tokens, max_output_tokens=tokens) as made:
        made.record(Usage(tokens, tokens))


def work(tracker: Spendtree) -> None:
    """Do what a worker does: an agent of its own, opened where it runs."""
    with tracker.agent("researcher"):
        call(tracker)


def calls(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.CALL, Kind.TOOL]))


def reasons(tracker: Spendtree) -> list[Any]:
    return [(each.data or {}).get("unattributed") for each in calls(tracker)]


def warnings(caplog: Log) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def in_thread(function: Callable[..., object], *arguments: object) -> None:
    with ThreadPoolExecutor(1) as pool:  # raises here what is raised there
        pool.submit(function, *arguments).result(60)


# An agent in a thread that lost its session.


def test_agents_of_a_plain_pool_are_recorded_as_lost_each_time(caplog: Log) -> None:
    tracker = made()
    with tracker.session(ceiling="0.005"), tracker.agent("coordinator"):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: work(tracker), range(8)))
        work(tracker)

    assert reasons(tracker).count("lost_thread") == 8, "also the second one of each thread"
    assert reasons(tracker)[-1] is None
    (warning,) = warnings(caplog)
    assert "agent 'researcher' is made in a thread that lost its session" in warning
    assert f"{__file__}:" in warning
    for way_out in ("scope.bind(function)", "spendtree.ThreadPoolExecutor", "asyncio.to_thread"):
        assert way_out in warning


def test_what_a_lost_agent_spends_is_in_the_counters_of_what_is_unattributed() -> None:
    tracker = made()
    with tracker.session():
        in_thread(work, tracker)
        in_thread(call, tracker)
    fold = Fold("s", birth_hold_us=0)

    fold.apply(tracker.store.events())
    fold.tick(2**62)

    def counted(name: str) -> int:
        return sum(each.value for each in fold.rows(name).values())

    assert counted("unattributed_calls_total") == counted("calls_total") == 2
    assert counted("unattributed_cost_usd_total") == counted("cost_usd_total") > 0


def test_a_lost_agent_has_a_session_of_its_own_that_says_so() -> None:
    """It is charged to none of the open ones, since nobody knows which was meant."""
    tracker = made()
    with tracker.session("first") as first, tracker.session("second"):
        in_thread(work, tracker)

        assert first.breakdown() == {}
    (lost,) = calls(tracker)
    opening = tracker.store.find(
        next(e.id for e in tracker.store.events(session=lost.context.session)), Kind.SESSION_OPENED
    )
    assert lost.context.session not in ("", "first", "second")
    assert opening is not None
    assert (opening.data or {})["unattributed"] == "lost_thread"
    assert build(tracker.store.events(session=lost.context.session)).status == "succeeded"


def test_the_calls_tools_and_sub_agents_below_a_lost_agent_are_lost_as_well() -> None:
    tracker = made()

    def deep() -> None:
        with tracker.agent("researcher"), tracker.agent("reader"):
            call(tracker)
            with tracker.tool("search", cost="0.01"):
                pass

    with tracker.session():
        in_thread(deep)
    assert reasons(tracker) == ["lost_thread"] * 2
    assert [each.data for each in calls(tracker)][1] == {**LOST, "name": "search"}


@pytest.mark.parametrize(
    "start", ["pool", "multiprocessing", "thread", "timer", "executor", "loop"]
)
def test_every_way_into_a_thread_without_the_scope_is_known(start: str) -> None:
    tracker = made()

    async def in_executor() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work, tracker)

    async def of_a_job() -> None:
        async with tracker.agent("researcher"):
            call(tracker)

    def run() -> None:
        if start == "multiprocessing":
            with ThreadPool(1) as pool:
                pool.apply(work, (tracker,))
        elif start in ("thread", "timer"):
            thread = threading.Thread(target=work, args=(tracker,))
            thread = threading.Timer(0, work, (tracker,)) if start == "timer" else thread
            thread.start()
            thread.join(60)
        elif start == "executor":
            asyncio.run(in_executor())
        elif start == "loop":
            in_thread(lambda: asyncio.run(of_a_job()))
        else:
            in_thread(work, tracker)

    with tracker.session():
        run()
    assert reasons(tracker) == ["lost_thread"]


def test_the_callback_of_another_loop_keeps_the_scope() -> None:
    tracker = made()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ran = threading.Event()

    async def ask() -> None:
        work(tracker)

    def last() -> None:
        work(tracker)
        ran.set()

    with tracker.session("s"):
        asyncio.run_coroutine_threadsafe(ask(), loop).result(60)
        loop.call_soon_threadsafe(last)
        assert ran.wait(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()
    assert [each.context.session for each in calls(tracker)] == ["s", "s"]
    assert reasons(tracker) == [None, None]


def test_a_scope_that_an_abandoned_generator_left_open_is_none_to_lose_once_it_is_collected() -> (
    None
):
    tracker = made()

    def steps() -> Iterator[int]:
        with tracker.session():
            yield 1

    abandoned = steps()
    next(abandoned)
    in_thread(work, tracker)
    del abandoned
    in_thread(work, tracker)
    assert reasons(tracker) == ["lost_thread", None]


def test_agents_that_are_deliberately_outside_a_session_lose_none_to_each_other(
    caplog: Log,
) -> None:
    """A server's threads, each with an agent and no session: those of others are not theirs."""
    tracker = made()
    both = threading.Barrier(2, timeout=60)

    def serve() -> None:
        with tracker.agent("server"):
            both.wait()
            call(tracker)
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: serve(), range(2)))
    assert reasons(tracker) == [None, None]
    assert warnings(caplog) == []


def test_a_run_of_its_own_can_be_lost_like_a_session() -> None:
    tracker = made()
    with tracker.agent("coordinator"):
        in_thread(work, tracker)
    assert reasons(tracker) == ["lost_thread"]


def test_each_place_is_warned_of_once_and_no_more_than_are_remembered(
    caplog: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spendtree.call_site.PLACES_MAX", 2)
    tracker = made()

    def everywhere() -> None:
        for _ in range(3):
            call(tracker)
        with tracker.tool("search", cost=0):
            pass
        with tracker.agent("a"):
            pass

    with tracker.session():
        in_thread(everywhere)
    first, second = warnings(caplog)
    assert "a call of 'm' is made in a thread that lost its session" in first
    assert "tool 'search'" in second


def test_a_decorated_function_that_a_pool_calls_is_named_where_no_line_is(caplog: Log) -> None:
    tracker = made()
    functions = [tracker.agent(name)(lambda: None) for name in ("a", "b", "a")]
    with tracker.session(), ThreadPoolExecutor(1) as pool:
        for function in functions:
            pool.submit(function).result(60)
    assert ["no line of the program (agent 'a')" in each for each in warnings(caplog)] == [
        True,
        False,
    ]


# Limits of what has no session.


def test_a_run_outside_any_session_is_under_the_configured_limits_of_one() -> None:
    tracker = made(session={"ceiling_usd": "0.005", "min_cost_usd": "0.001", "warn_at": 0.3})
    with tracker.agent("a") as agent:
        assert agent.session.remaining() == Decimal("0.005")
    with pytest.raises(BudgetExceededError, match="session"):
        work_for(tracker, 9)
    marks = [each.data for each in tracker.store.events(kinds=[Kind.WARNED])]
    assert [mark["mark"] for mark in marks if mark] == ["0.3"]
    with tracker.session(), pytest.raises(BudgetExceededError, match="session"):
        in_thread(work_for, tracker, 9)


def work_for(tracker: Spendtree, times: int) -> None:
    with tracker.agent("researcher"):
        for _ in range(times):
            call(tracker)


# session.required.


def outside(tracker: Spendtree) -> dict[str, Callable[[], Any]]:
    return {
        "a call of 'm'": lambda: call(tracker),
        "tool 'search'": lambda: tracker.tool("search", cost=1).__enter__(),
        "agent 'a'": lambda: tracker.agent("a").__enter__(),
        "agent 'd'": lambda: tracker.agent("d")(lambda: None)(),
    }


@pytest.mark.parametrize("what", ["a call of 'm'", "tool 'search'", "agent 'a'", "agent 'd'"])
def test_where_a_session_is_required_nothing_goes_on_without(what: str) -> None:
    tracker = made(session={"required": True})

    with pytest.raises(SessionRequiredError, match=f"{what} is made outside any session") as told:
        outside(tracker)[what]()
    with tracker.session(), pytest.raises(SessionRequiredError, match="lost its session") as lost:
        in_thread(outside(tracker)[what])

    assert isinstance(told.value, ScopeError)
    assert "with spendtree.session():" in str(told.value)
    assert "scope.bind(function)" in str(lost.value)
    assert (told.value.reason, lost.value.reason) == ("no_scope", "lost_thread")
    copy = pickle.loads(pickle.dumps(lost.value))
    assert (str(copy), copy.reason) == (str(lost.value), "lost_thread")
    kinds = {event.kind for event in tracker.store.events()}
    assert kinds <= {Kind.SESSION_OPENED, Kind.SESSION_CLOSED}
    assert tracker.store.open_holds() == 0


def test_a_required_session_is_all_that_is_required() -> None:
    tracker = made(session={"required": "true"})
    with tracker.session() as session:
        call(tracker)
        in_thread(session.bind(work), tracker)
    assert reasons(tracker) == [None, None]


@pytest.mark.parametrize("mode", ["record", "warn"])
def test_a_mode_that_refuses_nothing_logs_what_has_no_session(mode: str, caplog: Log) -> None:
    tracker = made(mode=mode, session={"required": True})

    call(tracker)
    work(tracker)

    assert reasons(tracker) == ["no_scope", None]
    assert [each.partition(" is made")[0] for each in warnings(caplog)] == [
        "a call of 'm'",
        "agent 'researcher'",
    ]
    (remark,) = review(load_config({"mode": mode, "session": {"required": True}}))
    assert remark.path == ("session", "required")
