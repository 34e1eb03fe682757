"""OTLP JSON: a trace request is cut into its batches and spans, and each is parsed by itself.

Parsed at once, 16 MB of JSON are 500 MB of objects, or a second in which no other thread runs. So
the brackets are counted first, and what was cut is parsed only when it is walked. Pure.
"""

import json
import re
from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

from spendtree.ingest import Unread
from spendtree_exporter.otlp_limits import Limits, Pieces, RefusedError

_MARK = re.compile(rb'"[^"]*"?|[\[\]{}]')
"""A string, or as much of it as there is, or a bracket, once escaped quotes are masked."""

_WINDOW_BYTES = 2**18
"""Searched at once: no other thread runs meanwhile."""

_QUOTE, _OPENING, _CLOSING = 0x22, b"{[", {0x7D: 0x7B, 0x5D: 0x5B}

_SHAPES = (b"{[{", b"{[{[{[{")
"""The brackets that are open in a batch and in a span: resourceSpans, then scopeSpans, spans."""

_DIGITS = 60
"""Digits of a number that are read; whatever has more is too large for all that is read here."""

_BOM = b"\xef\xbb\xbf"


class _Piece(NamedTuple):
    """Where an object stands, and what was cut out of it."""

    start: int
    end: int
    inner: "list[_Piece]"


def trace_request(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return a request whose lists of batches and spans are parsed as they are walked.

    Raises RefusedError for what is too much (413) or is not a trace request (400); while the lists
    are walked, too.
    """
    body = body.removeprefix(_BOM)
    masked = _masked(body)
    pieces = _Cutter(limits).cut(masked)
    reader = _Reader(body, masked, limits)
    told = reader.parsed(_Piece(0, len(body), pieces))
    batches = told.get("resourceSpans", []) if isinstance(told, dict) else None
    if not isinstance(batches, list):
        raise RefusedError(
            400, "the body is not a trace request: an object with a list resourceSpans"
        )
    return {"resourceSpans": Pieces(batches, lambda told: reader.batch(pieces, told))}


def _masked(body: bytes) -> bytes:
    """Return the body, byte for byte, but without escaped quotes: each quote begins or ends."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    if body.count(b'"') % 2:
        raise RefusedError(400, "the body is not JSON: a string does not end")
    return body


def _marks(masked: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the strings and brackets of a part stand that begins in no string."""
    while start < end:
        last = min(start + _WINDOW_BYTES, end)
        window, start = _MARK.finditer(masked, start, last), last
        for match in window:
            begun, ended = match.span()
            if ended == last and masked[begun] == _QUOTE:
                # Its end may be in another window; the quotes of a whole body are even.
                ended = start = masked.find(b'"', begun + 1) + 1 or end
            yield begun, ended


class _Cutter:
    """Finds the batches and the spans of a request by its brackets, and counts what is in each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = bytearray()
        self._level = 0
        """0 outside of all batches, 1 in a batch, 2 in a span."""
        self._left = [limits.marks + 2 * limits.spans] * 3
        self._started = [0, 0, 0]
        self._spans: list[_Piece] = []
        self._count = 0
        self.batches: list[_Piece] = []

    def cut(self, masked: bytes) -> list[_Piece]:
        """Return the batches, each with its spans."""
        left, all_left = self._left, self._limits.marks_in_all
        for position, _ in _marks(masked, 0, len(masked)):
            left[self._level] -= 1
            all_left -= 1
            if left[self._level] < 0 or all_left < 0:
                raise _too_many(self._limits)
            mark = masked[position]
            if mark == _QUOTE:
                continue
            if mark in _OPENING:
                self._begin(mark, position)
            else:
                self._end(mark, position)
        if self._open:
            raise RefusedError(400, "the body is not JSON: it ends early")
        return self.batches

    def _begin(self, mark: int, position: int) -> None:
        self._open.append(mark)
        if self._level < 2 and self._open == _SHAPES[self._level]:
            self._level += 1
            self._started[self._level] = position
            self._left[self._level] = self._limits.marks + 2 * self._limits.spans
        elif len(self._open) > self._limits.depth:
            raise RefusedError(
                400, f"the body is nested more than {self._limits.depth} levels deep"
            )

    def _end(self, mark: int, position: int) -> None:
        if not self._open or self._open[-1] != _CLOSING[mark]:
            raise RefusedError(400, f"the body is not JSON: a bracket too many at byte {position}")
        if self._level and self._open == _SHAPES[self._level - 1]:
            start = self._started[self._level]
            if self._level == 2:
                self._spans.append(_Piece(start, position + 1, []))
            else:
                self.batches.append(_Piece(start, position + 1, self._spans))
                self._spans = []
            self._level -= 1
            self._count += 1
            if self._count > 2 * self._limits.spans:
                raise RefusedError(
                    413, f"there are more than {self._limits.spans} spans: send less at once"
                )
        del self._open[-1]


def _too_many(limits: Limits) -> RefusedError:
    return RefusedError(
        413,
        f"a span or a resource has more than {limits.marks} brackets, texts and values, "
        f"or the request more than {limits.marks_in_all}: send less at once",
    )


class _Reader:
    """Parses the pieces of one body."""

    def __init__(self, body: bytes, masked: bytes, limits: Limits) -> None:
        self._body = body
        self._masked = masked
        self._limits = limits

    def batch(self, pieces: list[_Piece], told: Any) -> Any:
        """Return a batch of which the spans are parsed as they are walked."""
        if not isinstance(told, dict):
            return told
        piece = pieces[told[""]]
        batch = self.parsed(piece)
        for value in batch.values():
            for scope in value if isinstance(value, list) else ():
                for key, spans in scope.items() if isinstance(scope, dict) else ():
                    if isinstance(spans, list):
                        scope[key] = Pieces(spans, lambda told: self._span(piece.inner, told))
        return batch

    def _span(self, pieces: list[_Piece], told: Any) -> Any:
        # What is an object here is what stands for one: nothing else was left.
        if not isinstance(told, dict):
            return told
        piece = pieces[told[""]]
        longest = self._limits.piece_bytes
        if piece.end - piece.start > longest:
            return Unread(f"is longer than {longest} bytes")
        return self.parsed(piece)

    def parsed(self, piece: _Piece) -> Any:
        """Return a piece, in which {"": number} stands for each object that was cut out of it."""
        parts, values, place = [], 0, piece.start
        for number, inner in enumerate(piece.inner):
            parts += [self._body[place : inner.start], b'{"":%d}' % number]
            values += self._masked.count(b",", place, inner.start)
            place = inner.end
        parts.append(self._body[place : piece.end])
        values += self._masked.count(b",", place, piece.end)
        limits, told = self._limits, b"".join(parts)
        if len(told) > limits.piece_bytes + 20 * len(piece.inner):
            raise RefusedError(413, f"a resource is longer than {limits.piece_bytes} bytes")
        most = limits.marks + len(piece.inner)
        if values > most and values - self._commas_in_texts(piece) > most:
            raise _too_many(limits)
        try:
            return json.loads(told, parse_int=_integer, parse_float=_fraction)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"the body is not JSON: {error}") from None

    def _commas_in_texts(self, piece: _Piece) -> int:
        place, count = piece.start, 0
        for inner in (*piece.inner, _Piece(piece.end, piece.end, [])):
            for start, end in _marks(self._masked, place, inner.start):
                count += self._masked.count(b",", start, end)
            place = inner.end
        return count


def _integer(digits: str) -> int:
    return int(digits[:_DIGITS])


def _fraction(digits: str) -> float:
    return float(digits) if len(digits) <= _DIGITS else inf
