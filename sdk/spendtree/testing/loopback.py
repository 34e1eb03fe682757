"""A provider on 127.0.0.1 for real clients: answers what it is told to, and keeps its own bill.

It speaks HTTP as OpenAI and Anthropic do, so that a program is tried as it is, with its own client.
"""

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from spendtree import bound
from spendtree.testing.reply import Reply, answer
from spendtree.usage import Usage

DEFAULT_OUTPUT_TOKENS = 64

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")


class Received(NamedTuple):
    """One request that reached the provider: its path, headers (lower case), and JSON body."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def max_output_tokens(self) -> int | None:
        """Return the output limit that was sent, None if none was."""
        return next((int(self.body[key]) for key in _LIMITS if self.body.get(key)), None)


Respond = Callable[[int, Received], Reply]


class LoopbackProvider:
    """Serves until it is closed; use it with `with`, and a client's `base_url=provider.url`.

    Without `respond` each request is answered with the most that it can cost: as much input as
    its bound says, and all the output that it allows. `respond(ordinal, received)` returns the
    reply to request number `ordinal` (from 0); `play` queues replies that go before both. Safe for
    threads.
    """

    def __init__(self, respond: Respond | None = None) -> None:
        self._respond = respond or dearest
        self._lock = threading.Lock()
        self._queue: deque[Reply] = deque()
        self.received: list[Received] = []
        """What reached it, in order: the provider's own bill."""
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def origin(self) -> str:
        """Return where it is, without a path: the base URL of Anthropic's client."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """Return the base URL of OpenAI's client."""
        return f"{self.origin}/v1"

    def play(self, *replies: Reply) -> None:
        """Answer the next requests with these, one each, in order."""
        with self._lock:
            self._queue.extend(replies)

    def reply_to(self, received: Received) -> Reply:
        """Put a request on the bill and return what to answer."""
        with self._lock:
            ordinal = len(self.received)
            self.received.append(received)
            queued = self._queue.popleft() if self._queue else None
        return queued if queued is not None else self._respond(ordinal, received)

    def close(self) -> None:
        """End it, with all its connections."""
        self.closing.set()
        self._server.shutdown()
        with self._lock:
            open_now = list(self.connections)
        for connection in open_now:
            with suppress(OSError):  # it has gone by itself
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        for thread in [self._thread, *self._server.serving]:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def dearest(ordinal: int, received: Received) -> Reply:
    """Answer with the most that a request can cost, as far as it says itself."""
    content = {key: each for key, each in received.body.items() if key not in bound.NO_INPUT}
    inputs = bound.input_tokens(content) or 0
    outputs = received.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    choices = int(received.body.get("n") or 1)
    usage = Usage(inputs, outputs * choices)
    return answer(received.path, received.body, usage, "An answer of some words.")


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a program may end without closing it
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.serving: set[threading.Thread] = set()
        super().__init__(address, handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in a thread of its own that `close` waits for."""
        thread = threading.current_thread()
        self.serving.add(thread)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.serving.discard(thread)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what is tried here."""


def _handler(provider: LoopbackProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            provider.connections.add(self.connection)

        def finish(self) -> None:
            provider.connections.discard(self.connection)
            with suppress(OSError):  # the client went first
                super().finish()

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = _parsed(self.rfile.read(size))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = self.path.partition("?")[0]
            _send(self, provider, provider.reply_to(Received(path, headers, body)))

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Handler


def _parsed(content: bytes) -> Mapping[str, Any]:
    """Return a JSON body; what is none has no fields."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _send(handler: BaseHTTPRequestHandler, provider: LoopbackProvider, reply: Reply) -> None:
    while reply.gate is not None and not reply.gate.wait(0.05) and not provider.closing.is_set():
        pass
    if reply.fault and reply.fault_after < 0:
        _fail(handler, reply)
        return
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    whole = len(reply.pieces) == 1 and not reply.fault
    handler.send_header(*_framing(reply, whole=whole))
    handler.end_headers()
    for number, piece in enumerate(reply.pieces):
        if reply.fault and number == reply.fault_after:
            handler.wfile.flush()
            _fail(handler, reply)
            return
        handler.wfile.write(piece if whole else b"%x\r\n%b\r\n" % (len(piece), piece))
        if reply.pause_seconds:
            handler.wfile.flush()
            provider.closing.wait(reply.pause_seconds)
        elif not whole:
            handler.wfile.flush()
    if not whole:
        handler.wfile.write(b"0\r\n\r\n")
    handler.wfile.flush()


def _framing(reply: Reply, *, whole: bool) -> tuple[str, str]:
    if whole:
        return "Content-Length", str(len(reply.pieces[0]))
    return "Transfer-Encoding", "chunked"


def _fail(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.close_connection = True
    if reply.fault == "stall":
        handler.connection.recv(1)  # until the client goes, or the provider is closed
        return
    # No linger: what is closed sends a reset.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
