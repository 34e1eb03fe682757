"""What a request can cost at most, where that is not plain: its hold, and the limit it is sent."""

from typing import Any

import pytest

from spendtree.bound import input_tokens
from spendtree.testing.reply import answer
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    MESSAGES,
    MODEL,
    PICO_PER_TOKEN,
    Desk,
    anthropic_client,
    openai_client,
)


@pytest.mark.parametrize(
    ("asked", "outputs"),
    [
        ({"prompt": "hi", "best_of": 20, "n": 1}, 20),
        ({"prompt": "hi", "best_of": 3, "n": 3}, 3),
        ({"prompt": ["hi"] * 50}, 50),
        ({"prompt": [[1, 2], [3]], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["hi"]}, 1),
    ],
)
def test_every_choice_of_every_prompt_may_have_the_whole_limit(
    desk: Desk, asked: dict[str, Any], outputs: int
) -> None:
    desk.provider.play(answer("/v1/completions", {"model": MODEL}, Usage(5, 100 * outputs)))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.completions.create(model=MODEL, max_tokens=100, **asked)

    inputs = input_tokens({"model": MODEL, **asked}) or 0
    assert desk.end().held == (inputs + 100 * outputs) * PICO_PER_TOKEN
    assert desk.provider.received[0].body["max_tokens"] == 100


def test_the_context_window_bounds_each_prompt_and_not_all_together(desk: Desk) -> None:
    prompts = ["x" * 40_000] * 4
    desk.provider.play(answer("/v1/completions", {"model": MODEL}, Usage(160_000, 4)))

    with desk.tracker.session(ceiling=5), openai_client(desk) as client:
        client.completions.create(model=MODEL, prompt=prompts, max_tokens=1)

    assert desk.end().held > 160_000 * PICO_PER_TOKEN


def test_a_limit_of_no_output_is_sent_as_it_is(desk: Desk) -> None:
    """Anthropic's way to fill the prompt cache without an answer."""
    desk.provider.play(answer("/v1/messages", {"model": MODEL}, Usage(5, 0)))

    with (
        desk.tracker.session(ceiling=1),
        desk.tracker.agent("writer", max_output_tokens=300),
        anthropic_client(desk) as client,
    ):
        client.messages.create(model=MODEL, max_tokens=0, messages=MESSAGES)

    assert desk.provider.received[0].body["max_tokens"] == 0
    inputs = input_tokens({"model": MODEL, "messages": MESSAGES}) or 0
    assert desk.end().held == inputs * PICO_PER_TOKEN
