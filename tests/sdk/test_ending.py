"""How a call ended that gave no usage: surely not billed, or unknown."""

import asyncio
import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from spendtree.ending import NOT_BILLED_STATUS, not_billed
from spendtree.testing import ProviderError


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve one HTTP status on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Give the address of a port at which nobody listens, kept from being given to others."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}/"


def error_of_client(url: str) -> Exception:
    with pytest.raises(httpx.HTTPError) as error, httpx.Client(trust_env=False) as client:
        client.get(url).raise_for_status()
    return error.value


async def error_of_async_client(url: str) -> Exception:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.HTTPError) as error:
            (await client.get(url)).raise_for_status()
    return error.value


@pytest.mark.parametrize("status", [400, 404, 429, 529])
def test_a_refusal_by_status_is_read_from_a_clients_error(status: int) -> None:
    with answering(status) as url:
        assert not_billed(error_of_client(url)) == f"refused with HTTP status {status}"


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_status_that_may_have_been_billed_is_not_sure(status: int) -> None:
    with answering(status) as url:
        assert not_billed(error_of_client(url)) == ""


def test_a_refused_connection_is_found_under_what_clients_wrap_around_it() -> None:
    with refusing() as url:
        assert not_billed(error_of_client(url)) == "connection refused"
        assert not_billed(asyncio.run(error_of_async_client(url))) == "connection refused"
        by_name = url.replace("127.0.0.1", "localhost")
        assert not_billed(asyncio.run(error_of_async_client(by_name))) == "connection refused"


def test_a_host_all_of_whose_addresses_refuse_is_a_refused_connection() -> None:
    refused = OSError("all connection attempts failed")
    refused.__cause__ = ExceptionGroup("all", [ConnectionRefusedError(), ConnectionRefusedError()])
    assert not_billed(refused) == "connection refused"
    mixed = OSError()
    mixed.__cause__ = ExceptionGroup("all", [ConnectionRefusedError(), TimeoutError()])
    assert not_billed(mixed) == ""


def test_a_cause_is_looked_for_but_what_was_handled_before_is_not() -> None:
    wrapped = ValueError("outer")
    wrapped.__cause__ = RuntimeError("inner")
    wrapped.__cause__.__cause__ = ConnectionRefusedError()
    assert not_billed(wrapped) == "connection refused"
    retried = TimeoutError()
    retried.__context__ = ConnectionRefusedError()
    assert not_billed(retried) == ""


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        asyncio.CancelledError(),
        ConnectionResetError(),
        BrokenPipeError(),
        KeyboardInterrupt(),
        ValueError("no JSON"),
    ],
)
def test_an_unclear_ending_is_not_sure(error: BaseException) -> None:
    assert not_billed(error) == ""


def test_an_error_that_is_its_own_cause_ends_the_search() -> None:
    error = ValueError()
    error.__cause__ = error
    assert not_billed(error) == ""


def test_no_server_error_and_no_success_is_among_the_statuses_not_billed() -> None:
    assert all(400 <= status < 500 or status == 529 for status in NOT_BILLED_STATUS)
    assert not_billed(ProviderError(200)) == ""
