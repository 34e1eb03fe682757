"""Delivery: answers are sent in pieces, each once the one before it was taken.

uvicorn hands a whole body to the connection, which keeps a copy until it is read: a hundred clients
that read nothing would keep a hundred bodies. All bodies that are being sent share one amount of
memory; when it is spent, the one that has been sent for longest is given up.
"""

import asyncio
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_BYTES = 2**16
BODIES_BYTES = 48 * 2**20
"""Of bodies at once; one scrape of 100,000 series is 2 MB compressed and 20 MB plain."""


class Delivery:
    """Sends the bodies of an application. Used from one event loop."""

    def __init__(self, app: ASGIApp, *, most_bytes: int = BODIES_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._sending: dict[asyncio.Timeout, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, its answers in pieces."""

        async def paced(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= PIECE_BYTES:
                await send(message)
                return
            await self._send(bytes(body), message.get("more_body", False), send)

        await self._app(scope, receive, paced if scope["type"] == "http" else send)

    async def _send(self, body: bytes, more_body: bool, send: Send) -> None:
        try:
            async with asyncio.timeout(None) as timeout:
                self._sending[timeout] = body
                self._make_room()
                for piece, last in _pieces(body):
                    more = more_body or not last
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            pass  # it ends without its rest, and uvicorn closes the connection
        finally:
            self._sending.pop(timeout, None)

    def _make_room(self) -> None:
        while len(self._sending) > 1 and self._kept() > self._most_bytes:
            oldest = next(iter(self._sending))
            del self._sending[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())

    def _kept(self) -> int:
        # A body that several clients get is there once.
        return sum(map(len, {id(body): body for body in self._sending.values()}.values()))


def _pieces(body: bytes) -> Iterator[tuple[bytes, bool]]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES], start + PIECE_BYTES >= len(body)
