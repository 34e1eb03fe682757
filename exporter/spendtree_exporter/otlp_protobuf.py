"""OTLP protobuf: the fields of a trace request that are read here, span by span. Pure.

https://protobuf.dev/programming-guides/encoding/ and opentelemetry/proto/trace/v1/trace.proto. The
general library makes objects of all that is in a message before anybody can count them: two bytes
of an empty event take a hundred. So the fields are walked, counted, and decoded as they are needed.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from spendtree.ingest import Unread
from spendtree_exporter.otlp_limits import Limits, Pieces, RefusedError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_Span = tuple[int, int]
"""Where a message stands in the body."""


def trace_request(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return a request as OTLP's JSON has it; its batches and spans are decoded as they are walked.

    Raises RefusedError for what is too much (413) or is not protobuf (400); while the lists are
    walked, too.
    """
    reader = _Reader(body, limits)
    whole = (0, len(body))
    return {"resourceSpans": Pieces(reader.messages(whole, 1), reader.batch)}


class _Reader:
    """Decodes the messages of one body."""

    def __init__(self, body: bytes, limits: Limits) -> None:
        self._body = body
        self._limits = limits
        self._messages = 0
        self._total = _Budget(limits.marks_in_all // 2)

    def batch(self, place: _Span) -> dict[str, Any]:
        """Return a ResourceSpans."""
        resource: dict[str, Any] = {}
        scopes: list[dict[str, Any]] = []
        budget = _Budget(self._limits.marks)
        for number, value in self._fields(place, budget):
            if number == 1:
                self._check_length(value)
                resource = {"attributes": self._attributes(_message(value), budget, 1)}
            elif number == 2:
                self._count()
                spans = self.messages(_message(value), 2)
                scopes.append({"spans": Pieces(spans, self._span)})
        return {"resource": resource, "scopeSpans": scopes}

    def messages(self, place: _Span, wanted: int) -> list[_Span]:
        """Return where the messages of a repeated field stand, of which there are not too many."""
        found: list[_Span] = []
        for number, value in self._fields(place, _Budget(self._limits.marks)):
            if number != wanted:
                continue
            found.append(_message(value))
            self._count()
        return found

    def _check_length(self, value: Any) -> None:
        start, end = _message(value)
        if end - start > self._limits.piece_bytes:
            raise RefusedError(413, f"a resource is longer than {self._limits.piece_bytes} bytes")

    def _count(self) -> None:
        """Count a batch, a scope or a span."""
        self._messages += 1
        if self._messages > 3 * self._limits.spans:
            raise RefusedError(
                413, f"there are more than {self._limits.spans} spans: send less at once"
            )

    def _span(self, place: _Span) -> dict[str, Any]:
        longest = self._limits.piece_bytes
        if place[1] - place[0] > longest:
            return Unread(f"is longer than {longest} bytes")
        span: dict[str, Any] = {}
        attributes: list[Any] = []
        events: list[Any] = []
        budget = _Budget(self._limits.marks)
        for number, value in self._fields(place, budget):
            if number == 9:
                attributes.append(self._attribute(_message(value), budget))
            elif number == 11:
                if told := self._attributes(_message(value), budget, 3):
                    events.append({"attributes": told})
            elif number == 15:
                span["status"] = self._status(_message(value), budget)
            elif number in _SPAN_FIELDS:
                name, convert = _SPAN_FIELDS[number]
                span[name] = convert(self._body, value)
        return {**span, "attributes": attributes, "events": events}

    def _attributes(self, place: _Span, budget: "_Budget", wanted: int) -> list[Any]:
        return [
            self._attribute(_message(value), budget)
            for number, value in self._fields(place, budget)
            if number == wanted
        ]

    def _attribute(self, place: _Span, budget: "_Budget") -> dict[str, Any]:
        key, told = None, {}
        for number, value in self._fields(place, budget):
            if number == 1:
                key = _text(self._body, value) or None  # an empty one is not sent
            elif number == 2:
                told = self._any_value(_message(value), budget)
        return {"key": key, "value": told}

    def _any_value(self, place: _Span, budget: "_Budget") -> dict[str, Any]:
        told: dict[str, Any] = {}
        for number, value in self._fields(place, budget):
            if number in _VALUES:
                name, convert = _VALUES[number]
                told = {name: convert(self._body, value)}
            elif number in (5, 6, 7):  # lists, maps and bytes hold nothing that is read
                told = {"bytesValue": ""}
        return told

    def _status(self, place: _Span, budget: "_Budget") -> dict[str, Any]:
        status: dict[str, Any] = {}
        for number, value in self._fields(place, budget):
            if number == 2:
                status["message"] = _text(self._body, value)
            elif number == 3:
                status["code"] = _number(self._body, value)
        return status

    def _fields(self, place: _Span, budget: "_Budget") -> Iterator[tuple[int, Any]]:
        """Yield number and value of each field of a message.

        A value is an integer, 4 or 8 bytes, or, for what has a length, where it stands.
        """
        body, (position, end) = self._body, place
        while position < end:
            budget.spend()
            self._total.spend()
            tag, position = _varint(body, position, end)
            kind, number = tag & 7, tag >> 3
            value: Any
            if kind == _BYTES:
                length, position = _varint(body, position, end)
                value = (position, position + length)
                position += length
            elif kind == _VARINT:
                value, position = _varint(body, position, end)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
                value = body[position : position + length]
                position += length
            else:
                raise _broken(f"wire type {kind} at byte {position}")
            if position > end or number == 0:
                raise _broken(f"a field passes its end at byte {position}")
            yield number, value


class _Budget:
    """How many fields a piece of a request, or all of it, may still have."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise RefusedError(
                413,
                f"a span, a resource or the request has more than {self._limit} fields: send less",
            )


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise _broken(f"a number does not end at byte {position}")


def _broken(reason: str) -> RefusedError:
    return RefusedError(400, f"the body is not a protobuf trace request: {reason}")


def _message(value: Any) -> _Span:
    if type(value) is not tuple:
        raise _broken("a number stands where a message is expected")
    return value


def _bytes(body: bytes, value: Any) -> bytes:
    start, end = _message(value)
    return body[start:end]


def _text(body: bytes, value: Any) -> str:
    try:
        return _bytes(body, value).decode()
    except UnicodeDecodeError as error:
        raise _broken(f"a text is not UTF-8: {error.reason}") from None


def _hex(body: bytes, value: Any) -> str:
    return _bytes(body, value).hex()


def _number(_body: bytes, value: Any) -> int:
    if type(value) is not int:
        raise _broken("a number is expected")
    return value - 2**64 if value >= 2**63 else value


def _truth(_body: bytes, value: Any) -> bool:
    return bool(_number(b"", value))


def _time(_body: bytes, value: Any) -> int:
    if type(value) is not bytes or len(value) != 8:
        raise _broken("a time is not eight bytes long")
    return int.from_bytes(value, "little")


def _double(_body: bytes, value: Any) -> float:
    if type(value) is not bytes or len(value) != 8:
        raise _broken("a double is not eight bytes long")
    (number,) = struct.unpack("<d", value)
    return float(number)


_Convert = Callable[[bytes, Any], Any]

_SPAN_FIELDS: dict[int, tuple[str, _Convert]] = {
    1: ("traceId", _hex),
    2: ("spanId", _hex),
    4: ("parentSpanId", _hex),
    5: ("name", _text),
    7: ("startTimeUnixNano", _time),
    8: ("endTimeUnixNano", _time),
}
_VALUES: dict[int, tuple[str, _Convert]] = {
    1: ("stringValue", _text),
    2: ("boolValue", _truth),
    3: ("intValue", _number),
    4: ("doubleValue", _double),
}
"""Fields of Span and AnyValue by their number: what OTLP's JSON calls them, and what they are."""
