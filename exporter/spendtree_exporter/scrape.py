"""Scrape: the bodies that scrapers get, made in a thread, one for all who ask at the same time.

A body is the fold's series and, after them, what the exporter tells about itself, which is never
the same twice. The first part is compressed apart and kept until a series changes: the two are
joined to one gzip member, since not every client reads a second one.
"""

import asyncio
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from starlette.concurrency import run_in_threadpool

from spendtree.metrics import Family, Fold, Series
from spendtree_exporter.follow import Follower
from spendtree_exporter.own import own_figures
from spendtree_exporter.process import process_figures
from spendtree_exporter.render import OPENMETRICS, Format, Own, render_pieces

_LEVEL = 1
"""Label text repeats so much that the fastest level makes it more than ten times smaller."""

_PIECE_BYTES = 2**19
"""Compressed at a time at least: isal begins a block of its own with each piece."""

_RAW = -15
"""wbits of a deflate stream without a header: https://docs.python.org/3/library/zlib.html."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no flags, no time, unknown system."""


class _Zipped(NamedTuple):
    """The first part of a body as deflate blocks that others may follow, and what it was of."""

    version: int
    blocks: bytes
    crc: int
    length: int


class Scrapes:
    """The bodies of one follower's figures. Used from one event loop.

    `more` returns the samples that the exporter's other parts have to tell.
    """

    def __init__(self, follower: Follower, more: Callable[[], Own]) -> None:
        self._follower = follower
        self._more = more
        self._duration_us = 0
        self._running: dict[tuple[str, bool], asyncio.Task[bytes]] = {}
        self._kept: dict[str, _Zipped] = {}

    async def body(self, format: Format, *, zipped: bool) -> bytes:
        """Return the body in a format, as gzip or plain.

        Who asks while it is being made gets the same one. The event loop never waits for it.
        """
        key = (format.content_type, zipped)
        running = self._running.get(key)
        if running is None:
            make = self._zipped if zipped else self._plain
            running = asyncio.create_task(run_in_threadpool(self._timed, make, format))
            self._running[key] = running
            running.add_done_callback(lambda _task: self._running.pop(key))
        # A client that goes away must not take the body from the others.
        return await asyncio.shield(running)

    def _timed(self, make: Callable[[Format], bytes], format: Format) -> bytes:
        started = time.perf_counter()
        body = make(format)
        self._duration_us = round((time.perf_counter() - started) * 1e6)
        return body

    def _plain(self, format: Format) -> bytes:
        with self._follower.lock:
            own = self._own()
            return b"".join([*self._first_part(format, own), self._last_part(format, own)])

    def _zipped(self, format: Format) -> bytes:
        kept = self._kept.get(format.content_type)
        with self._follower.lock:
            own = self._own()
            version = self._follower.fold.version
            fresh: list[bytes] = []
            if kept is None or kept.version != version:
                fresh = self._first_part(format, own)
            last = self._last_part(format, own)
        # Outside the lock: the follower goes on meanwhile.
        if kept is None or kept.version != version:
            kept = self._kept[format.content_type] = _compressed(version, fresh)
        return _member(kept, last)

    def _own(self) -> Own:
        return {**own_figures(self._follower, self._duration_us), **self._more()}

    def _first_part(self, format: Format, own: Own) -> list[bytes]:
        part = _Part(self._follower.fold, lambda name: name not in own)
        return render_pieces(cast(Fold, part), format._replace(end=b""))

    def _last_part(self, format: Format, own: Own) -> bytes:
        part = _Part(self._follower.fold, lambda name: name in own)
        told = render_pieces(cast(Fold, part), format._replace(end=b""), own)
        return b"".join([*told, process_figures(openmetrics=format is OPENMETRICS), format.end])


class _Part:
    """A fold of which only some families are seen."""

    def __init__(self, fold: Fold, shown: Callable[[str], bool]) -> None:
        self._fold = fold
        self._shown = shown

    def __iter__(self) -> Iterator[tuple[Family, Mapping[tuple[str, ...], Series]]]:
        return ((family, rows) for family, rows in self._fold if self._shown(family.name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)


def _zlib() -> Any:
    """Return the fastest library with zlib's functions: isal's takes an eighth of the time."""
    try:
        from isal import isal_zlib  # noqa: PLC0415 - optional, there is no wheel for every platform
    except ImportError:
        return zlib
    return isal_zlib


def _compressed(version: int, pieces: list[bytes]) -> _Zipped:
    library = _zlib()
    packer = library.compressobj(_LEVEL, library.DEFLATED, _RAW)
    blocks, crc, length = [], 0, 0
    for piece in _gathered(pieces):
        blocks.append(packer.compress(piece))
        crc, length = library.crc32(piece, crc), length + len(piece)
    # A full flush ends on a whole byte and lets what follows refer to nothing before it.
    blocks.append(packer.flush(library.Z_FULL_FLUSH))
    return _Zipped(version, b"".join(blocks), crc, length)


def _gathered(pieces: list[bytes]) -> Iterator[bytes]:
    """Yield pieces joined to such as compress well, and take no long time to join."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _member(first: _Zipped, last: bytes) -> bytes:
    """Return the gzip member of two parts, of which the first is compressed already."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    blocks = packer.compress(last) + packer.flush()
    length = (first.length + len(last)) & 0xFFFFFFFF
    trailer = struct.pack("<II", zlib.crc32(last, first.crc), length)
    return b"".join((_GZIP_HEADER, first.blocks, blocks, trailer))
