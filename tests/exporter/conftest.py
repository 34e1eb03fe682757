"""What the exporter's tests share: a small log, a growing SQLite file, Prometheus' own programs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spendtree.account import session_account
from spendtree.event import Context, Event, Kind, Request
from spendtree.store import Store, open_store
from tests.programs import program

Load = Callable[[Store, int, int], None]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite store that exists and is empty."""
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    open_store(url).close()
    return url


@pytest.fixture
def load() -> Load:
    """The function `load_calls`."""
    return load_calls


def load_calls(store: Store, first: int, count: int) -> None:
    """Record calls `first … first + count - 1`, of 10 sessions and odd prices."""
    calls = [_call(number) for number in range(first, first + count)]
    sessions = {event.context.session for event in calls}
    store.load([session_account(name) for name in sorted(sessions)], calls)


def _call(number: int) -> Event:
    session = f"s-{number % 10}"
    context = Context(
        session,
        customer=f"customer-{number % 3}",
        agent=("coordinator", "researcher")[number % 2],
        level=1 + number % 2,
        path=(session_account(session).id,),
    )
    return Event(
        0,
        Kind.CALL,
        # Recorded in the far future: these sessions are still shown whenever the test runs.
        4_000_000_000_000_000,
        number.to_bytes(16, "big"),
        context,
        Request("openai", ("gpt-4o", "gpt-4o-mini")[number % 2]),
        cost=123_456_789 * (number + 1),
        held=10**12,
        input_tokens=number,
        output_tokens=7,
        status="ok",
    )


@pytest.fixture
def promtool() -> str:
    """The path of promtool."""
    return program("promtool")


@pytest.fixture
def prometheus() -> str:
    """The path of Prometheus itself."""
    return program("prometheus")
