"""Under a ceiling the provider's own bill never exceeds it, whatever was served or used.

The provider bills the most that a request allows; where it may bill what no request bounds, an
overrun is shown.
"""

from collections.abc import Callable
from typing import Any

import pytest

from spendtree import BudgetExceededError, Usage
from spendtree.bound import input_tokens
from spendtree.money import to_pico
from spendtree.testing import LoopbackProvider, Received, Reply
from spendtree.testing.reply import answer, served_reply
from tests.sdk.integrations.desk import CONFIG, Desk, anthropic_client, openai_client

CEILINGS = {"audio": "5.50", "searches": "6.15"}
"""Where the whole context window must be held, since sound and what a search finds may fill it."""

TEXT: Any = [{"role": "user", "content": "How are you?"}]
SPOKEN: Any = [
    {
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": "A" * 400, "format": "wav"}}],
    }
]


class Bill:
    """Answers with the most that a request allows, and adds up what that costs by list prices."""

    def __init__(self, provider: LoopbackProvider, tier: str = "", **rates: str) -> None:
        self.spent = 0
        self._tier = tier
        self._rates = {name: to_pico(rate) for name, rate in rates.items()}
        provider._respond = self

    def __call__(self, ordinal: int, received: Received) -> Reply:
        body = received.body
        inputs = 100 if "input_audio" in self._rates else 20
        bound = input_tokens(body["messages"])  # None for sound: the whole window
        assert bound is None or inputs <= bound
        outputs = received.max_output_tokens or 0
        searches = sum(int(tool.get("max_uses", 9)) for tool in body.get("tools", ()))
        used = {"web_search": searches}
        if "output_audio" in self._rates:
            used |= {"input_audio": inputs, "output_audio": outputs}
            inputs = outputs = 0
        self.spent += inputs * self._rates.get("input", 0) + outputs * self._rates.get("output", 0)
        self.spent += sum(count * self._rates.get(name, 0) for name, count in used.items())
        usage = Usage(inputs, outputs, units=used)
        reply = answer(received.path, body, usage, "words")
        return served_reply(reply, self._tier) if self._tier else reply


def chat(model: str, **more: Any) -> Callable[[Desk], Any]:
    def ask(desk: Desk) -> Any:
        with openai_client(desk, max_retries=0) as client:
            return client.chat.completions.create(
                **{"model": model, "messages": TEXT, "max_completion_tokens": 1000, **more}
            )

    return ask


def message(model: str, **more: Any) -> Callable[[Desk], Any]:
    def ask(desk: Desk) -> Any:
        with anthropic_client(desk, max_retries=0) as client:
            return client.messages.create(
                model=model, messages=TEXT, max_tokens=500, extra_body=more
            )

    return ask


SEARCH = {"type": "web_search_20250305", "name": "web_search"}
BILLS: dict[str, tuple[Callable[[Desk], Any], str, dict[str, str]]] = {
    "audio": (
        chat("gpt-4o-audio-preview", messages=SPOKEN, modalities=["text", "audio"]),
        "",
        {"input_audio": "0.00004", "output_audio": "0.00008"},
    ),
    "priority": (
        chat("gpt-5", service_tier="priority"),
        "priority",
        {"input": "0.0000025", "output": "0.00002"},
    ),
    "a priority that was not granted": (
        chat("gpt-5", service_tier="priority"),
        "default",
        {"input": "0.00000125", "output": "0.00001"},
    ),
    "flex": (
        chat("gpt-5", service_tier="flex"),
        "flex",
        {"input": "0.000000625", "output": "0.000005"},
    ),
    "a flex that was not granted": (
        chat("gpt-5", service_tier="flex"),
        "default",
        {"input": "0.00000125", "output": "0.00001"},
    ),
    "fast": (
        message("claude-opus-5", speed="fast"),
        "fast",
        {"input": "0.00001", "output": "0.00005"},
    ),
    "searches": (
        message("claude-sonnet-4-6", tools=[{**SEARCH, "max_uses": 2}]),
        "",
        {"input": "0.000003", "output": "0.000015", "web_search": "0.01"},
    ),
}


def ask_often(desk: Desk, ask: Callable[[Desk], Any]) -> None:
    for _ in range(200):
        ask(desk)


@pytest.mark.parametrize("name", BILLS)
def test_the_providers_bill_stays_below_the_ceiling_and_is_what_is_recorded(
    desk: Desk, name: str
) -> None:
    ask, tier, rates = BILLS[name]
    bill = Bill(desk.provider, tier, **rates)

    ceiling = CEILINGS.get(name, "0.10")

    with desk.tracker.session(ceiling=ceiling), pytest.raises(BudgetExceededError):
        ask_often(desk, ask)

    ends = desk.ends()
    assert 0 < len(ends) < 200
    assert bill.spent == sum(event.cost or 0 for event in ends)
    assert bill.spent <= to_pico(ceiling)
    assert not any(event.overrun or event.marks for event in ends)
    desk.agree()


def test_searches_that_no_request_bounds_are_an_overrun(desk: Desk) -> None:
    own = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15, "web_search_usd": 1}
    prices = {"claude-sonnet-4-6": {**own, "context_window": 9000}}
    desk.tracker.reconfigure({"prices": prices, "metrics": CONFIG["metrics"]})
    bill = Bill(desk.provider, input="0.000003", output="0.000015", web_search="1")

    with desk.tracker.session(ceiling="6.05"):
        message("claude-sonnet-4-6", tools=[SEARCH])(desk)

    event = desk.end()
    assert event.cost == bill.spent > event.held
    assert event.overrun == bill.spent - event.held > 0
    assert desk.total("spendtree_overrun_usd_total") > 0


def test_a_tier_that_nobody_has_a_price_for_is_marked_and_costs_its_hold(desk: Desk) -> None:
    Bill(desk.provider, "scale", input="0.00000125", output="0.00001")

    with desk.tracker.session(ceiling="0.20"):
        chat("gpt-5")(desk)

    event = desk.end()
    assert event.marks == ("unpriced:scale",)
    assert event.cost == event.held
