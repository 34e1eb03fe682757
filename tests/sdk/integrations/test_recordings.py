"""What providers really answered, played back byte for byte to the real clients."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest

import spendtree
from spendtree.event import Kind
from spendtree.response import reported_cost, usage_of
from spendtree.testing.reply import Reply, recorded_reply
from tests.sdk.integrations.desk import (
    MESSAGES,
    Desk,
    anthropic_client,
    api_errors,
    openai_client,
)

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "providers"

OPENAI_LIKE = (
    *("openai", "azure_openai", "openrouter", "deepseek", "groq", "mistral", "together"),
    *("cerebras", "huggingface"),
)
"""Whose answers the openai client reads, at a base URL of theirs."""


def recordings() -> list[Any]:
    index = DATA / "index.jsonl"
    if not index.exists():
        reason = f"no recorded responses in {DATA.parent.parent.name}/{DATA.parent.name}"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()]
    return [
        pytest.param(row, id=row["file"].removesuffix(".json"))
        for row in rows
        if row["provider"] in (*OPENAI_LIKE, "anthropic")
    ]


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
@pytest.mark.parametrize("row", recordings())
def test_a_recorded_response_is_booked_as_it_was_billed(desk: Desk, row: dict[str, Any]) -> None:
    recording = json.loads((DATA / row["file"]).read_text("utf-8"))
    reply = recorded_reply(recording)
    desk.provider.play(reply)
    said = said_by(recording)

    with desk.tracker.session():
        try:
            ask(desk, row, stream=row["body_kind"] == "sse")
        except api_errors():
            assert row["status"] >= 400 or row["body_kind"] == "sse"
        except ValueError:  # an embedding whose recording was shortened
            assert row["endpoint"] == "embeddings"

    end = desk.end()
    usage = usage_of(said)
    if usage is not None:
        assert (end.kind, end.usage) == (Kind.CALL, usage)
    elif row["status"] == 200:
        assert end.kind == Kind.LAPSE
    else:
        assert (end.kind, end.cost) == (Kind.CALL, 0)
    cost = reported_cost(said)
    if cost is not None:
        assert end.cost == math.ceil(cost * 10**12)
        assert end.data is not None
        assert end.data["cost_source"] == "provider"
    desk.agree()


FRAMES = DATA / "bedrock" / "invoke_with_response_stream__eventstream__200__008.json"


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
@pytest.mark.skipif(not FRAMES.exists(), reason="the recorded responses are not there")
def test_the_frames_of_bedrock_are_read(desk: Desk) -> None:
    """As its client gets them: Claude's events, each in a frame of AWS."""
    response = json.loads(FRAMES.read_text("utf-8"))["response"]
    body = base64.b64decode(response["body_b64"])
    pieces = [body[start : start + 100] for start in range(0, len(body), 100)]
    desk.provider.play(Reply(headers=response["headers"], pieces=pieces))

    with (
        desk.tracker.session(),
        anthropic_client(desk) as client,
        client.messages.with_streaming_response.create(
            model="claude-3-sonnet-20240229", messages=MESSAGES, max_tokens=50, stream=True
        ) as streamed,
    ):
        assert b"".join(streamed.iter_bytes()) == body

    usage = usage_of(body)
    assert usage is not None
    assert desk.end().usage == usage
    desk.agree()


def said_by(recording: dict[str, Any]) -> Any:
    response = recording["response"]
    if "body_json" in response:
        return response["body_json"]
    return response["body_text"].splitlines()


def ask(desk: Desk, row: dict[str, Any], *, stream: bool) -> None:
    answered: Any
    if row["provider"] == "anthropic":
        with anthropic_client(desk, max_retries=0) as other:
            answered = other.messages.create(
                model=row["model"], messages=MESSAGES, max_tokens=50, stream=stream
            )
            if stream:
                list(answered)
        return
    with openai_client(desk, max_retries=0) as made:
        client = spendtree.wrap(made, provider=row["provider"])
        if row["endpoint"] == "embeddings":
            client.embeddings.create(model=row["model"], input="x")
        elif row["endpoint"] == "responses":
            answered = client.responses.create(model=row["model"], input="x", stream=stream)
            if stream:
                list(answered)
        else:
            answered = client.chat.completions.create(
                model=row["model"], messages=MESSAGES, stream=stream
            )
            if stream:
                list(answered)
