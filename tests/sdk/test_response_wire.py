"""Bodies and streams as they come over a connection, in whatever pieces, say what they say."""

import base64
import json
import random
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree import Usage
from spendtree.response import model_of, read, usage_of
from spendtree.response.wire import events_of
from tests.sdk.recordings import ROWS, needs_recordings, raw, recorded

FIRST = {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}
LAST = {"usage": {"prompt_tokens": 7, "completion_tokens": 9}}
SAID = Usage(7, 9)


def says(response: Any) -> tuple[Any, ...]:
    said = read(response)
    return said.usage, said.model, said.cost, dict(said.unread)


def pieces(whole: Any, size: int) -> list[Any]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@needs_recordings
@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_every_recorded_body_says_the_same_whole_and_in_pieces(row: dict[str, Any]) -> None:
    """As bytes and as text, by lines, by events, in chunks cut anywhere."""
    body, expected = raw(row["file"]), says(recorded(row["file"]))
    forms: list[Any] = [body, bytearray(body), memoryview(body)]
    if row["body_kind"] != "eventstream":
        text = body.decode()
        forms += [text, text.splitlines(), text.splitlines(keepends=True), text.split("\n\n")]
        forms += [body.split(b"\n"), tuple(text.split("\n")), text.replace("\n", "\r\n")]
        forms += [pieces(text, size) for size in (5, 100)]
    forms += [pieces(body, size) for size in (1, 17, 1000, len(body) // 2 + 1)]

    for number, form in enumerate(forms):
        assert says(form) == expected, number


def sse(*events: Any, end: str = "\n", gap: bool = True) -> str:
    blocks = [
        f"event: x{end}data: {json.dumps(event)}{end}{end if gap else ''}" for event in events
    ]
    return "".join(blocks)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("gap", [True, False])
def test_an_event_stream_is_read_by_its_own_rules(end: str, gap: bool) -> None:
    stream = f": ping{end}{end}\ufeffid: 1{end}" + sse(FIRST, LAST, end=end, gap=gap)
    assert usage_of(stream + f"data: [DONE]{end}{end}") == SAID
    assert usage_of("\ufeff" + sse(FIRST, LAST, end=end, gap=gap)) == SAID


def test_data_over_several_lines_is_one_event() -> None:
    lines = json.dumps(LAST, indent=2).split("\n")
    assert usage_of("".join(f"data: {line}\n" for line in lines) + "\n") == SAID


def test_separators_of_lines_inside_a_text_end_no_line() -> None:
    told = {"delta": "a\u2028b\u0085c\x0bd", **LAST}
    body = json.dumps(told, ensure_ascii=False).replace("\\u000b", "\x0b")
    spaced = f"data: {json.dumps(told, ensure_ascii=False)}\n\n"
    assert usage_of(spaced) == usage_of(spaced.encode()) == SAID
    assert usage_of(body.replace("\x0b", "")) == SAID


def test_lines_of_json_are_events_with_and_without_their_ends() -> None:
    lines = [json.dumps(FIRST), json.dumps(LAST)]
    for form in ("\n".join(lines), lines, [line + "\n" for line in lines], [*lines, ""]):
        assert usage_of(form) == SAID


def test_what_is_broken_in_a_stream_is_left_out() -> None:
    good = sse(FIRST, LAST)
    for broken in (
        "data: {\n\n" + good,
        good + 'data: {"usage": {"prompt_tok',
        good + "data: \udcff\n\n",
        good.encode() + b"data: \xff\xfe\n\n",
        [good, "data: {"],
    ):
        assert usage_of(broken) == SAID


def test_a_character_that_is_cut_in_two_is_put_together() -> None:
    told = {"text": "héllo", "model": "modèle", **LAST}
    body = json.dumps(told, ensure_ascii=False).encode()
    for cut in range(len(body)):
        halves = [body[:cut], body[cut:]]
        assert (usage_of(halves), model_of(halves)) == (SAID, "modèle")


def test_events_of_readers_that_wrap_their_data_are_read() -> None:
    wrapped = [{"event": "x", "data": json.dumps(event)} for event in (FIRST, LAST)]
    objects = [SimpleNamespace(**each, id="") for each in wrapped]
    done = SimpleNamespace(event="", data="[DONE]")
    assert usage_of(wrapped) == usage_of([*objects, done]) == SAID
    assert usage_of({"data": "no JSON", **LAST}) == SAID


def test_events_and_text_may_be_mixed() -> None:
    assert usage_of([FIRST, sse(LAST)]) == usage_of([sse(FIRST).encode(), LAST]) == SAID


# Frames.


def frame(content: bytes, headers: dict[str, str]) -> bytes:
    told = b"".join(
        bytes([len(name)]) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(told) + len(content), len(told))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + told + content
    return message + struct.pack(">I", zlib.crc32(message))


def event_frame(name: str, content: Any) -> bytes:
    return frame(json.dumps(content).encode(), {":message-type": "event", ":event-type": name})


METADATA = event_frame("metadata", {"usage": {"inputTokens": 7, "outputTokens": 9}})


def test_frames_are_events_by_their_names() -> None:
    start = event_frame("messageStart", {"role": "assistant"})
    assert events_of(start + METADATA) == [
        {"messageStart": {"role": "assistant"}},
        {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 9}}},
    ]
    assert usage_of([start, METADATA]) == SAID


def test_a_chunk_in_a_frame_is_text_in_base64() -> None:
    inner = base64.b64encode(json.dumps(LAST).encode()).decode()
    assert usage_of(event_frame("chunk", {"bytes": inner, "p": "abc"})) == SAID
    assert usage_of(event_frame("chunk", {"bytes": "no base64!"})) is None


def test_a_frame_that_is_cut_off_or_damaged_ends_the_stream() -> None:
    assert usage_of(METADATA[:-1]) is None
    for place in (20, len(METADATA) - 8, len(METADATA) - 1):
        damaged = bytearray(METADATA)
        damaged[place] ^= 1
        assert usage_of(damaged) is None
    assert usage_of(METADATA + METADATA[:40]) == SAID
    odd = frame(b"{}", {}) + frame(b"no json", {":event-type": "x"}) + METADATA
    assert usage_of(odd) == SAID


def test_a_header_of_another_type_names_no_event() -> None:
    told = bytes([1]) + b"n" + bytes([4]) + struct.pack(">i", 1)
    prelude = struct.pack(">II", 16 + len(told) + 2, len(told))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + told + b"{}"
    assert events_of(message + struct.pack(">I", zlib.crc32(message))) == [{"": {}}]


# Nothing breaks it.


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_are_too_broken_to_be_read(data: bytes, size: int) -> None:
    assert usage_of(data) is None
    assert usage_of(pieces(data, size)) is None


@given(st.text(max_size=300))
def test_no_text_is_too_broken_to_be_read(text: str) -> None:
    assert usage_of(text) is None
    assert usage_of(text.splitlines()) is None
    assert usage_of(f"data: {text}\n\n") is None


@needs_recordings
def test_no_damage_to_a_recorded_body_is_more_than_it_can_read() -> None:
    random_bytes = random.Random(7)
    for row in ROWS:
        body = bytearray(raw(row["file"]))
        for _ in range(5):
            body[random_bytes.randrange(len(body))] = random_bytes.randrange(256)
        usage_of(bytes(body[: random_bytes.randrange(len(body))]))


@pytest.mark.parametrize("nothing", ["", b"", [], [""], [b""], "7", '"text"', "null", b"[]", "{}"])
def test_what_holds_nothing_says_nothing(nothing: Any) -> None:
    assert says(nothing) == (None, "", None, {})


def test_a_body_too_deep_to_be_parsed_says_nothing() -> None:
    assert usage_of("[" * 100_000) is None
