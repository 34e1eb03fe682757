"""The table of dialects, and what is refused: every format is read right, or named in one line."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli import main
from spendtree.event import Event, Kind
from spendtree.ingest import ImportReport, import_files, parse
from spendtree.ingest.dialects import DIALECTS, Dialect, recognised
from spendtree.ingest.span import Problem, SpanRecord
from spendtree.money import to_usd
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store
from spendtree.usage import Usage

DOCS = Path(__file__).resolve().parents[2] / "docs" / "import.md"
PRICES = PriceBook()
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
START = "2026-11-01T10:00:00Z"


def write(path: Path, *documents: Any) -> Path:
    path.write_text("\n".join(d if isinstance(d, str) else json.dumps(d) for d in documents))
    return path


def imported(*paths: Path) -> tuple[Store, ImportReport]:
    store = open_store("memory:")
    return store, import_files(store, paths, prices=PRICES)


def calls_of(store: Store) -> list[Event]:
    return list(store.events(kinds={Kind.CALL, Kind.LAPSE}))


def call_of(tmp_path: Path, *documents: Any) -> Event:
    store, report = imported(write(tmp_path / "trace.jsonl", *documents))
    assert report.problems == []
    (event,) = calls_of(store)
    return event


def cost(event: Event) -> Decimal | None:
    return None if event.cost is None else to_usd(event.cost)


def printed(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a span as the Python SDK prints it."""
    return {
        "name": "chat",
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{SPAN}"},
        "start_time": START,
        "attributes": attributes,
    } | fields


def called(**attributes: Any) -> dict[str, Any]:
    """Return a call of gpt-4o; "__" in the name of an attribute is a dot."""
    known = {
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
    }
    return printed(known | {key.replace("__", "."): value for key, value in attributes.items()})


# The table


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_the_example_of_a_dialect_is_read_as_one_call(dialect: Dialect, tmp_path: Path) -> None:
    if not dialect.read:
        assert list(parse(dialect.example.encode())) == []
        return
    event = call_of(tmp_path, dialect.example)
    assert event.usage == Usage(1000, 100)
    assert (event.request.model, cost(event)) == ("gpt-4o", Decimal("0.0035"))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_the_example_of_a_dialect_is_recognised_as_that_one(dialect: Dialect) -> None:
    for line in dialect.example.splitlines():
        assert recognised(json.loads(line)) is dialect


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_the_docs_list_a_dialect_with_what_is_read_and_what_is_not(dialect: Dialect) -> None:
    name, written_by, read, unread = dialect[:4]
    row = f"| {name} | {written_by} | {read or 'nothing'} | {unread or '-'} |"
    assert row in DOCS.read_text()


# Pages and other envelopes


@pytest.mark.parametrize(
    "page",
    [
        lambda span: {"data": [span], "next_cursor": None},
        lambda span: {"data": {"items": [span]}},
        lambda span: [[span]],
        lambda span: {"traces": [{"spans": [span]}]},
    ],
    ids=["data", "data of items", "list of lists", "traces of spans"],
)
def test_a_page_is_read_as_what_it_holds(page: Any, tmp_path: Path) -> None:
    assert cost(call_of(tmp_path, page(called()))) == Decimal("0.0035")


def test_a_data_frame_by_columns_is_read_like_one_by_rows(tmp_path: Path) -> None:
    rows = [
        {
            "context.trace_id": TRACE,
            "context.span_id": f"{i:016x}",
            "span_kind": "LLM",
            "start_time": 1793527200000,
            "attributes.llm.model_name": "gpt-4o",
            "attributes.llm.token_count.prompt": 1000,
            "attributes.llm.token_count.completion": 100,
        }
        for i in (1, 2)
    ]
    columns = {name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]}
    by_rows, _ = imported(write(tmp_path / "rows.json", rows))
    by_columns, _ = imported(write(tmp_path / "columns.json", columns))
    assert [e.id for e in calls_of(by_rows)] == [e.id for e in calls_of(by_columns)]
    assert sum(e.cost or 0 for e in calls_of(by_columns)) == 7_000_000_000


def test_a_trace_of_tempo_in_its_second_version_is_read(tmp_path: Path) -> None:
    wrapped = next(d for d in DIALECTS if d.name == "OTLP JSON, spans")
    inner = json.loads(wrapped.example)
    assert cost(call_of(tmp_path, {"trace": inner})) == Decimal("0.0035")


def test_a_zipkin_list_is_read(tmp_path: Path) -> None:
    span = {
        "traceId": TRACE,
        "id": SPAN,
        "name": "chat",
        "timestamp": 1793527200000000,
        "duration": 5000000,
        "tags": {
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": "1000",
            "gen_ai.usage.output_tokens": "100",
        },
    }
    assert cost(call_of(tmp_path, [span])) == Decimal("0.0035")


def test_a_jaeger_page_hangs_spans_under_their_parents(tmp_path: Path) -> None:
    def span(id: str, parent: str, tags: dict[str, Any]) -> dict[str, Any]:
        return {
            "traceID": TRACE,
            "spanID": id,
            "operationName": "x",
            "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": parent}],
            "startTime": 1793527200000000,
            "duration": 5,
            "tags": [{"key": key, "type": "string", "value": value} for key, value in tags.items()],
        }

    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "writer"}
    model = {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": "1000"}
    spans = [
        span("00000000000000a1", "", agent),
        span("00000000000000a2", "00000000000000a1", model),
    ]
    event = call_of(tmp_path, {"data": [{"traceID": TRACE, "spans": spans, "processes": {}}]})
    assert (event.context.agent, event.input_tokens) == ("writer", 1000)


def test_a_go_span_that_failed_says_so(tmp_path: Path) -> None:
    span = {
        "Name": "chat",
        "SpanContext": {"TraceID": TRACE, "SpanID": SPAN},
        "Parent": {"TraceID": TRACE, "SpanID": "0000000000000000"},
        "StartTime": START,
        "EndTime": "2026-11-01T10:00:01Z",
        "Attributes": [
            {"Key": "gen_ai.request.model", "Value": {"Type": "STRING", "Value": "gpt-4o"}}
        ],
        "Status": {"Code": "Error", "Description": "overloaded"},
    }
    event = call_of(tmp_path, span)
    assert (event.status, event.cost, event.data) == ("failed", 0, {"error": "overloaded"})


# Which model answered, how it was served


@pytest.mark.parametrize(
    ("attributes", "label", "usd"),
    [
        ({"gen_ai__response__model": "gpt-4o-mini-2024-07-18"}, "gpt-4o", "0.00021"),
        (
            {
                "gen_ai__request__model": "my-deployment",
                "gen_ai__provider__name": "azure.ai.openai",
                "gen_ai__response__model": "gpt-4o-mini",
            },
            "my-deployment",
            "0.00021",
        ),
        (
            {
                "gen_ai__request__model": "openrouter/auto",
                "gen_ai__system": "openrouter",
                "gen_ai__response__model": "openai/gpt-4o-mini",
            },
            "openrouter/auto",
            "0.00021",
        ),
    ],
)
def test_a_call_is_labelled_as_asked_and_priced_as_answered(
    attributes: dict[str, Any], label: str, usd: str, tmp_path: Path
) -> None:
    event = call_of(tmp_path, called(**attributes))
    assert (event.request.model, cost(event)) == (label, Decimal(usd))
    assert event.data is not None
    assert event.data["answered_by"] == attributes["gen_ai__response__model"]


@pytest.mark.parametrize(
    ("key", "usd"),
    [
        ("openai__response__service_tier", "0.00175"),
        ("gen_ai__openai__response__service_tier", "0.00175"),
        ("gen_ai__openai__request__service_tier", "0.00175"),
    ],
)
def test_a_service_tier_is_in_the_price(key: str, usd: str, tmp_path: Path) -> None:
    attributes = {"gen_ai__request__model": "gpt-5", key: "flex"}
    plain = call_of(tmp_path, called(gen_ai__request__model="gpt-5"))
    flex = call_of(tmp_path, called(**attributes))
    assert plain.cost is not None
    assert flex.cost == plain.cost // 2
    assert flex.data == {"served": ["flex"]}


def test_the_tier_that_served_goes_before_the_one_that_was_asked(tmp_path: Path) -> None:
    tiers = {"openai.request.service_tier": "flex", "openai.response.service_tier": "default"}
    event = call_of(tmp_path, called(**{key.replace(".", "__"): v for key, v in tiers.items()}))
    assert cost(event) == Decimal("0.0035")


def test_a_tier_that_nobody_has_a_price_for_is_marked(tmp_path: Path) -> None:
    event = call_of(tmp_path, called(openai__response__service_tier="platinum"))
    assert event.marks == ("unpriced:platinum",)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("OpenAI", "openai"),
        ("azure.ai.openai", "azure"),
        ("AzureOpenAI", "azure"),
        ("aws.bedrock", "aws"),
        ("gcp.vertex_ai", "google"),
        ("Acme", "acme"),
    ],
)
def test_a_provider_has_one_spelling_in_labels(name: str, id: str, tmp_path: Path) -> None:
    event = call_of(tmp_path, called(gen_ai__provider__name=name))
    assert event.request.provider == id


# What was used


@pytest.mark.parametrize(
    "write",
    [
        {"gen_ai__usage__cache_creation__input_tokens": 800},
        {"gen_ai__usage__cache_write__input_tokens": 800},
        {"gen_ai__usage__cache_creation_input_tokens": 800},
        {"gen_ai__usage__details__cache_write_tokens": 800},
        {"gen_ai__usage__prompt_details__cache_write": 800},
    ],
)
def test_every_spelling_of_a_cache_write_is_one(write: dict[str, int], tmp_path: Path) -> None:
    event = call_of(tmp_path, called(gen_ai__request__model="claude-sonnet-4-6", **write))
    assert event.usage == Usage(200, 100, cache_write_tokens=800)


@pytest.mark.parametrize(
    "write",
    [
        {"input_ephemeral_1h_input_tokens": 800},
        {"input_cache_creation_1h": 800, "input_cache_creation": 800},
        {"cache_creation": {"ephemeral_1h_input_tokens": 800, "ephemeral_5m_input_tokens": 0}},
        {"cache_creation_input_tokens": 800, "ephemeral_1h_input_tokens": 800},
    ],
)
def test_a_write_for_an_hour_counts_once(write: dict[str, Any], tmp_path: Path) -> None:
    details = {"input": 200, "output": 100, **write}
    event = call_of(tmp_path, generation(model="claude-sonnet-4-6", usageDetails=details))
    assert event.usage == Usage(200, 100, cache_write_1h_tokens=800)
    assert cost(event) == Decimal("0.0069")


def generation(**fields: Any) -> dict[str, Any]:
    """Return an observation of Langfuse."""
    return {
        "id": "o",
        "traceId": "t",
        "type": "GENERATION",
        "startTime": START,
        "model": "gpt-4o",
    } | fields


@pytest.mark.parametrize(
    ("unit", "count", "units"),
    [
        ("CHARACTERS", 1200, {"character": 1200}),
        ("IMAGES", 2, {"image": 2}),
        ("MILLISECONDS", 1500, {"audio_second": 2}),
        ("SECONDS", 30, {"audio_second": 30}),
    ],
)
def test_what_is_counted_in_other_units_is_no_token(
    unit: str, count: int, units: dict[str, int], tmp_path: Path
) -> None:
    stated = {"input": count, "output": 0, "total": count, "unit": unit}
    event = call_of(tmp_path, generation(usage=stated))
    assert event.usage == Usage(0, 0, units=units)


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        (
            {"gen_ai__usage__audio__input_tokens": 800, "gen_ai__usage__audio__output_tokens": 90},
            Usage(200, 10, units={"input_audio": 800, "output_audio": 90}),
        ),
        (
            {"llm__token_count__prompt_details__audio": 800},
            Usage(200, 100, units={"input_audio": 800}),
        ),
        (
            {"gen_ai__usage__details__input_audio_tokens": 800},
            Usage(200, 100, units={"input_audio": 800}),
        ),
    ],
)
def test_other_modalities_are_not_text(
    attributes: dict[str, int], usage: Usage, tmp_path: Path
) -> None:
    assert call_of(tmp_path, called(**attributes)).usage == usage


def test_searches_are_counted_and_priced(tmp_path: Path) -> None:
    name = "gen_ai__usage__server_tool_use__web_search_requests"
    event = call_of(tmp_path, called(gen_ai__request__model="claude-sonnet-4-6", **{name: 3}))
    assert event.units == {"web_search": 3}
    assert cost(event) == Decimal("0.0345")


def test_a_key_that_nobody_knows_is_kept_by_name(tmp_path: Path) -> None:
    event = call_of(tmp_path, called(gen_ai__usage__holo_tokens=17))
    assert (event.marks, event.unread) == (("unread",), {"holo_tokens": 1})


def test_a_total_that_says_more_is_priced_as_output_and_marked(tmp_path: Path) -> None:
    event = call_of(tmp_path, called(gen_ai__usage__total_tokens=1600))
    assert (event.output_tokens, event.marks) == (600, ("unread",))


def test_the_total_of_an_embedding_is_input(tmp_path: Path) -> None:
    details = {"total": 500}
    event = call_of(
        tmp_path, generation(type="EMBEDDING", model="text-embedding-3-small", usageDetails=details)
    )
    assert event.usage == Usage(500, 0)


# Costs that a source states


@pytest.mark.parametrize(
    "fields",
    [
        {"totalCost": 0.5},
        {"costDetails": {"input": 0.2, "output": 0.3}},
        {"costDetails": {"total": 0.5}},
        {"total_cost": "0.5"},
        {"calculatedTotalCost": 0.5},
    ],
)
def test_an_estimate_is_used_where_no_price_is_known(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    details = {"input": 1000, "output": 100}
    event = call_of(tmp_path, generation(model="acme-llm", usageDetails=details, **fields))
    assert (cost(event), event.marks) == (Decimal("0.5"), ("stated_cost",))


@pytest.mark.parametrize(
    "key",
    ["gen_ai__usage__cost", "gen_ai__cost__total_cost", "operation__cost", "llm__cost__total"],
)
def test_an_estimate_beside_a_price_is_compared(key: str, tmp_path: Path) -> None:
    event = call_of(tmp_path, called(**{key: 0.004}))
    assert (cost(event), event.marks) == (Decimal("0.0035"), ())
    assert event.data is not None
    assert event.data["stated_difference"] == 500_000_000


def test_a_zero_of_a_tool_is_no_price(tmp_path: Path) -> None:
    details = {"input": 1000, "output": 100}
    event = call_of(tmp_path, generation(model="acme-llm", usageDetails=details, totalCost=0))
    assert event.cost is None


def test_what_openrouter_states_is_the_bill(tmp_path: Path) -> None:
    attributes = {"gen_ai__provider__name": "openrouter", "gen_ai__usage__cost": 0.004}
    event = call_of(tmp_path, called(gen_ai__request__model="openai/gpt-4o", **attributes))
    assert (cost(event), event.marks) == (Decimal("0.004"), ("stated_cost",))


# Once


def test_a_response_that_sdk_and_gateway_log_counts_once(tmp_path: Path) -> None:
    other = called(gen_ai__response__id="chatcmpl-9", gen_ai__request__model="openai/gpt-4o")
    other["context"] = {"trace_id": f"0x{TRACE[::-1]}", "span_id": f"0x{SPAN}"}
    sdk = called(gen_ai__response__id="chatcmpl-9")
    store, report = imported(
        write(tmp_path / "sdk.json", sdk), write(tmp_path / "gateway.json", other)
    )
    assert (report.calls, report.duplicates, report.problems) == (1, 1, [])
    assert cost(calls_of(store)[0]) == Decimal("0.0035")


def test_two_responses_that_share_an_id_by_chance_are_two(tmp_path: Path) -> None:
    other = called(
        gen_ai__response__id="1", gen_ai__request__model="o3", gen_ai__usage__input_tokens=7
    )
    other["context"] = {"trace_id": f"0x{TRACE[::-1]}", "span_id": f"0x{SPAN}"}
    _, report = imported(write(tmp_path / "t.jsonl", called(gen_ai__response__id="1"), other))
    assert (report.calls, report.sessions) == (2, 2)


def answer(id: str, output: int, session: str = "s", **fields: Any) -> dict[str, Any]:
    """Return a line of a transcript of Claude Code."""
    usage = {"input_tokens": 10, "output_tokens": output, "cache_read_input_tokens": 1000}
    return {
        "type": "assistant",
        "uuid": f"{id}-{output}",
        "sessionId": session,
        "timestamp": START,
        "message": {"id": id, "role": "assistant", "model": "claude-sonnet-4-6", "usage": usage},
    } | fields


def test_a_resumed_transcript_repeats_no_call_now_or_later(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", answer("m1", 3), answer("m1", 90), answer("m2", 5))
    resumed = write(
        tmp_path / "b.jsonl", answer("m1", 90, "r"), answer("m2", 5, "r"), answer("m3", 7, "r")
    )
    together, _ = imported(first, resumed)
    assert sorted(e.output_tokens for e in calls_of(together)) == [5, 7, 90]
    store, _ = imported(first)
    import_files(store, [resumed], prices=PRICES)
    later = {e.output_tokens: e.context.session for e in calls_of(store)}
    assert later == {90: "s", 5: "s", 7: "r"}
    sums = [e.output_tokens for e in store.events(session="r", kinds={Kind.SESSION_CLOSED})]
    assert sums == [7]


def test_sub_agents_of_a_transcript_are_agents_of_their_own(tmp_path: Path) -> None:
    lines = [
        answer("m1", 1),
        answer("m2", 2, isSidechain=True, agentId="a"),
        answer("m3", 3, isSidechain=True, agentId="b"),
    ]
    store, report = imported(write(tmp_path / "t.jsonl", *lines))
    assert report.runs == 3
    levels = {e.output_tokens: e.context.level for e in calls_of(store)}
    assert levels == {1: 1, 2: 2, 3: 2}


def test_a_made_up_error_of_a_transcript_is_no_call(tmp_path: Path) -> None:
    error = answer("m2", 0)
    error["message"]["model"] = "<synthetic>"
    _, report = imported(write(tmp_path / "t.jsonl", answer("m1", 1), error, {"type": "mystery"}))
    assert (report.calls, report.problems) == (1, [])


def rollout(session: str, *totals: tuple[int, int], root: str = "") -> list[dict[str, Any]]:
    """Return a rollout of Codex with totals of input and output."""
    meta = {"id": session, "model_provider": "openai"} | ({"forked_from_id": root} if root else {})
    lines: list[dict[str, Any]] = [
        {"timestamp": START, "type": "session_meta", "payload": meta},
        {"timestamp": START, "type": "turn_context", "payload": {"model": "gpt-5"}},
    ]
    before = (0, 0)
    for total in totals:
        last = (total[0] - before[0], total[1] - before[1])
        info = {
            name: dict(zip(("input_tokens", "output_tokens"), counts, strict=True))
            for name, counts in (("total_token_usage", total), ("last_token_usage", last))
        }
        before = total
        payload = {"type": "token_count", "info": info}
        lines.append({"timestamp": START, "type": "event_msg", "payload": payload})
    return lines


def test_totals_of_a_rollout_are_counted_by_what_they_grew(tmp_path: Path) -> None:
    lines = rollout("s", (1000, 10), (1000, 10), (3000, 30))
    store, _ = imported(write(tmp_path / "r.jsonl", *lines))
    found = [(e.request.model, e.input_tokens, e.output_tokens) for e in calls_of(store)]
    assert found == [("gpt-5", 1000, 10), ("gpt-5", 2000, 20)]


def test_a_forked_rollout_repeats_no_call(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", *rollout("s", (1000, 10), (3000, 30)))
    fork = rollout("f", (1000, 10), (3000, 30), (4000, 31), root="s")
    forked = write(tmp_path / "b.jsonl", *fork)
    store, report = imported(first, forked)
    assert (report.calls, sum(e.input_tokens for e in calls_of(store))) == (3, 4000)


# What is not read


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (json.dumps({"resourceMetrics": []}).encode(), "OTLP metrics"),
        (json.dumps({"data": [{"id": "t", "observations": ["o1"]}]}).encode(), "Langfuse traces"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"SQLite format 3\x00...", "SQLite"),
        (b"PK\x03\x04...", "ZIP"),
        (b"{\n  traceId: '5b8e',\n  name: 'chat'\n}\n", "console exporter"),
        (b"trace_id,span_id,name,model\n1,2,3,4\n", "CSV"),
        (b"# HELP x y\n# TYPE x counter\nx 1\n", "Prometheus"),
        (
            json.dumps({"choices": [], "usage": {"prompt_tokens": 1}}).encode(),
            "body of one response",
        ),
        (
            json.dumps(printed({}) | {"attributes": "{'gen_ai.system': 'x'}"}).encode(),
            "text that is not JSON",
        ),
    ],
)
def test_a_format_that_is_not_read_is_named_in_one_line(
    content: bytes, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    _, report = imported(path)
    (problem,) = report.problems
    assert name in problem.reason
    assert "\n" not in str(problem)
    assert (report.calls, report.sessions) == (0, 0)


def test_an_envelope_without_any_call_makes_no_session_and_names_its_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spans = [printed({"acme.tokens": 7, "acme.model": "x"}) for _ in range(3)]
    for i, span in enumerate(spans):
        span["context"] = {"trace_id": f"0x{TRACE}", "span_id": hex(i + 1)}
    path = write(tmp_path / "acme.jsonl", *spans)
    assert main(["import", "--store", f"sqlite:///{tmp_path}/s.db", str(path)]) == 1
    said = capsys.readouterr()
    assert "3 of 3 spans left out" in said.err
    assert "acme.tokens (3), acme.model (3)" in said.err
    assert "0 sessions" in said.out


def test_a_trace_of_something_else_beside_a_call_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = printed({"http.route": "/"}, context={"trace_id": "0x7", "span_id": "0x7"})
    path = write(tmp_path / "t.jsonl", called(), other)
    assert main(["import", "--store", f"sqlite:///{tmp_path}/s.db", str(path)]) == 0
    said = capsys.readouterr()
    assert "1 of 2 spans left out" in said.err
    assert "1 session," in said.out


def test_a_file_in_which_nothing_is_read_ends_with_1(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"type": "user", "sessionId": "s", "uuid": "u"})
    assert main(["import", "--store", f"sqlite:///{tmp_path}/s.db", str(path)]) == 1


def test_calls_whose_usage_is_in_other_words_are_told_with_these(tmp_path: Path) -> None:
    span = printed({"gen_ai.request.model": "gpt-4o", "acme.tokens_in": 7})
    _, report = imported(write(tmp_path / "t.jsonl", span))
    assert (report.calls, report.unmetered) == (1, 1)
    assert "acme.tokens_in (1)" in report.notes[0].reason


def test_one_cause_is_told_once_with_its_count(tmp_path: Path) -> None:
    spans = []
    for i in range(40):
        span = called(gen_ai__usage__input_tokens=-1 - i)
        span["context"] = {"trace_id": f"0x{TRACE}", "span_id": hex(i + 1)}
        spans.append(span)
    _, report = imported(write(tmp_path / "t.jsonl", *spans))
    problem = report.problems[0]
    assert (problem.position, problem.count) == ("line 1", 40)
    assert str(problem).endswith("(and 39 more like it)")


def test_what_is_no_span_is_not_asked_for_a_span_id() -> None:
    found = list(parse(json.dumps({"attributes": {"a": 1}, "value": 3}).encode()))
    assert [type(each) for each in found] == [Problem]
    assert "span id" not in str(found[0])


def test_a_call_without_a_time_has_that_of_the_span_around_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = printed({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"})
    late = printed({}, start_time="2026-12-01T00:00:00Z")
    late["context"] = {"trace_id": f"0x{TRACE}", "span_id": "0x5"}
    call = called()
    call["context"] = {"trace_id": f"0x{TRACE}", "span_id": "0x6"}
    call |= {"start_time": None, "parent_id": f"0x{SPAN}"}
    path = write(tmp_path / "t.jsonl", root, late, call)
    store, report = imported(path)
    (event,) = calls_of(store)
    assert (event.started, report.undated) == (1_793_527_200_000_000, 1)
    main(["import", "--store", f"sqlite:///{tmp_path}/s.db", str(path)])
    assert "1 without a time" in capsys.readouterr().out


def test_without_any_time_nothing_is_dated_now(tmp_path: Path) -> None:
    call = called()
    del call["start_time"]
    store, report = imported(write(tmp_path / "t.jsonl", call))
    assert calls_of(store) == []
    assert "nothing in the file has a time" in report.problems[0].reason


def test_gzip_of_a_transcript_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(answer("m1", 3)).encode()))
    _, report = imported(path)
    assert (report.calls, report.problems) == (1, [])


# Bodies and usages of the tools


def test_a_langsmith_run_says_its_caches_in_its_outputs(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "input_token_details": {"cache_read": 800, "audio": 0},
        "output_token_details": {"reasoning": 40},
    }
    message = {"kwargs": {"usage_metadata": usage, "response_metadata": {"model_name": "gpt-4o"}}}
    run = {
        "id": "r",
        "trace_id": "r",
        "run_type": "llm",
        "name": "ChatOpenAI",
        "start_time": START,
        "status": "success",
        "outputs": {"generations": [[{"message": message}]]},
        "extra": {"metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o"}},
    }
    event = call_of(tmp_path, run)
    assert event.usage == Usage(200, 100, cache_read_tokens=800, reasoning_tokens=40)


def test_a_spend_log_takes_the_usage_of_its_metadata(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 800},
    }
    row = {
        "request_id": "c",
        "call_type": "acompletion",
        "spend": 0.0025,
        "model": "gpt-4o",
        "startTime": START,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "metadata": {"usage_object": usage},
    }
    event = call_of(tmp_path, {"data": [row]})
    assert event.usage == Usage(200, 100, cache_read_tokens=800)


def test_a_spend_log_of_the_gateways_own_cache_is_no_call(tmp_path: Path) -> None:
    row = {"request_id": "c", "call_type": "acompletion", "spend": 0, "model": "gpt-4o"}
    _, report = imported(
        write(tmp_path / "t.json", [row | {"cache_hit": "True", "startTime": START}])
    )
    assert report.calls == 0


def test_a_helicone_request_is_read_by_the_body_of_its_response(tmp_path: Path) -> None:
    body = {
        "id": "msg",
        "type": "message",
        "model": "claude-sonnet-4-6",
        "content": [],
        "usage": {"input_tokens": 200, "output_tokens": 100, "cache_read_input_tokens": 800},
    }
    request = {
        "request_id": "r",
        "request_created_at": START,
        "response_body": body,
        "request_properties": {"Helicone-Session-Id": "s"},
        "request_user_id": "acme",
        "model": "claude-sonnet-4-6",
        "provider": "ANTHROPIC",
    }
    event = call_of(tmp_path, {"data": [request]})
    assert event.usage == Usage(200, 100, cache_read_tokens=800)
    assert event.context[:2] == ("s", "acme")


def test_an_mlflow_trace_of_version_2_is_read(tmp_path: Path) -> None:
    span = {
        "name": "chat",
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{SPAN}"},
        "parent_id": None,
        "start_time": 1793527200000000000,
        "end_time": 1793527201000000000,
        "status_code": "OK",
        "attributes": {
            "mlflow.spanType": '"LLM"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 1000, "output_tokens": 100}',
            "mlflow.llm.model": '"gpt-4o"',
            "model": '"gpt-4o"',
        },
    }
    trace = {"info": {"request_id": "r"}, "data": {"spans": [span]}}
    assert cost(call_of(tmp_path, {"traces": [trace]})) == Decimal("0.0035")


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        (
            {
                "event.name": "codex.sse_event",
                "conversation.id": "s",
                "model": "gpt-5",
                "input_token_count": 1000,
                "cached_token_count": 800,
                "output_token_count": 100,
                "reasoning_token_count": 40,
            },
            Usage(200, 100, cache_read_tokens=800, reasoning_tokens=40),
        ),
        (
            {
                "event.name": "gemini_cli.api_response",
                "session.id": "s",
                "model": "gemini-2.5-pro",
                "input_token_count": 1000,
                "cached_content_token_count": 800,
                "output_token_count": 60,
                "thoughts_token_count": 40,
                "total_token_count": 1100,
            },
            Usage(200, 100, cache_read_tokens=800, reasoning_tokens=40),
        ),
        (
            {
                "event.name": "gen_ai.client.inference.operation.details",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.output_tokens": 100,
            },
            Usage(1000, 100),
        ),
    ],
    ids=["codex", "gemini", "gen_ai"],
)
def test_an_event_that_states_tokens_is_a_call(
    attributes: dict[str, Any], usage: Usage, tmp_path: Path
) -> None:
    line = {"hrTime": [1793527200, 5], "_body": "event", "attributes": attributes}
    other = {"hrTime": [1793527200, 5], "_body": "tool", "attributes": {"event.name": "tool"}}
    assert call_of(tmp_path, other, line).usage == usage


def test_a_request_that_failed_in_a_log_is_a_failed_call(tmp_path: Path) -> None:
    attributes = {"event.name": "claude_code.api_error", "session.id": "s", "model": "x"}
    line = {"hrTime": [1793527200, 5], "_body": "x", "attributes": attributes}
    event = call_of(tmp_path, line)
    assert (event.status, event.cost) == ("failed", 0)


def test_a_response_of_the_agents_sdk_is_read_with_its_usage(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "input_tokens_details": {"cached_tokens": 800},
    }
    data = {"type": "response", "response_id": "resp_1", "model": "gpt-4o", "usage": usage}
    span = {
        "object": "trace.span",
        "id": "span_1",
        "trace_id": "trace_1",
        "started_at": START,
        "span_data": data,
    }
    assert call_of(tmp_path, span).usage == Usage(200, 100, cache_read_tokens=800)


def test_nothing_a_dialect_may_hold_makes_parsing_fail() -> None:
    """Values of any type in the place of any other are problems of their span, never errors."""
    odd: list[Any] = [None, 7, "x", [], {}, [{}], {"a": [1]}, -1, 1e300, True]
    for dialect in DIALECTS:
        for line in dialect.example.splitlines():
            for path in paths_of(json.loads(line)):
                for value in odd:
                    document = json.loads(line)
                    put(document, path, value)
                    for found in parse(document):
                        assert isinstance(found, (SpanRecord, Problem))
                        assert "cannot be read" not in str(found)


def paths_of(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in items:
        found.append((*before, key))
        if isinstance(each, (dict, list)):
            found += paths_of(each, (*before, key))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value
