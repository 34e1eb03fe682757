"""Connections: how many there may be, how long each may take, and which one makes room.

uvicorn has a timeout for connections that are idle between two requests, and none for those that
never send one, send or read slowly, or do not end their TLS handshake; and its limit of connections
refuses the newest, which is the scrape. So descriptors are counted where they come from, at
`accept`, and when all are taken the oldest connection that asks for nothing is closed.
"""

import asyncio
import ipaddress
import socket
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HANDSHAKE, HEAD, BODY, ANSWER, READ, END = "handshake", "head", "body", "answer", "read", "end"


class Timeouts(NamedTuple):
    """Seconds that a connection may stay in one state.

    `handshake` of TLS; `head` until a request's head is complete; `body` until all of it has come;
    `read` while the client does not take the answer; `end` until the rest of it is gone.
    """

    handshake: float = 10.0
    head: float = 10.0
    body: float = 35.0
    read: float = 60.0
    end: float = 10.0


CONNECTIONS_MAX = 512
"""The default that Prometheus has for its own server."""

_KEPT_DESCRIPTORS = 128
"""Left to the store, its files and what the program opens otherwise."""

_ROOM = 16
"""Descriptors that are being closed, beside those in use."""

_AT_ONCE = 8
"""Accepted before the loop turns: what a client has sent is read before it would make room."""

_TAKEN = {HEAD: 0, HANDSHAKE: 0, READ: 1, END: 1, BODY: 2}
"""Which state makes room first; an answer that is being made never does."""


class Connection:
    """One accepted socket, and the protocol on it once there is one."""

    __slots__ = ("aborted", "cycle", "peer", "protocol", "since", "sock", "state")

    def __init__(self, sock: socket.socket, peer: str, now: float) -> None:
        self.sock = sock
        self.peer = peer
        self.since = now
        self.state = HANDSHAKE
        self.aborted = False
        self.protocol: Protocol | None = None
        self.cycle: Any = None

    def look(self, now: float) -> str:
        """Return the state, and remember since when it is the same."""
        cycle = None if self.protocol is None else self.protocol.cycle
        state = _state(self.protocol)
        if state != self.state or cycle is not self.cycle:
            self.state, self.cycle, self.since = state, cycle, now
        return state

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self.aborted = True
        if self.protocol is not None:
            self.protocol.transport.abort()
            return
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # its transport sees the end, and closes it


def _state(protocol: "Protocol | None") -> str:
    if protocol is None:
        return HANDSHAKE
    if protocol.transport.is_closing():
        return END
    cycle = protocol.cycle
    if cycle is None or (
        cycle.response_complete and protocol.conn.their_state is not h11.SEND_BODY
    ):
        return HEAD
    if protocol.conn.their_state is h11.SEND_BODY:
        return BODY
    return READ if protocol.flow.write_paused else ANSWER


class Connections:
    """All connections of one server. Used from one event loop, whose clock `now` is."""

    def __init__(self, most: int = CONNECTIONS_MAX, timeouts: Timeouts | None = None) -> None:
        self.most = min(most, _descriptors_for_connections())
        self.most_of_a_peer = max(self.most // 2, 1)
        self._timeouts = timeouts or Timeouts()
        self._open: dict[int, Connection] = {}
        self._peers: Counter[str] = Counter()

    def must_wait(self) -> bool:
        """Tell whether a connection that comes is to wait until others are closed: some will be."""
        return len(self._open) >= self.most + _ROOM and any(
            each.aborted for each in self._open.values()
        )

    def __len__(self) -> int:
        return len(self._open)

    def add(self, sock: socket.socket, address: Any, now: float) -> bool:
        """Take an accepted socket, closing another one if need be; False if there is no room."""
        peer = _peer(address)
        if peer and self._peers[peer] >= self.most_of_a_peer:
            if not self._make_room(now, peer):
                return False
        elif len(self._open) >= self.most and not self._make_room(now, ""):
            return False
        self._open[sock.fileno()] = Connection(sock, peer, now)
        self._peers[peer] += 1
        return True

    def remove(self, descriptor: int) -> None:
        """Forget a socket that is closed."""
        gone = self._open.pop(descriptor, None)
        if gone is not None:
            self._peers[gone.peer] -= 1
            if not self._peers[gone.peer]:
                del self._peers[gone.peer]

    def begin(self, descriptor: int, protocol: "Protocol", now: float) -> None:
        """Have a connection speak HTTP from now on."""
        if descriptor in self._open:
            self._open[descriptor].protocol = protocol
            self._open[descriptor].look(now)

    def sweep(self, now: float) -> None:
        """Close the connections that have been in one state for too long."""
        for each in list(self._open.values()):
            longest = getattr(self._timeouts, each.look(now), None)
            if longest is not None and now - each.since > longest:
                each.abort()

    def close_waiting(self, now: float) -> None:
        """Close all connections on which no answer is being made or sent."""
        for each in list(self._open.values()):
            if each.look(now) in (HANDSHAKE, HEAD, BODY):
                each.abort()

    def _make_room(self, now: float, peer: str) -> bool:
        """Close a connection that waits, of a peer or of all: the first that was accepted."""
        best: Connection | None = None
        for each in self._open.values():
            if each.aborted or (peer and each.peer != peer):
                continue
            rank = _TAKEN.get(each.look(now))
            if rank is not None and (best is None or rank < _TAKEN[best.state]):
                best = each
            if rank == 0:
                break
        if best is None:
            return False
        best.abort()
        return True


def _descriptors_for_connections() -> int:
    """Return how many descriptors connections may have: what the system allows, less a reserve."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return CONNECTIONS_MAX * 8
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**20
    return max(soft - _KEPT_DESCRIPTORS - _ROOM, soft // 4, 4)


def _peer(address: Any) -> str:
    """Return who connects: an IPv4 address, an IPv6 network of 64 bits, "" on a Unix socket."""
    if not isinstance(address, tuple):
        return ""
    try:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return str(address[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


class Listener(socket.socket):
    """A listening socket whose connections are counted, from `accept` until they are closed."""

    connections: Connections
    _accepted = 0

    @classmethod
    def of(cls, sock: socket.socket, connections: Connections) -> "Listener":
        """Return a listener in the place of a socket, which is detached."""
        listener = cls(sock.family, sock.type, sock.proto, fileno=sock.detach())
        listener.connections = connections
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; one for which there is no room is closed at once.

        BlockingIOError then, and where none waits: asyncio comes back when the loop has turned.
        """
        if self.connections.must_wait() or self._accepted >= _AT_ONCE:
            raise BlockingIOError
        loop = asyncio.get_running_loop()
        if not self._accepted:
            loop.call_soon(self._turn)
        self._accepted += 1
        accepted, address = super().accept()
        sock = _Accepted(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        sock.connections = self.connections
        if not self.connections.add(sock, address, loop.time()):
            sock.close()
            raise BlockingIOError
        return sock, address

    def _turn(self) -> None:
        self._accepted = 0


class _Accepted(socket.socket):
    connections: Connections

    def close(self) -> None:
        descriptor = self.fileno()
        super().close()
        self.connections.remove(descriptor)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, known to the connections that its server counts."""

    def connection_made(self, transport: Any) -> None:
        """Begin to speak HTTP: after the handshake, where there is one."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        connections = getattr(self.config, "connections", None)
        if connections is not None and sock is not None:
            connections.begin(sock.fileno(), self, self.loop.time())
