"""`python -m tests.soak.hostile PORT SECONDS`: hostile HTTP against an exporter on this host.

Silent connections, heads, bodies and readers that take for ever, bombs, and wrong passwords, all at
once. It speaks to 127.0.0.1 only, has a fixed number of connections, and ends by itself: after so
many seconds, or when stdin is closed. At the end it prints how much it did, as JSON.
"""

import base64
import gzip
import json
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

SILENT, SLOW_HEADS, SLOW_BODIES, SLOW_READERS, GUESSERS, BOMBERS = 1_000, 100, 30, 30, 4, 2

WRONG = b"Authorization: Basic " + base64.b64encode(b"prometheus:wrong") + b"\r\n"
RIGHT = b"Authorization: Basic " + base64.b64encode(b"prometheus:right") + b"\r\n"

_SPANS, _END = b'{"resourceSpans":[{"scopeSpans":[{"spans":[', b"]}]}]}"
BOMBS = [
    (b"application/json", gzip.compress(body, 1))
    for body in (
        b'{"resourceSpans":[' + b"[]," * (20 * 2**20),
        b'{"resourceSpans":[' + b"{}," * (5 * 2**20) + b"{}]}",
        b'{"resourceSpans":[' + b"1e5," * (4 * 2**20 - 99) + b"1]}",
        b"[" * (2**20),
        _SPANS + (b'{"a":[' + b"[]," * 30_000 + b"1]},") * 170 + b"{}" + _END,
    )
] + [(b"application/x-protobuf", gzip.compress(b"\x0a\x00" * (8 * 2**20 - 99), 1))]


class Attack:
    """Threads that attack one port until they are told to stop."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._deadline = time.monotonic() + seconds
        self._stop = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Attack, and return when it is over."""
        kinds: list[Callable[[], None]] = [self.silent, self.slow_heads, self.slow_bodies]
        kinds += [self.slow_readers, *[self.guess] * GUESSERS, *[self.bomb] * BOMBERS]
        threads = [threading.Thread(target=kind) for kind in kinds]
        watch = threading.Thread(target=self._read_stdin, daemon=True)
        for thread in (*threads, watch):
            thread.start()
        for thread in threads:
            thread.join()

    def _read_stdin(self) -> None:
        sys.stdin.read()
        self._stop.set()

    def _over(self, pause: float = 0.0) -> bool:
        return self._stop.wait(pause) or time.monotonic() > self._deadline

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), 10)
        sock.settimeout(10)
        return sock

    def _hold(self, name: str, count: int, begin: bytes, more: bytes = b"") -> None:
        """Keep so many connections open, each begun anew when it was closed."""
        held: list[socket.socket] = []
        while not self._over(0.2):
            alive = []
            for sock in held:
                try:
                    sock.setblocking(False)
                    with suppress(BlockingIOError):
                        if name != "slow readers" and not sock.recv(1):
                            raise ConnectionResetError
                    if more:
                        sock.send(more)
                    alive.append(sock)
                except BlockingIOError:
                    alive.append(sock)
                except OSError:
                    self.counts[f"{name} closed"] += 1
                    sock.close()
            held = alive
            while len(held) < count and not self._over():
                try:
                    sock = self._connect()
                except OSError:
                    break
                with suppress(OSError):
                    sock.sendall(begin)
                    held.append(sock)
                    self.counts[name] += 1
        for sock in held:
            sock.close()

    def silent(self) -> None:
        self._hold("silent", SILENT, b"")

    def slow_heads(self) -> None:
        self._hold(
            "slow heads", SLOW_HEADS, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ", b"a"
        )

    def slow_bodies(self) -> None:
        head = _post(b"application/json", 8_000_000, b"")
        self._hold("slow bodies", SLOW_BODIES, head + b"x" * 100_000, b"x" * 10_000)

    def slow_readers(self) -> None:
        get = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n" + RIGHT + b"\r\n"
        self._hold("slow readers", SLOW_READERS, get)

    def guess(self) -> None:
        """Try wrong passwords, one after the other."""
        while not self._over():
            with suppress(OSError), self._connect() as sock:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n" + WRONG + b"\r\n")
                self.counts[f"guess {sock.recv(12)[-3:].decode()}"] += 1

    def bomb(self) -> None:
        """Send one bomb after the other, with the right password."""
        while not self._over():
            for kind, body in BOMBS:
                if self._over():
                    return
                with suppress(OSError), self._connect() as sock:
                    sock.settimeout(60)
                    sock.sendall(_post(kind, len(body), b"Content-Encoding: gzip\r\n") + body)
                    self.counts[f"bomb {sock.recv(12)[-3:].decode()}"] += 1


def _post(kind: bytes, length: int, more: bytes) -> bytes:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + kind + b"\r\n"
    return head + b"Content-Length: %d\r\n" % length + RIGHT + more + b"\r\n"


def main(port: str, seconds: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2_000 if hard == resource.RLIM_INFINITY else min(2_000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    attack = Attack(int(port), float(seconds))
    print("attacking", flush=True)
    attack.run()
    print(json.dumps(attack.counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
