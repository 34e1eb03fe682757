"""Requests made to take more than they should: refused early, and read piece by piece."""

import gzip
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree.ingest import Problem, SpanRecord, received
from spendtree.store.memory import MemoryStore
from spendtree_exporter import otlp_json, otlp_protobuf
from spendtree_exporter.otlp_body import unpacked
from spendtree_exporter.otlp_limits import Limits, RefusedError
from tests.exporter.test_app import value
from tests.exporter.test_otlp import JSON, PROTOBUF, call, post, receiving, request

SPANS, SPANS_END = b'{"resourceSpans":[{"scopeSpans":[{"spans":[', b"]}]}]}"

SMALL = Limits(
    unpacked_bytes=2 * 2**20,
    spans=1_000,
    marks=10_000,
    marks_in_all=200_000,
    piece_bytes=2**18,
)
"""An eighth of the real ones: what is measured with them takes an eighth of the time."""

JSON_BOMBS = {
    "lists": (b'{"resourceSpans":[', b"[],", b"[]]}"),
    "objects": (b'{"resourceSpans":[', b"{},", b"{}]}"),
    "numbers": (b'{"resourceSpans":[', b"1e5,", b"1]}"),
    "texts": (b'{"resourceSpans":[', b'"",', b"1]}"),
    "one text of escapes": (b'{"a":"', b'\\"', b'"}'),
    "empty spans": (SPANS, b"{},", b"{}" + SPANS_END),
    "spans of lists": (SPANS, b'{"a":[' + b"[]," * 3_000 + b"1]},", b"{}" + SPANS_END),
    "batches of texts": (b'{"resourceSpans":[', b'{"a":[' + b'"",' * 6_000 + b"1]},", b"1]}"),
}


def filled(head: bytes, unit: bytes, tail: bytes, limits: Limits = SMALL) -> bytes:
    """Return a body that is as long as one may be."""
    return head + unit * ((limits.unpacked_bytes - len(head) - len(tail)) // len(unit)) + tail


def read(
    body: bytes,
    parser: Callable[[bytes, Limits], dict[str, Any]] = otlp_json.trace_request,
    limits: Limits | None = None,
) -> list[SpanRecord | Problem]:
    return list(received(parser(body, limits or Limits()), file="request"))


def message(number: int, content: bytes) -> bytes:
    """Return a field of protobuf that has a length."""
    length, found = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        found.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(found) + bytes([length]) + content


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_json_that_would_be_many_objects_is_refused_and_takes_little_memory(name: str) -> None:
    body = filled(*JSON_BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as refused:
            read(body, limits=SMALL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refused.value.status == 413
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "body",
    [
        message(1, message(2, message(2, b"") * 10_000)),
        message(1, b"") * 10_000,
        message(1, message(2, b"") * 10_000),
        message(1, message(2, message(2, message(11, b"") * 11_000))),
        message(1, message(2, message(2, message(11, b"") * 9_000) * 20)),
        message(1, message(1, message(1, b"") * 11_000)),
    ],
    ids=["spans", "batches", "scopes", "events", "spans of events", "attributes"],
)
def test_protobuf_that_would_be_many_objects_is_refused_and_takes_little_memory(
    body: bytes,
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as refused:
            read(body, otlp_protobuf.trace_request, SMALL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refused.value.status == 413
    assert peak < 8 * 2**20


def test_gzip_is_unpacked_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b"[" * (64 * 2**20), 9)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="unpacked"):
            unpacked(bomb, Limits(unpacked_bytes=2**20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * 2**20


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            b'{"traceId":"aa","spanId":"bb","startTimeUnixNano":' + b"9" * 100_000 + b"}",
            "is no time",
        ),
        (b'{"traceId":1.5,"spanId":"bb"}', "lost digits"),
        (b'{"traceId":"aa","spanId":' + b"9" * 5_000 + b"}", "is no id"),
        (b'{"traceId":"aa","spanId":"bb","name":"' + b"x" * 5 * 2**20 + b'"}', "is longer than"),
        (b'{"traceId":"aa","spanId":"bb","endTimeUnixNano":"1e9999999"}', "is no time"),
        (b'{"traceId":"aa","spanId":"bb","endTimeUnixNano":"0001-01-01T00:00:00"}', "before 1970"),
    ],
    ids=["huge integer", "id with a fraction", "huge id", "5 MB", "infinite time", "year 1"],
)
def test_a_span_that_is_too_much_costs_only_itself(bad: bytes, reason: str) -> None:
    good = json.dumps(call(7)).encode()

    found = read(SPANS + good + b"," + bad + b"," + good + SPANS_END)

    assert [type(each) for each in found] == [SpanRecord, Problem, SpanRecord]
    assert reason in str(found[1])
    assert len(str(found[1])) < 500


@pytest.mark.parametrize("amount", ["1e999999999", "1e-999999999", "9" * 100_000, "Infinity"])
def test_an_amount_that_cannot_be_written_out_is_none(amount: str) -> None:
    span = call(1)
    span["attributes"].append({"key": "llm.cost.total", "value": {"stringValue": amount}})

    (found,) = read(json.dumps(request(span)).encode())

    assert isinstance(found, SpanRecord)
    assert found.reported_cost is None


def test_texts_that_are_objects_and_keys_of_megabytes_are_not_parsed_or_kept() -> None:
    cost = '{"total": 1, "x": [' + "[]," * 500_000 + "1]}"
    attributes = [("langfuse.observation.cost_details", cost), ("usage" + "y" * 2**20, "1")]
    body = json.dumps(request(_span(1, "chat", [("gen_ai.request.model", "m"), *attributes])))
    tracemalloc.start()
    try:
        (found,) = read(body.encode())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert isinstance(found, SpanRecord)
    assert peak < 20 * 2**20
    assert max(map(len, found.keys)) <= 1_000


@pytest.mark.parametrize("length", [2**18 - 100, 2**18, 2**18 + 1, 3 * 2**18])
def test_a_text_may_be_longer_than_what_is_searched_at_once(length: int) -> None:
    text = ('[{,]}\\"' * (length // 7 + 1))[:length]
    spans = [_span(number, text, [(text[:9], text), ("a", 1)]) for number in (1, 2)]

    found = read(json.dumps(request(*spans)).encode())

    assert found == list(received(request(*spans), file="request"))


def test_ids_of_megabytes_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            body = b'{"traceId":"%s%d","spanId":"b"}' % (b"z" * 2**20, number)
            read(SPANS + body + SPANS_END)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert kept < 4 * 2**20


texts = st.text(max_size=6) | st.sampled_from(['"', "\\", '\\"', "[{", "]}", '{"spans":[{', ","])
attribute = st.tuples(texts, texts | st.integers(-(2**63), 2**63 - 1) | st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 2**60), texts, st.lists(attribute, max_size=4)), max_size=4
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_piece_by_piece_the_same_spans_are_read(batches: Any, indented: bool) -> None:
    """Whatever stands in texts, what is cut is what a parser of the whole would find."""
    document = {
        "resourceSpans": [
            {
                "scopeSpans": [{"spans": [_span(*each) for each in spans]}],
                "resource": {"attributes": [{"key": "a", "value": {"stringValue": "]}"}}]},
            }
            for spans in batches
        ]
    }
    body = json.dumps(document, indent=1 if indented else None, ensure_ascii=indented).encode()

    assert read(body) == list(received(json.loads(body), file="request"))


def _span(id: int, name: str, attributes: list[tuple[str, Any]]) -> dict[str, Any]:
    kinds = {str: "stringValue", int: "intValue", bool: "boolValue"}
    return {
        "traceId": f"{id:032x}",
        "spanId": f"{id:016x}",
        "name": name,
        "startTimeUnixNano": 1_760_000_000_000_000_000,
        "endTimeUnixNano": 1_760_000_001_000_000_000,
        "status": {"message": name, "code": id % 3},
        "attributes": [{"key": key, "value": {kinds[type(of)]: of}} for key, of in attributes],
        "events": [{"attributes": [{"key": "exception.type", "value": {"stringValue": name}}]}],
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2**60), texts, st.lists(attribute, max_size=5)), max_size=5)
)
def test_protobuf_is_read_as_the_general_library_reads_it(spans: Any) -> None:
    reason = "pip install opentelemetry-proto"
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=reason
    )
    from base64 import b64encode  # noqa: PLC0415

    from google.protobuf import json_format  # type: ignore[import-untyped]  # noqa: PLC0415

    document = request(*(_span(*each) for each in spans))
    for each in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId"):
            each[key] = b64encode(bytes.fromhex(each[key])).decode()
    body = json_format.ParseDict(document, service.ExportTraceServiceRequest()).SerializeToString()

    told = json_format.MessageToDict(service.ExportTraceServiceRequest.FromString(body))
    whole = {"resourceSpans": told.get("resourceSpans", [])}
    assert read(body, otlp_protobuf.trace_request) == list(received(whole, file="request"))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for parser in (otlp_json.trace_request, otlp_protobuf.trace_request):
        with suppress(RefusedError):
            read(body, parser)


def test_a_lying_length_and_an_endless_body_are_refused_and_closed() -> None:
    with receiving(MemoryStore()) as url:
        for head in (b"Content-Length: 99999999999", b"Transfer-Encoding: chunked"):
            with _connected(url) as sock:
                sock.sendall(_head(head))
                if b"chunked" in head:
                    with pytest.raises(OSError, match=r"reset|pipe"):
                        sock.sendall((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 1_000)
                else:
                    assert b" 413 " in sock.recv(4096)
        assert httpx.get(f"{url}/metrics").status_code == 200


def test_bodies_that_do_not_end_make_room_for_one_that_does() -> None:
    """Twenty clients keep all that bodies may take; an ordinary request passes all the same."""
    with receiving(MemoryStore()) as url:
        slow = [_connected(url) for _ in range(20)]
        for sock in slow:
            sock.sendall(_head(b"Content-Length: 8000000") + b"x" * 3_000_000)
        assert post(url, call(1)).status_code == 200
        answers = []
        for sock in slow:
            sock.settimeout(0.2)
            try:
                answers.append(sock.recv(4096))
            except (TimeoutError, ConnectionResetError):
                answers.append(b"")
            sock.close()
    assert any(b" 503 " in answer and b"retry-after" in answer.lower() for answer in answers)


@pytest.mark.slow
def test_several_bombs_at_once_delay_no_scrape_and_are_parsed_one_by_one() -> None:
    bombs = [
        (gzip.compress(filled(*JSON_BOMBS["objects"], Limits()), 1), JSON),
        (gzip.compress(filled(*JSON_BOMBS["numbers"], Limits()), 1), JSON),
        (gzip.compress(message(1, message(2, message(2, b"") * 100_000)), 1), PROTOBUF),
    ]
    with receiving(MemoryStore()) as url:
        answers: list[int] = []

        def send(content: bytes, headers: dict[str, str]) -> None:
            answer = httpx.post(
                f"{url}/v1/traces",
                content=content,
                headers={**headers, "Content-Encoding": "gzip"},
                timeout=120,
            )
            answers.append(answer.status_code)

        threads = [threading.Thread(target=send, args=bomb) for bomb in bombs * 2]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            # Prometheus gives up after 10 s; what is measured on an idle machine is below 0.3 s.
            assert httpx.get(f"{url}/metrics", timeout=10).status_code == 200
        assert sorted(answers) == [413] * 6
        assert post(url, call(1)).status_code == 200
        assert value(httpx.get(f"{url}/metrics").text, "spendtree_exporter_writer") == 1


def _connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 10)


def _head(header: bytes) -> bytes:
    return (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + header
        + b"\r\n\r\n"
    )


def test_pieces_are_parsed_only_while_they_are_walked() -> None:
    body = SPANS + b",".join([json.dumps(call(1)).encode()] * 3) + SPANS_END
    found: Iterator[SpanRecord | Problem] = received(
        otlp_json.trace_request(body, Limits()), file="request"
    )

    assert isinstance(next(found), SpanRecord)
    assert len(list(found)) == 2
