"""Serving: an ASGI app that answers with what a registry holds. No server, no routes.

The answers are those of prometheus_client's WSGI app (formats, gzip, `name[]`, other methods), made
in a thread. Its own ASGI app makes them in the event loop, where a hundred thousand series keep
every other request of the application waiting for a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Head = tuple[int, list[tuple[bytes, bytes]]]


class MetricsApp:
    """An ASGI app for asyncio that serves a registry at whatever path it is reached."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answer = make_wsgi_app(registry)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; RuntimeError for anything else, as ASGI asks for."""
        if scope["type"] != "http":
            raise RuntimeError(f"metrics_app answers http requests, no {scope['type']}")
        status, headers, body = await asyncio.to_thread(self._bake, _environ(scope))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _bake(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        heads: list[Head] = []

        def start(status: str, headers: Iterable[tuple[str, str]], _: Any = None) -> Any:
            pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
            heads.append((int(status.partition(" ")[0]), pairs))

        body = b"".join(self._answer(environ, start))
        ((status, headers),) = heads
        return status, [*headers, (b"content-length", str(len(body)).encode())], body


def _environ(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the WSGI app looks at."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        given.setdefault(name, []).append(value)
    return {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": "/",
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "HTTP_ACCEPT": b",".join(given.get(b"accept", [])).decode("latin-1"),
        "HTTP_ACCEPT_ENCODING": b",".join(given.get(b"accept-encoding", [])).decode("latin-1"),
    }
