"""Every attempt of a client is one call with one hold, and ends as the provider would bill it."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import anyio
import openai
import pytest

from spendtree import BudgetExceededError
from spendtree.event import Kind
from spendtree.testing.reply import Reply, answer, error_reply, events, json_reply
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    ASKS,
    MESSAGES,
    MODEL,
    Desk,
    anthropic_client,
    api_errors,
    async_anthropic_client,
    async_openai_client,
    openai_client,
)
from tests.sdk.patience import until

HELD_BY_OUTPUT = 50

each_client = pytest.mark.parametrize("client", ASKS)
streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@each_client
@streamed
def test_a_call_is_booked_to_the_agent_that_makes_it(desk: Desk, client: str, stream: bool) -> None:
    with desk.tracker.session(customer="acme", ceiling=1), desk.tracker.agent("writer"):
        ASKS[client](desk, stream=stream)

    end = desk.end()
    assert (end.kind, end.status) == (Kind.CALL, "ok")
    assert (end.context.customer, end.context.agent) == ("acme", "writer")
    assert end.request.model == MODEL
    assert end.output_tokens == HELD_BY_OUTPUT
    assert end.cost == end.held > 0
    desk.agree()


@each_client
@streamed
def test_a_rate_limit_is_void_and_the_next_attempt_holds_anew(
    desk: Desk, client: str, stream: bool, slept: list[float]
) -> None:
    refused = error_reply(429, headers={"retry-after": "7"})
    desk.provider.play(refused, refused)

    with desk.tracker.session(ceiling=1):
        ASKS[client](desk, stream=stream, max_retries=2)

    assert slept == [7, 7]
    assert desk.statuses() == ["failed", "failed", "ok"]
    assert [event.cost for event in desk.ends()][:2] == [0, 0]
    assert len({event.id for event in desk.ends()}) == 3
    desk.agree()


@each_client
def test_retries_are_as_many_as_the_user_says(desk: Desk, client: str, slept: list[float]) -> None:
    desk.provider.play(*[error_reply(500)] * 3)

    with desk.tracker.session(ceiling=1), pytest.raises(api_errors(), match="500"):
        ASKS[client](desk, max_retries=2)

    assert len(desk.provider.received) == 3
    assert len(slept) == 2
    assert desk.statuses() == ["lapsed"] * 3
    desk.agree()


def test_a_client_that_retries_nothing_by_itself_is_not_retried(desk: Desk) -> None:
    desk.provider.play(error_reply(500))

    with desk.tracker.session(ceiling=1), pytest.raises(openai.InternalServerError):
        ASKS["openai"](desk, max_retries=0)

    desk.agree()


def test_what_the_provider_says_of_retrying_holds(desk: Desk, slept: list[float]) -> None:
    desk.provider.play(error_reply(500, headers={"x-should-retry": "false"}))

    with desk.tracker.session(ceiling=1), pytest.raises(openai.InternalServerError):
        ASKS["openai"](desk, max_retries=5)

    assert slept == []
    desk.agree()


@each_client
def test_an_overloaded_provider_bills_nothing(desk: Desk, client: str, slept: list[float]) -> None:
    desk.provider.play(error_reply(529))

    with desk.tracker.session(ceiling=1):
        ASKS[client](desk, max_retries=1)

    assert [(event.status, event.cost == 0) for event in desk.ends()] == [
        ("failed", True),
        ("ok", False),
    ]
    desk.agree()


@each_client
@streamed
def test_a_refused_request_costs_nothing(desk: Desk, client: str, stream: bool) -> None:
    desk.provider.play(error_reply(400))

    with desk.tracker.session(ceiling=1), pytest.raises(api_errors(), match="400"):
        ASKS[client](desk, stream=stream)

    assert (desk.end().kind, desk.end().cost) == (Kind.CALL, 0)
    desk.agree()


@each_client
@streamed
@pytest.mark.parametrize("fault", ["stall", "reset"])
def test_what_ends_before_the_first_byte_is_presumed_spent(
    desk: Desk, client: str, stream: bool, fault: Any
) -> None:
    desk.provider.play(Reply(fault=fault))

    with desk.tracker.session(ceiling=1), pytest.raises(api_errors()):
        ASKS[client](desk, stream=stream, timeout=0.5)

    assert desk.statuses() == ["lapsed"]
    desk.agree()


@each_client
@pytest.mark.parametrize("fault", ["stall", "reset"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_stream_that_breaks_off_is_presumed_spent(
    desk: Desk, client: str, fault: Any, after: int
) -> None:
    whole = _stream_of(client)
    desk.provider.play(
        Reply(headers=whole.headers, pieces=whole.pieces, fault=fault, fault_after=after)
    )

    with desk.tracker.session(ceiling=1), pytest.raises(api_errors()):
        ASKS[client](desk, stream=True, timeout=0.5)

    assert desk.statuses() == ["lapsed"]
    assert desk.end().held > 0
    desk.agree()


@each_client
def test_a_timeout_is_tried_again_with_a_hold_of_its_own(
    desk: Desk, client: str, slept: list[float]
) -> None:
    desk.provider.play(Reply(fault="stall"))

    with desk.tracker.session(ceiling=1):
        ASKS[client](desk, timeout=0.5, max_retries=1)

    assert desk.statuses() == ["lapsed", "ok"]
    desk.agree()


def test_another_attempt_needs_money_like_the_first(desk: Desk, slept: list[float]) -> None:
    """A failure that may have been billed is presumed spent, so the second attempt has no money."""
    desk.provider.play(error_reply(500))

    with pytest.raises(BudgetExceededError), desk.tracker.session(ceiling="0.003"):
        ASKS["openai"](desk, max_retries=5)

    assert len(desk.provider.received) == 1
    desk.agree()


@each_client
@streamed
@pytest.mark.parametrize("usage", ["none", "malformed", "contradicting"])
def test_a_response_without_a_usage_is_unmetered_at_its_hold(
    desk: Desk, client: str, stream: bool, usage: str
) -> None:
    desk.provider.play(_spoilt(client, stream, SPOILT[usage]))

    with desk.tracker.session(ceiling=1):
        ASKS[client](desk, stream=stream)

    assert (desk.end().kind, desk.end().status) == (Kind.LAPSE, "unmetered")
    assert desk.end().held > 0
    desk.agree()


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "none": lambda usage: None,
    "malformed": lambda usage: dict.fromkeys(usage, "many"),
    "contradicting": lambda usage: {
        key: -1 if isinstance(value, int) else value for key, value in usage.items()
    },
}


@pytest.mark.parametrize("client", ["openai", "openai-async"])
def test_a_usage_that_is_told_twice_counts_once(desk: Desk, client: str) -> None:
    whole = _stream_of(client)
    *before, usage, done = whole.pieces
    desk.provider.play(Reply(headers=whole.headers, pieces=(*before, usage, usage, done)))

    with desk.tracker.session(ceiling=1):
        chunks = ASKS[client](desk, stream=True)

    assert desk.end().usage == USAGE
    assert not [chunk for chunk in chunks if not chunk.choices]
    desk.agree()


def test_a_usage_that_grows_in_every_chunk_counts_as_it_ended(desk: Desk) -> None:
    told = [
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
            "usage": {"prompt_tokens": 20, "completion_tokens": n, "total_tokens": 20 + n},
        }
        for n in range(1, 40)
    ]
    desk.provider.play(events(*told, done=True))

    with desk.tracker.session(ceiling=1):
        chunks = ASKS["openai"](desk, stream=True)

    assert len(chunks) == 39
    assert desk.end().usage == Usage(20, 39)
    desk.agree()


@each_client
def test_a_stream_that_trickles_settles_when_it_ends(desk: Desk, client: str) -> None:
    whole = _stream_of(client)
    halves = [half for piece in whole.pieces for half in (piece[:7], piece[7:]) if half]
    desk.provider.play(Reply(headers=whole.headers, pieces=halves, pause_seconds=0.002))

    with desk.tracker.session(ceiling=1):
        ASKS[client](desk, stream=True)

    assert desk.end().usage == USAGE
    desk.agree()


@pytest.mark.parametrize("library", ["openai", "anthropic"])
@streamed
def test_a_cancelled_task_is_presumed_spent(desk: Desk, library: str, stream: bool) -> None:
    whole = _stream_of(library)
    stalled = (
        Reply(headers=whole.headers, pieces=whole.pieces, fault="stall", fault_after=2)
        if stream
        else Reply(fault="stall")
    )
    desk.provider.play(stalled)

    async def cancelled() -> None:
        begun = asyncio.Event()
        asked = asyncio.create_task(_ask_async(library, desk, stream, begun))
        if stream:
            await begun.wait()
        else:
            await asyncio.to_thread(until, lambda: desk.provider.received)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    with desk.tracker.session(ceiling=1):
        asyncio.run(cancelled())

    assert desk.statuses() == ["lapsed"]
    desk.agree()


def test_what_is_cancelled_before_it_is_sent_costs_nothing(desk: Desk) -> None:
    """One connection, and it is taken: the second request waits for it and is cancelled."""
    desk.provider.play(Reply(fault="stall"))
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=1)

    async def cancelled() -> None:
        client = openai.AsyncOpenAI(
            base_url=desk.provider.url,
            api_key="k",
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, verify=False),
        )
        async with client:
            first, second = (asyncio.create_task(_chat(client)) for _ in range(2))
            await asyncio.to_thread(until, lambda: desk.provider.received)
            for _ in range(100):  # the second one gets as far as it can
                await asyncio.sleep(0)
            for task in (second, first):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    with desk.tracker.session(ceiling=1):
        asyncio.run(cancelled())

    assert sorted(event.kind for event in desk.ends()) == [Kind.CALL, Kind.LAPSE]
    (void,) = [event for event in desk.ends() if event.kind == Kind.CALL]
    assert (void.status, void.cost) == ("failed", 0)
    desk.agree(unreached=1)


def _connect(error: BaseException) -> None:
    """Fail, in a function that is named like one of the HTTP library's."""
    raise error


def _http_error() -> Exception:
    """Return what the HTTP library below the client raises where there is no connection."""
    module = next(
        kind.__module__.partition(".")[0]
        for kind in openai.DefaultHttpxClient.__mro__
        if kind.__module__.startswith("httpx")
    )
    error: Exception = import_module(module).ConnectError("metrics server")
    return error


@pytest.mark.parametrize(
    "make",
    [lambda: ConnectionRefusedError("metrics"), _http_error, lambda: RuntimeError("pool is gone")],
    ids=["refused", "http", "other"],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_response_hook_that_fails_leaves_the_answer_billed(
    desk: Desk, make: Callable[[], Exception], asynchronous: bool
) -> None:
    """The provider answered; that the hook found its own server closed says nothing of that."""
    if asynchronous:
        asyncio.run(_ask_with_async_hook(desk, make()))
    else:
        _ask_with_hook(desk, make())

    assert desk.end().kind == Kind.LAPSE
    desk.agree()


def _ask_with_hook(desk: Desk, error: Exception) -> None:
    def hook(response: Any) -> None:
        _connect(error)

    http = openai.DefaultHttpxClient(verify=False, event_hooks={"response": [hook]})
    options: Any = {"base_url": desk.provider.url, "api_key": "k", "max_retries": 0}
    with (
        desk.tracker.session(ceiling=1),
        openai.OpenAI(http_client=http, **options) as client,
        pytest.raises((openai.APIConnectionError, type(error))),
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)


async def _ask_with_async_hook(desk: Desk, error: Exception) -> None:
    async def hook(response: Any) -> None:
        _connect(error)

    http = openai.DefaultAsyncHttpxClient(verify=False, event_hooks={"response": [hook]})
    options: Any = {"base_url": desk.provider.url, "api_key": "k", "max_retries": 0}
    async with (
        desk.tracker.session(ceiling=1),
        openai.AsyncOpenAI(http_client=http, **options) as client,
    ):
        with pytest.raises((openai.APIConnectionError, type(error))):
            await _chat(client)


@pytest.mark.parametrize("library", ["openai", "anthropic"])
def test_a_refused_connection_costs_nothing(desk: Desk, library: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    client: Any = (
        openai_client(desk, url=url, max_retries=0)
        if library == "openai"
        else anthropic_client(desk, url=url, max_retries=0)
    )
    messages = client.chat.completions if library == "openai" else client.messages

    with desk.tracker.session(ceiling=1), client, pytest.raises(api_errors()):
        messages.create(model=MODEL, messages=MESSAGES, max_tokens=5)

    assert (desk.end().kind, desk.end().cost) == (Kind.CALL, 0)
    desk.agree(unreached=1)


def test_a_function_that_only_has_such_a_name_does_not_tell_that_nothing_was_sent(
    desk: Desk,
) -> None:
    """A transport of the user's may fail after it sent the request, in a `_connect` of its own."""
    base: Any = next(
        import_module(kind.__module__.partition(".")[0]).HTTPTransport
        for kind in openai.DefaultHttpxClient.__mro__
        if kind.__module__.startswith("httpx")
    )

    class Transport(base):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            super().handle_request(request).read()
            _connect(KeyboardInterrupt())

    http = openai.DefaultHttpxClient(transport=Transport(verify=False))
    options: Any = {"base_url": desk.provider.url, "api_key": "k", "max_retries": 0}
    with (
        desk.tracker.session(ceiling=1),
        openai.OpenAI(http_client=http, **options) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)

    assert desk.end().kind == Kind.LAPSE
    desk.agree()


def test_a_request_that_cannot_be_made_costs_nothing(desk: Desk) -> None:
    """A header that cannot be encoded: it fails before there is anything to send."""
    with (
        desk.tracker.session(ceiling=1),
        openai_client(desk) as client,
        pytest.raises(UnicodeEncodeError),
    ):
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=5, extra_headers={"x-name": "käse\u2603"}
        )

    assert (desk.end().kind, desk.end().cost) == (Kind.CALL, 0)
    desk.agree(unreached=1)


@pytest.mark.parametrize("given", [None, "my-key"])
@pytest.mark.parametrize("library", ["openai", "anthropic"])
def test_all_attempts_carry_one_idempotency_key(
    desk: Desk, library: str, given: str | None, slept: list[float]
) -> None:
    desk.provider.play(error_reply(500), error_reply(500))

    with desk.tracker.session(ceiling=1):
        options: Any = {"idempotency_key": given} if given else {}
        body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}
        if library == "openai":
            with openai_client(desk) as client:
                client._idempotency_header = "Idempotency-Key"
                client.post("/chat/completions", body=body, options=options, cast_to=object)
        else:
            with anthropic_client(desk) as other:
                other._idempotency_header = "Idempotency-Key"
                other.post("/v1/messages", body=body, options=options, cast_to=object)

    keys = [each.headers["idempotency-key"] for each in desk.provider.received]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert given is None or keys[0] == given
    desk.agree()


@pytest.mark.parametrize("library", ["openai", "anthropic"])
def test_attempts_are_counted_as_the_client_counts_them(
    desk: Desk, library: str, slept: list[float]
) -> None:
    desk.provider.play(error_reply(500), error_reply(500))

    with desk.tracker.session(ceiling=1):
        if library == "openai":
            with openai_client(desk) as client:
                raw: Any = client.chat.completions.with_raw_response.create(
                    model=MODEL, messages=MESSAGES, max_tokens=5
                )
        else:
            with anthropic_client(desk) as other:
                raw = other.messages.with_raw_response.create(
                    model=MODEL, messages=MESSAGES, max_tokens=5
                )

    assert raw.retries_taken == 2
    counts = [each.headers["x-stainless-retry-count"] for each in desk.provider.received]
    assert counts == ["0", "1", "2"]
    desk.agree()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have the clients' pauses between attempts pass at once, and return how long they were."""
    pauses: list[float] = []

    async def pass_at_once(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(anyio, "sleep", pass_at_once)
    return pauses


USAGE = Usage(30, 12)


def _stream_of(client: str) -> Reply:
    return answer(_path(client), _body(stream=True), USAGE, "one two three four")


def _path(client: str) -> str:
    if client == "responses":
        return "/v1/responses"
    return "/v1/messages" if client.startswith("anthropic") else "/v1/chat/completions"


def _body(*, stream: bool) -> dict[str, Any]:
    return {"model": MODEL, "stream": stream, "stream_options": {"include_usage": True}}


def _spoilt(client: str, stream: bool, spoil: Callable[[dict[str, Any]], Any]) -> Reply:
    """Return a reply whose usage is spoilt, wherever it stands."""

    def spoilt(thing: Any) -> Any:
        if isinstance(thing, list):
            return [spoilt(each) for each in thing]
        if not isinstance(thing, dict):
            return thing
        return {
            key: spoil(value) if key == "usage" and value else spoilt(value)
            for key, value in thing.items()
        }

    whole = answer(_path(client), _body(stream=stream), USAGE)
    if not stream:
        return json_reply(spoilt(json.loads(whole.pieces[0])))
    pieces = []
    for piece in whole.pieces:
        head, mark, data = piece.partition(b"data: ")
        if data.startswith(b"{"):
            data = json.dumps(spoilt(json.loads(data))).encode() + b"\n\n"
        pieces.append(head + mark + data)
    return Reply(headers=whole.headers, pieces=pieces)


async def _ask_async(library: str, desk: Desk, stream: bool, begun: asyncio.Event) -> None:
    answered: Any
    if library == "openai":
        async with async_openai_client(desk) as client:
            answered = await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, max_tokens=5, stream=stream
            )
            await _read(answered, begun)
    else:
        async with async_anthropic_client(desk) as made:
            answered = await made.messages.create(
                model=MODEL, messages=MESSAGES, max_tokens=5, stream=stream
            )
            await _read(answered, begun)


async def _read(stream: Any, begun: asyncio.Event) -> None:
    async for _ in stream:
        begun.set()


async def _chat(client: openai.AsyncOpenAI) -> None:
    await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)
