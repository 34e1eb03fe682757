"""How a call ended that gave no usage: surely not billed, or unknown."""

import asyncio
import contextlib
import http.server
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from spendtree.ending import ENDINGS, NOT_BILLED_STATUS, not_billed, table
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
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Give the address of a port at which nobody listens, kept from being given to others."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}/"


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection on loopback, byte by byte as a test wants it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join()


def error_of_client(url: str) -> Exception:
    client = httpx.Client(trust_env=False, timeout=0.2)
    with pytest.raises(httpx.HTTPError) as error, client:
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
    for retried in (TimeoutError(), ValueError("no JSON")):
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


def test_a_host_without_an_address_was_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not_billed(error_of_client("http://api.example.org/")) == "host name not found"


def test_a_tls_connection_that_does_not_come_about_carries_no_request() -> None:
    with serving(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        error = error_of_client(url.replace("http:", "https:"))
    assert not_billed(error) == "no connection"
    untrusted = httpx.ConnectError("certificate verify failed")
    untrusted.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert not_billed(untrusted) == "no trusted TLS connection"
    assert not_billed(ssl.SSLError("record layer failure")) == ""  # may come while an answer does


def test_a_request_that_was_sent_and_not_answered_may_have_been_billed() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass

    with serving(silent) as url:
        error = error_of_client(url)
    assert type(error) is httpx.ReadTimeout
    assert not_billed(error) == ""


def test_an_answer_that_was_cut_off_may_have_been_billed() -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    def nothing(connection: socket.socket) -> None:
        connection.recv(1024)

    for answer in (half, nothing):
        with serving(answer) as url:
            error = error_of_client(url)
        assert type(error) is httpx.RemoteProtocolError
        assert not_billed(error) == ""


def test_a_connection_that_is_not_made_in_time_carries_no_request() -> None:
    for kind in (httpx.ConnectTimeout, httpx.PoolTimeout):
        error = kind("timed out")
        error.__cause__ = TimeoutError()  # which alone would be unclear
        assert not_billed(error) == "no connection"


# Clients that are not installed here: their errors by module, name and what they carry.


def named(path: str, *bases: type[BaseException], **attributes: Any) -> Any:
    """Return a new error class that calls itself by a path."""
    module, _, name = path.rpartition(".")
    return type(name, bases or (Exception,), {"__module__": module, **attributes})


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def response(status: int) -> Any:
    return SimpleNamespace(status_code=status)


def botocore(code: str, status: int | None = None) -> Exception:
    said: dict[str, Any] = {"Error": {"Code": code, "Message": "…"}}
    if status is not None:
        said["ResponseMetadata"] = {"HTTPStatusCode": status}
    error: Exception = named("botocore.errorfactory." + code)()
    error.response = said  # type: ignore[attr-defined]
    return error


def grpc(name: str) -> Exception:
    code = staticmethod(lambda: SimpleNamespace(name=name, value=(0, name)))
    error: Exception = named("grpc._channel._InactiveRpcError", code=code)()
    return error


REFUSED_429 = "refused with HTTP status 429"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (named("openai.RateLimitError", response=response(429), status_code=429)(), REFUSED_429),
        (named("anthropic.APIStatusError", response=response(529), status_code=529)(), "529"),
        (named("google.genai.errors.ClientError", code=429, status="RESOURCE_EXHAUSTED")(), "429"),
        (named("google.api_core.exceptions.ResourceExhausted", code=429)(), "429"),
        (named("aiohttp.client_exceptions.ClientResponseError", status=404)(), "404"),
        (named("cohere.errors.UnauthorizedError", status_code=401)(), "401"),
        (botocore("ThrottlingException", 429), REFUSED_429),
        (botocore("ThrottlingException"), "refused by Bedrock before a model ran"),
        (botocore("ValidationException", 400), "400"),
        (grpc("RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"),
        (grpc("INVALID_ARGUMENT"), "INVALID_ARGUMENT"),
        (named("botocore.exceptions.EndpointConnectionError")(), "no connection"),
        (named("botocore.exceptions.NoCredentialsError")(), "no request could be made"),
        (named("aiohttp.client_exceptions.ClientConnectorError")(), "no connection"),
        (named("httpx2.ConnectError")(), "no connection"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_clients_say_of_a_refusal_is_read(error: BaseException, reason: str) -> None:
    assert reason in not_billed(error)
    assert not_billed(raised_from(RuntimeError("the agent failed"), error)) == not_billed(error)


@pytest.mark.parametrize(
    "error",
    [
        named("openai.APITimeoutError")(),
        named("openai.APIConnectionError")(),
        named("openai.InternalServerError", response=response(500), status_code=500)(),
        # Azure charges for an input that a filter read, and for one that is too long.
        named("openai.BadRequestError", response=response(400), code="content_filter")(),
        named("openai.BadRequestError", response=response(400), code="context_length_exceeded")(),
        named("azure.BadRequest", status_code=400, body={"error": {"code": "content_filter"}})(),
        # In the middle of a stream: the error's status is what it says, not what was answered.
        named("anthropic.OverloadedError", response=response(200), status_code=529)(),
        named("google.genai.errors.ClientError", code=429, response=response(200))(),
        named("botocore.exceptions.EventStreamError", response={"Error": {"Code": "x"}})(),
        botocore("ThrottlingException", 503),
        botocore("ModelTimeoutException", 408),
        botocore("ModelErrorException", 424),
        botocore("ModelStreamErrorException"),
        named("botocore.exceptions.ReadTimeoutError")(),
        named("botocore.exceptions.ConnectionClosedError")(),
        named("google.api_core.exceptions.Aborted", code=409)(),
        named("google.api_core.exceptions.DeadlineExceeded", code=504)(),
        grpc("DEADLINE_EXCEEDED"),
        grpc("UNAVAILABLE"),
        raised_from(named("tenacity.RetryError")(), ConnectionRefusedError()),
        named("httpx2.ReadTimeout")(),
        named("elsewhere.ConnectError")(),
        SystemExit(404),
        named("elsewhere.Odd", code=lambda: 1 / 0)(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_clients_say_of_an_unclear_ending_is_not_sure(error: BaseException) -> None:
    assert not_billed(error) == ""


def test_a_timeout_while_connecting_is_found_under_what_hides_it() -> None:
    error = raised_from(named("openai.APITimeoutError")(), httpx.ConnectTimeout("timed out"))
    assert not_billed(error) == "no connection"
    error = raised_from(named("openai.APITimeoutError")(), httpx.ReadTimeout("timed out"))
    assert not_billed(error) == ""


def test_a_cause_that_is_held_instead_of_raised_from_is_found() -> None:
    new = named("urllib3.exceptions.NewConnectionError")()
    retried = named("urllib3.exceptions.MaxRetryError", reason=new)()
    assert not_billed(named("requests.exceptions.ConnectionError")(retried)) == "no connection"
    aborted = named("urllib3.exceptions.ProtocolError")("aborted", ConnectionResetError())
    assert not_billed(named("requests.exceptions.ConnectionError")(aborted)) == ""
    assert not_billed(named("elsewhere.Error")(ConnectionRefusedError())) == ""


def test_a_group_was_not_billed_if_none_of_it_was() -> None:
    assert not_billed(ExceptionGroup("both", [ConnectionRefusedError()] * 2))
    assert not not_billed(ExceptionGroup("one", [ConnectionRefusedError(), TimeoutError()]))


# The table.


def test_every_row_says_why_and_by_what_source() -> None:
    for what, outcome, why, source in table():
        assert what
        assert why
        assert source
        assert outcome in ("void", "lapse")
    assert len(table()) == len(ENDINGS) >= 15


def test_no_name_stands_in_two_rows() -> None:
    names = [(row.kind, name) for row in ENDINGS for name in row.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", ENDINGS, ids=lambda row: row.names[0])
def test_every_name_of_a_row_ends_as_the_row_says(row: Any) -> None:
    for name in row.names:
        if row.kind == "status":
            error: BaseException = named("x.Error", status_code=int(name.replace("xx", "00")))()
        elif row.kind == "code":
            error = botocore(name)
        else:
            error = named(re.sub(r"^builtins\.", "builtins.", name), Exception)()
        assert bool(not_billed(error)) is (row.outcome == "void"), name


def test_the_names_of_what_is_installed_are_right() -> None:
    """A name that no client has would never match: those of installed modules are looked up."""
    modules = {"httpx": httpx, "ssl": ssl, "socket": socket, "asyncio": asyncio}
    modules["builtins"] = __import__("builtins")
    looked_up = 0
    for name in (name for row in ENDINGS if row.kind == "exception" for name in row.names):
        module, _, kind = name.rpartition(".")
        if module in modules:
            assert issubclass(getattr(modules[module], kind), BaseException), name
            looked_up += 1
    assert looked_up >= 15
