"""Forgery: whoever can send spans can neither spend nor touch the money of an application."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

import spendtree
from spendtree.event import RECEIVED, Kind, derived_id
from spendtree.pricing import PriceBook
from spendtree.store import Store
from spendtree_exporter.app import create_app
from spendtree_exporter.gather import Patience
from spendtree_exporter.serve import serving
from tests.exporter.test_otlp import agent, call, request, span

PRICES = {
    "m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
    "dear": {"input_usd_per_mtok": "1000", "output_usd_per_mtok": "1000"},
}


@pytest.fixture
def tracker(sqlite_url: str) -> Iterator[spendtree.Spendtree]:
    config = {
        "prices": PRICES,
        "customers": {"acme": {"budgets_usd": {"day": "5"}}},
        "teams": {"search": {"budgets_usd": {"day": "5"}}},
    }
    tracker = spendtree.Spendtree(sqlite_url, config)
    yield tracker
    tracker.close()


def forged(id: int = 1, trace: int = 1, tokens: int = 10**5, **names: Any) -> dict[str, Any]:
    """Return a call of an expensive model that names whom it likes: $100 or what is given."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "dear",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 0,
    }
    attributes |= {f"spendtree.{name}": value for name, value in names.items()}
    return span(id, None, trace, **attributes)


def send(store: Store, *spans: dict[str, Any], charge: bool = False) -> None:
    """Have an exporter receive spans and record all of them."""
    prices = PriceBook(PRICES)
    app = create_app(store, receive=prices, patience=Patience(rooted=0), charge=charge)
    with serving(app) as url:
        httpx.get(f"{url}/-/ready")
        assert httpx.post(f"{url}/v1/traces", json=request(*spans)).json() == {}


def money(store: Store) -> dict[str, tuple[int | None, int, int, int]]:
    """Return cap, spent, presumed and held of every account."""
    return {
        account.id: (balance.cap, balance.spent, balance.presumed, balance.held)
        for account, balance in store.accounts()
    }


def pay(scope: Any) -> None:
    with scope.call("m", input_tokens=10, max_output_tokens=10) as call:
        call.record(spendtree.Usage(10, 10))


def test_a_span_that_names_a_live_session_changes_none_of_its_money(
    tracker: spendtree.Spendtree,
) -> None:
    with (
        tracker.session("live", customer="acme", team="search", ceiling="2") as session,
        session.agent("worker", envelope="1", max_cost="1") as run,
    ):
        pay(run)
        before, tree = money(tracker.store), session.breakdown()
        names: dict[str, Any] = {"session": "live", "customer": "acme", "team": "search"}
        send(
            tracker.store,
            forged(1, **names),
            forged(2, trace=int(run.id, 16), **names),
            forged(3, trace=int(derived_id("session", "live").hex(), 16), **names),
            agent(4, "worker", trace=9),
            {**forged(5, trace=9, **names), "parentSpanId": f"{4:016x}"},
            {**forged(6, trace=1, **names), "parentSpanId": run.id[:16]},
        )
        assert money(tracker.store) == before
        assert session.breakdown() == tree
        pay(run)

    found = list(tracker.store.events(kinds=[Kind.CALL]))
    received = [event for event in found if event.context.origin]
    assert len(found) == 7
    assert {event.context.session for event in received} == {f"{RECEIVED}live"}
    assert sum(event.cost or 0 for event in received) == 500 * 10**12, "nothing is lost"
    (closed,) = tracker.store.events(session="live", kinds=[Kind.SESSION_CLOSED])
    assert closed.cost == 40 * 10**6


@pytest.mark.parametrize("named", [True, False], ids=["by name", "by trace"])
def test_a_session_that_spans_named_before_keeps_its_customer_and_its_ceiling(
    tracker: spendtree.Spendtree, named: bool
) -> None:
    id = f"{7:032x}"
    names: dict[str, Any] = {"session": id} if named else {}
    send(tracker.store, forged(trace=7, customer="evil", **names))
    assert money(tracker.store) == {}

    with tracker.session(id, customer="acme", ceiling="0.00004") as session:
        pay(session)
        assert sum(session.breakdown().values()) == Decimal("0.00002")
        pay(session)
        with pytest.raises(spendtree.BudgetExceededError):
            pay(session)
    assert money(tracker.store)[f"session/{id}"][:2] == (40 * 10**6, 40 * 10**6)
    (day,) = [spent for id, (_, spent, _, _) in money(tracker.store).items() if "/acme" in id]
    assert day == 40 * 10**6


def test_no_application_goes_on_with_a_session_of_spans(tracker: spendtree.Spendtree) -> None:
    """It would have the customer that the spans name, and no ceiling."""
    send(tracker.store, forged(trace=7, session="x", customer="evil"))
    name = f"{RECEIVED}x"

    with pytest.raises(spendtree.ScopeError, match="received spans"):
        tracker.session(name)
    trace = derived_id("session", name).hex()
    for headers in (
        {"baggage": f"spendtree.session={name}"},
        {"baggage": "spendtree.session=otlp%3Ax"},
        {"traceparent": f"00-{trace}-{1:016x}-01"},
        {"traceparent": f"00-{7:032x}-{1:016x}-01"},
    ):
        assert not tracker.extract(headers), headers


def test_a_call_that_lapsed_is_not_adjusted_by_a_span(tracker: spendtree.Spendtree) -> None:
    with (
        tracker.session("live", ceiling="2") as session,
        session.call("m", input_tokens=1, max_output_tokens=1),
    ):
        pass
    lapsed = [event.id.hex() for event in tracker.store.events(kinds=[Kind.LAPSE])]
    assert lapsed
    before = money(tracker.store)

    for number, id in enumerate(lapsed, 1):
        each = forged(number, session="live")
        send(tracker.store, {**each, "traceId": id, "spanId": id[:16]})
        send(tracker.store, {**each, "traceId": id, "spanId": id[16:]})

    assert money(tracker.store) == before
    assert not list(tracker.store.events(kinds=[Kind.ADJUSTMENT]))


def test_what_an_operator_imported_is_neither_repeated_nor_adjusted(
    tracker: spendtree.Spendtree, tmp_path: Path
) -> None:
    from spendtree.ingest import import_files  # noqa: PLC0415

    unmetered = span(2, 1, 5, **{"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
    file = tmp_path / "traces.json"
    file.write_text(json.dumps(request(agent(1, "a", trace=5), unmetered, call(3, 1, 5))))
    import_files(tracker.store, [file], prices=PriceBook(PRICES), history=False)
    before = money(tracker.store)
    counted = len(list(tracker.store.events(kinds=[Kind.CALL, Kind.LAPSE])))

    send(tracker.store, agent(1, "a", trace=5), forged(2, 5), call(3, 1, 5), call(4, 1, 5))

    assert money(tracker.store) == before
    assert not list(tracker.store.events(kinds=[Kind.ADJUSTMENT]))
    found = list(tracker.store.events(kinds=[Kind.CALL, Kind.LAPSE]))
    assert len(found) == counted + 1
    assert found[-1].context.session == f"{RECEIVED}{5:032x}"


def test_an_import_of_what_was_received_adds_nothing(
    tracker: spendtree.Spendtree, tmp_path: Path
) -> None:
    from spendtree.ingest import import_files  # noqa: PLC0415

    spans = [forged(1, 1, session="s"), forged(2, 2)]
    send(tracker.store, *spans)
    events = len(list(tracker.store.events()))
    file = tmp_path / "traces.json"
    file.write_text(json.dumps(request(*spans)))

    report = import_files(tracker.store, [file], prices=PriceBook(PRICES))

    assert report.new_events == 0
    assert len(list(tracker.store.events())) == events


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "otlp:x", "ü\n\x00", "x" * 5_000])
def test_whatever_a_session_is_called_it_is_one_of_its_own(
    tracker: spendtree.Spendtree, name: str
) -> None:
    send(tracker.store, forged(trace=7, session=name))

    (event,) = tracker.store.events(kinds=[Kind.CALL])
    assert event.context.session.startswith(RECEIVED)
    assert event.context.path == ()
    assert money(tracker.store) == {}


def test_late_spans_join_the_session_of_their_trace(tracker: spendtree.Spendtree) -> None:
    send(tracker.store, agent(1, "a", trace=5), call(2, 1, 5))
    send(tracker.store, agent(1, "a", trace=5), call(2, 1, 5), call(3, 1, 5))

    calls = list(tracker.store.events(kinds=[Kind.CALL]))
    assert {event.context.session for event in calls} == {f"{RECEIVED}{5:032x}"}
    assert len(calls) == 2
    assert money(tracker.store) == {}


def test_only_when_it_is_said_so_are_sessions_charged(tracker: spendtree.Spendtree) -> None:
    with tracker.session("live", ceiling="2") as session:
        pay(session)
        send(tracker.store, forged(session="live"), charge=True)
        assert money(tracker.store)["session/live"][1] == 100 * 10**12 + 20 * 10**6
        with pytest.raises(spendtree.BudgetExceededError):
            pay(session)
