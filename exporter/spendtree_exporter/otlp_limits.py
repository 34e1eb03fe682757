"""OTLP limits: how much of a request is read, unpacked and parsed. Values and one error, no I/O."""

from typing import Any, NamedTuple


class RefusedError(Exception):
    """A request that is not taken: the HTTP status, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class Limits(NamedTuple):
    """The most that one request may hold, and that all requests together may keep in memory.

    `body_bytes` as sent, `unpacked_bytes` after gzip, `spans` in number. `marks` bounds one piece
    that is parsed at once (a span, or all of a batch but its spans): its brackets and strings in
    JSON, its fields in protobuf; an attribute takes nine and five. All of a request may have
    `marks_in_all`. A span of more than `piece_bytes` is left out, since its text may take four
    times as much in memory, twice. `depth` is how deeply JSON may be nested. `waiting_bytes` are
    the bodies of all requests that are being sent or wait for the parser, `body_seconds` the time
    that one body may take.
    """

    body_bytes: int = 8 * 2**20
    unpacked_bytes: int = 16 * 2**20
    spans: int = 10_000
    marks: int = 100_000
    marks_in_all: int = 2_000_000
    piece_bytes: int = 4 * 2**20
    depth: int = 100
    waiting_bytes: int = 24 * 2**20
    body_seconds: float = 30.0


class Pieces(list[Any]):
    """A list whose members are parsed one by one, while it is walked: only one is in memory.

    It holds where each piece stands; `parse` makes a member of that.
    """

    def __init__(self, places: Any, parse: Any) -> None:
        super().__init__(places)
        self._parse = parse

    def __iter__(self) -> Any:
        return map(self._parse, super().__iter__())
