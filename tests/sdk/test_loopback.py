"""The loopback provider answers as it is told to, and puts every request on its bill."""

import http.client
import json
import threading
from typing import Any

import pytest

from spendtree.response import usage_of
from spendtree.testing import LoopbackProvider, Received, Reply
from spendtree.testing.reply import answer, error_reply, event_reply, json_reply, recorded_reply
from spendtree.usage import Usage

BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}


def post(provider: LoopbackProvider, path: str = "/v1/chat/completions", **more: Any) -> Any:
    """Post a request; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", int(provider.origin.rpartition(":")[2]))
    try:
        connection.request("POST", path, json.dumps({**BODY, **more}), {"X-Name": "value"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_request_is_answered_with_the_most_that_it_can_cost_and_stands_on_the_bill() -> None:
    with LoopbackProvider() as provider:
        status, body = post(provider)

    usage = usage_of(json.loads(body))
    assert (status, usage and usage.output_tokens) == (200, 9)
    (received,) = provider.received
    assert (received.path, received.body) == ("/v1/chat/completions", BODY)
    assert received.headers["x-name"] == "value"
    assert received.max_output_tokens == 9


def test_replies_that_are_queued_go_before_the_function() -> None:
    def respond(ordinal: int, received: Received) -> Reply:
        return json_reply({"ordinal": ordinal})

    with LoopbackProvider(respond) as provider:
        provider.play(error_reply(503))
        statuses = [post(provider)[0], post(provider)[0]]
        last = json.loads(post(provider)[1])

    assert statuses == [503, 200]
    assert last == {"ordinal": 2}


def test_a_stream_is_sent_byte_for_byte() -> None:
    text = ": comment\r\n\r\ndata: {}\n\nevent: x\ndata: [DONE]\n\n"

    with LoopbackProvider() as provider:
        provider.play(event_reply(text))
        _, body = post(provider)

    assert body == text.encode()


@pytest.mark.parametrize("after", [-1, 0, 2])
def test_a_connection_is_reset_where_it_shall_be(after: int) -> None:
    reply = Reply(pieces=(b"one", b"two", b"three"), fault="reset", fault_after=after)

    with LoopbackProvider() as provider:
        provider.play(reply)
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            post(provider)

    assert len(provider.received) == 1


def test_what_stalls_ends_when_the_provider_is_closed() -> None:
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            post(provider)
        except (OSError, http.client.HTTPException) as error:
            ended.append(error)

    with LoopbackProvider() as provider:
        provider.play(Reply(fault="stall"))
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not provider.received:
            waiting.join(0.01)
    waiting.join()

    assert len(ended) == 1


def test_nothing_is_sent_before_the_gate_is_open() -> None:
    gate = threading.Event()

    with LoopbackProvider() as provider:
        provider.play(json_reply({}), Reply(gate=gate))
        results: list[Any] = []
        waiting = threading.Thread(target=lambda: results.append(post(provider)))
        post(provider)
        waiting.start()
        while len(provider.received) < 2:
            waiting.join(0.01)
        before = list(results)
        gate.set()
        waiting.join()

    assert (before, results[0][0]) == ([], 200)


USAGE = Usage(11, 7, 5)


STREAMED = ("/v1/chat/completions", "/v1/responses", "/v1/messages")


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("/v1/completions", False),
        *((path, stream) for path in STREAMED for stream in (False, True)),
    ],
)
def test_a_usage_is_told_as_each_api_tells_it(path: str, stream: bool) -> None:
    request = {"model": "m", "stream": stream, "stream_options": {"include_usage": True}}
    reply = answer(path, request, USAGE)

    said = [json.loads(line[5:]) for line in _data(reply)] if stream else json.loads(*reply.pieces)
    assert usage_of(said) == USAGE


def _data(reply: Reply) -> list[bytes]:
    lines = b"".join(reply.pieces).splitlines()
    return [line for line in lines if line.startswith(b"data: {")]


def test_what_no_api_has_is_not_found() -> None:
    assert answer("/v1/nowhere", {}, USAGE).status == 404


def test_a_recording_is_played_as_it_was() -> None:
    whole = {"status": 404, "headers": {"content-type": "application/json"}, "body_json": {"a": 1}}
    stream = {"status": 200, "headers": {"x": "y"}, "body_text": "data: 1\n\ndata: 2\n\n"}

    assert recorded_reply({"response": whole}).status == 404
    assert recorded_reply({"response": stream}) == Reply(
        headers={"x": "y"}, pieces=(b"data: 1\n\n", b"data: 2\n\n")
    )
