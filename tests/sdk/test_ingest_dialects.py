"""Every dialect that is read, in its current and older names: `parse` and what is below it."""

import json
from decimal import Decimal
from typing import Any

import pytest

from spendtree.ingest import Problem, SpanRecord, parse
from spendtree.ingest.scalars import micros, span_id, tokens, trace_id
from spendtree.ingest.span import SpanError
from spendtree.usage import Usage

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"
START, END = 1_544_712_660_000_000, 1_544_712_661_000_000


def one(document: Any) -> SpanRecord:
    """Parse a document that holds one span."""
    (found,) = parse(document)
    assert isinstance(found, SpanRecord), found
    return found


def otlp(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an OTLP export of one span, as the protocol's JSON mapping writes it."""
    typed = [
        {"key": key, "value": {"intValue": str(v)} if type(v) is int else {"stringValue": v}}
        for key, v in attributes.items()
    ]
    span = {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": PARENT,
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": f"{START}000",
        "endTimeUnixNano": f"{END}000",
        "attributes": typed,
        "status": {},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "app"}}]}
    scopes = [{"scope": {"name": "x"}, "spans": [span | fields]}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}


def sdk(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a span as ReadableSpan.to_json prints it."""
    return {
        "name": "chat gpt-4o",
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{SPAN}", "trace_state": "[]"},
        "kind": "SpanKind.CLIENT",
        "parent_id": f"0x{PARENT}",
        "start_time": "2018-12-13T14:51:00.000000Z",
        "end_time": "2018-12-13T14:51:01.000000Z",
        "status": {"status_code": "OK"},
        "attributes": attributes,
        "events": [],
        "links": [],
        "resource": {"attributes": {"service.name": "app"}, "schema_url": ""},
    } | fields


CURRENT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 60,
}


@pytest.mark.parametrize("envelope", [otlp, sdk])
def test_envelopes_of_opentelemetry_mean_the_same_span(envelope: Any) -> None:
    span = one(envelope(CURRENT))
    assert (span.trace_id, span.span_id, span.parent_span_id) == (TRACE, SPAN, PARENT)
    assert (span.start_us, span.end_us, span.kind) == (START, END, "LLM")
    assert (span.provider, span.model) == ("openai", "gpt-4o")
    assert span.usage == Usage(40, 20, cache_read_tokens=60)


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 100,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.usage.cache_read_input_tokens": 60,
        },
        {
            "llm.request.type": "chat",
            "gen_ai.system": "openai",
            "llm.request.model": "gpt-4o",
            "llm.usage.prompt_tokens": "100",
            "llm.usage.completion_tokens": "20",
            "llm.usage.cache_read_input_tokens": "60",
        },
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 60,
        },
        {
            "ai.model.provider": "openai",
            "ai.model.id": "gpt-4o",
            "ai.usage.promptTokens": 100,
            "ai.usage.completionTokens": 20,
            "ai.usage.cachedInputTokens": 60,
        },
    ],
    ids=["older gen_ai", "traceloop", "openinference", "vercel"],
)
def test_conventions_mean_the_same_call(attributes: dict[str, Any]) -> None:
    span = one(otlp(attributes))
    assert (span.kind, span.provider, span.model) == ("LLM", "openai", "gpt-4o")
    assert span.usage == Usage(40, 20, cache_read_tokens=60)


@pytest.mark.parametrize(
    ("attributes", "kind", "agent"),
    [
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"}, "AGENT", "a"),
        ({"openinference.span.kind": "AGENT", "graph.node.id": "a"}, "AGENT", "a"),
        ({"traceloop.span.kind": "agent", "traceloop.entity.name": "a"}, "AGENT", "a"),
        ({"agent_name": "a", "gen_ai.usage.input_tokens": 5}, "AGENT", "a"),
        ({"gen_ai.operation.name": "execute_tool"}, "TOOL", ""),
        ({"traceloop.span.kind": "workflow"}, "CHAIN", ""),
        ({"openinference.span.kind": "RETRIEVER"}, "SPAN", ""),
        ({"gen_ai.operation.name": "unknown", "gen_ai.agent.name": "a"}, "SPAN", "a"),
        ({"gen_ai.request.model": "m"}, "LLM", ""),
        ({"http.method": "POST"}, "SPAN", ""),
    ],
)
def test_what_a_span_is_follows_from_its_attributes(
    attributes: dict[str, Any], kind: str, agent: str
) -> None:
    span = one(otlp(attributes))
    assert (span.kind, span.agent) == (kind, agent)


def test_a_conversation_is_not_the_session() -> None:
    span = one(otlp(CURRENT | {"session.id": "conversation-7"}))
    assert (span.session, span.conversation) == ("", "conversation-7")


def test_our_own_attributes_tell_customer_team_session_cycle_and_purpose() -> None:
    own = {
        "spendtree.customer": "acme",
        "spendtree.team": "search",
        "spendtree.session": "s-1",
        "spendtree.cycle": 2,
        "spendtree.task_id": "t-17",
        "spendtree.purpose": "plan",
        "user.id": "somebody",
    }
    span = one(otlp(CURRENT | own))
    assert (span.customer, span.team, span.session) == ("acme", "search", "s-1")
    assert (span.cycle, span.task_id, span.purpose) == (2, "t-17", "plan")


def test_a_customer_on_the_resource_is_the_customer_of_its_spans() -> None:
    export = otlp(CURRENT)
    customer = {"key": "spendtree.customer", "value": {"stringValue": "acme"}}
    export["resourceSpans"][0]["resource"]["attributes"].append(customer)
    assert one(export).customer == "acme"


@pytest.mark.parametrize(
    "status", [{"code": 2}, {"code": "STATUS_CODE_ERROR", "message": "boom"}], ids=str
)
def test_an_error_status_is_a_failure_with_its_reason(status: dict[str, Any]) -> None:
    raised = [{"key": "exception.type", "value": {"stringValue": "RateLimitError"}}]
    span = one(otlp(CURRENT, status=status, events=[{"name": "exception", "attributes": raised}]))
    assert (span.status, span.error) == ("failed", "RateLimitError")
    printed = one(sdk(CURRENT, status={"status_code": "ERROR", "description": "boom"}))
    assert (printed.status, printed.error) == ("failed", "boom")


def test_base64_ids_of_protobuf_json_are_the_same_ids() -> None:
    span = one(otlp(CURRENT, traceId="W47/95gDgQPSabYzgT/GDA==", spanId="7uGbfsPBsXQ="))
    assert (span.trace_id, span.span_id) == (TRACE, SPAN)


def test_ids_beyond_64_bits_keep_every_digit() -> None:
    """The fast parser rounds them to a float: then the document is read again by the exact one."""
    context = {"trace_id": int(TRACE, 16), "span_id": int(SPAN, 16)}
    printed = json.dumps({"spans": [sdk(CURRENT, context=context)]}).encode()
    assert (one(printed).trace_id, one(printed).span_id) == (TRACE, SPAN)
    lines = printed + b"\n" + printed
    assert [s.trace_id for s in parse(lines) if isinstance(s, SpanRecord)] == [TRACE, TRACE]


@pytest.mark.parametrize(
    "time",
    [
        "2018-12-13T14:51:00Z",
        "2018-12-13T15:51:00.000+01:00",
        "2018-12-13T14:51:00",
        "2018-12-13 14:51:00.000000000",
        "2018-13-12T14:51:00",
        START,
        START * 1000,
        f"{START}000",
        START // 1000,
        START // 10**6,
        START / 10**6,
        f"{START // 10**6}.0",
    ],
)
def test_a_time_is_understood_however_it_is_written(time: Any) -> None:
    assert micros(time, "start") == START


@pytest.mark.parametrize("time", [None, "", 0, "0"])
def test_no_time_is_none_and_not_1970(time: Any) -> None:
    assert micros(time, "start") is None


@pytest.mark.parametrize(
    "time", ["soon", "2018-13-13", -5, True, [], float("inf"), float("nan"), 10**19 * 30, "9" * 30]
)
def test_what_is_no_time_is_refused(time: Any) -> None:
    with pytest.raises(SpanError, match="start"):
        micros(time, "start")


@pytest.mark.parametrize("count", [12, 12.0, "12", "12.0"])
def test_token_counts_may_be_written_as_digits_or_whole_floats(count: Any) -> None:
    assert tokens(count, "input") == 12


@pytest.mark.parametrize("count", [-1, 12.5, "12.5", "many", True, [12], 10**12, float("nan")])
def test_what_is_no_token_count_is_refused(count: Any) -> None:
    with pytest.raises(SpanError, match="input"):
        tokens(count, "input")


def test_ids_are_one_whatever_their_form() -> None:
    assert span_id(f"0x{SPAN}") == span_id(SPAN.upper()) == span_id(int(SPAN, 16)) == SPAN
    assert trace_id("0x1") == "0" * 31 + "1"
    assert (span_id("span_16820"), span_id(None), span_id("0" * 16)) == ("span_16820", "", "")


def compact(usage: dict[str, Any], **fields: Any) -> SpanRecord:
    record = {"trace_id": TRACE, "span_id": SPAN, "kind": "LLM", "model": "m", "usage": usage}
    return one(record | fields)


ANTHROPIC = {"input_tokens": 4, "output_tokens": 7, "cache_read_input_tokens": 100}


@pytest.mark.parametrize(
    ("usage", "semantics", "input_tokens"),
    [
        ({"input_tokens": 104} | {"cache_read_input_tokens": 100}, "inclusive", 4),
        (ANTHROPIC, "exclusive", 4),
        (ANTHROPIC, "inclusive", 4),
        (ANTHROPIC | {"input_tokens": 104}, "inspect (input excludes cache_read)", 104),
        ({"input_tokens": 150, "output_tokens": 7, "cache_read_input_tokens": 100}, None, 50),
        (
            {
                "input_tokens": 150,
                "output_tokens": 7,
                "cache_read_input_tokens": 100,
                "total_tokens": 257,
            },
            None,
            150,
        ),
    ],
    ids=[
        "inclusive",
        "exclusive",
        "more cached than input cannot be inclusive",
        "another semantics that excludes",
        "untold is inclusive",
        "untold, but the total adds the cache",
    ],
)
def test_cached_tokens_are_taken_out_of_the_input_where_they_are_in_it(
    usage: dict[str, Any], semantics: str | None, input_tokens: int
) -> None:
    told = {} if semantics is None else {"usage_semantics": semantics}
    span = compact(usage, **told)
    assert span.usage is not None
    assert (span.usage.input_tokens, span.usage.cache_read_tokens) == (input_tokens, 100)


def test_reasoning_beside_the_output_is_added_to_it() -> None:
    inside = compact({"input_tokens": 5, "output_tokens": 40, "reasoning_tokens": 30})
    beside = compact(
        {"input_tokens": 5, "output_tokens": 10, "reasoning_tokens": 30, "total_tokens": 45}
    )
    assert inside.usage == beside.usage == Usage(5, 40, reasoning_tokens=30)


@pytest.mark.parametrize("usage", [{}, {"total_tokens": 9}, {"input_tokens": 0}], ids=str)
def test_a_usage_that_tells_nothing_is_no_usage(usage: dict[str, Any]) -> None:
    assert compact(usage).usage is None


def observation(**fields: Any) -> dict[str, Any]:
    return {
        "id": SPAN,
        "traceId": TRACE,
        "type": "GENERATION",
        "name": "call",
        "startTime": "2018-12-13T14:51:00.000Z",
        "endTime": "2018-12-13T14:51:01.000Z",
        "model": "gpt-4o",
        "level": "DEFAULT",
    } | fields


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"usageDetails": {"input": 9, "output": 2, "total": 11}}, Usage(9, 2)),
        ({"usage": {"promptTokens": 9, "completionTokens": 2}}, Usage(9, 2)),
        ({"promptTokens": 9, "completionTokens": 2}, Usage(9, 2)),
        (
            {"usageDetails": {"input": 9, "input_cached_tokens": 50, "output": 2}},
            Usage(9, 2, cache_read_tokens=50),
        ),
        (
            {
                "usageDetails": {
                    "input": 59,
                    "prompt_details.cache_read": 50,
                    "output": 2,
                    "total": 61,
                }
            },
            Usage(9, 2, cache_read_tokens=50),
        ),
        (
            {"usageDetails": {"input": 9, "output": 2, "output_reasoning": 8, "total": 19}},
            Usage(9, 10, reasoning_tokens=8),
        ),
        ({"usageDetails": {}}, None),
    ],
)
def test_langfuse_counts_are_disjoint_unless_its_total_says_otherwise(
    usage: dict[str, Any], expected: Usage | None
) -> None:
    export = {"trace": {"id": TRACE, "sessionId": "chat-1"}, "observations": [observation(**usage)]}
    span = one(export)
    assert (span.usage, span.kind, span.conversation) == (expected, "LLM", "chat-1")


def test_a_langfuse_trace_that_repeats_its_observations_counts_them_once() -> None:
    told = [observation(usageDetails={"input": 9, "output": 2}, totalCost=0.25, level="ERROR")]
    span = one({"trace": {"id": TRACE, "observations": told}, "observations": told})
    assert (span.reported_cost, span.status) == (Decimal("0.25"), "failed")


def test_console_output_of_several_printed_spans_is_read() -> None:
    """What ConsoleSpanExporter writes: indented objects, one after the other."""
    printed = "\n".join(json.dumps(sdk(CURRENT), indent=4) for _ in range(3))
    assert len([s for s in parse(printed.encode()) if isinstance(s, SpanRecord)]) == 3


def test_a_batch_a_line_is_read() -> None:
    lines = "\n".join(json.dumps(otlp(CURRENT)) for _ in range(3))
    assert len([s for s in parse(lines.encode()) if isinstance(s, SpanRecord)]) == 3


def test_the_exact_parser_alone_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """orjson is an extra: without it the standard library's parser serves."""
    content = json.dumps(otlp(CURRENT)).encode()
    fast = list(parse(content))
    monkeypatch.setitem(__import__("sys").modules, "orjson", None)
    assert list(parse(content)) == fast
    assert not any(isinstance(each, Problem) for each in fast)
