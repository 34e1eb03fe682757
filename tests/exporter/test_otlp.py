"""Spans from any OpenTelemetry exporter: what is taken, what is refused, and how it is said."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from spendtree.errors import StoreUnavailableError
from spendtree.event import Kind
from spendtree.metrics import Fold
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.gather import Patience
from spendtree_exporter.lock import WriterLock
from spendtree_exporter.otlp_limits import Limits
from spendtree_exporter.serve import serving
from tests.exporter.test_app import value
from tests.exporter.test_follow import until

PRICES = PriceBook({"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}})
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}

AT_ONCE = Patience(rooted=0.0, rootless=0.0)
NEVER = Patience(rooted=10**6, rootless=10**6)


@contextmanager
def receiving(store: Store, patience: Patience = AT_ONCE) -> Iterator[str]:
    fold = Fold(store.id, birth_hold_us=0)  # figures are looked at as soon as they are there
    with serving(create_app(store, fold=fold, receive=PRICES, patience=patience)) as url:
        httpx.get(f"{url}/-/ready")  # the lock is taken
        yield url


def span(id: int, parent: int | None = None, trace: int = 1, **attributes: Any) -> dict[str, Any]:
    """Return a span as OTLP's JSON has it; each lasts a second and begins at its id."""
    kinds = {str: "stringValue", int: "intValue", bool: "boolValue"}
    found: dict[str, Any] = {
        "traceId": f"{trace:032x}",
        "spanId": f"{id:016x}",
        "name": f"span {id}",
        "startTimeUnixNano": str((1_760_000_000 + id) * 10**9),
        "endTimeUnixNano": str((1_760_000_001 + id) * 10**9),
        "attributes": [
            {"key": key, "value": {kinds[type(value)]: value}} for key, value in attributes.items()
        ],
    }
    return found if parent is None else {**found, "parentSpanId": f"{parent:016x}"}


def agent(id: int, name: str, parent: int | None = None, trace: int = 1) -> dict[str, Any]:
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    return span(id, parent, trace, **attributes)


def call(id: int, parent: int | None = None, trace: int = 1, model: str = "m") -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
    }
    return span(id, parent, trace, **attributes)


def request(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def post(url: str, *spans: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/traces", json=request(*spans))


def calls(store: Store) -> list[tuple[str, str, int | None]]:
    """Return session, agent and cost of each call."""
    found = store.events(kinds=[Kind.CALL])
    return [(event.context.session, event.context.agent, event.cost) for event in found]


TRACE = f"otlp:{1:032x}"
COST = 100 * 10**6 + 10 * 2 * 10**6


def told(url: str, result: str) -> float:
    body = httpx.get(f"{url}/metrics").text
    wanted = 'spendtree_exporter_received_spans_total{store="'
    (line,) = [
        line
        for line in body.splitlines()
        if line.startswith(wanted) and f'result="{result}"' in line
    ]
    return float(line.rpartition(" ")[2])


def test_without_the_flag_there_is_no_such_door() -> None:
    with serving(create_app(MemoryStore())) as url:
        assert post(url, call(1)).status_code == 404
        assert told(url, "accepted") == 0


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_official_exporter_delivers_agents_and_calls(sqlite_url: str, compression: str) -> None:
    reason = "pip install opentelemetry-exporter-otlp-proto-http"
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason=reason)
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    store = open_store(sqlite_url)
    with receiving(store, Patience(rooted=0.0)) as url:
        exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=Compression(compression))
        provider = TracerProvider(shutdown_on_exit=False)
        # Each span is a request of its own, the innermost first.
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("answer") as root:
            root.set_attributes({"gen_ai.operation.name": "invoke_agent"})
            root.set_attribute("gen_ai.agent.name", "coordinator")
            for _ in range(2):
                with tracer.start_as_current_span("chat m") as each:
                    each.set_attributes(
                        {
                            "gen_ai.operation.name": "chat",
                            "gen_ai.request.model": "m",
                            "gen_ai.usage.input_tokens": 100,
                            "gen_ai.usage.output_tokens": 10,
                            "spendtree.customer": "acme",
                        }
                    )
        provider.shutdown()
        trace = f"otlp:{root.get_span_context().trace_id:032x}"
        until(lambda: len(calls(store)) == 2)
        assert calls(store) == [(trace, "coordinator", COST)] * 2
        until(lambda: value(httpx.get(f"{url}/metrics").text, "spendtree_calls_total") == 2)
        assert told(url, "accepted") == 3
        assert f"{trace}" in httpx.get(f"{url}/api/v1/sessions?customer=acme").text
    store.close()


def test_protobuf_and_json_make_the_same_events() -> None:
    trace_service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        reason="pip install opentelemetry-proto",
    )
    json_format = pytest.importorskip("google.protobuf.json_format")
    spans = [call(3, 2), agent(2, "researcher", 1), agent(1, "coordinator"), call(4, 1)]
    wanted = json.loads(json.dumps(request(*spans)))
    for each in wanted["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in each:  # protobuf's own JSON has bytes in base64
                each[key] = _base64(each[key])
    body = json_format.ParseDict(
        wanted, trace_service.ExportTraceServiceRequest()
    ).SerializeToString()

    logs = []
    for content, headers in (
        (body, PROTOBUF),
        (gzip.compress(body), {**PROTOBUF, "Content-Encoding": "gzip"}),
        (json.dumps(request(*spans)).encode(), JSON),
        (gzip.compress(json.dumps(request(*spans)).encode()), {**JSON, "Content-Encoding": "gzip"}),
    ):
        store = MemoryStore()
        with receiving(store) as url:
            answer = httpx.post(f"{url}/v1/traces", content=content, headers=headers)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == headers["Content-Type"]
            assert answer.content == (
                b"{}" if headers["Content-Type"] == JSON["Content-Type"] else b""
            )
        # When each was recorded is another matter.
        events = [(event, {**(event.data or {}), "recorded": 0}) for event in store.events()]
        logs.append([event._replace(seq=0, data=data) for event, data in events])

    assert logs[0] == logs[1] == logs[2] == logs[3]
    assert len([event for event in logs[0] if event.kind == Kind.CALL]) == 2
    assert {event.context.agent for event in logs[0]} == {"", "coordinator", "researcher"}


def _base64(digits: str) -> str:
    from base64 import b64encode  # noqa: PLC0415

    return b64encode(bytes.fromhex(digits)).decode()


def test_a_trace_waits_for_its_root_and_is_booked_as_a_whole() -> None:
    store = MemoryStore()
    with receiving(store, Patience(rooted=0.0, rootless=10**6)) as url:
        post(url, call(3, 2))
        post(url, agent(2, "researcher", 1))
        assert calls(store) == []
        assert value(httpx.get(f"{url}/metrics").text, "spendtree_exporter_pending_spans") == 2
        post(url, agent(1, "coordinator"))
        until(lambda: calls(store) == [(TRACE, "researcher", COST)])
        until(lambda: told(url, "accepted") == 3)
        assert value(httpx.get(f"{url}/metrics").text, "spendtree_exporter_pending_spans") == 0

    (opened,) = store.events(kinds=[Kind.SESSION_OPENED])
    assert opened.context.origin == "import"


def test_what_comes_late_joins_its_session_under_its_agent() -> None:
    store = MemoryStore()
    with receiving(store) as url:
        post(url, call(3, 2), agent(2, "researcher", 1), agent(1, "coordinator"))
        until(lambda: len(calls(store)) == 1)
        post(url, call(4, 2))
        until(lambda: len(calls(store)) == 2)

    assert calls(store) == [(TRACE, "researcher", COST)] * 2
    closed = list(store.events(kinds=[Kind.SESSION_CLOSED]))
    assert [event.cost for event in closed] == [COST, 2 * COST]
    assert closed[1].data == {"continued": True}


def test_what_is_delivered_twice_counts_once() -> None:
    store = MemoryStore()
    with receiving(store) as url:
        for _ in range(3):
            assert post(url, agent(1, "coordinator"), call(2, 1)).status_code == 200
        until(lambda: len(calls(store)) == 1)
        until(lambda: told(url, "accepted") == 2)
        post(url, agent(1, "coordinator"), call(2, 1))

    assert len(calls(store)) == 1


def test_what_still_waits_is_booked_when_the_exporter_stops() -> None:
    store = MemoryStore()
    with receiving(store, NEVER) as url:
        post(url, call(2, 1), call(3, 1))
        assert calls(store) == []

    assert len(calls(store)) == 2


def test_traces_of_something_else_are_counted_and_leave_no_session() -> None:
    store = MemoryStore()
    with receiving(store) as url:
        post(url, span(1, method="GET"), span(2, 1))
        until(lambda: told(url, "ignored") == 2)

    assert list(store.events()) == []


def test_what_cannot_be_read_of_a_request_is_told_as_partial_success() -> None:
    store = MemoryStore()
    bad = {**call(3, 1), "spanId": ""}
    worse = call(4, 1)
    worse["attributes"][2] = {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-5"}}
    with receiving(store) as url:
        answer = post(url, call(2, 1), bad, "not a span", worse)
        until(lambda: len(calls(store)) == 1)
        assert told(url, "rejected") == 3

    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "3"
    assert "spans[1]: has no span id" in partial["errorMessage"]


def test_partial_success_is_told_in_protobuf_as_well() -> None:
    trace_service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        reason="pip install opentelemetry-proto",
    )
    wanted = trace_service.ExportTraceServiceRequest()
    spans = wanted.resource_spans.add().scope_spans.add().spans
    for _ in range(200):
        spans.add(name="without an id")
    with receiving(MemoryStore()) as url:
        answer = httpx.post(
            f"{url}/v1/traces", content=wanted.SerializeToString(), headers=PROTOBUF
        )

    told = trace_service.ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_spans == 200
    assert told.error_message.endswith("and 197 more")


def test_a_body_of_several_gzip_members_is_read_to_its_end() -> None:
    body = json.dumps(request(call(2, parent=1), call(3, parent=1))).encode()
    members = b"".join(gzip.compress(part) for part in (body[:20], b"", body[20:]))
    store = MemoryStore()
    with receiving(store) as url:
        headers = {**JSON, "Content-Encoding": "gzip"}
        answer = httpx.post(f"{url}/v1/traces", content=members, headers=headers)
        assert answer.status_code == 200

    assert len(list(store.events(kinds=[Kind.CALL]))) == 2


CUT = gzip.compress(b"{}" * 99, mtime=0)[:-9]
"""A body that ends early; without a time in it, since every test process must gather the same."""

WHOLE = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415, "application/x-protobuf"),
        (b"{}", {}, 415, "application/x-protobuf"),
        (b"{}", {**JSON, "Content-Encoding": "br"}, 415, "send gzip or none"),
        (b"{", JSON, 400, "is not JSON"),
        (b"[]", JSON, 400, "not a trace request"),
        (b'{"resourceSpans": 3}', JSON, 400, "not a trace request"),
        (b"[" * 100_000, JSON, 400, "nested more than 100 levels deep"),
        (b"no gzip", {**JSON, "Content-Encoding": "gzip"}, 400, "is not gzip"),
        (CUT, {**JSON, "Content-Encoding": "gzip"}, 400, "ends early"),
        (b"", {**JSON, "Content-Encoding": "gzip"}, 400, "ends early"),
        (WHOLE + b"more", {**JSON, "Content-Encoding": "gzip"}, 400, "is not gzip"),
        (WHOLE + CUT, {**JSON, "Content-Encoding": "gzip"}, 400, "ends early"),
        (
            gzip.compress(b" " * Limits().unpacked_bytes, 1, mtime=0)
            + gzip.compress(b" ", mtime=0),
            {**JSON, "Content-Encoding": "gzip"},
            413,
            "unpacked",
        ),
        (b" " * (Limits().body_bytes + 1), JSON, 413, "send less"),
        (
            gzip.compress(b" " * (Limits().unpacked_bytes + 1), 1, mtime=0),
            {**JSON, "Content-Encoding": "gzip"},
            413,
            "unpacked",
        ),
        (
            json.dumps(request(*[0] * (Limits().spans + 1))).encode(),
            JSON,
            413,
            "more than 10000 spans",
        ),
    ],
)
def test_a_request_that_is_none_or_too_much_is_refused_with_the_reason(
    content: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    store = MemoryStore()
    with receiving(store) as url:
        answer = httpx.post(f"{url}/v1/traces", content=content, headers=headers, timeout=30)
        assert answer.status_code == status, answer.text
        assert reason in answer.json()["message"]
        assert httpx.get(f"{url}/-/healthy").status_code == 200

    assert list(store.events()) == []


def test_a_refusal_of_protobuf_is_a_status_in_protobuf() -> None:
    status = pytest.importorskip(
        "google.rpc.status_pb2", reason="pip install googleapis-common-protos"
    )
    with receiving(MemoryStore()) as url:
        answer = httpx.post(f"{url}/v1/traces", content=b"\xff\xff", headers=PROTOBUF)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/x-protobuf"
    said = status.Status.FromString(answer.content)
    assert said.code == 3
    assert "not a protobuf trace request" in said.message


@pytest.mark.parametrize("content", [b"{}", b'{"resourceSpans": []}', b'{"resourceSpans": [null]}'])
def test_a_request_without_spans_is_fine(content: bytes) -> None:
    with receiving(MemoryStore()) as url:
        assert httpx.post(f"{url}/v1/traces", content=content, headers=JSON).status_code == 200


def test_long_and_strange_attributes_are_cut_and_break_nothing(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    nasty = 'x\n"\\\x00</script>' * 5_000
    each = call(1, model=nasty)
    each["attributes"].append({"key": "spendtree.customer", "value": {"stringValue": nasty}})
    each["attributes"].append({"key": "deep", "value": {"arrayValue": {"values": [{}] * 50}}})
    with receiving(store) as url:
        assert post(url, each).json() == {}
        until(lambda: len(calls(store)) == 1)
        until(lambda: value(httpx.get(f"{url}/metrics").text, "spendtree_calls_total") == 1)
        page = httpx.get(f"{url}/sessions/{TRACE}")
        assert page.status_code == 200
        assert "</script>" not in page.text
    (event,) = store.events(kinds=[Kind.CALL])
    assert len(event.request.model) <= 1_000
    store.close()


class Full(MemoryStore):
    """A store that cannot take anything for a while."""

    full = True

    def load(self, *arguments: Any) -> int:
        if self.full:
            raise StoreUnavailableError("the disk is full")
        return super().load(*arguments)


def test_nothing_is_lost_while_the_store_takes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Full()
    with receiving(store) as url:
        assert post(url, call(2, 1)).status_code == 200
        until(lambda: "the disk is full" in caplog.text)
        assert value(httpx.get(f"{url}/metrics").text, "spendtree_exporter_pending_spans") == 1
        store.full = False
        until(lambda: len(calls(store)) == 1)
        until(lambda: told(url, "accepted") == 1)


def test_what_there_is_no_room_for_is_to_be_sent_again_later() -> None:
    store = Full()
    with receiving(store, Patience(rooted=0.0, rootless=0.0, spans=3)) as url:
        assert post(url, call(2, 1), call(3, 1)).status_code == 200
        answer = post(url, call(4, 1, trace=2), call(5, 1, trace=2))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        store.full = False
        assert post(url, call(4, 1, trace=2), call(5, 1, trace=2)).status_code == 200
        until(lambda: len(calls(store)) == 4)


def test_the_quietest_traces_make_room_and_are_booked_before_they_go() -> None:
    store = MemoryStore()
    with receiving(store, NEVER._replace(spans=4)) as url:
        for trace in range(10):
            assert post(url, call(2, 1, trace=trace + 1)).status_code == 200
        assert len(calls(store)) == 6
    assert len(calls(store)) == 10


def test_an_exporter_that_only_reads_takes_no_spans(sqlite_url: str) -> None:
    lock, store = WriterLock(sqlite_url), open_store(sqlite_url)
    assert lock.acquire() == ""
    with receiving(store) as url:
        answer = post(url, call(1))
    lock.release()

    assert answer.status_code == 503
    assert "only reads" in answer.json()["message"]
    assert list(store.events()) == []
    store.close()


def test_many_clients_at_once_lose_nothing(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    with receiving(store, Patience(rooted=0.0, rootless=10**6)) as url:

        def send(client: int) -> None:
            with httpx.Client(timeout=30) as http:
                for number in range(10):
                    trace = client * 100 + number + 1
                    for each in (call(2, 1, trace), agent(1, "coordinator", trace=trace)):
                        answer = http.post(f"{url}/v1/traces", json=request(each))
                        assert answer.json() == {}

        threads = [threading.Thread(target=send, args=(client,)) for client in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: told(url, "accepted") == 120)
    assert sorted(calls(store)) == sorted(
        (f"otlp:{client * 100 + number + 1:032x}", "coordinator", COST)
        for client in range(6)
        for number in range(10)
    )
    store.close()
