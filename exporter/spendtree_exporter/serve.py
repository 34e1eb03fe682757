"""Serve: a listening socket, and uvicorn on it, in this thread or beside it."""

import asyncio
import os
import re
import signal
import socket
import ssl
import stat
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from spendtree.errors import ConfigurationError
from spendtree_exporter.connections import CONNECTIONS_MAX, Connections, Listener, Protocol
from spendtree_exporter.delivery import Delivery
from spendtree_exporter.hosts import answering

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")

UNIX = "unix:"
"""What an address begins with that is the path of a Unix socket."""

_GRACE_SECONDS = 5
"""How long open scrapes may take to end once a signal came."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9797`, `:9797` (every interface) or `[::1]:9797`.

    Raises ConfigurationError for anything else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ConfigurationError(
            f"--web.listen-address {text!r} is no address: write HOST:PORT, :PORT, "
            "[IPV6]:PORT or unix:/PATH"
        )
    return match["host"].strip("[]"), int(match["port"])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; host "" is every interface, port 0 any free port.

    Raises OSError when it cannot: port taken, no such host, not allowed.
    """
    if not host and socket.has_dualstack_ipv6():
        sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        sock = socket.create_server(address[:2], family=family)
    # Head and body are two writes: with Nagle's algorithm the second waits 40 ms for the first to
    # be acknowledged. Connections inherit it; asyncio sets it only on sockets made otherwise.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def listen_on(text: str) -> socket.socket:
    """Return a socket that listens on an address as `parse_address` takes it, or on `unix:/path`.

    A socket file that nobody listens on any more is replaced. Raises ConfigurationError for what
    is no address, and OSError, which names the address, when it cannot.
    """
    try:
        if text.startswith(UNIX):
            return _listen_unix(text.removeprefix(UNIX))
        return listen(*parse_address(text))
    except OSError as error:
        raise OSError(f"cannot listen on {text}: {error.strerror or error}") from error


def _listen_unix(path: str) -> socket.socket:
    if not path.startswith("/"):
        raise ConfigurationError(f"--web.listen-address {UNIX}{path} must name a full path")
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode) and _is_left(path):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def _is_left(path: str) -> bool:
    """Tell whether a socket file is one that a process left behind which is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
    return False


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """Return the URL that reaches a listening socket from this host; `unix:/path` for such one."""
    if sock.family == socket.AF_UNIX:
        return f"{UNIX}{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def serve(app: ASGIApp, host: str = "127.0.0.1", port: int = 9797) -> None:
    """Serve until SIGTERM or SIGINT, end what is open, and return. Raises OSError as `listen`."""
    with closing_socket(listen(host, port)) as sock:
        serve_on(app, [sock])


def serve_on(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext | None = None,
    *,
    hosts: Collection[str] = (),
    connections: int = CONNECTIONS_MAX,
) -> None:
    """Serve on listening sockets until SIGTERM or SIGINT, and close them.

    `hosts` are names that are answered to beside this host's own: see `hosts.answering`. At most
    so many `connections` are open at once.
    """
    _server(answering(app, sockets, hosts), tls, Connections(connections)).listen(sockets)


@contextmanager
def closing_socket(sock: socket.socket) -> Iterator[socket.socket]:
    """Close a listening socket after the block, and take away the file of one that has a path."""
    path = sock.getsockname() if sock.family == socket.AF_UNIX else ""
    try:
        with sock:
            yield sock
    finally:
        with suppress(OSError):
            os.unlink(path)


@contextmanager
def serving(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own while the block runs; the value is the URL.

    Raises OSError as `listen` does.
    """
    sock = listen(host, port)
    server, url = _server(answering(app, [sock])), url_of(sock)
    thread = threading.Thread(
        target=server.listen, args=([sock],), name="spendtree-serve", daemon=True
    )
    with sock:
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


class _Config(uvicorn.Config):
    """uvicorn's, with the connections that its protocols belong to."""

    connections: Connections


class _Server(uvicorn.Server):
    """uvicorn with limits, and a signal that ended it gracefully is not raised again afterwards."""

    config: _Config

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets, from which their connections are counted; they are closed with it."""
        self.run(sockets=[Listener.of(sock, self.config.connections) for sock in sockets])

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: end connections that take too long, once a second."""
        if counter % 10 == 0:
            self.config.connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop at once where nothing is being answered; what is has its grace."""
        self.config.connections.close_waiting(asyncio.get_running_loop().time())
        await super().shutdown(sockets)

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


def _server(
    app: ASGIApp, tls: ssl.SSLContext | None = None, connections: Connections | None = None
) -> _Server:
    # Logging is the program's own business, hence no configuration; nor is each scrape news.
    config = _Config(
        Delivery(app),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        # Named, since others may be installed: the limits are tested with these.
        loop="asyncio",
        http=Protocol,
        server_header=False,
        # A peer is who connects, not who a header says: everybody can write that.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    config.connections = connections or Connections()
    return _Server(config)
