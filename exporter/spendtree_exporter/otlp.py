"""OTLP: `POST /v1/traces`, the endpoint that any OpenTelemetry exporter can send its spans to.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: protobuf or JSON, gzip or not; what cannot be
read of a request is told as partial success, what must not be sent again is a 4xx, what may is a
503. What spans become is decided in `spendtree.ingest`, when they are booked in `gather`.
"""

import json
from typing import NamedTuple

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from spendtree.ingest import Problem, SpanRecord, received
from spendtree_exporter import otlp_json, otlp_protobuf
from spendtree_exporter.gather import Figures, Gatherer
from spendtree_exporter.keeper import Keeper
from spendtree_exporter.otlp_body import Bodies, unpacked
from spendtree_exporter.otlp_limits import Limits, RefusedError
from spendtree_exporter.render import Own
from spendtree_exporter.set_aside import SetAside
from spendtree_exporter.tokens import Tokens

TRACES = "/v1/traces"
"""The path that OTLP/HTTP has for spans."""

PROTOBUF, JSON = "application/x-protobuf", "application/json"

_INVALID = 3
_CODES = {401: 16, 403: 7, 503: 14}
"""https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto."""

_HEADERS = {503: {"Retry-After": "5"}, 401: {"WWW-Authenticate": 'Bearer realm="spendtree"'}}

_PROBLEMS_TOLD, _REASON_CHARACTERS = 3, 300


class _Read(NamedTuple):
    """The spans of a request, how many of them could not be read, and why the first could not."""

    spans: list[SpanRecord]
    rejected: int
    problems: list[str]


class Receiver:
    """The door `/v1/traces`: reads requests and hands their spans to a Gatherer.

    Without one it is shut, and tells that no span came.
    """

    def __init__(
        self,
        gatherer: Gatherer | None,
        keeper: Keeper,
        tokens: Tokens | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._gatherer = gatherer
        self._tokens = tokens
        self._keeper = keeper
        self._limits = limits or Limits()
        self._bodies = Bodies(self._limits)
        self._alone = CapacityLimiter(1)
        self._rejected = 0

    def start(self) -> None:
        """Begin to book what comes."""
        if self._gatherer:
            self._gatherer.start()

    def stop(self) -> None:
        """Book what is still waiting, and end."""
        if self._gatherer:
            self._gatherer.stop()

    def own(self) -> Own:
        """Return the samples that tell how many spans came."""
        if self._tokens:  # also where no request asks for one
            self._tokens.look()
        figures = self._gatherer.figures() if self._gatherer else Figures(0, 0, 0)
        aside = self._gatherer.set_aside if self._gatherer else SetAside().counts
        return {
            "exporter_received_spans_total": [
                (("accepted",), figures.accepted),
                (("ignored",), figures.ignored),
                (("rejected",), self._rejected),
            ],
            "exporter_pending_spans": [((), figures.pending)],
            "exporter_set_aside_total": [((what,), count) for what, count in aside.items()],
        }

    async def traces(self, request: Request) -> Response:
        """Answer one export request."""
        assert self._gatherer is not None
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            self._check_sender(request)
            if kind not in (PROTOBUF, JSON):
                raise RefusedError(415, f"content type {kind!r}: send {PROTOBUF} or {JSON}")
            if not self._keeper.writer:
                raise RefusedError(503, "this exporter only reads: another one has the store")
            zipped = _zipped(request.headers.get("content-encoding", ""))
            async with self._bodies.read(request) as body:
                # One at a time: two would take twice the memory, and neither would be ready sooner.
                read = await to_thread.run_sync(self._take, body, kind, zipped, limiter=self._alone)
        except RefusedError as error:
            return _refusal(kind, error)
        if isinstance(read, RefusedError):
            return _refusal(kind, read)
        self._rejected += read.rejected
        return _answer(kind, read)

    def _check_sender(self, request: Request) -> None:
        """Raise RefusedError for who may not send spans, before anything is read of them."""
        if "origin" in request.headers:
            # A page of any site could send them through the browser of somebody who is let in.
            raise RefusedError(403, "spans are not taken from web pages: send them from a server")
        if self._tokens and not self._tokens.admits(request.headers.get("authorization", "")):
            raise RefusedError(
                401, "spans are taken with a token only: send `Authorization: Bearer TOKEN`"
            )

    def _take(self, body: bytearray, kind: str, zipped: bool) -> _Read | RefusedError:
        """Read a body and hand its spans on; none was taken where the answer is a refusal.

        A refusal is not raised out of here: its traceback would keep all that was unpacked, until
        the garbage collector comes.
        """
        assert self._gatherer is not None
        try:
            read = _read(body, kind, self._limits, zipped=zipped)
            if not self._gatherer.take(read.spans):
                return RefusedError(503, "too many spans wait for the store to take them")
        except RefusedError as error:
            return RefusedError(error.status, str(error))
        except OSError as error:
            return RefusedError(503, f"the spans cannot be kept: {error}")
        return read


def _zipped(coding: str) -> bool:
    coding = coding.strip().lower()
    if coding not in ("", "identity", "gzip"):
        raise RefusedError(415, f"content encoding {coding!r}: send gzip or none")
    return coding == "gzip"


def _read(body: bytearray, kind: str, limits: Limits, *, zipped: bool) -> _Read:
    whole = unpacked(body, limits) if zipped else bytes(body)
    request = (otlp_protobuf if kind == PROTOBUF else otlp_json).trace_request(whole, limits)
    spans: list[SpanRecord] = []
    problems: list[str] = []
    rejected = 0
    for each in received(request, file="request"):
        if isinstance(each, Problem):
            rejected += 1
            if rejected <= _PROBLEMS_TOLD:
                problems.append(f"{each.position}: {each.reason[:_REASON_CHARACTERS]}")
        else:
            spans.append(each)
        if rejected + len(spans) > limits.spans:
            raise RefusedError(413, f"there are more than {limits.spans} spans: send less at once")
    return _Read(spans, rejected, problems)


def _answer(kind: str, read: _Read) -> Response:
    told = "; ".join(read.problems)
    if read.rejected > len(read.problems):
        told += f"; and {read.rejected - len(read.problems)} more"
    if kind == JSON:
        partial = {"rejectedSpans": str(read.rejected), "errorMessage": told}
        return Response(json.dumps({"partialSuccess": partial} if told else {}), media_type=JSON)
    partial_bytes = _varint_field(1, read.rejected) + _text_field(2, told)
    body = _bytes_field(1, partial_bytes) if told else b""
    return Response(body, media_type=PROTOBUF)


def _refusal(kind: str, error: RefusedError) -> Response:
    """Return the answer of a request that was not taken: a google.rpc.Status, as OTLP asks for."""
    code = _CODES.get(error.status, _INVALID)
    # What has not been read of the body is not read any more.
    headers = {"Connection": "close", **_HEADERS.get(error.status, {})}
    if kind == PROTOBUF:
        body = _varint_field(1, code) + _text_field(2, str(error))
        return Response(body, error.status, headers, PROTOBUF)
    told = json.dumps({"code": code, "message": str(error)})
    return Response(told, error.status, headers, JSON)


# Two small messages, written by hand: a refusal must be possible without the library, too.
# https://protobuf.dev/programming-guides/encoding/


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text_field(number: int, value: str) -> bytes:
    return _bytes_field(number, value.encode("utf-8", "replace"))
