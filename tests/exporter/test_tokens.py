"""Tokens: who may send spans, apart from who may read figures."""

import os
from pathlib import Path

import httpx
import pytest

from spendtree.errors import ConfigurationError
from spendtree.event import Kind
from spendtree.pricing import PriceBook
from spendtree.store import open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.gather import Patience
from spendtree_exporter.serve import serving
from spendtree_exporter.tokens import Tokens, read_tokens
from spendtree_exporter.watch import TEXT_MAX, Reloads
from tests.exporter.test_cli import refused, started
from tests.exporter.test_otlp import call, request

ONE, TWO = "one-0123456789abcdef", "two-0123456789ABCDEF=="


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# of the collector\n\n{ONE}\n")
    return path


def post(url: str, authorization: str | None = None, path: str = "/v1/traces") -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return httpx.post(f"{url}{path}", json=request(call(1)), headers=headers).status_code


def test_spans_are_taken_with_a_token_only(file: Path) -> None:
    store = MemoryStore()
    app = create_app(store, receive=PriceBook(), patience=Patience(rooted=0), tokens=Tokens(file))
    with serving(app) as url:
        httpx.get(f"{url}/-/ready")
        for wrong in (None, "", "Bearer", f"Bearer {ONE}x", f"Basic {ONE}", ONE):
            assert post(url, wrong) == 401, wrong
        assert post(url, path="/v1/traces%0A") in (401, 404)
        answer = httpx.post(f"{url}/v1/traces", json={})
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == 16
        assert httpx.get(f"{url}/metrics").status_code == 200, "reading is another matter"
        assert list(store.events()) == []
        assert post(url, f"Bearer {ONE}") == 200
        assert post(url, f"bearer  {ONE}") == 200


def test_a_token_can_be_replaced_while_serving(file: Path) -> None:
    clock = Clock()
    tokens = Tokens(file, now=clock)

    def admitted() -> list[bool]:
        clock.now += 2
        return [tokens.admits(f"Bearer {each}") for each in (ONE, TWO)]

    assert admitted() == [True, False]
    file.write_text(f"{ONE}\n{TWO}\n")
    assert admitted() == [True, True]
    file.write_text(TWO)
    assert admitted() == [False, True]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"# none\n", b"short\n", b"with a space in it\n", b"\0" * 50, b"\xff" * 50),
        b"a" * (TEXT_MAX + 1),
    ],
    ids=["empty", "blank", "comment", "short", "spaces", "zeros", "binary", "huge"],
)
def test_a_file_that_becomes_wrong_changes_nothing_and_is_reported_once(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    clock, reloads = Clock(), Reloads()
    tokens = Tokens(file, reloads=reloads, now=clock)
    file.write_bytes(content)
    for _ in range(3):
        clock.now += 2
        assert tokens.admits(f"Bearer {ONE}")
        assert not tokens.admits("Bearer ")
        assert not tokens.admits("")
    assert caplog.text.count("the tokens stay as they were") == 1
    assert not reloads.good

    file.write_text(TWO)
    clock.now += 2
    assert tokens.admits(f"Bearer {TWO}")
    assert reloads.good


def test_neither_a_missing_file_nor_a_pipe_opens_or_stops_anything(file: Path) -> None:
    clock = Clock()
    tokens = Tokens(file, now=clock)
    for make in (Path.mkdir, os.mkfifo, str):
        file.rmdir() if file.is_dir() else file.unlink()
        make(file)
        clock.now += 2
        assert tokens.admits(f"Bearer {ONE}")
        assert not tokens.admits(f"Bearer {TWO}")


def test_what_is_wrong_with_a_file_names_its_line_and_no_token(file: Path) -> None:
    file.write_text(f"{ONE}\nsecret!\n")
    with pytest.raises(ConfigurationError, match=r"tokens:2: .*openssl rand") as told:
        read_tokens(file)

    assert "secret" not in str(told.value)


def test_the_command_asks_for_tokens_beside_passwords(sqlite_url: str, file: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt", reason="pip install bcrypt")
    web = file.with_name("web.yml")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{alice: '{hashed}'}}")
    flags = ("--otlp.token-file", str(file), "--web.config.file", str(web))
    receiver = "--web.enable-otlp-receiver"
    with started("--store", sqlite_url, receiver, *flags) as (_, metrics):
        url = metrics.removesuffix("/metrics")
        alice = "Basic YWxpY2U6c2VjcmV0"
        assert httpx.get(metrics, headers={"Authorization": alice}).status_code == 200
        assert httpx.get(metrics, headers={"Authorization": f"Bearer {ONE}"}).status_code == 401
        assert post(url, alice) == 401
        assert post(url, f"Bearer {ONE}") == 200
        assert post(url, f"Bearer {ONE}", "/v1/traces/") == 401
        assert post(url, f"Bearer {ONE}", "/v1/traces%0A") == 401


def test_tokens_and_charges_without_a_receiver_are_a_mistake(sqlite_url: str, file: Path) -> None:
    for flags in (["--otlp.token-file", str(file)], ["--otlp.charge"]):
        assert "--web.enable-otlp-receiver" in refused("--store", sqlite_url, *flags)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9797"])
def test_web_pages_send_no_spans(origin: str) -> None:
    store = MemoryStore()
    with serving(create_app(store, receive=PriceBook(), patience=Patience(rooted=0))) as url:
        httpx.get(f"{url}/-/ready")
        answer = httpx.post(f"{url}/v1/traces", json=request(call(1)), headers={"Origin": origin})
        assert answer.status_code == 403
        preflight = httpx.options(
            f"{url}/v1/traces", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
        )
        assert preflight.status_code == 405
        assert "access-control-allow-origin" not in preflight.headers

    assert list(store.events()) == []


def test_the_official_exporter_sends_its_headers(sqlite_url: str, file: Path) -> None:
    reason = "pip install opentelemetry-exporter-otlp-proto-http"
    trace_exporter = pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http.trace_exporter", reason=reason
    )
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    store = open_store(sqlite_url)
    app = create_app(store, receive=PriceBook(), patience=Patience(rooted=0), tokens=Tokens(file))
    with serving(app) as url:
        httpx.get(f"{url}/-/ready")
        exporter = trace_exporter.OTLPSpanExporter(
            f"{url}/v1/traces", headers={"Authorization": f"Bearer {ONE}"}
        )
        provider = trace.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(export.SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", 10)
            span.set_attribute("gen_ai.usage.output_tokens", 10)
        provider.shutdown()
    assert len(list(store.events(kinds=[Kind.CALL]))) == 1
    store.close()
