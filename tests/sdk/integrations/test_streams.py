"""Events are read as they pass, however the network cuts them into pieces."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.integrations.anthropic import LIBRARY as ANTHROPIC
from spendtree.integrations.openai import LIBRARY as OPENAI
from spendtree.integrations.streams import KEPT, Body, Events
from spendtree.response import usage_of
from spendtree.testing.reply import answer, events
from spendtree.usage import Usage

CHAT = OPENAI.endpoints["/chat/completions"]
USAGE = Usage(30, 12, 5)
BODY = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
WHOLE = b"".join(answer("/chat/completions", BODY, USAGE, "one {two} \u00e4\u00f6").pieces)


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def passed(reader: Events | Body, text: bytes, cuts: list[int]) -> bytes:
    out = b"".join(reader.feed(piece) for piece in pieces(text, cuts))
    return out + reader.flush()


@given(st.lists(st.integers(0, 5_000), max_size=30), st.sampled_from([b"\n", b"\r\n"]))
def test_only_the_event_of_the_usage_is_taken_out(cuts: list[int], newline: bytes) -> None:
    text = WHOLE.replace(b"\n", newline)
    shown = [event for event in text.split(newline * 2) if b'"choices": []' not in event]
    reader = Events(CHAT, hides=True)

    assert passed(reader, text, cuts) == (newline * 2).join(shown)
    assert usage_of(reader.statements) == USAGE
    assert reader.is_final


@given(st.lists(st.integers(0, 5_000), max_size=30))
def test_what_nothing_is_hidden_of_passes_byte_for_byte(cuts: list[int]) -> None:
    reader = Events(CHAT, hides=False)

    assert passed(reader, WHOLE, cuts) == WHOLE
    assert usage_of(reader.statements) == USAGE


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_what_is_no_stream_of_events_passes_whatever_it_is(text: bytes, cuts: list[int]) -> None:
    for hides in (False, True):
        if text:
            assert passed(Events(CHAT, hides=hides), text, cuts) == text


def test_the_end_of_a_choice_is_passed_on_with_what_follows_it() -> None:
    *before, finish, usage, done = answer("/chat/completions", BODY, USAGE).pieces
    reader = Events(CHAT, hides=True)
    for piece in before:
        reader.feed(piece)

    assert reader.feed(finish) == b""
    final_before = reader.is_final
    assert reader.feed(usage) == finish
    assert (final_before, reader.is_final) == (False, True)
    assert reader.feed(done) == done


def test_the_end_of_a_choice_is_passed_on_at_the_end_at_the_latest() -> None:
    *_, finish, _, _ = answer("/chat/completions", BODY, USAGE).pieces
    reader = Events(CHAT, hides=True)

    assert reader.feed(finish) == b""
    assert reader.flush() == finish
    assert not reader.is_final


def test_a_usage_in_every_chunk_is_not_kept_in_every_chunk() -> None:
    told = [
        {
            "choices": [{}],
            "usage": {"prompt_tokens": 5, "completion_tokens": n, "total_tokens": 5 + n},
        }
        for n in range(1000)
    ]
    reader = Events(CHAT, hides=True)
    for piece in events(*told).pieces:
        reader.feed(piece)

    assert len(reader.statements) == KEPT + 1
    assert usage_of(reader.statements) == Usage(5, 999)
    assert not reader.is_final


def test_a_text_that_looks_like_a_usage_is_a_text() -> None:
    text = '"usage": {"prompt_tokens": 1} [DONE] "choices": []'
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
    piece = events(chunk).pieces[0]
    reader = Events(CHAT, hides=True)

    assert reader.feed(piece) == piece
    assert reader.statements == []


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ('event: error\ndata: {"type": "error"}\n\n', True),
        ('data: {"error": {"message": "x"}}\n\n', True),
        ('data: {"choices": [], "text": "event: error"}\n\n', False),
    ],
)
def test_the_providers_report_of_a_failure_is_seen(event: str, told: bool) -> None:
    reader = Events(CHAT, hides=False)
    reader.feed(event.encode())

    assert reader.tells_error is told


def test_the_messages_of_anthropic_end_with_their_last_delta() -> None:
    whole = answer("/v1/messages", {"model": "m", "stream": True}, USAGE).pieces
    reader = Events(ANTHROPIC.endpoints["/v1/messages"], hides=False)
    finals = []
    for piece in whole:
        reader.feed(piece)
        finals.append(reader.is_final)

    assert finals == [False] * (len(whole) - 2) + [True, True]
    assert usage_of(reader.statements) == USAGE


def test_a_body_in_pieces_is_final_when_it_is_whole() -> None:
    body: Any = {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    reader = Body()

    assert passed(reader, json.dumps(body).encode(), [3, 17]) == json.dumps(body).encode()
    assert reader.is_final
    assert usage_of(reader.statements) == Usage(1, 2)
    assert not Body().is_final


@pytest.mark.parametrize("hides", [False, True])
def test_every_tool_that_groq_executed_in_a_stream_is_counted(hides: bool) -> None:
    tools = [
        {"choices": [{"delta": {"executed_tools": [{"index": n, "type": "search", **end}]}}]}
        for n in range(10)
        for end in ({}, {"output": "found"})
    ]
    usage = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": usage}}
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (*tools, last))
    reader = Events(CHAT, hides=hides)

    assert passed(reader, text + b"data: [DONE]\n\n", [100, 999]) == text + b"data: [DONE]\n\n"
    assert usage_of(reader.statements) == Usage(30, 12, units={"web_search": 10})
