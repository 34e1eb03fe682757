"""OTLP: `POST /v1/traces`, the endpoint that any OpenTelemetry exporter can send its spans to.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: protobuf or JSON, gzip or not; what cannot be
read of a request is told as partial success, what must not be sent again is a 4xx, what may is a
503. What spans become is decided in `spendtree.ingest`, when they are booked in `gather`.
"""

import importlib.util
import json
import zlib
from collections.abc import Mapping
from gzip import GzipFile
from io import BytesIO
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from spendtree.errors import ConfigurationError
from spendtree.ingest import Problem, SpanRecord, parse
from spendtree_exporter.gather import Figures, Gatherer
from spendtree_exporter.keeper import Keeper
from spendtree_exporter.render import Own
from spendtree_exporter.tokens import Tokens

BODY_MAX = 8 * 2**20
"""Bytes of a request as sent; the collector's own limit is 20 MiB, its batches are far below."""

UNZIPPED_MAX = 64 * 2**20
SPANS_MAX = 10_000
"""Spans of one request; SDKs send 512, the collector 8,192."""

TRACES = "/v1/traces"
"""The path that OTLP/HTTP has for spans."""

PROTOBUF, JSON = "application/x-protobuf", "application/json"

_INVALID = 3
_CODES = {401: 16, 403: 7, 503: 14}
"""https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto."""

_HEADERS = {503: {"Retry-After": "5"}, 401: {"WWW-Authenticate": 'Bearer realm="spendtree"'}}

_PROBLEMS_TOLD = 3


class RefusedError(Exception):
    """A request that is not taken: the HTTP status, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class _Read(NamedTuple):
    spans: list[SpanRecord]
    problems: list[Problem]


def check_installed() -> None:
    """Raise ConfigurationError where protobuf requests could not be read."""
    if importlib.util.find_spec("opentelemetry.proto") is None:
        raise ConfigurationError(
            "--web.enable-otlp-receiver needs opentelemetry-proto: pip install 'spendtree[otlp]'"
        )


class Receiver:
    """The door `/v1/traces`: reads requests and hands their spans to a Gatherer.

    Without one it is shut, and tells that no span came.
    """

    def __init__(
        self, gatherer: Gatherer | None, keeper: Keeper, tokens: Tokens | None = None
    ) -> None:
        self._gatherer = gatherer
        self._tokens = tokens
        self._keeper = keeper
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
        return {
            "exporter_received_spans_total": [
                (("accepted",), figures.accepted),
                (("ignored",), figures.ignored),
                (("rejected",), self._rejected),
            ],
            "exporter_pending_spans": [((), figures.pending)],
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
            body = await _body(request)
            zipped = _zipped(request.headers.get("content-encoding", ""))
            read = await run_in_threadpool(_read, body, kind, zipped)
            try:
                taken = await run_in_threadpool(self._gatherer.take, read.spans)
            except OSError as error:
                raise RefusedError(503, f"the spans cannot be kept: {error}") from None
            if not taken:
                raise RefusedError(503, "too many spans wait for the store to take them")
        except RefusedError as error:
            return _refusal(kind, error)
        self._rejected += len(read.problems)
        return _answer(kind, read.problems)

    def _check_sender(self, request: Request) -> None:
        """Raise RefusedError for who may not send spans, before anything is read of them."""
        if "origin" in request.headers:
            # A page of any site could send them through the browser of somebody who is let in.
            raise RefusedError(403, "spans are not taken from web pages: send them from a server")
        if self._tokens and not self._tokens.admits(request.headers.get("authorization", "")):
            raise RefusedError(
                401, "spans are taken with a token only: send `Authorization: Bearer TOKEN`"
            )


async def _body(request: Request) -> bytes:
    """Return the body as sent, read no further than the limit."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BODY_MAX:
                raise RefusedError(
                    413, f"the body is longer than {BODY_MAX} bytes: send less at once"
                )
            parts.append(part)
    except ClientDisconnect:
        raise RefusedError(400, "the body ended early") from None
    return b"".join(parts)


def _zipped(coding: str) -> bool:
    coding = coding.strip().lower()
    if coding not in ("", "identity", "gzip"):
        raise RefusedError(415, f"content encoding {coding!r}: send gzip or none")
    return coding == "gzip"


def _read(body: bytes, kind: str, zipped: bool) -> _Read:
    if zipped:
        body = _unzipped(body)
    document = _from_protobuf(body) if kind == PROTOBUF else _from_json(body)
    count = _count(document)
    if count > SPANS_MAX:
        raise RefusedError(413, f"{count} spans at once are more than {SPANS_MAX}: send less")
    found = _Read([], [])
    for each in parse(document, file="request"):
        if isinstance(each, Problem):
            found.problems.append(each)
        else:
            found.spans.append(each)
    return found


def _unzipped(body: bytes) -> bytes:
    """Return what all members of the gzip data hold: what several of them say is one body."""
    try:
        unpacked = GzipFile(fileobj=BytesIO(body)).read(UNZIPPED_MAX + 1)
    except EOFError:
        raise RefusedError(400, "the gzip data ends early") from None
    except (OSError, zlib.error) as error:
        raise RefusedError(400, f"the body is not gzip: {error}") from None
    if not body:  # to the library that is no member, and no error
        raise RefusedError(400, "the gzip data ends early")
    if len(unpacked) > UNZIPPED_MAX:
        raise RefusedError(413, f"the body is longer than {UNZIPPED_MAX} bytes unpacked: send less")
    return unpacked


def _from_protobuf(body: bytes) -> dict[str, Any]:
    """Return a request as the JSON that OTLP has for it (ids in base64, which are read, too)."""
    # An extra, and without stubs.
    from google.protobuf.json_format import MessageToDict  # type: ignore  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # type: ignore  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    try:
        told: dict[str, Any] = MessageToDict(ExportTraceServiceRequest.FromString(body))
    except (DecodeError, RecursionError, ValueError) as error:
        raise RefusedError(400, f"the body is no protobuf trace request: {error}") from None
    return {"resourceSpans": told.get("resourceSpans", [])}


def _from_json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None
    batches = told.get("resourceSpans", []) if isinstance(told, dict) else None
    if not isinstance(batches, list):
        raise RefusedError(400, "the body is no trace request: an object with a list resourceSpans")
    return {"resourceSpans": batches}


def _count(document: Mapping[str, Any]) -> int:
    """Count the spans of a request, of which any part may be something else than it should."""
    count = 0
    for batch in document["resourceSpans"]:
        scopes = batch.get("scopeSpans") if isinstance(batch, dict) else None
        for scope in scopes if isinstance(scopes, list) else ():
            spans = scope.get("spans") if isinstance(scope, dict) else None
            count += len(spans) if isinstance(spans, list) else 0
    return count


def _answer(kind: str, problems: list[Problem]) -> Response:
    told = "; ".join(f"{each.position}: {each.reason}" for each in problems[:_PROBLEMS_TOLD])
    if len(problems) > _PROBLEMS_TOLD:
        told += f"; and {len(problems) - _PROBLEMS_TOLD} more"
    if kind == JSON:
        partial = {"rejectedSpans": str(len(problems)), "errorMessage": told}
        return Response(
            json.dumps({"partialSuccess": partial} if problems else {}), media_type=JSON
        )
    partial_bytes = _varint_field(1, len(problems)) + _text_field(2, told)
    body = _bytes_field(1, partial_bytes) if problems else b""
    return Response(body, media_type=PROTOBUF)


def _refusal(kind: str, error: RefusedError) -> Response:
    """Return the answer of a request that was not taken: a google.rpc.Status, as OTLP asks for."""
    code = _CODES.get(error.status, _INVALID)
    headers = _HEADERS.get(error.status)
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
