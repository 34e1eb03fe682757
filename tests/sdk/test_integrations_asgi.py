"""The ASGI middleware: which connections go on in their caller's scope."""

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from spendtree import Spendtree, current
from spendtree.integrations.asgi import SpendtreeMiddleware


class Application:
    """Notes the session of each connection it serves."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        here = current()
        self.seen.append(None if here is None else here.session.id)
        if scope["type"] == "websocket":
            socket = WebSocket(scope, receive, send)
            await socket.accept()
            await socket.close()
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        assert here is None or here.alive


@pytest.fixture
def tracker() -> Spendtree:
    return Spendtree("memory:")


@pytest.fixture
def headers(tracker: Spendtree) -> dict[str, str]:
    with tracker.session("s"):
        return dict(tracker.inject())


def test_requests_and_websockets_go_on_in_the_scope_that_they_name(
    tracker: Spendtree, headers: dict[str, str]
) -> None:
    app = Application()
    client = TestClient(SpendtreeMiddleware(app, tracker=tracker))

    client.get("/", headers=headers)
    with client.websocket_connect("/", headers=headers):
        pass
    client.get("/")

    assert app.seen == ["s", "s", None]
    assert current() is None


def test_only_accepted_callers_are_believed(tracker: Spendtree, headers: dict[str, str]) -> None:
    app = Application()
    client = TestClient(
        SpendtreeMiddleware(
            app, tracker=tracker, accept=lambda scope: (b"x-key", b"good") in scope["headers"]
        )
    )

    client.get("/", headers=headers)
    client.get("/", headers={**headers, "x-key": "good"})

    assert app.seen == [None, "s"]


def test_the_lifespan_passes_through(tracker: Spendtree) -> None:
    app = Application()
    asyncio.run(SpendtreeMiddleware(app, tracker=tracker)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert app.seen == [None]


def test_what_the_application_raises_passes_through_and_ends_the_scope(
    tracker: Spendtree, headers: dict[str, str]
) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    client = TestClient(SpendtreeMiddleware(fails, tracker=tracker))
    with pytest.raises(ZeroDivisionError):
        client.get("/", headers=headers)
    assert current() is None


def test_a_session_that_is_out_of_money_is_served_all_the_same(tracker: Spendtree) -> None:
    app = Application()
    with tracker.session("s", ceiling="0.01") as session:
        session.set_ceiling("0")
        told = dict(tracker.inject())
    TestClient(SpendtreeMiddleware(app, tracker=tracker)).get("/", headers=told)
    assert app.seen == ["s"]


def test_without_a_tracker_it_is_the_default_one(headers: dict[str, str]) -> None:
    app = Application()
    TestClient(SpendtreeMiddleware(app)).get("/", headers={"baggage": "spendtree.session=mine"})
    assert app.seen == ["mine"]
