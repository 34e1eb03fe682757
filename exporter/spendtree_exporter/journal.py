"""Journal: received spans in files until they are booked, so that a killed exporter loses none.

A line is what was taken of one request, as JSON, without any text of messages. The system has a
line once it is written: it survives the end of the process, not that of the machine. Reading it
twice is harmless, since what is delivered twice counts once. No HTTP here, nothing is booked.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from glob import escape
from pathlib import Path
from typing import Any

from spendtree.ingest import SpanRecord
from spendtree.usage import Usage

SEGMENT_BYTES = 1 * 2**20
"""A file that is longer is closed, and goes as soon as all that is in it is booked."""

SEGMENT_SECONDS = 30.0


class Journal:
    """The files `PATH.1`, `PATH.2` … of one writer; not for several threads.

    Times are those of one clock, in seconds, that the caller has.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._closed: dict[Path, float] = {}
        self._found: list[Path] = []
        self._number = max(map(_number, self._left()), default=0)
        self._file = -1
        self._current = self._path
        self._since = 0.0
        self._size = 0

    def write(self, spans: Sequence[SpanRecord], now: float) -> None:
        """Keep the spans of one request. Raises OSError, and then none of them is kept."""
        if self._file < 0:
            self._open(now)
        line = json.dumps([_told(span) for span in spans], default=_plain).encode() + b"\n"
        size = os.lseek(self._file, 0, os.SEEK_END)
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(f"{self._current}: no room for {len(line)} bytes")
        except OSError:
            os.ftruncate(self._file, size)
            raise
        if size + len(line) >= SEGMENT_BYTES or now >= self._since + SEGMENT_SECONDS:
            self._close(now)

    def settle(self, unbooked_since: float | None) -> None:
        """Let go of files whose spans were all taken before the first that is not booked yet."""
        if unbooked_since is None and self._file >= 0:
            self._close(self._since)
        for path, closed in list(self._closed.items()):
            if unbooked_since is None or closed < unbooked_since:
                path.unlink(missing_ok=True)
                del self._closed[path]

    def left(self) -> list[list[SpanRecord]]:
        """Return the spans that an earlier exporter has left, by request."""
        known = {*self._closed, self._current}
        self._found = sorted(set(self._left()) - known, key=_number)
        return [spans for path in self._found for spans in _read(path)]

    def taken_up(self, now: float) -> None:
        """Have what was left go once it is booked; all of it was taken before now."""
        self._closed.update(dict.fromkeys(self._found, now))

    def _left(self) -> list[Path]:
        named = escape(self._path.name)  # a store's name may have a bracket or a star
        return [path for path in self._path.parent.glob(f"{named}.*") if _number(path)]

    def _open(self, now: float) -> None:
        self._number += 1
        self._current = self._path.with_name(f"{self._path.name}.{self._number}")
        # 0600 like the store: it says who spends.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._current, flags, 0o600)
        self._since = now

    def _close(self, now: float) -> None:
        os.close(self._file)
        self._file = -1
        self._closed[self._current] = now


def _number(path: Path) -> int:
    suffix = path.suffix.removeprefix(".")
    return int(suffix) if suffix.isdecimal() else 0


def _read(path: Path) -> Iterator[list[SpanRecord]]:
    """Yield the lines of a file; the last one may be torn, and was then never answered."""
    for line in path.read_bytes().splitlines():
        try:
            spans = [_span(told) for told in json.loads(line)]
        except (ValueError, TypeError, KeyError):
            continue
        yield spans


def _told(span: SpanRecord) -> dict[str, Any]:
    return {name: getattr(span, name) for name in SpanRecord.__slots__}


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Usage) else str(value)


def _span(told: dict[str, Any]) -> SpanRecord:
    usage, cost = told.pop("usage"), told.pop("reported_cost")
    return SpanRecord(
        **told,
        usage=None if usage is None else Usage(**usage),
        reported_cost=None if cost is None else Decimal(cost),
    )
