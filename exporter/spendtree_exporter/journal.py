"""Journal: received spans in files until they are booked, so that a killed exporter loses none.

A line is what was taken of one request, as JSON, without any text of messages. The system has a
line once it is written: it survives the end of the process, not that of the machine. Reading it
twice is harmless, since what is delivered twice counts once. No HTTP here, nothing is booked.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from decimal import Decimal
from glob import escape
from pathlib import Path
from typing import Any

from spendtree.ingest import SpanRecord
from spendtree.usage import Usage

SEGMENT_BYTES = 1 * 2**20
"""A file that is longer is closed, and goes as soon as all that is in it is booked."""

SEGMENT_SECONDS = 30.0

LINE_SPANS = 256
"""Of a request stand in one line: while a line is made or read, no other thread runs."""

LINE_BYTES = 32 * 2**20
"""Longer than any line that was written; it is read past in pieces and set aside."""

Damaged = Callable[[str, bytes], None]
"""Called with what is wrong with a line, and the line or its beginning."""


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
        size = written = os.lseek(self._file, 0, os.SEEK_END)
        try:
            for first in range(0, len(spans), LINE_SPANS):
                line = _line(spans[first : first + LINE_SPANS])
                if os.write(self._file, line) != len(line):
                    raise OSError(f"{self._current}: no room for {len(line)} bytes")
                written += len(line)
        except OSError:
            os.ftruncate(self._file, size)
            raise
        if written >= SEGMENT_BYTES or now >= self._since + SEGMENT_SECONDS:
            self._close(now)

    def settle(self, unbooked_since: float | None) -> None:
        """Let go of files whose spans were all taken before the first that is not booked yet."""
        if unbooked_since is None and self._file >= 0:
            self._close(self._since)
        for path, closed in list(self._closed.items()):
            if unbooked_since is None or closed < unbooked_since:
                path.unlink(missing_ok=True)
                del self._closed[path]

    def left(self, damaged: Damaged | None = None) -> list[list[SpanRecord]]:
        """Return the spans that an earlier exporter has left, line by line.

        What cannot be read of a line costs nothing but itself, and `damaged` hears of it. A file
        that cannot be read at all stays where it is.
        """
        damaged = damaged or (lambda _reason, _line: None)
        known = {*self._closed, self._current}
        self._found, found = [], []
        for path in sorted(set(self._left()) - known, key=_number):
            try:
                found += list(_read(path, damaged))
            except OSError as error:
                damaged(f"{path} cannot be read: {error.strerror or error}", b"")
            else:
                self._found.append(path)
        return found

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


TEXTS = (
    "trace_id",
    "span_id",
    *(field.name for field in fields(SpanRecord) if isinstance(field.default, str)),
)
"""The fields of a span that are texts."""


def _number(path: Path) -> int:
    suffix = path.suffix.removeprefix(".")
    return int(suffix) if suffix.isdecimal() else 0


def _read(path: Path, damaged: Damaged) -> Iterator[list[SpanRecord]]:
    """Yield what each line holds. Raises OSError for what is no file, or cannot be read."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a file")
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES):
            if not line.endswith(b"\n"):
                whole = len(line)
                while (rest := file.readline(LINE_BYTES)) and whole >= LINE_BYTES:
                    whole += len(rest)
                    if rest.endswith(b"\n"):
                        break
                damaged(f"{path}: a line of {whole} bytes is too long or was cut off", line)
                continue
            yield list(_spans(path, line, damaged))


def _spans(path: Path, line: bytes, damaged: Damaged) -> Iterator[SpanRecord]:
    try:
        told = json.loads(line)
        if not isinstance(told, list):
            raise TypeError("it is not a list")
    except (ValueError, TypeError, RecursionError) as error:
        damaged(f"{path}: a line cannot be read: {error}", line)
        return
    for each in told:
        try:
            yield _span(each)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            damaged(f"{path}: a span cannot be read: {error!r}", json.dumps(each).encode())


def _line(spans: Sequence[SpanRecord]) -> bytes:
    return json.dumps([told(span) for span in spans], default=plain).encode() + b"\n"


def told(span: SpanRecord) -> dict[str, Any]:
    """Return a span as a line has it, but for its usage and cost: see `plain`."""
    return {name: getattr(span, name) for name in SpanRecord.__slots__}


def plain(value: Any) -> Any:
    """Return what JSON has no form of in a form that it has."""
    if isinstance(value, Usage):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _span(told: dict[str, Any]) -> SpanRecord:
    texts = (told.get(name, "") for name in TEXTS)  # an older version knew fewer
    if not all(isinstance(value, str) for value in texts):
        raise TypeError("a text is something else")
    usage, cost = told.pop("usage"), told.pop("reported_cost")
    served, parts, keys = (told.pop(name, None) for name in ("served", "parts", "keys"))
    return SpanRecord(
        **told,
        usage=None if usage is None else Usage(**usage),
        reported_cost=None if cost is None else Decimal(cost),
        served=None if served is None else tuple(served),
        parts=tuple((model, Usage(**part)) for model, part in parts or ()),
        keys=tuple(keys or ()),
    )
