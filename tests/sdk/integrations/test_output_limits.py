"""Requests that name no output limit: what is held for them, and what limit they are sent with."""

from collections.abc import Iterator
from typing import Any

import pytest

from spendtree import BudgetExceededError, Spendtree
from spendtree.bound import input_tokens
from spendtree.testing import LoopbackProvider
from tests.sdk.integrations.desk import MESSAGES, Desk, openai_client

LARGEST = 16_384
INPUT_PICO, OUTPUT_PICO = 2_500_000, 10_000_000


@pytest.fixture
def listed(desk: Desk) -> Iterator[Desk]:
    """A desk whose Spendtree has the catalogue's prices only."""
    yield desk
    desk.agree()


def limits_sent(provider: LoopbackProvider) -> dict[str, Any]:
    body = provider.received[-1].body
    return {key: value for key, value in body.items() if "max" in key}


def ask(desk: Desk, model: str = "gpt-4o", **asked: Any) -> Any:
    with openai_client(desk, max_retries=0) as client:
        return client.chat.completions.create(model=model, messages=MESSAGES, **asked)


def test_a_first_program_without_a_limit_goes_through_under_half_a_dollar(listed: Desk) -> None:
    with listed.tracker.session(ceiling="0.50"):
        ask(listed)

    inputs = input_tokens({"model": "gpt-4o", "messages": MESSAGES}) or 0
    assert limits_sent(listed.provider) == {"max_completion_tokens": LARGEST}
    assert listed.end().held == inputs * INPUT_PICO + LARGEST * OUTPUT_PICO


def test_the_bound_of_each_choice_is_sent_once_and_held_for_all(listed: Desk) -> None:
    with listed.tracker.session(ceiling=1):
        ask(listed, n=3)

    inputs = input_tokens({"model": "gpt-4o", "messages": MESSAGES, "n": 3}) or 0
    assert limits_sent(listed.provider) == {"max_completion_tokens": LARGEST}
    assert listed.end().held == inputs * INPUT_PICO + 3 * LARGEST * OUTPUT_PICO


def test_a_refusal_of_several_choices_says_how_the_limit_comes_about(listed: Desk) -> None:
    with listed.tracker.session(ceiling="0.40"), pytest.raises(BudgetExceededError) as refused:
        ask(listed, n=3)

    assert refused.value.output_limit == 3 * LARGEST
    assert refused.value.output_limit_source.startswith(f"3 times {LARGEST}: the largest output")


def test_responses_are_sent_it_under_their_own_name(listed: Desk) -> None:
    with listed.tracker.session(ceiling="0.50"), openai_client(listed) as client:
        client.responses.create(model="gpt-4o", input="hi")

    assert limits_sent(listed.provider) == {"max_output_tokens": LARGEST}


def test_a_prompt_that_may_leave_less_room_is_sent_without_it(listed: Desk) -> None:
    """A provider refuses a limit that does not fit into the window together with the prompt."""
    messages: Any = [{"role": "user", "content": "x" * 115_000}]
    with listed.tracker.session(ceiling=1), openai_client(listed) as client:
        client.chat.completions.create(model="gpt-4o", messages=messages)

    assert limits_sent(listed.provider) == {}
    assert listed.end().held >= 115_000 * INPUT_PICO + LARGEST * OUTPUT_PICO


def test_a_session_default_is_sent_and_lowered_to_what_the_model_writes(desk: Desk) -> None:
    for default, sent in ((300, 300), (50_000, LARGEST)):
        tracker = Spendtree("memory:", {"session": {"max_output_tokens": default}})
        with tracker.session(ceiling=1):
            ask(desk)
        assert limits_sent(desk.provider) == {"max_completion_tokens": sent}


def test_an_own_limit_without_a_price_is_sent(desk: Desk) -> None:
    tracker = Spendtree("memory:", {"prices": {"gpt-4o": {"max_output_tokens": 700}}})
    with tracker.session(ceiling="0.50"):
        ask(desk)

    assert limits_sent(desk.provider) == {"max_completion_tokens": 700}


def test_a_clamp_goes_below_it(desk: Desk) -> None:
    tracker = Spendtree("memory:", {"agents": {"*": {"policy": ["clamp", "refuse"]}}})
    with tracker.session(ceiling="0.01"), tracker.agent("a"):
        ask(desk)

    sent = limits_sent(desk.provider)["max_completion_tokens"]
    assert 0 < sent <= 1000


def test_what_is_unknown_is_held_at_the_window_and_sent_without_a_limit(desk: Desk) -> None:
    with desk.tracker.session(ceiling=2):
        ask(desk, "fake-model")

    assert limits_sent(desk.provider) == {}
    assert desk.end().held >= 100_000 * OUTPUT_PICO


def test_a_body_of_bytes_is_held_at_the_largest_output_and_sent_as_it_is(listed: Desk) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'
    with listed.tracker.session(ceiling="0.50"), openai_client(listed) as client:
        if "content" not in client.post.__code__.co_varnames:
            pytest.skip("this version of openai takes no content")
        client.post("/chat/completions", cast_to=object, content=body)

    assert limits_sent(listed.provider) == {}
    assert LARGEST * OUTPUT_PICO < listed.end().held < 2 * LARGEST * OUTPUT_PICO
