"""One session over several processes: real ones, real HTTP, one file."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from spendtree import EnvelopeExhaustedError, Spendtree, Usage
from spendtree.event import Event, Kind
from spendtree.integrations.httpx import propagate
from spendtree.metrics import Fold
from spendtree.testing import assert_books_balance

SERVICE = Path(__file__).with_name("remote_service.py")
PRICES = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
CALL_PICO = 2 * 10**9
"""What a call of the service costs."""

Serve = Callable[[str], str]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/spend.db"


@pytest.fixture
def here(store: str) -> Iterator[Spendtree]:
    tracker = Spendtree(store, PRICES)
    yield tracker
    assert_books_balance(tracker)
    tracker.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start services, each in a process of its own; return their URLs. They end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(store: str) -> str:
        command = [sys.executable, "-W", "error", str(SERVICE), store]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the service did not start"
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        assert process.communicate(timeout=60) is not None
        assert process.returncode == 0


def events(tracker: Spendtree, kind: Kind) -> list[Event]:
    return list(tracker.store.events(kinds=[kind]))


def ask(client: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.post(path).raise_for_status().json()
    return found


def test_tree_events_and_series_of_one_session_join_over_processes(
    here: Spendtree, serve: Serve, store: str
) -> None:
    with propagate(httpx.Client(base_url=serve(store))) as client:
        with (
            here.session("s", customer="acme", team="search", ceiling="1"),
            here.cycle(),
            here.agent("coordinator") as coordinator,
        ):
            with here.call("m", input_tokens=100, max_output_tokens=100) as call:
                call.record(Usage(100, 100))
            assert ask(client, "/direct") == {"session": "s", "run": "coordinator"}
            for _ in range(2):
                assert ask(client, "/reader") == {"session": "s", "run": "coordinator"}
        outside = ask(client, "/direct")

    assert outside == {"session": None, "run": None}
    tree = here.tree("s")
    (root,) = tree.roots
    assert (tree.customer, tree.team, tree.status) == ("acme", "search", "succeeded")
    assert (root.run, root.status, root.own.calls) == (coordinator.id, "succeeded", 2)
    assert [(c.agent, c.level, c.status, c.own.calls) for c in root.children] == [
        ("reader", 2, "succeeded", 1)
    ] * 2
    assert {event.context.cycle for event in events(here, Kind.CALL)} == {1}
    assert len(events(here, Kind.SESSION_OPENED)) == len(events(here, Kind.SESSION_CLOSED)) == 1
    fold = Fold("store")
    fold.apply(here.store.events())
    assert sum(row.value for row in fold.rows("agent_run_cost_usd_total").values()) == 4 * CALL_PICO
    assert sum(row.value for row in fold.rows("session_calls_total").values()) == 4
    (stray,) = [event for event in events(here, Kind.CALL) if not event.context.session]
    assert (stray.data or {})["unattributed"] == "no_scope"


def test_a_cap_binds_over_processes_that_spend_at_once(
    here: Spendtree, serve: Serve, store: str
) -> None:
    """Twenty requests to two services under a max_cost for five calls: five are granted."""
    urls = [serve(store), serve(store)]

    async def fan_out() -> list[int]:
        async with (
            propagate(httpx.AsyncClient(timeout=60)) as client,
            here.session("s"),
            here.agent("coordinator", max_cost="0.01"),
        ):
            asked = (client.post(f"{urls[n % 2]}/reader") for n in range(20))
            replies = await asyncio.gather(*asked)
        return [reply.status_code for reply in replies]

    codes = asyncio.run(fan_out())

    assert sorted(codes) == [200] * 5 + [402] * 15
    assert len(events(here, Kind.CALL)) == 5
    with here.session("s") as session:
        assert str(session.breakdown()["reader"]) == "0.01"


def test_a_service_that_the_money_does_not_reach_refuses_and_its_caller_may_go_on(
    here: Spendtree, serve: Serve, store: str
) -> None:
    with (
        propagate(httpx.Client(base_url=serve(store))) as client,
        here.session("s", ceiling="1"),
        here.agent("coordinator", max_cost="0.002") as coordinator,
    ):
        assert ask(client, "/reader")["session"] == "s"
        refused = client.post("/reader")
        with (
            pytest.raises(EnvelopeExhaustedError),
            here.call("m", input_tokens=1, max_output_tokens=1),
        ):
            pass
    assert refused.status_code == 402
    assert refused.json() == {"refused": f"run/{coordinator.id}"}


@pytest.mark.parametrize(("path", "calls"), [("in_thread", 1), ("threads", 1), ("stream", 2)])
def test_what_a_framework_runs_for_a_request_is_in_its_scope(
    here: Spendtree, serve: Serve, store: str, path: str, calls: int
) -> None:
    with (
        propagate(httpx.Client(base_url=serve(store))) as client,
        here.session("s"),
        here.agent("coordinator"),
    ):
        client.post(f"/{path}").raise_for_status()

    assert [event.context.agent for event in events(here, Kind.CALL)] == ["coordinator"] * calls


def test_a_service_with_a_store_of_its_own_has_its_part_of_the_session(
    here: Spendtree, serve: Serve, tmp_path: Path
) -> None:
    own = f"sqlite:///{tmp_path}/service.db"
    with (
        propagate(httpx.Client(base_url=serve(own))) as client,
        here.session("s", customer="acme", ceiling="0.001"),
        here.agent("coordinator"),
    ):
        for _ in range(2):
            assert ask(client, "/reader")["session"] == "s"

    there = Spendtree(own, PRICES)
    tree = there.tree("s")
    assert (tree.customer, tree.totals.calls, tree.ceiling_usd) == ("acme", 2, None)
    assert [(root.agent, root.level) for root in tree.roots] == [("reader", 2)] * 2
    assert not events(here, Kind.CALL)
    assert_books_balance(there)
    there.close()


def test_malformed_headers_reach_the_application_as_if_there_were_none(
    here: Spendtree, serve: Serve, store: str
) -> None:
    url = serve(store)
    for header in ("=,;%zz", "spendtree.session=" + "x" * 300, "spendtree.session=%FF", "x" * 9000):
        reply = httpx.post(f"{url}/direct", headers={"baggage": header, "traceparent": header[:99]})
        assert (reply.status_code, reply.json()) == (200, {"session": None, "run": None})
    broken = {"baggage": "spendtree.session=s2,spendtree.run=zz,spendtree.level=-9"}
    assert httpx.post(f"{url}/direct", headers=broken).json() == {"session": "s2", "run": None}


CHILD = """
import json, os, sys
import spendtree

spendtree.configure(sys.argv[1], config=json.loads(sys.argv[2]))
with spendtree.extract(os.environ) or spendtree.session("own") as scope:
    with spendtree.agent("child"):
        with spendtree.call("m", input_tokens=100, max_output_tokens=100) as call:
            call.record(spendtree.Usage(100, 100))
    print(scope.session.id)
"""


def run_child(store: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, store, json.dumps(PRICES)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_child_process_goes_on_with_what_its_environment_names(
    here: Spendtree, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BAGGAGE", raising=False)
    with here.session("s"), here.agent("coordinator") as coordinator:
        named = here.inject(dict(os.environ), environment=True)
        assert run_child(store, dict(named)) == "s"
    assert run_child(store, dict(os.environ)) == "own"

    inside, outside = events(here, Kind.CALL)
    assert (inside.context.parent, inside.context.level) == (coordinator.id, 2)
    assert (outside.context.session, outside.context.level) == ("own", 1)
