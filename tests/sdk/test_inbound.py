"""Going on with a scope of another process: the same session and run, its money as it stands.

Two Spendtrees on one file stand for two processes here; `test_remote` has real ones.
"""

from pathlib import Path

import pytest

import spendtree
from spendtree import BudgetExceededError, EnvelopeExhaustedError, Spendtree, Usage, current
from spendtree.event import Event, Kind
from spendtree.metrics import Fold
from spendtree.propagation import baggage
from spendtree.store.protocol import Store

PRICES = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
TRACER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def here(tmp_path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{tmp_path}/spend.db", PRICES)


@pytest.fixture
def there(tmp_path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{tmp_path}/spend.db", PRICES)


def spend(tokens: int = 100) -> None:
    with spendtree.call("m", input_tokens=tokens, max_output_tokens=tokens) as call:
        call.record(Usage(tokens, tokens))


def calls(store: Store) -> list[tuple[str, str, int, int]]:
    events = store.events(kinds=[Kind.CALL])
    return [(e.context.session, e.context.agent, e.context.level, e.context.cycle) for e in events]


def ends(store: Store, kind: Kind = Kind.SESSION_CLOSED) -> list[Event]:
    return list(store.events(kinds=[kind]))


def test_a_session_goes_on_with_its_customer_and_its_ceiling(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s", customer="acme", team="search", ceiling="0.005") as session:
        spend()
        headers = here.inject()
        with there.extract(headers) as scope:
            assert scope is not None
            assert current() is scope
            assert (scope.session.id, scope.context.customer) == ("s", "acme")
            spend()
            with pytest.raises(BudgetExceededError):
                spend()
        assert str(session.breakdown()[""]) == "0.004"
        assert not ends(here.store)

    assert [event.status for event in ends(here.store)] == ["succeeded"]
    assert len(calls(here.store)) == 2


def test_calls_are_the_runs_own_and_sub_agents_are_below_it(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s"), here.cycle(), here.cycle(), here.agent("coordinator") as coordinator:
        headers = here.inject()
        with there.extract(headers) as scope:
            assert scope is not None
            assert scope.run is not None
            assert scope.run.id == coordinator.id
            spend()
            with there.agent("reader", task="read") as reader:
                spend()
                assert (reader.context.parent, reader.context.level) == (coordinator.id, 2)

    (root,) = here.tree("s").roots
    assert (root.agent, root.status, len(root.children)) == ("coordinator", "succeeded", 1)
    assert (root.own.calls, root.subtree.calls) == (1, 2)
    assert root.children[0].agent == "reader"


def test_the_sums_that_a_run_ends_with_hold_what_was_spent_elsewhere(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s"), here.agent("coordinator"):
        spend()
        with there.extract(here.inject()):
            spend()
            with there.agent("reader"):
                spend()

    closed = {event.context.agent: event for event in ends(here.store, Kind.RUN_CLOSED)}
    assert closed["coordinator"].cost == 2 * 2 * 10**9
    assert closed["coordinator"].input_tokens == closed["coordinator"].output_tokens == 200
    fold = Fold("store")
    fold.apply(here.store.events())
    spent, ended = (
        sum(series.value for series in fold.rows(name).values())
        for name in ("cost_usd_total", "agent_run_cost_usd_total")
    )
    assert spent == ended == 3 * 2 * 10**9


def test_caps_around_a_run_bind_what_goes_on_elsewhere(here: Spendtree, there: Spendtree) -> None:
    with (
        here.session("s"),
        here.agent("coordinator", max_cost="0.005"),
        here.agent("worker", envelope="0.003"),
    ):
        headers = here.inject()
        with there.extract(headers):
            spend()
            with pytest.raises(EnvelopeExhaustedError, match="envelope"):
                spend()
            with there.agent("reader") as reader:
                spend()
                with pytest.raises(EnvelopeExhaustedError) as refused:
                    spend()
    assert refused.value.kind == "run"
    assert reader.context.path[-1].startswith("run/")


def test_what_is_exhausted_can_be_entered_and_refuses_its_calls(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s", ceiling="0.002"), here.agent("coordinator"):
        spend()
        headers = here.inject()
        with there.extract(headers), pytest.raises(BudgetExceededError):
            spend()


@pytest.mark.parametrize("explicit", [True, False])
def test_the_cycle_of_the_caller_counts(here: Spendtree, there: Spendtree, explicit: bool) -> None:
    with here.session("s") as session:
        with session.cycle():
            pass
        if explicit:
            with session.cycle():
                headers = here.inject()
                with there.extract(headers):
                    spend()
                    with there.cycle(), there.agent("reader"):
                        spend()
        else:
            with session.cycle(), here.agent("coordinator"):
                headers = here.inject()
            with there.extract(headers):
                spend()
                with there.cycle():
                    spend()

    assert [cycle for *_, cycle in calls(here.store)] == [2, 2]


def test_a_session_without_a_fixed_cycle_opens_its_next_ones_elsewhere(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s"), there.extract(here.inject()) as scope:
        assert scope is not None
        for _ in range(2):
            with there.cycle():
                spend()

    assert [cycle for *_, cycle in calls(here.store)] == [1, 2]


def test_another_store_opens_the_session_with_what_it_is_told(here: Spendtree) -> None:
    elsewhere = Spendtree("memory:", PRICES)
    with (
        here.session("s", customer="acme", team="search", ceiling="0.001"),
        here.agent("coordinator", max_cost="0.001", task_id="t-17") as coordinator,
    ):
        headers = here.inject()
    with elsewhere.extract(headers):
        spend()
        with elsewhere.agent("reader"):
            spend()

    tree = elsewhere.tree("s")
    (root,) = tree.roots
    assert (tree.customer, tree.team, tree.status) == ("acme", "search", "succeeded")
    assert tree.ceiling_usd is None
    assert (root.agent, root.run, root.task_id) == ("coordinator", coordinator.id, "t-17")
    assert [child.agent for child in root.children] == ["reader"]
    assert root.children[0].level == 2


def test_a_run_whose_role_has_an_envelope_elsewhere_is_charged_to_it() -> None:
    one, other = Spendtree("memory:", PRICES), Spendtree("memory:", PRICES)
    with one.session("s"), one.agent("coordinator"):
        headers = one.inject()
    with other.session("s"), other.agent("coordinator", envelope="0.003"):
        spend()
    with other.extract(headers), pytest.raises(EnvelopeExhaustedError):
        spend()


def test_what_is_told_never_changes_whose_session_it_is(here: Spendtree, there: Spendtree) -> None:
    with here.session("s", customer="acme"), here.session("other"), here.agent("a") as stranger:
        pass
    forged = f"spendtree.session=s,spendtree.customer=globex,spendtree.run={stranger.id}"

    with there.extract({"baggage": forged + ",spendtree.agent=a"}) as scope:
        assert scope is not None
        assert (scope.context.customer, scope.run) == ("acme", None)
        spend()

    assert [event.context.customer for event in ends(here.store, Kind.CALL)] == ["acme"]


def test_a_limit_in_the_headers_is_nothing(here: Spendtree, there: Spendtree) -> None:
    with here.session("s", ceiling="0.002"):
        headers = here.inject()
        headers["baggage"] += ",spendtree.ceiling=100,spendtree.max_cost=100"
        with there.extract(headers):
            spend()
            with pytest.raises(BudgetExceededError):
                spend()


def test_nothing_said_is_nothing_gone_on_with(here: Spendtree) -> None:
    for headers in (
        {},
        {"baggage": "theirs=1"},
        {"baggage": "spendtree.customer=acme"},
        {"traceparent": TRACER},
        {"traceparent": "garbage", "baggage": "=,;%"},
    ):
        inbound = here.extract(headers)
        assert not inbound
        assert (inbound.session, inbound.customer, inbound.team, inbound.agent) == ("",) * 4
        with inbound as scope:
            assert scope is None
            assert current() is None
        with here.extract(headers) or here.session("own") as opened:
            assert opened is not None
            assert opened.session.id == "own"
    assert {event.context.session for event in here.store.events()} == {"own"}


def test_inside_a_scope_nothing_said_leaves_it_current(here: Spendtree) -> None:
    with here.session() as session, here.extract({}):
        assert current() is session


def test_what_is_said_can_be_looked_at_before_it_is_entered(here: Spendtree) -> None:
    with here.session("s", customer="acme", team="search"), here.agent("a"):
        headers = here.inject()
    inbound = here.extract(headers)
    assert inbound
    assert (inbound.session, inbound.customer, inbound.team) == ("s", "acme", "search")
    assert inbound.agent == "a"


@pytest.mark.parametrize("session", [None, "request-4711"])
def test_a_trace_alone_is_a_session_that_the_store_knows(
    here: Spendtree, there: Spendtree, session: str | None
) -> None:
    """Some proxies pass on the trace and take the baggage off."""
    with here.session(session) as opened, here.agent("a"):
        headers = here.inject()
        del headers["baggage"]
        with there.extract(headers) as scope:
            assert scope is not None
            assert scope.session.id == opened.id
            assert scope.run is None
    assert not Spendtree("memory:").extract(headers)


def test_two_traces_contradict_each_other(here: Spendtree) -> None:
    with here.session():
        trace = here.inject()["traceparent"]
    assert here.extract([("traceparent", trace)])
    assert not here.extract([("traceparent", trace), ("traceparent", TRACER)])


async def _ask(tracker: Spendtree, headers: dict[str, str]) -> None:
    async with tracker.extract(headers) as scope:
        assert current() is scope
        async with spendtree.call("m", input_tokens=1, max_output_tokens=1) as call:
            call.record(Usage(1, 1))
    assert current() is None


@pytest.mark.asyncio
async def test_it_is_entered_in_coroutines_too(here: Spendtree, there: Spendtree) -> None:
    with here.session("s"):
        headers = dict(here.inject())
    await _ask(there, headers)
    assert [session for session, *_ in calls(here.store)] == ["s"]


def test_a_scope_goes_on_over_several_hops(here: Spendtree, there: Spendtree) -> None:
    with here.session("s"), here.agent("coordinator") as coordinator:
        first = here.inject({"baggage": "theirs=1"})
        with there.extract(first), there.agent("reader") as reader:
            second = there.inject({"baggage": first["baggage"]})
            with here.extract(second):
                spend()

    told = baggage.parse(second["baggage"])
    assert (told["theirs"], told["spendtree.parent"]) == ("1", coordinator.id)
    (event,) = ends(here.store, Kind.CALL)
    assert event.context.run == reader.id


def test_work_that_goes_on_after_the_session_is_charged_to_it(
    here: Spendtree, there: Spendtree
) -> None:
    with here.session("s", customer="acme"), here.agent("coordinator"):
        headers = here.inject()
    with there.extract(headers):
        spend()

    assert calls(here.store) == [("s", "coordinator", 1, 1)]
    closed = ends(here.store)
    assert [bool((event.data or {}).get("continued")) for event in closed] == [False, True]


def test_it_is_entered_once(here: Spendtree) -> None:
    with here.session("s"), here.agent("a"):
        headers = here.inject()
    with here.extract(headers) as scope:
        assert scope is not None
        with pytest.raises(spendtree.ScopeError, match="once"):
            scope.open()
        assert scope.run is not None
        with pytest.raises(spendtree.ScopeError, match="extract"):
            scope.run(spend)()


def test_the_default_is_what_extracts() -> None:
    spendtree.configure("memory:", config=PRICES)
    with spendtree.session("s"):
        headers = spendtree.inject()
    with spendtree.extract(headers) as scope:
        assert scope is not None
        assert scope.session.id == "s"
