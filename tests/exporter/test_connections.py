"""Connections that ask for nothing, or take for ever: they cost no scrape."""

import asyncio
import re
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spendtree.store.memory import MemoryStore
from spendtree_exporter import serve as serve_module
from spendtree_exporter.app import create_app
from spendtree_exporter.connections import Connections, Listener, Timeouts
from spendtree_exporter.delivery import Delivery
from spendtree_exporter.serve import listen_on, serving
from tests.exporter.test_follow import until

FAST = Timeouts(handshake=1.0, head=1.0, body=1.0, read=1.0, end=1.0)


@contextmanager
def limited(monkeypatch: pytest.MonkeyPatch, connections: Connections) -> Iterator[str]:
    """Serve a small exporter with other limits."""
    monkeypatch.setattr(serve_module, "Connections", lambda *_: connections)
    with serving(create_app(MemoryStore())) as url:
        yield url


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), 10)
    sock.settimeout(20)
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Wait until the other side has closed, whatever it sends before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def test_the_connection_that_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(8)
    with limited(monkeypatch, connections) as url, ExitStack() as stack:
        silent = [stack.enter_context(connected(url)) for _ in range(20)]
        for _ in range(3):
            assert httpx.get(f"{url}/-/healthy").status_code == 200
        assert is_closed(silent[0])
        assert len(connections) <= connections.most + 1


def test_a_peer_has_half_of_them_and_a_unix_socket_all() -> None:
    connections = Connections(4)

    async def added(address: object) -> list[bool]:
        found = []
        for _ in range(3):
            ours, theirs = socket.socketpair()
            found.append(connections.add(ours, address, 0.0))
            kept.append((ours, theirs))
        return found

    kept: list[tuple[socket.socket, socket.socket]] = []
    assert asyncio.run(added(("192.0.2.1", 1))) == [True] * 3
    first = kept[0][1]
    first.settimeout(1)
    assert first.recv(1) == b"", "the first of that peer was closed for its third"
    assert kept[1][1].fileno() >= 0
    assert connections.most_of_a_peer == 2
    for pair in kept:
        for sock in pair:
            sock.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-a: ",
        b"POST /-/healthy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
        b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\nX-",
    ],
    ids=["silent", "half a head", "half a body", "half a second head"],
)
def test_what_does_not_end_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    with limited(monkeypatch, Connections(8, FAST)) as url, connected(url) as sock:
        sock.sendall(sent)
        assert is_closed(sock)


def test_a_client_that_reads_nothing_is_closed_and_keeps_no_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(8, FAST)
    monkeypatch.setattr(serve_module, "Connections", lambda *_: connections)

    async def large(_request: Request) -> Response:
        return Response(b"x" * 30_000_000)

    with serving(Starlette(routes=[Route("/", large)])) as url, connected(url) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: len(connections) == 1)
        until(lambda: len(connections) == 0)
        assert len(httpx.get(url).content) == 30_000_000


def test_bodies_that_nobody_reads_share_one_amount_of_memory() -> None:
    """The one that has been sent for longest ends without its rest."""

    async def run() -> list[int]:
        async def app(_scope: object, _receive: object, send: object) -> None:
            await send({"type": "http.response.body", "body": bytes(1_000_000)})  # type: ignore[operator]

        delivery = Delivery(app, most_bytes=2_500_000)
        sent = [0] * 4
        never = asyncio.Event()

        async def client(number: int) -> None:
            async def send(message: object) -> None:
                sent[number] += len(message["body"])  # type: ignore[index]
                await never.wait()

            await delivery({"type": "http"}, None, send)  # type: ignore[arg-type]

        tasks = [asyncio.create_task(client(number)) for number in range(4)]
        done, pending = await asyncio.wait(tasks, timeout=1.0)
        assert done == set(tasks[:2])
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return sent

    assert asyncio.run(run()) == [65536] * 4


def test_a_handshake_that_never_ends_is_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -keyout {key} -out {certificate}".split(),
        capture_output=True,
        timeout=60,
    )
    if made.returncode:
        pytest.skip("openssl is needed to make a certificate: apt install openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    connections = Connections(8, FAST)
    whole = serve_module._server
    monkeypatch.setattr(serve_module, "_server", lambda app: whole(app, context, connections))
    with serving(create_app(MemoryStore())) as url, ExitStack() as stack:
        silent = [stack.enter_context(connected(url)) for _ in range(12)]
        secure = url.replace("http://", "https://")
        assert httpx.get(f"{secure}/-/healthy", verify=False).status_code == 200
        assert all(map(is_closed, silent))


def test_a_unix_socket_keeps_a_place_for_a_scrape(tmp_path: Path) -> None:
    path = str(tmp_path / "exporter.sock")
    connections = Connections(4)
    server = serve_module._server(create_app(MemoryStore()), None, connections)

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        serving_task = loop.create_task(
            server.serve([Listener.of(listen_on(f"unix:{path}"), connections)])
        )
        silent = [await asyncio.open_unix_connection(path) for _ in range(10)]
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        server.should_exit = True
        await serving_task
        for _, each in (*silent, (reader, writer)):
            each.close()
        return answer

    assert b"200 OK" in asyncio.run(run())


@pytest.mark.slow
def test_1100_silent_connections_stop_no_scrape_where_1024_files_may_be_open(
    sqlite_url: str,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_000:
        pytest.skip(f"2,000 open files are needed, {hard} are allowed: raise `ulimit -Hn`")
    if soft < 2_000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2_000, hard))
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)); "
        "from spendtree_exporter.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "--store", sqlite_url]
    command += ["--web.listen-address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, ExitStack() as on:
        on.callback(process.terminate)
        assert process.stderr is not None
        match = re.search(r"(http://\S+)/metrics", process.stderr.readline())
        assert match
        url = match[1]
        assert httpx.get(f"{url}/metrics", timeout=20).status_code == 200
        for _ in range(1_100):
            on.enter_context(connected(url))
        for _ in range(3):
            assert httpx.get(f"{url}/metrics", timeout=10).status_code == 200


def test_stopping_waits_for_no_connection_that_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(50)
    with ExitStack() as stack:
        with limited(monkeypatch, connections) as url:
            for number in range(20):
                sock = stack.enter_context(connected(url))
                sock.sendall(
                    [
                        b"",
                        b"GET / HT",
                        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
                    ][number % 3]
                )
            until(lambda: len(connections) == 20)
        assert len(connections) == 0
