"""Clients' calls that belong to no session: refused unchanged and unsent, or told where made."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from spendtree import SessionRequiredError
from spendtree.testing.reply import event_reply
from tests.sdk.integrations.desk import CONFIG, MESSAGES, MODEL, Desk, anthropic_client
from tests.sdk.integrations.desk import openai_client as openai


@pytest.fixture(autouse=True)
def default(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the desk's books the ones that count where there is no scope."""
    monkeypatch.setattr("spendtree.default._default", desk.tracker)


def ask_openai(desk: Desk) -> None:
    with openai(desk) as client:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=50)


def ask_anthropic(desk: Desk) -> None:
    with anthropic_client(desk) as client:
        client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=50)


def in_pool(function: Any, *arguments: object) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function, *arguments).result(60)


@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic])
@pytest.mark.parametrize("lost", [False, True], ids=["no session", "lost"])
def test_the_error_comes_out_as_it_is_before_anything_is_sent(
    desk: Desk, ask: Any, lost: bool
) -> None:
    desk.tracker.reconfigure({**CONFIG, "session": {"required": True}})
    if lost:
        with desk.tracker.session(), pytest.raises(SessionRequiredError) as refused:
            in_pool(ask, desk)
    else:
        with pytest.raises(SessionRequiredError) as refused:
            ask(desk)

    assert refused.value.reason == ("lost_thread" if lost else "no_scope")
    assert desk.provider.received == []


def test_a_call_in_a_pool_is_told_of_at_the_line_that_asks(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with desk.tracker.session():
        in_pool(ask_openai, desk)
        in_pool(ask_openai, desk)

    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(told) == 1
    assert f"at {__file__}:{ask_openai.__code__.co_firstlineno + 2}" in told[0]
    assert [each.data for each in desk.ends()] == [{"unattributed": "lost_thread"}] * 2


def test_a_stream_that_states_no_usage_has_a_message_of_its_own(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients record by themselves: the user is not asked for a `record` that is not theirs."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choice = {"index": 0, "delta": {"content": "Well."}, "finish_reason": "stop"}
    text = f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\ndata: [DONE]\n\n"
    with desk.tracker.session(), openai(desk) as client:
        for _ in range(2):
            desk.provider.play(event_reply(text))
            for _ in client.chat.completions.create(
                model=MODEL, messages=MESSAGES, max_tokens=50, stream=True
            ):
                pass

    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(told) == 1
    assert f"read at {__file__}:" in told[0]
    assert "stated no usage" in told[0]
    assert "call.record" not in told[0]
    assert desk.statuses() == ["unmetered"] * 2
    assert all("place" not in (each.data or {}) for each in desk.ends())
