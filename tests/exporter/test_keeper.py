"""What one exporter of each store writes, and how another one takes over."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from spendtree import Spendtree, Usage
from spendtree.account import session_account
from spendtree.errors import StoreUnavailableError
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.store import Store, open_store, owner
from spendtree.store.memory import MemoryStore
from spendtree_exporter import keeper as keeper_module
from spendtree_exporter.app import create_app
from spendtree_exporter.keeper import Keeper
from spendtree_exporter.serve import serving
from tests.exporter.test_app import value
from tests.exporter.test_follow import until

HOUR = 3_600_000_000
DAY = 24 * HOUR
PRICES = {"prices": {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}}


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    store = open_store(sqlite_url)
    yield store
    store.close()


def opened(session: str, at: int, *, call_at: int | None = None) -> list[Event]:
    """Return the opening of a session and, if a time is given, one call of it."""
    context = Context(session, "acme", "search", path=(session_account(session).id,))
    events = [
        Event(0, Kind.SESSION_OPENED, at, derived_id("session", session), context, started=at)
    ]
    if call_at is not None:
        id, request = derived_id("call", session), Request("openai", "gpt-4o")
        call = Event(0, Kind.CALL, call_at, id, context, request, 7_000, 9_000, 10, 3, status="ok")
        events.append(call)
    return events


def put(store: Store, *events: Event) -> None:
    store.load([session_account(event.context.session) for event in events], list(events))


def closings(store: Store) -> list[Event]:
    return list(store.events(kinds=[Kind.SESSION_CLOSED]))


def test_an_open_session_is_closed_as_abandoned_an_hour_after_its_last_event(store: Store) -> None:
    put(store, *opened("silent", 1_000_000, call_at=2_000_000))
    now = [2_000_000 + HOUR - 1]
    keeper = Keeper(store, now=lambda: now[0])

    assert keeper.tidy() == 0
    now[0] += 1
    assert keeper.tidy() == 1
    assert keeper.tidy() == 0, "once"

    (closed,) = closings(store)
    assert closed.id == derived_id("session", "silent")
    assert (closed.status, closed.at, closed.started) == ("abandoned", now[0], 1_000_000)
    assert (closed.cost, closed.input_tokens, closed.output_tokens) == (7_000, 10, 3)
    assert closed.context == Context(
        "silent", "acme", "search", path=(session_account("silent").id,)
    )
    assert closed.data == {"reason": "no event for 3600 s"}


@pytest.mark.parametrize(
    ("opener", "idle"),
    [
        pytest.param(str(owner.current()), DAY, id="a process that lives"),
        pytest.param(
            str(owner.current()._replace(start=1)), HOUR, id="another process of the same number"
        ),
        pytest.param(
            str(owner.current()._replace(boot="earlier")), HOUR, id="one of before the last boot"
        ),
        pytest.param(
            str(owner.current()._replace(host="elsewhere")), HOUR, id="one that cannot be seen"
        ),
    ],
)
def test_how_long_a_session_may_be_silent_depends_on_who_opened_it(
    store: Store, opener: str, idle: int
) -> None:
    (opening,) = opened("silent", 1_000_000)
    put(store, opening._replace(data={"opener": opener}))
    now = [1_000_000 + HOUR - 1]
    keeper = Keeper(store, now=lambda: now[0])
    assert keeper.tidy() == 0

    now[0] = 1_000_000 + idle - 1
    assert keeper.tidy() == 0
    now[0] += 1
    assert keeper.tidy() == 1
    assert closings(store)[0].data == {"reason": f"no event for {idle // 1_000_000} s"}


def test_sessions_that_go_on_or_have_ended_are_left_alone(store: Store) -> None:
    put(store, *opened("at work", 0, call_at=5 * HOUR), *opened("ended", 0))
    (opening,) = opened("ended", 0)
    store.append(opening._replace(kind=Kind.SESSION_CLOSED, status="succeeded"))

    assert Keeper(store, now=lambda: 5 * HOUR + 1).tidy() == 0
    assert [event.status for event in closings(store)] == ["succeeded"]


def test_a_session_is_not_read_again_before_it_could_be_idle(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *opened("s", 0, call_at=5 * HOUR))
    read: list[str | None] = []
    real = store.events

    def events(*, session: str | None = None, kinds: list[int] | None = None) -> Iterator[Event]:
        read.append(session)
        return real(session=session, kinds=kinds)

    monkeypatch.setattr(store, "events", events)
    now = [5 * HOUR]
    keeper = Keeper(store, now=lambda: now[0])
    for _ in range(3):
        keeper.tidy()
        now[0] += 1_000_000

    assert read.count("s") == 1


def test_a_call_afterwards_goes_on_with_the_session_and_ends_it_again(sqlite_url: str) -> None:
    tracker = Spendtree(sqlite_url, config=PRICES)
    session = tracker.session("s", customer="acme", ceiling="1")
    with session:
        with tracker.call("m", input_tokens=10, max_output_tokens=10) as call:
            call.record(Usage(10, 10))
        later = [event.at for event in tracker.store.events()][-1] + DAY + 1
        assert Keeper(tracker.store, now=lambda: later).tidy() == 1
        with tracker.call("m", input_tokens=10, max_output_tokens=10) as call:
            call.record(Usage(10, 10))

    first, second = closings(tracker.store)
    assert (first.status, second.status) == ("abandoned", "succeeded")
    assert second.data == {"continued": True}
    assert second.cost == 2 * (first.cost or 0) > 0
    with serving(create_app(tracker.store)) as url:
        body = httpx.get(f"{url}/metrics").text
    assert value(body, "spendtree_sessions_total") <= 1, "it is one session"
    tracker.store.close()


HOLDER = """
import os, sys
from spendtree import Spendtree
tracker = Spendtree(sys.argv[1], config={"prices": {"m": {
    "input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}})
session = tracker.session("gone", ceiling="1").__enter__()
tracker.call("m", input_tokens=10, max_output_tokens=10).__enter__()
os._exit(9)
"""


def test_the_holds_of_a_process_that_is_gone_lapse_without_anybody_who_waits(
    store: Store, sqlite_url: str
) -> None:
    subprocess.run([sys.executable, "-c", HOLDER, sqlite_url], check=False, timeout=60)
    assert store.open_holds() == 1

    with serving(create_app(store)):
        until(lambda: store.open_holds() == 0)

    (lapse,) = store.events(kinds=[Kind.LAPSE])
    assert lapse.context.session == "gone"


def told(url: str, name: str) -> float:
    return value(httpx.get(f"{url}/metrics").text, f"spendtree_{name}")


def test_a_second_exporter_serves_the_same_and_writes_nothing(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = open_store(sqlite_url), open_store(sqlite_url)

    with serving(create_app(one, session_idle_seconds=10**9)) as first:
        assert told(first, "exporter_writer") == 1
        with serving(create_app(two)) as second:
            assert told(second, "exporter_writer") == 0
            put(one, *opened("s", 1, call_at=2))
            until(lambda: told(first, "calls_total") == told(second, "calls_total") == 1)
            assert closings(two) == [], "a writer would have closed the session"

    assert f"read-only: process {os.getpid()} has" in caplog.text
    one.close()
    two.close()


EXPORTER = "from spendtree_exporter.cli import main; main()"


def test_the_second_exporter_writes_once_the_first_was_killed(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "_TRY_SECONDS", 0.02)
    caplog.set_level(logging.INFO, "spendtree.exporter")
    store = open_store(sqlite_url)
    command = [sys.executable, "-c", EXPORTER, "--store", sqlite_url]
    with subprocess.Popen(
        [*command, "--web.listen-address", "127.0.0.1:0"], stderr=subprocess.PIPE
    ) as first:
        assert first.stderr is not None
        try:
            while b"serving" not in first.stderr.readline():
                pass
            lock = Path(sqlite_url.removeprefix("sqlite:///") + "-exporter")
            until(lambda: lock.exists() and lock.read_text() == f"{first.pid}\n")
            with serving(create_app(store)) as url:
                body = httpx.get(f"{url}/metrics").text
                assert value(body, "spendtree_exporter_writer") == 0
                put(store, *opened("s", 1))
                first.kill()
                first.wait()
                until(lambda: [event.status for event in closings(store)] == ["abandoned"])
                body = httpx.get(f"{url}/metrics").text
                assert value(body, "spendtree_exporter_writer") == 1
        finally:
            first.kill()
    store.close()

    assert f"read-only: process {first.pid} has" in caplog.text
    assert "the other exporter is gone" in caplog.text


class Away(MemoryStore):
    """A store out of reach for who wants to write."""

    def lapse_abandoned(self, *, now: int, idle: int) -> int:
        raise StoreUnavailableError("the disk is full")


def test_trouble_with_the_store_is_logged_and_serving_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(create_app(Away())) as url:
        until(lambda: "the disk is full" in caplog.text)
        assert httpx.get(f"{url}/-/healthy").status_code == 200
