"""Serve: a listening socket, and uvicorn on it, in this thread or beside it."""

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from spendtree.errors import ConfigurationError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")

_GRACE_SECONDS = 5
"""How long open scrapes may take to end once a signal came."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9797`, `:9797` (every interface) or `[::1]:9797`.

    Raises ConfigurationError for anything else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ConfigurationError(
            f"--web.listen-address {text!r} is no address: write HOST:PORT, :PORT or [IPV6]:PORT"
        )
    return match["host"].strip("[]"), int(match["port"])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; host "" is every interface, port 0 any free port.

    Raises OSError when it cannot: port taken, no such host, not allowed.
    """
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family, _, _, _, address = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[
        0
    ]
    return socket.create_server(address[:2], family=family)


def url_of(sock: socket.socket) -> str:
    """Return the URL that reaches a listening socket from this host."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Starlette, host: str = "127.0.0.1", port: int = 9797) -> None:
    """Serve until SIGTERM or SIGINT, end what is open, and return. Raises OSError as `listen`."""
    serve_on(app, listen(host, port))


def serve_on(app: Starlette, sock: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT, and close it."""
    with sock:
        _server(app).run(sockets=[sock])


@contextmanager
def serving(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own while the block runs; the value is the URL.

    Raises OSError as `listen` does.
    """
    sock, server = listen(host, port), _server(app)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [sock]}, name="spendtree-serve", daemon=True
    )
    with sock:
        thread.start()
        try:
            yield url_of(sock)
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """uvicorn, but a signal that ended it gracefully is not raised again afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _server(app: Starlette) -> _Server:
    # Logging is the program's own business, hence no configuration; nor is each scrape news.
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
