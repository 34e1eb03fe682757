"""Messages: a run hands its result up, at the receiver's price and within its role's contract."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from spendtree import ContractError, ScopeError, Spendtree, UnknownPriceError, Usage, UsageError
from spendtree.event import Event, Kind
from spendtree.scope import Agent, Scope
from spendtree.testing import assert_books_balance, assert_spent

PRICES = {
    "m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"},
    "cheap": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
}
DOLLARS_PER_TOKEN = 10_000_000
"""What "m" charges to read a token, in pico-dollars."""


def made(**agents: Any) -> Spendtree:
    return Spendtree("memory:", {"prices": PRICES, "agents": agents})


def contract(mode: str, **tokens: int) -> dict[str, Any]:
    return {"contract": {"output_tokens": tokens, "mode": mode}}


def ask(where: Scope, model: str = "m", **options: Any) -> None:
    with where.call(model, input_tokens=100, max_output_tokens=100, **options) as call:
        call.record(Usage(100, 100))


def words(text: str) -> int:
    return len(text.split())


def messages(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.MESSAGE]))


def test_what_is_delivered_while_a_call_is_under_way_is_read_by_a_later_one() -> None:
    tracker = made()
    with tracker.session("s"), tracker.agent("coordinator") as top:
        with tracker.agent("first") as run:
            run.deliver(70)
        with top.call("m", input_tokens=100, max_output_tokens=100) as call:
            with tracker.agent("second") as run:
                run.deliver(500)
            call.record(Usage(100, 100))
        assert top.pending_input_tokens == 500
        ask(top)
        assert top.pending_input_tokens == 0


def test_a_delivery_is_recorded_with_its_tokens_sender_and_receiver_at_the_receivers_price() -> (
    None
):
    tracker = made()
    with tracker.session("s") as session, tracker.agent("coordinator") as top:
        ask(top)
        with tracker.agent("researcher") as run:
            ask(run, "cheap")
            assert run.deliver("found it", tokens=300) == "found it"
    (event,) = messages(tracker)
    assert (event.context.agent, event.context.run) == ("researcher", run.id)
    assert event.data == {"target": "coordinator"}
    assert (event.input_tokens, event.cost) == (300, 300 * DOLLARS_PER_TOKEN)
    assert (event.request.model, event.request.purpose) == ("m", "message")
    assert session.breakdown()["researcher"] == Decimal("0.0002")
    assert_books_balance(tracker)


def test_a_message_is_no_spend_since_the_receivers_next_call_pays_for_it() -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.01") as session, tracker.agent("top") as top:
        ask(top)
        with tracker.agent("a") as run:
            run.deliver(1_000_000)
        assert session.remaining() == Decimal("0.007")
    assert_spent(tracker, "0.003")


def test_the_price_is_that_of_a_model_that_is_named_else_unknown_where_none_was_asked() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("top"), tracker.agent("a") as run:
        run.deliver(100)
        run.deliver(100, model="cheap")
        run.deliver(100, model="nobody-knows")
    assert [(event.request.model, event.cost) for event in messages(tracker)] == [
        ("", None),
        ("cheap", 100 * 1_000_000),
        ("nobody-knows", None),
    ]


def test_a_coordinator_delivers_to_its_session() -> None:
    tracker = made()
    with tracker.session() as session:
        with tracker.agent("coordinator") as run:
            run.deliver("the answer", tokens=50)
        assert session.pending_input_tokens == 50
        ask(session)
        assert session.pending_input_tokens == 0
    assert messages(tracker)[0].data == {"target": ""}


def test_the_tokens_of_a_text_are_told_else_counted_by_a_tokenizer_else_estimated() -> None:
    text = "three whole words"
    counting = Spendtree("memory:", {"prices": PRICES}, tokenizer=words)
    for tracker, tokens, expected in ((made(), 7, 7), (made(), None, 5), (counting, None, 3)):
        with tracker.session(), tracker.agent("a") as run:
            run.deliver(text, tokens=tokens)
        assert messages(tracker)[0].input_tokens == expected


def test_what_was_delivered_is_pending_until_a_call_of_the_receiver_has_read_it() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("top") as top:
        for tokens in (300, 500):
            with tracker.agent("worker") as run:
                ask(run)
                run.deliver(tokens)
                assert run.pending_input_tokens == 0
        assert top.pending_input_tokens == 800
        with pytest.raises(ConnectionRefusedError), top.call("m", input_tokens=1):
            raise ConnectionRefusedError
        assert top.pending_input_tokens == 800
        with tracker.cycle() as cycle:
            assert cycle.pending_input_tokens == 800
            ask(cycle)
        assert top.pending_input_tokens == 0


def test_the_coordinator_asks_what_its_synthesis_would_cost_before_making_it() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("top") as top:
        with tracker.agent("worker") as run:
            run.deliver(8000)
        costs = {
            model: top.synthesis_cost(model, max_output_tokens=1000, input_tokens=200)
            for model in ("m", "cheap")
        }
        with pytest.raises(UnknownPriceError, match="nobody-knows"):
            top.synthesis_cost("nobody-knows", max_output_tokens=1000)
        with top.call("m", input_tokens=8200, max_output_tokens=1000) as call:
            assert call.held == costs["m"]
            call.record(Usage(8200, 1000))
    assert costs == {"m": Decimal("0.102"), "cheap": Decimal("0.0092")}


@pytest.mark.parametrize("how", ["tasks", "threads"])
def test_deliveries_of_many_at_once_all_arrive(how: str) -> None:
    tracker = made()
    with tracker.session(), tracker.agent("top") as top:
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            for _ in range(50):
                with top.agent("worker") as run:
                    run.deliver(1)

        async def work_async() -> None:
            async with top.agent("worker") as run:
                await asyncio.sleep(0)
                run.deliver(1)

        async def main() -> None:
            await asyncio.gather(*(work_async() for _ in range(400)))

        if how == "threads":
            with ThreadPoolExecutor(8) as pool:
                for future in [pool.submit(work) for _ in range(8)]:
                    future.result()
        else:
            asyncio.run(main())
        assert top.pending_input_tokens == 400


def test_only_an_open_run_delivers_and_only_what_has_a_length() -> None:
    tracker = made()
    with pytest.raises(ScopeError, match="enter it first"):
        tracker.agent("a").deliver("x")
    with tracker.session(), tracker.agent("a") as run, pytest.raises(UsageError, match="-5 tokens"):
        run.deliver(-5)
    assert messages(tracker) == []


# Contracts.


def delivered(run: Agent, words_of_it: int) -> str:
    return run.deliver(" ".join(["word"] * words_of_it))


def counted(**agents: Any) -> Spendtree:
    return Spendtree("memory:", {"prices": PRICES, "agents": agents}, tokenizer=words)


@pytest.mark.parametrize(
    ("given", "violation"),
    [
        (10, None),
        (100, None),
        (130, {"kind": "max", "excess": 30}),
        (3, {"kind": "min", "excess": 7}),
    ],
)
def test_mode_record_delivers_everything_and_records_a_violation_with_its_excess(
    given: int, violation: dict[str, Any] | None
) -> None:
    tracker = counted(a=contract("record", min=10, max=100))
    with tracker.session(), tracker.agent("top") as top, tracker.agent("a") as run:
        assert words(delivered(run, given)) == given
        assert top.pending_input_tokens == given
    (event,) = messages(tracker)
    assert (event.input_tokens, (event.data or {}).get("violation")) == (given, violation)


def test_mode_truncate_delivers_what_the_contract_allows() -> None:
    tracker = counted(a=contract("truncate", max=100))
    with tracker.session(), tracker.agent("top") as top, tracker.agent("a") as run:
        assert words(delivered(run, 130)) == 100
        assert top.pending_input_tokens == 100
    (event,) = messages(tracker)
    assert event.input_tokens == 100
    assert event.data == {"target": "top", "violation": {"kind": "max", "excess": 30}}


@pytest.mark.parametrize(
    ("given", "text"), [(130, "130 tokens, 30 over the most"), (3, "3 tokens, 7 under the least")]
)
def test_mode_refuse_delivers_nothing_and_raises(given: int, text: str) -> None:
    tracker = counted(a=contract("refuse", min=10, max=100))
    with tracker.session(), tracker.agent("top") as top:
        with pytest.raises(ContractError, match=text), tracker.agent("a") as run:
            delivered(run, given)
        assert top.pending_input_tokens == 0
    (event,) = messages(tracker)
    assert (event.input_tokens, event.cost) == (0, None)
    assert (event.data or {})["violation"]["excess"] in (30, 7)
    assert [node.status for node in tracker.tree(event.context.session).nodes()] == [
        "succeeded",
        "failed",
    ]


def test_a_contract_is_that_of_its_role_only() -> None:
    tracker = counted(a=contract("refuse", max=1))
    with tracker.session(), tracker.agent("b") as run:
        assert words(delivered(run, 50)) == 50
