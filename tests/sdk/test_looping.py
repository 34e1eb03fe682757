"""Agent loops: what the provider counted for a conversation bounds its next call."""

from typing import Any

import pytest

from spendtree import BudgetExceededError, Spendtree, Usage
from spendtree.call import Call
from spendtree.scope import Scope

PRICES = {
    name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"} for name in ("m", "another")
}
LONG = "word " * 2000
"""10,000 bytes: the bound without any other knowledge."""


def made(**options: Any) -> Spendtree:
    return Spendtree("memory:", {"prices": PRICES}, **options)


def ask(where: Scope, messages: Any, counted: int = 2000, model: str = "m") -> Call:
    with where.call(model, input=messages, max_output_tokens=100) as call:
        call.record(Usage(counted, 100))
    return call


def bound(call: Call) -> int:
    assert call.input_tokens is not None
    return call.input_tokens


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def test_the_first_bound_is_of_bytes_and_the_next_ones_of_what_was_counted_and_added() -> None:
    tracker = made()
    messages = [said("user", LONG)]
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        first = ask(run, messages)
        messages += [said("assistant", "yes"), said("tool", "x" * 300)]
        second = ask(run, messages)
    assert 10_000 < bound(first) < 10_100
    assert 2100 + 300 < bound(second) < 2100 + 300 + 200


def test_a_loop_of_many_turns_is_held_near_what_it_costs_and_never_below() -> None:
    tracker = made()
    messages = [said("user", LONG)]
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        for turn in range(20):
            counted = 2000 + turn * 110
            call = ask(run, messages, counted)
            assert bound(call) >= counted
            if turn:
                assert bound(call) < counted + 300
            messages += [said("assistant", "y" * 60), said("user", "go on")]


def test_what_is_added_to_the_list_within_a_call_is_not_taken_for_counted() -> None:
    tracker = made()
    messages = [said("user", "hello")]
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        with run.call("m", input=messages, max_output_tokens=100) as call:
            call.record(Usage(10, 100))
            messages += [said("assistant", "yes"), said("tool", LONG)]
        assert bound(ask(run, messages)) > 10_000


def test_another_conversation_model_or_run_learns_nothing_from_it() -> None:
    tracker = made()
    messages = [said("user", LONG)]
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        ask(run, messages)
        assert bound(ask(run, [said("user", LONG + "!")])) > 10_000
        ask(run, messages)
        assert bound(ask(run, messages, model="another")) > 10_000
        with tracker.agent("a") as other:
            assert bound(ask(other, messages)) > 10_000


def test_a_call_that_stated_no_usage_teaches_nothing() -> None:
    tracker = made()
    messages = [said("user", LONG)]
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        with run.call("m", input=messages, max_output_tokens=100):
            pass
        assert bound(ask(run, messages)) > 10_000


def test_a_loop_fits_under_a_cap_that_its_bytes_alone_would_not() -> None:
    messages = [said("user", LONG)]
    with made().session(ceiling="0.015") as session, session.agent("a") as run:
        for _ in range(3):
            ask(run, messages)
            messages.append(said("user", "go on"))
        with pytest.raises(BudgetExceededError), session.agent("a") as other:
            ask(other, messages)


def test_the_callers_tokenizer_bounds_tighter_than_bytes() -> None:
    tracker = made(tokenizer=lambda text: len(text.split()))
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        assert 2000 <= bound(ask(run, LONG)) < 2100
