"""The demo's endless stream: lifelike, the same for a seed, and with all that a dashboard shows."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli.questions import QUESTIONS, plot
from spendtree.event import Event, Kind
from spendtree.store import Store, open_store
from spendtree.testing import assert_books_balance

ROOT = Path(__file__).resolve().parents[2]
HOURS = 10


def streamed(folder: Path, seed: int, hours: float) -> tuple[str, list[str]]:
    """Return the store that a stream has filled, and the sessions that it told of."""
    url = f"sqlite:///{folder}/{seed}-{hours}.db"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.sdk.streaming", url, str(seed), str(hours)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return url, done.stdout.split()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    return streamed(tmp_path_factory.mktemp("stream"), 1, HOURS)


@pytest.fixture
def store(long: tuple[str, list[str]]) -> Iterator[Store]:
    opened = open_store(long[0], create=False)
    yield opened
    opened.close()


def of(store: Store, *kinds: Kind) -> list[Event]:
    return list(store.events(kinds=kinds))


def data(event: Event) -> dict[str, Any]:
    return event.data or {}


def test_the_books_balance_and_every_session_is_closed(store: Store) -> None:
    opened = [event.context.session for event in of(store, Kind.SESSION_OPENED)]
    closed = [event.context.session for event in of(store, Kind.SESSION_CLOSED)]

    assert sorted(opened) == sorted(closed)
    assert_books_balance(store)


def test_sessions_are_told_as_they_end(long: tuple[str, list[str]], store: Store) -> None:
    """All but those that were interrupted: these are closed as failed."""
    interrupted = [
        event.context.session
        for event in of(store, Kind.SESSION_CLOSED)
        if event.context.session not in long[1]
    ]

    assert len(set(long[1])) == len(long[1]) > 100
    assert len(interrupted) < 10


def test_sessions_last_a_minute_or_two_and_overlap(store: Store) -> None:
    begun = {event.context.session: event.at for event in of(store, Kind.SESSION_OPENED)}
    ends = {event.context.session: event.at for event in of(store, Kind.SESSION_CLOSED)}
    lasted = sorted((ends[each] - at) / 1e6 for each, at in begun.items())
    order = sorted(begun, key=lambda each: begun[each])

    assert 30 < lasted[len(lasted) // 2] < 300
    assert any(ends[one] > begun[next] for one, next in pairwise(order))


def test_sessions_end_in_every_way_that_a_running_program_has(store: Store) -> None:
    statuses = Counter(event.status for event in of(store, Kind.SESSION_CLOSED))

    assert statuses.keys() == {"succeeded", "failed", "budget_exceeded"}
    assert statuses["succeeded"] > statuses.total() / 2


def test_everything_is_denied_that_can_be(store: Store) -> None:
    """By envelopes, ceilings and a customer's budget; for want of money, of time and of a price."""
    denied = {
        (data(event).get("kind"), event.status)
        for event in of(store, Kind.DENIED)
        if not data(event).get("would")
    }
    would = [event for event in of(store, Kind.DENIED) if data(event).get("would")]

    assert {
        ("envelope", "exhausted"),
        ("envelope", "busy"),
        ("session", "exhausted"),
        ("customer", "exhausted"),
        (None, "unknown_price"),
    } <= denied
    assert {event.context.customer for event in would} == {"umbrella"}


def test_calls_end_in_every_way(store: Store) -> None:
    calls = of(store, Kind.CALL, Kind.LAPSE)

    assert {event.status for event in calls} == {"ok", "failed", "lapsed", "unmetered"}
    assert any(event.cost is None for event in calls), "one has no price"
    assert any(event.cost and event.held and event.cost > event.held for event in calls)
    assert {data(e)["unattributed"] for e in calls if "unattributed" in data(e)} == {
        "no_scope",
        "lost_thread",
    }
    assert any("waited_us" in data(event) for event in calls)
    assert {event.request.provider for event in calls} == {
        *("anthropic", "openai", "google", "self-hosted")
    }


def test_agents_route_again_move_money_and_break_contracts(store: Store) -> None:
    cycles = {event.context.cycle for event in of(store, Kind.CALL)}
    moved = {(data(e)["source_agent"], data(e)["target_agent"]) for e in of(store, Kind.TRANSFER)}
    broken = {
        (event.context.agent, data(event)["violation"]["kind"])
        for event in of(store, Kind.MESSAGE)
        if "violation" in data(event)
    }

    assert {1, 2, 3} <= cycles
    assert moved == {("researcher", "quality-checker"), ("extractor", "coordinator")}
    assert broken == {("researcher", "max"), ("quality-checker", "min")}


def test_marks_are_crossed_of_every_kind_of_account(store: Store) -> None:
    kinds = {data(event)["kind"] for event in of(store, Kind.WARNED)}

    assert {"session", "envelope", "customer"} <= kinds


def test_the_same_seed_asks_the_same_at_the_same_time(tmp_path: Path) -> None:
    asked = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        url, _ = streamed(tmp_path / name, seed, 1)
        opened = open_store(url)
        events = of(opened, Kind.SESSION_OPENED)
        asked.append([(event.at, event.context.customer, event.context.team) for event in events])
        opened.close()

    assert asked[0] == asked[1] != asked[2]
    assert len(asked[0]) > 5


def test_every_customer_is_in_the_configuration_and_asks() -> None:
    plots = [plot(number) for number in range(360)]

    assert {question.customer for question in QUESTIONS} == {
        *("acme", "globex", "initech", "umbrella", "hooli")
    }
    assert max(each.failing_cycles for each in plots) == 2
    for what in ("tight", "crowded", "small_envelope", "moves_money", "translates", "outage"):
        share = sum(getattr(each, what) for each in plots) / len(plots)
        assert 0.01 < share < 0.4, what
