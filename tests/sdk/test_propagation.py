"""The pool of threads that carries its submitter's scope."""

import contextvars
import threading
from concurrent import futures

import pytest

from spendtree import Spendtree, ThreadPoolExecutor, Usage, current

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}


def agents(tracker: Spendtree) -> list[str]:
    return sorted(row.context.agent for row in tracker.store.totals() for _ in range(row.calls))


def spend(tracker: Spendtree) -> None:
    with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
        call.record(Usage(1, 1))


def test_each_submitted_function_runs_in_its_submitters_scope() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session(), ThreadPoolExecutor(2) as pool:
        for name in ("a", "b"):
            with tracker.agent(name):
                futures.wait([pool.submit(spend, tracker) for _ in range(5)])
                list(pool.map(spend, [tracker] * 3))
    assert agents(tracker) == ["a"] * 8 + ["b"] * 8


def test_a_scope_that_a_pooled_function_leaves_open_does_not_stay_in_its_thread() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
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


def test_any_other_pool_needs_only_bind() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session() as session, futures.ThreadPoolExecutor(2) as pool:
        agent = session.agent("a").open()
        pool.submit(agent.bind(spend), tracker).result()
        pool.submit(spend, tracker).result()
    assert agents(tracker) == ["", "a"]
