"""What a response says decides what its call cost: its usage, its model, its own cost."""

import sys
from decimal import Decimal
from typing import Any

import pytest

from spendtree import Spendtree, Usage
from spendtree.call.answer import read
from spendtree.event import Event, Kind
from spendtree.pricing import PriceBook
from spendtree.testing import assert_books_balance

DEAR = {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}
CHEAP = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
BOUND: Any = {"input_tokens": 1000, "max_output_tokens": 1000}


def body(model: str = "", **usage: Any) -> dict[str, Any]:
    told = {"prompt_tokens": 600, "completion_tokens": 400, "total_tokens": 1000, **usage}
    return {"usage": told, **({"model": model} if model else {})}


def booked(response: Any, *, asked: str, provider: str = "", prices: Any = None) -> Event:
    tracker = Spendtree("memory:", {"prices": prices or {}})
    with tracker.session() as session, session.call(asked, provider=provider, **BOUND) as call:
        call.record(response)
    assert_books_balance(tracker)
    (event,) = [each for each in tracker.store.events() if each.kind == Kind.CALL]
    return event


def test_the_model_that_answered_names_the_price() -> None:
    event = booked(body("answered"), asked="unknown", prices={"answered": CHEAP})

    assert event.cost == 1000 * 1_000_000
    assert event.request.model == "unknown"
    assert event.data == {"answered_by": "answered"}


def test_the_price_that_the_user_gave_what_was_asked_goes_before_the_catalogue() -> None:
    """A negotiated price for gpt-4o is meant for the dated model that answers, too."""
    event = booked(body("gpt-4o-2024-08-06"), asked="gpt-4o", prices={"gpt-4o": DEAR})

    assert event.cost == 1000 * 10_000_000
    assert event.data is None


def test_the_price_that_the_user_gave_what_answered_goes_first() -> None:
    tracker = Spendtree("memory:", {"prices": {"asked": DEAR, "answered": CHEAP}})
    with tracker.session() as session, session.call("asked", **BOUND) as call:
        call.record(body("answered"))

    (event,) = [each for each in tracker.store.events() if each.kind == Kind.CALL]
    assert event.cost == 1000 * 1_000_000


def test_an_answer_that_nobody_has_a_price_for_costs_what_was_asked() -> None:
    event = booked(body("some-alias"), asked="gpt-4o", provider="openai")

    assert event.cost == 600 * 2_500_000 + 400 * 10_000_000


def test_what_nobody_has_any_price_for_stays_unpriced() -> None:
    event = booked(body("some-alias"), asked="another-alias")

    assert (event.cost, event.input_tokens) == (None, 600)


@pytest.mark.parametrize("cost", [0.0123456789, "0.0123456789"])
def test_a_cost_that_the_response_states_is_booked_and_flagged(cost: Any) -> None:
    event = booked(body(cost=cost), asked="asked", prices={"asked": DEAR})

    assert event.cost == int(Decimal(str(cost)) * 10**12)
    assert event.data == {
        "cost_source": "provider",
        "marks": ["stated_cost"],
        "stated_difference": event.cost - 1000 * 10_000_000,
    }


def test_a_stated_cost_of_nothing_is_not_believed_of_a_model_that_has_a_price() -> None:
    """A proxy that knows no price says 0: it must not be the way past a ceiling."""
    event = booked(body(cost=0), asked="asked", prices={"asked": DEAR})

    assert event.cost == 1000 * 10_000_000
    assert event.data == {"stated_difference": -event.cost}


def test_a_stated_cost_of_nothing_holds_where_no_price_is_known() -> None:
    event = booked(body(cost=0), asked="asked")

    assert event.cost == 0
    assert event.data == {"cost_source": "provider", "marks": ["stated_cost"]}


def test_a_stated_cost_that_the_price_list_agrees_with_differs_by_nothing() -> None:
    event = booked(body(cost="0.01"), asked="asked", prices={"asked": DEAR})

    assert event.cost == 1000 * 10_000_000
    assert event.data == {"cost_source": "provider", "marks": ["stated_cost"]}


@pytest.mark.parametrize("cost", [-1, "many", 1e30, None])
def test_a_cost_that_cannot_be_meant_is_not_booked(cost: Any) -> None:
    event = booked(body(cost=cost), asked="asked", prices={"asked": DEAR})

    assert event.cost == 1000 * 10_000_000
    assert event.data is None


def test_a_usage_that_is_recorded_afterwards_takes_the_responses_cost_away() -> None:
    tracker = Spendtree("memory:", {"prices": {"asked": DEAR}})
    with tracker.session() as session, session.call("asked", **BOUND) as call:
        call.record(body(cost="5"))
        call.record(Usage(1, 1))

    (event,) = [each for each in tracker.store.events() if each.kind == Kind.CALL]
    assert event.cost == 2 * 10_000_000


def test_a_call_said_to_have_lapsed_keeps_its_usage_if_it_has_one() -> None:
    tracker = Spendtree("memory:", {"prices": {"asked": DEAR}})
    with tracker.session() as session:
        with session.call("asked", **BOUND) as unknown:
            unknown.lapse("the stream was closed")
        with session.call("asked", **BOUND) as known:
            known.lapse("the stream was closed")
            known.record(Usage(1, 1))

    lapsed, called = [e for e in tracker.store.events() if e.kind in (Kind.CALL, Kind.LAPSE)]
    assert (lapsed.kind, lapsed.status) == (Kind.LAPSE, "lapsed")
    assert lapsed.data == {"reason": "the stream was closed"}
    assert (called.kind, called.status) == (Kind.CALL, "ok")
    assert_books_balance(tracker)


def test_the_address_of_an_api_tells_its_provider() -> None:
    book = PriceBook()

    assert book.provider_at("https://api.deepseek.com/v1") == "deepseek"
    assert book.provider_at("https://openrouter.ai/api/v1/") == "openrouter"
    assert book.provider_at("https://gateway.example.com/v1") == ""


def message(iterations: Any) -> dict[str, Any]:
    """Return a message whose usage has parts, of a kind that nobody has promised."""
    usage = {"input_tokens": 1000, "output_tokens": 500, "cache_read_input_tokens": 0}
    return {"type": "message", "model": "m", "usage": {**usage, "iterations": iterations}}


@pytest.mark.parametrize(
    "iterations", [5, True, "x", [5], [None], {"a": 1}, [{"type": "message"}], [[]], ["x", {}]]
)
def test_parts_that_cannot_be_read_leave_the_whole(iterations: Any) -> None:
    assert read(message(iterations)).usage == Usage(1000, 500)


@pytest.mark.parametrize(
    "body",
    [
        {"usage": 0, "results": 5},
        {"inputTextTokenCount": 3, "results": 5},
        {"usage": {"inputTokens": 1, "outputTokens": 1, "cacheDetails": 7}},
        {"usage": {"prompt_tokens": "9" * 5000, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": "1E+1000000000"}},
        {
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": 1,
                "cost_in_usd_ticks": "1E+1000000000",
            }
        },
    ],
)
def test_numbers_that_nobody_could_mean_are_not_read(
    body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(body).cost is None or read(body).cost == Decimal("1E+1000000000")
    assert caplog.records == []


def test_what_breaks_the_reading_is_told_and_never_raised(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    module = sys.modules["spendtree.call.answer"]  # the package has a function of that name
    monkeypatch.setattr(module, "response_read", broken)
    answer = read({})
    assert (answer.usage, answer.problem) == (None, "cannot be read (RuntimeError: a bug)")
    assert "please report" in caplog.text


def part(kind: str, model: str, inputs: int, outputs: int) -> dict[str, Any]:
    counts = {"input_tokens": inputs, "output_tokens": outputs}
    return {"type": kind, "model": model, **counts, "cache_read_input_tokens": 0}


def test_each_model_that_answered_within_one_message_has_its_own_price() -> None:
    """An advisor is dearer than who asks it, and a fallback may cost another price than asked."""
    dollar = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "5"}
    ten = {"input_usd_per_mtok": "10", "output_usd_per_mtok": "50"}
    prices = {"cheap": dollar, "dear": ten}
    for asked, answered, parts, expected in (
        ("cheap", "cheap", [("cheap", 100, 50), ("dear", 2000, 1000)], 0.07035),
        ("dear", "cheap", [("dear", 100, 50), ("cheap", 100, 50)], 0.00385),
        ("cheap", "cheap", [("cheap", 100, 50), ("", 100, 50)], 0.0007),
        ("cheap", "cheap", [("cheap", 100, 50), ("nobody-knows", 100, 50)], 0.0007),
    ):
        tracker = Spendtree("memory:", {"prices": prices})
        body = message([part("message", *each) for each in parts])
        with tracker.call(asked, input_tokens=10, max_output_tokens=10) as call:
            call.record({**body, "model": answered})
        (event,) = tracker.store.events(kinds=[Kind.CALL])
        assert event.cost == round(expected * 10**12), (asked, parts)
        several = len({model for model, *_ in parts} - {""}) > 1
        assert ("parts" in (event.data or {})) is several
        assert (event.data or {}).get("answered_by", asked) == answered
