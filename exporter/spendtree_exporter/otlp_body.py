"""OTLP bodies: read as sent, no further than the limits, and unpacked in pieces.

All bodies that are being sent, or wait to be parsed, share one amount of memory. When it is spent,
the one that has been sent for longest makes room: an ordinary one takes milliseconds.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from spendtree_exporter.otlp_limits import Limits, RefusedError

_PIECE_BYTES = 2**16
_GZIP = 31
"""wbits of gzip with its header: https://docs.python.org/3/library/zlib.html."""


class Bodies:
    """The bodies that are in memory. Used from one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept = 0
        self._arriving: dict[asyncio.Timeout, None] = {}

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Read a body, which counts until the block ends. Raises RefusedError."""
        limits = self._limits
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > limits.body_bytes:
            raise _too_long(limits)
        body = bytearray()
        try:
            await self._arrive(request, body)
            yield body
        finally:
            self._kept -= len(body)

    async def _arrive(self, request: Request, body: bytearray) -> None:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.body_seconds) as timeout:
                self._arriving[timeout] = None
                async for part in request.stream():
                    body += part
                    self._kept += len(part)
                    if len(body) > limits.body_bytes:
                        raise _too_long(limits)
                    if self._kept > limits.waiting_bytes:
                        self._make_room()
        except ClientDisconnect:
            raise RefusedError(400, "the body ended early") from None
        except TimeoutError:
            raise RefusedError(
                503, "the body took too long, or others needed its place: send it again"
            ) from None
        finally:
            self._arriving.pop(timeout, None)

    def _make_room(self) -> None:
        """Give up the body that has been arriving for longest."""
        first = next(iter(self._arriving))
        del self._arriving[first]
        first.reschedule(asyncio.get_running_loop().time())


def _too_long(limits: Limits) -> RefusedError:
    return RefusedError(
        413, f"the body is longer than {limits.body_bytes} bytes: send less at once"
    )


def unpacked(body: bytes | bytearray, limits: Limits) -> bytes:
    """Return what all members of gzip data hold: what several of them say is one body.

    Raises RefusedError as soon as it is longer than the limit.
    """
    parts, size = [], 0
    for part in _inflated(body):
        parts.append(part)
        size += len(part)
        if size > limits.unpacked_bytes:
            raise RefusedError(
                413, f"the body is longer than {limits.unpacked_bytes} bytes unpacked: send less"
            )
    return b"".join(parts)


def _inflated(body: bytes | bytearray) -> Iterator[bytes]:
    rest = memoryview(body)
    while True:
        inflater = zlib.decompressobj(_GZIP)
        while not inflater.eof:
            given, rest = rest[:_PIECE_BYTES], rest[_PIECE_BYTES:]
            pending: bytes | memoryview = given
            if not given:
                raise RefusedError(400, "the gzip data ends early")
            while pending and not inflater.eof:
                try:
                    yield inflater.decompress(pending, _PIECE_BYTES)
                except zlib.error as error:
                    raise RefusedError(400, f"the body is not gzip: {error}") from None
                pending = inflater.unconsumed_tail
        # Members may be followed by zeros: https://www.gnu.org/software/gzip/manual/gzip.html
        behind = len(inflater.unused_data) + len(rest)
        rest = memoryview(body)[len(body) - behind :]
        while rest and rest[0] == 0:
            rest = rest[1:]
        if not rest:
            return
