"""Files as they come: packed, cut, broken; what cannot be read is named, the rest is imported."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.ingest import ImportReport, Problem, SpanRecord, import_files, parse
from spendtree.pricing import PriceBook
from spendtree.store import open_store

PRICES = PriceBook({"m": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}})


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "session_id": "s",
        "trace_id": "t",
        "span_id": f"span-{number}",
        "kind": "LLM",
        "model": "m",
        "end": "2026-01-01T00:00:00Z",
        "status": "ok",
        "usage": {"input_tokens": number, "output_tokens": 1},
    } | fields


LINES = "".join(json.dumps(record(number)) + "\n" for number in range(1, 6)).encode()


def imported(path: Path, content: bytes | None = None) -> ImportReport:
    if content is not None:
        path.write_bytes(content)
    return import_files(open_store("memory:"), [path], prices=PRICES)


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"\xef\xbb\xbf" + LINES,
        gzip.compress(LINES),
        gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]),
        gzip.compress(b"\xef\xbb\xbf" + LINES),
        LINES.replace(b"\n", b"\r\n"),
        b"\n\n" + LINES.replace(b"\n", b"\n\n"),
        LINES.rstrip(b"\n"),
        b"[" + LINES.strip().replace(b"\n", b",\n") + b"]",
        json.dumps([record(number) for number in range(1, 6)], indent=2).encode(),
    ],
    ids=[
        "lines",
        "BOM",
        "gzip",
        "gzip of parts",
        "gzip with a BOM",
        "CRLF",
        "empty lines",
        "no last line end",
        "list",
        "indented list",
    ],
)
def test_a_file_is_read_whatever_it_is_packed_in(content: bytes, tmp_path: Path) -> None:
    report = imported(tmp_path / "any.name", content)
    assert (report.calls, report.problems) == (5, [])


def test_a_broken_line_in_the_middle_is_named_and_the_others_are_imported(tmp_path: Path) -> None:
    lines = LINES.split(b"\n")
    lines[2] = lines[2][:40]
    report = imported(tmp_path / "broken.jsonl", b"\n".join(lines))
    assert report.calls == 4
    (problem,) = report.problems
    assert (problem.file, problem.position) == (str(tmp_path / "broken.jsonl"), "line 3")
    assert "not JSON" in problem.reason


def test_a_broken_first_line_costs_only_itself(tmp_path: Path) -> None:
    report = imported(tmp_path / "broken.jsonl", b'{"trace_id": "t", "sp\n' + LINES)
    assert report.calls == 5
    assert [problem.position for problem in report.problems] == ["line 1"]


def test_a_gzip_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content = b"".join(
        json.dumps(record(n, name=f"{n * 7919}")).encode() + b"\n" for n in range(1, 999)
    )
    packed = gzip.compress(content)
    report = imported(tmp_path / "cut.jsonl.gz", packed[: len(packed) * 2 // 3])
    assert 300 < report.calls < 998
    assert "gzip data ends early" in report.problems[0].reason
    assert report.problems[0].position == f"line {report.calls + 1}"


def test_damaged_gzip_data_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[20:40] = bytes(20)
    reasons = " ".join(
        problem.reason for problem in imported(tmp_path / "x", bytes(packed)).problems
    )
    assert "gzip data is damaged" in reasons


def test_a_document_that_was_cut_gives_the_spans_before_the_cut(tmp_path: Path) -> None:
    spans = [
        {
            "context": {"trace_id": "0x1", "span_id": hex(i)},
            "start_time": "2026-01-01T00:00:00Z",
            "attributes": {"gen_ai.request.model": "m"},
            "name": f"n{i}",
        }
        for i in (1, 2, 3)
    ]
    content = json.dumps({"spans": spans}, indent=2)
    report = imported(tmp_path / "cut.json", content[: content.index("n3")].encode())
    assert report.spans_read == 2
    assert [problem.position for problem in report.problems] == ["line 1"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("text", "not an object"),
        (record(9, span_id=None), "no span id"),
        (record(9, usage={"input_tokens": -4, "output_tokens": 1}), "not between 0"),
        (record(9, usage={"input_tokens": 12.5, "output_tokens": 1}), "no token count"),
        (record(9, usage={"input_tokens": 10**15, "output_tokens": 1}), "not between 0"),
        (record(9, usage=[1, 2]), "usage: is not an object"),
        (record(9, attrs="text"), "attrs: is not an object"),
        (record(9, end="yesterday"), "no time"),
        (record(9, trace_id=[1]), "trace id"),
        ({"unheard": 1, "of": 2}, "unknown format (an object of unheard, of)"),
    ],
    ids=[
        "no object",
        "no id",
        "negative tokens",
        "a fraction of a token",
        "enormous tokens",
        "usage",
        "attrs",
        "time",
        "trace id",
        "unknown format",
    ],
)
def test_a_span_that_cannot_be_read_is_named_with_its_place(
    bad: Any, reason: str, tmp_path: Path
) -> None:
    lines = LINES.split(b"\n")
    lines.insert(1, json.dumps(bad).encode())
    report = imported(tmp_path / "spans.jsonl", b"\n".join(lines))
    assert report.calls == 5
    (problem,) = report.problems
    assert problem.position == "line 2"
    assert reason in problem.reason


def test_whole_floats_and_digits_are_token_counts(tmp_path: Path) -> None:
    usage = {"input_tokens": 12.0, "output_tokens": "3"}
    report = imported(tmp_path / "x", json.dumps(record(1, usage=usage)).encode())
    assert (report.calls, report.problems) == (1, [])


def test_the_place_of_a_bad_span_inside_a_batch_is_its_path() -> None:
    good = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "x"}
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [good, 5, {"traceId": "1" * 32}]}]}, 7]}
    problems = [each for each in parse(export, file="f") if isinstance(each, Problem)]
    assert [problem.position for problem in problems] == [
        "resourceSpans[0].scopeSpans[0].spans[1]",
        "resourceSpans[0].scopeSpans[0].spans[2]",
        "resourceSpans[1]",
    ]
    listed = [each for each in parse([good, 5], file="f") if isinstance(each, Problem)]
    assert [problem.position for problem in listed] == ["[1]"]


@pytest.mark.parametrize(
    "content", [b"hello there\n", b"a,b\n1,2\n", b"\x00\x01\x02", b"12", b'"text"', b"<xml/>"]
)
def test_an_unknown_format_is_named_once_with_what_is_accepted(
    content: bytes, tmp_path: Path
) -> None:
    (problem,) = imported(tmp_path / "what", content).problems
    assert problem.position == "line 1"
    assert "not" in problem.reason
    report = imported(tmp_path / "what", b'{"rows": []}')
    assert "accepted are OTLP JSON (resourceSpans)" in report.problems[0].reason


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b" \n\n", "empty")])
def test_an_empty_file_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    (problem,) = imported(tmp_path / "empty", content).problems
    assert reason in problem.reason


def test_a_file_that_is_not_there_is_named_and_the_others_are_imported(tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_bytes(LINES)
    store = open_store("memory:")
    report = import_files(store, [tmp_path / "gone.jsonl", there, tmp_path], prices=PRICES)
    assert (report.calls, report.files) == (5, 3)
    assert [problem.file for problem in report.problems] == [
        str(tmp_path / "gone.jsonl"),
        str(tmp_path),
    ]
    assert "No such file" in report.problems[0].reason


def test_absurdly_nested_json_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    report = imported(tmp_path / "deep", b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    assert len(report.problems) == 1


def test_names_that_are_no_text_are_stored_all_the_same(tmp_path: Path) -> None:
    """Half a surrogate pair can be written in JSON, and 10 kB of name, and a NUL."""
    names = record(1, agent="\ud800x", model="m" * 10_000, name="\0")
    store = open_store(f"sqlite:///{tmp_path}/spend.db")
    (tmp_path / "x.json").write_text(json.dumps(names))
    report = import_files(store, [tmp_path / "x.json"], prices=PRICES)
    assert (report.calls, report.problems) == (1, [])
    assert max(len(event.request.model) for event in store.events()) == 1000
    store.close()


KEYS = [
    "resourceSpans",
    "scopeSpans",
    "spans",
    "observations",
    "trace",
    "traceId",
    "trace_id",
    "spanId",
    "span_id",
    "kind",
    "context",
    "attributes",
    "usage",
    "usageDetails",
    "attrs",
    "start",
    "end",
    "start_time",
    "status",
    "type",
    "id",
    "input_tokens",
    "metadata",
    "parent",
    "model",
    "key",
    "value",
]
"""What the readers look for."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(max_size=3),
            inner | st.sampled_from(["LLM", "GENERATION", "1" * 16]),
            max_size=5,
        )
    ),
    max_leaves=25,
)


def test_an_id_that_was_rounded_before_it_came_here_is_named() -> None:
    for content in (
        {"trace_id": 2.5e38, "kind": "LLM", "span_id": "1"},
        b'{"spanId": 1e30, "traceId": "1"}',
    ):
        (problem,) = parse(content, file="f")
        assert isinstance(problem, Problem)
        assert "lost digits" in problem.reason


@given(JSON)
def test_no_json_whatever_makes_parse_raise(value: Any) -> None:
    for content in (value, json.dumps(value).encode()):
        for found in parse(content, file="f"):
            assert isinstance(found, (SpanRecord, Problem))
            if isinstance(found, Problem):
                assert found.file == "f"
                assert found.position
                assert found.reason


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: ("[2023" + t).encode()))
def test_no_bytes_whatever_make_parse_raise(content: bytes) -> None:
    assert all(isinstance(found, (SpanRecord, Problem)) for found in parse(content, file="f"))
