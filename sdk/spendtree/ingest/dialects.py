"""The dialects: one table of what is read, how each is recognised, by what and how far. Pure.

`parse` walks the table from the top and takes the first row that recognises a document; the docs
and the tests walk it, too. A document that no row recognises may be a page that holds others
(`PAGES`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from spendtree.ingest import (
    agentssdk,
    claudecode,
    compact,
    envelopes,
    helicone,
    jaeger,
    javascript,
    langfuse,
    langsmith,
    litellm,
    logs,
    mlflow,
    otelsdk,
    otlp,
    phoenix,
)
from spendtree.ingest.codex import Rollout
from spendtree.ingest.codex import is_line as is_rollout
from spendtree.ingest.pieces import one
from spendtree.ingest.span import Problem, SpanRecord

Document = Mapping[str, Any]
Found = Iterable[SpanRecord | Problem]
Reader = Callable[[Document, str, str], Found]
"""Called with a document, where it stands, and the file: yields its spans and problems."""


class Dialect(NamedTuple):
    """One format of one tool.

    `is_it` recognises a document. `open` makes a reader for one file; a format of lines may keep
    there what earlier lines said. `lines` is True where all of a file is of one dialect, so that
    lines that nobody recognises are of no matter. `example` is a whole document of it, as JSON.
    """

    name: str
    written_by: str
    read: str
    unread: str
    is_it: Callable[[Document], bool]
    open: Callable[[str], Reader]
    example: str
    lines: bool = False


def _stateless(reader: Reader) -> Callable[[str], Reader]:
    return lambda file: reader


def _spans(convert: Callable[[Document], SpanRecord]) -> Callable[[str], Reader]:
    """Return a reader of documents that are one span each."""
    return lambda file: lambda document, where, file: (one(document, convert, where, file),)


def _maybe(convert: Callable[[Document], SpanRecord | None]) -> Callable[[str], Reader]:
    """Return a reader of lines of which some are calls and the others nothing."""

    def read(document: Document, where: str, file: str) -> Found:
        found: list[SpanRecord] = []

        def kept(line: Document) -> SpanRecord:
            span = convert(line)
            if span is None:
                return _NO_CALL
            found.append(span)
            return span

        said = one(document, kept, where, file)
        return [said] if isinstance(said, Problem) else found

    return lambda file: read


_NO_CALL = SpanRecord(trace_id="", span_id="-")


def _nothing(document: Document, where: str, file: str) -> Found:
    return ()


_SPAN_ID, _TRACE_ID = "b7ad6b7169203331", "0af7651916cd43dd8448eb211c80319c"
_CALL = (
    '{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},'
    '{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}},'
    '{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1000"}},'
    '{"key":"gen_ai.usage.output_tokens","value":{"intValue":"100"}}'
)
_OTLP_SPANS = (
    f'"scopeSpans":[{{"spans":[{{"traceId":"{_TRACE_ID}","spanId":"{_SPAN_ID}","name":"chat",'
    f'"startTimeUnixNano":"1793527200000000000","endTimeUnixNano":"1793527205000000000",'
    f'"attributes":[{_CALL}]}}]}}]'
)
_PLAIN = (
    '{"gen_ai.operation.name":"chat","gen_ai.request.model":"gpt-4o",'
    '"gen_ai.usage.input_tokens":1000,"gen_ai.usage.output_tokens":100}'
)
_TIMES = '"start_time":"2026-11-01T10:00:00Z","end_time":"2026-11-01T10:00:05Z"'

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "span records",
        "your own scripts",
        "sessions, agents, calls; described below",
        "",
        envelopes.is_compact,
        _spans(compact.span),
        '{"kind":"LLM","session_id":"s","trace_id":"t","span_id":"1","model":"gpt-4o",'
        '"start":"2026-11-01T10:00:00Z","usage":{"input_tokens":1000,"output_tokens":100}}',
    ),
    Dialect(
        "OTLP JSON, spans",
        "OpenTelemetry collectors and exporters",
        "all spans of `resourceSpans`",
        "links, and lists among attributes",
        envelopes.is_otlp,
        _stateless(otlp.read),
        f'{{"resourceSpans":[{{{_OTLP_SPANS}}}]}}',
    ),
    Dialect(
        "OTLP JSON, wrapped",
        "Grafana Tempo (`batches`, `trace`), single batches",
        "all spans",
        "as OTLP JSON",
        envelopes.is_wrapped,
        _stateless(envelopes.batches),
        f'{{"batches":[{{{_OTLP_SPANS}}}]}}',
    ),
    Dialect(
        "OTLP JSON, logs",
        "Claude Code, Codex, Gemini CLI and others that log usage by OpenTelemetry",
        "records that state tokens, and `api_error`s: each is a call of the session it names",
        "records without tokens; who called whom, which logs do not say",
        envelopes.is_logs,
        _stateless(logs.read),
        '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1793527200000000000",'
        '"body":{"stringValue":"claude_code.api_request"},"attributes":['
        '{"key":"session.id","value":{"stringValue":"s"}},'
        '{"key":"model","value":{"stringValue":"gpt-4o"}},'
        '{"key":"input_tokens","value":{"intValue":"1000"}},'
        '{"key":"output_tokens","value":{"intValue":"100"}}]}]}]}]}',
    ),
    Dialect(
        "Langfuse traces",
        "Langfuse's export of a trace",
        "observations, model, `usageDetails` or `usage` in any unit, `totalCost` as an estimate",
        "scores; the trace's own sums",
        langfuse.is_trace,
        _stateless(langfuse.read),
        '{"trace":{"id":"t"},"observations":[{"id":"o","traceId":"t","type":"GENERATION",'
        '"startTime":"2026-11-01T10:00:00Z","model":"gpt-4o",'
        '"usageDetails":{"input":1000,"output":100,"total":1100}}]}',
    ),
    Dialect(
        "Langfuse observations",
        "Langfuse's API (also pages of it) and blob storage export",
        "as in traces, also with `providedModelName` and names in snake case",
        "pages of traces without observations are refused",
        langfuse.is_observation,
        _spans(lambda item: langfuse.observation("", item)),
        '{"id":"o","trace_id":"t","type":"GENERATION","start_time":"2026-11-01 10:00:00.000",'
        '"provided_model_name":"gpt-4o","usage_details":{"input":1000,"output":100}}',
    ),
    Dialect(
        "MLflow traces",
        "MLflow 2 and 3",
        "spans, `mlflow.chat.tokenUsage`, model and cost of each call",
        "`mlflow.trace.tokenUsage`, which repeats the calls",
        mlflow.is_trace,
        _stateless(mlflow.read),
        f'{{"info":{{"trace_id":"tr-1"}},"data":{{"spans":[{{"trace_id":"{_TRACE_ID}",'
        f'"span_id":"{_SPAN_ID}","name":"call","start_time_unix_nano":1793527200000000000,'
        '"attributes":{"mlflow.spanType":"\\"CHAT_MODEL\\"","model":"\\"gpt-4o\\"",'
        '"mlflow.chat.tokenUsage":"{\\"input_tokens\\": 1000, \\"output_tokens\\": 100}"}}]}}',
    ),
    Dialect(
        "Jaeger JSON",
        "Jaeger's page and query API",
        "spans with their tags and references",
        "logs of spans",
        jaeger.is_trace,
        _stateless(jaeger.read),
        f'{{"traceID":"{_TRACE_ID}","spans":[{{"traceID":"{_TRACE_ID}","spanID":"{_SPAN_ID}",'
        '"operationName":"chat","startTime":1793527200000000,"duration":5000000,"tags":['
        '{"key":"gen_ai.request.model","value":"gpt-4o"},'
        '{"key":"gen_ai.usage.input_tokens","value":1000},'
        '{"key":"gen_ai.usage.output_tokens","value":100}]}]}',
    ),
    Dialect(
        "LangSmith runs",
        "LangSmith's SDK and bulk export",
        "runs; usage of `llm` runs from outputs, metadata or their own sums; `total_cost` as an "
        "estimate",
        "sums of runs that hold others; feedback",
        langsmith.is_run,
        _spans(langsmith.span),
        '{"id":"r","trace_id":"r","name":"ChatOpenAI","run_type":"llm",'
        '"start_time":"2026-11-01T10:00:00","extra":{"metadata":{"ls_model_name":"gpt-4o"}},'
        '"prompt_tokens":1000,"completion_tokens":100}',
    ),
    Dialect(
        "LiteLLM spend logs",
        "LiteLLM's proxy, and the payloads of its loggers",
        "one call a row; `end_user` is the customer, `team_id` the team, `spend` an estimate",
        "answers from LiteLLM's own cache, which cost nothing",
        litellm.is_row,
        _spans(litellm.span),
        '{"request_id":"c","call_type":"acompletion","spend":0.0035,"model":"gpt-4o",'
        '"startTime":"2026-11-01T10:00:00Z","prompt_tokens":1000,"completion_tokens":100}',
    ),
    Dialect(
        "Helicone requests",
        "Helicone's API and export",
        "one call a request, by the body of its response; `Helicone-Session-Id` is the session",
        "scores and feedback",
        helicone.is_request,
        _spans(helicone.span),
        '{"request_id":"r","request_created_at":"2026-11-01T10:00:00Z","model":"gpt-4o",'
        '"prompt_tokens":1000,"completion_tokens":100}',
    ),
    Dialect(
        "OpenAI Agents SDK",
        "processors that write `span.export()` of the Agents SDK",
        "agents, tools, calls and their usage",
        "`response` spans of versions that write no usage: such calls are unmetered",
        agentssdk.is_object,
        _spans(agentssdk.span),
        '{"object":"trace.span","id":"span_1","trace_id":"trace_1",'
        '"started_at":"2026-11-01T10:00:00Z","span_data":{"type":"generation","model":"gpt-4o",'
        '"usage":{"input_tokens":1000,"output_tokens":100}}}',
    ),
    Dialect(
        "Claude Code transcripts",
        "Claude Code (`~/.claude/projects`)",
        "each message once, also across files of resumed and forked sessions; sub-agents",
        "errors that Claude Code made up itself (`<synthetic>`)",
        claudecode.is_line,
        _maybe(claudecode.span),
        '{"type":"assistant","sessionId":"s","isSidechain":false,"uuid":"u",'
        '"timestamp":"2026-11-01T10:00:00Z","message":{"id":"m","role":"assistant",'
        '"model":"gpt-4o","usage":{"input_tokens":1000,"output_tokens":100}}}',
        lines=True,
    ),
    Dialect(
        "Codex rollouts",
        "Codex (`~/.codex/sessions`)",
        "each total of a `token_count` event once; the model of its turn",
        "which tool a call was for",
        is_rollout,
        Rollout,
        '{"type":"session_meta","payload":{"id":"s","model_provider":"openai"}}\n'
        '{"type":"turn_context","payload":{"model":"gpt-4o"}}\n'
        '{"timestamp":"2026-11-01T10:00:00Z","type":"event_msg","payload":{"type":"token_count",'
        '"info":{"total_token_usage":{"input_tokens":1000,"output_tokens":100},'
        '"last_token_usage":{"input_tokens":1000,"output_tokens":100}}}}',
        lines=True,
    ),
    Dialect(
        "Phoenix data frames",
        "Arize Phoenix (`get_spans_dataframe`), by record or by column",
        "spans with their columns `attributes.…`",
        "evaluations",
        phoenix.is_row,
        _stateless(phoenix.read),
        f'{{"context.trace_id":"{_TRACE_ID}","context.span_id":"{_SPAN_ID}","span_kind":"LLM",'
        f'{_TIMES},"attributes.llm.model_name":"gpt-4o",'
        '"attributes.llm.token_count.prompt":1000,"attributes.llm.token_count.completion":100}',
    ),
    Dialect(
        "TRAIL traces",
        "the TRAIL data set, and others that nest spans in `child_spans`",
        "all spans, nested or not",
        "annotations",
        otelsdk.is_nested,
        _stateless(otelsdk.nested),
        f'{{"trace_id":"{_TRACE_ID}","span_id":"{_SPAN_ID}","timestamp":"2026-11-01T10:00:00Z",'
        f'"duration":"PT5S","span_name":"call","span_attributes":{_PLAIN},"child_spans":[]}}',
    ),
    Dialect(
        "Logfire, pending spans",
        "Pydantic Logfire",
        "",
        "rows `pending_span`, which the row of the finished span repeats",
        otelsdk.is_pending,
        _stateless(_nothing),
        f'{{"kind":"pending_span","span_id":"{_SPAN_ID}","trace_id":"{_TRACE_ID}"}}',
    ),
    Dialect(
        "JavaScript SDK spans",
        "OpenTelemetry's JavaScript SDK as JSON, GitHub Copilot, Zipkin",
        "all spans",
        "what its console exporter prints is not JSON, and is refused",
        javascript.is_span,
        _spans(javascript.span),
        f'{{"traceId":"{_TRACE_ID}","id":"{_SPAN_ID}","name":"chat",'
        f'"timestamp":1793527200000000,"duration":5000000,"attributes":{_PLAIN}}}',
    ),
    Dialect(
        "JavaScript SDK logs",
        "Gemini CLI, GitHub Copilot, Qwen Code (telemetry files)",
        "as OTLP logs",
        "as OTLP logs; lines of metrics",
        logs.is_line,
        _stateless(logs.read_line),
        '{"hrTime":[1793527200,0],"_body":"GenAI inference","attributes":{"session.id":"s",'
        '"gen_ai.response.model":"gpt-4o","gen_ai.usage.input_tokens":1000,'
        '"gen_ai.usage.output_tokens":100}}',
    ),
    Dialect(
        "Go SDK spans",
        "OpenTelemetry's Go SDK (`stdouttrace`)",
        "all spans",
        "links",
        jaeger.is_go,
        _spans(jaeger.go_span),
        f'{{"Name":"chat","SpanContext":{{"TraceID":"{_TRACE_ID}","SpanID":"{_SPAN_ID}"}},'
        '"StartTime":"2026-11-01T10:00:00Z","Attributes":['
        '{"Key":"gen_ai.request.model","Value":{"Type":"STRING","Value":"gpt-4o"}},'
        '{"Key":"gen_ai.usage.input_tokens","Value":{"Type":"INT64","Value":1000}},'
        '{"Key":"gen_ai.usage.output_tokens","Value":{"Type":"INT64","Value":100}}]}',
    ),
    Dialect(
        "OTLP JSON, single spans",
        "scripts that write one span of OTLP a line",
        "as OTLP JSON",
        "as OTLP JSON",
        envelopes.is_otlp_span,
        _spans(lambda item: otlp.span({}, item)),
        f'{{"traceId":"{_TRACE_ID}","spanId":"{_SPAN_ID}","name":"chat",'
        f'"startTimeUnixNano":"1793527200000000000","attributes":[{_CALL}]}}',
    ),
    Dialect(
        "Python SDK spans",
        "OpenTelemetry's Python SDK (console, `to_json`), Phoenix' REST API, Logfire's rows",
        "spans; attributes flat, nested or as JSON in a text",
        "attributes in a text that is not JSON: such a span is refused",
        otelsdk.is_span,
        _spans(otelsdk.span),
        f'{{"name":"chat","context":{{"trace_id":"0x{_TRACE_ID}","span_id":"0x{_SPAN_ID}"}},'
        f'{_TIMES},"attributes":{_PLAIN}}}',
    ),
    Dialect(
        "lists of spans",
        'scripts that write `{"spans": […]}`',
        "spans of any of the formats of single spans",
        "",
        envelopes.is_list_of_spans,
        _stateless(envelopes.list_of_spans),
        f'{{"spans":[{{"trace_id":"{_TRACE_ID}","span_id":"{_SPAN_ID}","name":"chat",'
        f'{_TIMES},"attributes":{_PLAIN}}}]}}',
    ),
)
"""In this order: a document is read by the first that recognises it."""

PAGES = ("data", "traces", "items", "results", "result", "rows", "runs", "requests", "response")
"""Keys of pages of an API, whose members are documents of their own."""


def recognised(document: Document) -> Dialect | None:
    """Return the dialect of a document, None if no row of the table recognises it."""
    for dialect in DIALECTS:
        if dialect.is_it(document):
            return dialect
    return None
