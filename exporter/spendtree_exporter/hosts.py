"""Hosts: which names the exporter answers to, so that no web page can read it through a browser.

A page of evil.example may have its name resolved to 127.0.0.1 once it was loaded ("DNS
rebinding"): to the browser the exporter is then of the page's own origin. Its requests still say
`Host: evil.example`, and no such name is answered to. Where the exporter listens on addresses that
other machines reach, it is known by names that only the operator knows, so there is no check
unless names are given.
"""

import re
import socket
from collections.abc import Collection, Sequence
from ipaddress import IPv6Address, ip_address

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from spendtree.errors import ConfigurationError

ANY = "*"
"""The name that stands for all."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s/@?#]+)(?::[0-9]{0,5})?")
_SHOWN = 100


def host_names(given: Sequence[str]) -> frozenset[str]:
    """Return the names in values of --web.allowed-hosts, each one name or several with commas.

    Raises ConfigurationError for what is not a name: a URL, a port, nothing.
    """
    names = [name.strip() for value in given for name in value.split(",")]
    for name in names:
        if name != ANY and _name(name) != name.lower().rstrip(".").strip("[]"):
            raise ConfigurationError(
                f"--web.allowed-hosts {name!r} is not a host: write a name or an address, "
                f"without scheme and port, or {ANY} for any"
            )
    return frozenset(ANY if name == ANY else _name(name) or "" for name in names)


def answering(
    app: ASGIApp, sockets: Sequence[socket.socket], allowed: Collection[str] = ()
) -> ASGIApp:
    """Return an application that refuses requests for hosts it does not answer to, with 421.

    Those that come in on a socket of a loopback address are checked; with names `allowed`, those
    of all addresses. Unix sockets never are: no browser reaches them.
    """
    if ANY in allowed:
        return app
    bound = {sock.getsockname()[:2] for sock in sockets if sock.family != socket.AF_UNIX}
    private = {place for place in bound if _is_loopback(place[0])}

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_checked(scope.get("server")):
            wrong = _wrong_host(scope, allowed)
            if wrong is not None:
                await _refusal(wrong, allowed)(scope, receive, send)
                return
        await app(scope, receive, send)

    def is_checked(server: tuple[str, int | None] | None) -> bool:
        if server is None or server[1] is None:  # a Unix socket has a path and no port
            return False
        return bool(allowed) or tuple(server) in private

    return checked


def _wrong_host(scope: Scope, allowed: Collection[str]) -> str | None:
    """Return the first host that a request names and that is not answered to."""
    for key, value in scope["headers"]:
        if key != b"host":
            continue
        host = value.decode("latin-1")
        name = _name(host)
        if name is None or not (name == "localhost" or _is_loopback(name) or name in allowed):
            return str(host)
    return None  # HTTP/1.0 knows no such header, and browsers always send one


def _name(host: str) -> str | None:
    """Return the name in a Host header, in lower case, without port; None for no valid one."""
    match = _HOST.fullmatch(host)
    return match[1].lower().strip("[]").rstrip(".") if match else None


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _refusal(host: str, allowed: Collection[str]) -> PlainTextResponse:
    known = ", ".join(["localhost", "127.0.0.1", "[::1]", *sorted(allowed)])
    shown = ascii(host if len(host) <= _SHOWN else f"{host[: _SHOWN - 3]}...")
    return PlainTextResponse(
        f"This exporter does not answer to host {shown}, but to {known}: ask for one of these, "
        "or start it with --web.allowed-hosts and the name\n",
        421,
    )
