"""The cost tree: what stands where, that nothing is lost, and that every sum is the store's."""

import json
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.store import sums
from spendtree.tree import GroupNode, Node, SessionTree, Sums, breakdown, build, fold, summaries
from spendtree.usage import NO_UNITS

SECOND = 1_000_000
START = 1_763_900_000 * SECOND
CENT = 10**10

SESSION = Context(session="s-1", customer="acme", team="search")


def run(agent: str, run: str, parent: str = "", level: int = 1, cycle: int = 1) -> Context:
    """Return the context of one run."""
    return SESSION._replace(
        agent=agent, run=run, parent=parent, level=level, cycle=cycle, task_id=f"t-{run}"
    )


def call(context: Context, cents: int | None = 1, **fields: Any) -> Event:
    """Return a finished call of 100 input and 10 output tokens."""
    defaults: dict[str, Any] = {
        "kind": Kind.CALL,
        "request": Request("openai", "gpt-4o"),
        "status": "ok",
        "input_tokens": 100,
        "output_tokens": 10,
        "started": START,
        "at": START + SECOND,
    }
    cost = None if cents is None else cents * CENT
    return Event(seq=0, id=b"c" * 16, context=context, cost=cost, **(defaults | fields))


def mark(kind: Kind, context: Context, status: str = "", **fields: Any) -> Event:
    """Return an event that opens or closes a session or a run."""
    return Event(0, kind, START, b"m" * 16, context, status=status, **fields)


COORDINATOR = run("coordinator", "r1")
RESEARCHER = run("researcher", "r2", "r1", 2)
FAILED = run("researcher", "r3", "r1", 2)
AGAIN = run("researcher", "r4", "r1", 2, cycle=2)

EVENTS = [
    mark(Kind.SESSION_OPENED, SESSION, data={"ceiling": 25 * CENT}),
    call(SESSION, 1),
    mark(Kind.RUN_OPENED, COORDINATOR, data={"task": "answer"}),
    call(COORDINATOR, 2, cache_read_tokens=50, cache_write_tokens=5, cache_write_1h_tokens=6),
    mark(Kind.RUN_OPENED, RESEARCHER),
    call(RESEARCHER, 4, request=Request("openai", "gpt-4o-mini")),
    call(RESEARCHER, 1),
    mark(Kind.RUN_CLOSED, RESEARCHER, "succeeded"),
    mark(Kind.RUN_OPENED, FAILED),
    call(FAILED, 0, status="failed", input_tokens=0, output_tokens=0),
    mark(Kind.DENIED, FAILED, "exhausted", held=3 * CENT),
    mark(Kind.RUN_CLOSED, FAILED, "failed"),
    mark(Kind.RUN_OPENED, AGAIN),
    call(AGAIN, 8),
    mark(Kind.RUN_CLOSED, AGAIN, "exhausted"),
    mark(Kind.RUN_CLOSED, COORDINATOR, "succeeded"),
    mark(Kind.SESSION_CLOSED, SESSION, "succeeded"),
]


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.run for node in nodes]


def test_runs_stand_under_the_run_that_spawned_them() -> None:
    tree = build(EVENTS)
    (root,) = tree.roots
    assert (root.agent, root.task, root.task_id, root.level) == ("coordinator", "answer", "t-r1", 1)
    assert names(root.children) == ["r2", "r3", "r4"]
    assert [child.status for child in root.children] == ["succeeded", "failed", "exhausted"]
    assert [child.cycle for child in root.children] == [1, 1, 2]


def test_a_node_tells_its_own_cost_and_that_of_its_subtree() -> None:
    (root,) = build(EVENTS).roots
    assert root.own.cost == 2 * CENT
    assert root.subtree.cost == (2 + 4 + 1 + 0 + 8) * CENT
    assert root.own.cache_write_tokens == 11
    assert root.children[0].models == (("gpt-4o-mini", 1, 4 * CENT), ("gpt-4o", 1, CENT))


def test_the_session_tells_who_when_and_how_much_of_its_ceiling() -> None:
    tree = build(EVENTS)
    assert (tree.session, tree.customer, tree.team) == ("s-1", "acme", "search")
    assert (tree.status, tree.started, tree.ended) == ("succeeded", START, START)
    assert tree.ceiling_usd == Decimal("0.25")
    assert tree.totals.cost == 16 * CENT
    assert (tree.totals.calls, tree.totals.failed_calls, tree.totals.denied_calls) == (6, 1, 1)
    assert tree.cycles == ((1, 5, 8 * CENT), (2, 1, 8 * CENT))


def test_calls_outside_any_run_sit_on_the_session_itself() -> None:
    tree = build(EVENTS)
    assert tree.own.cost == CENT
    assert breakdown(tree) == {
        "researcher": Decimal("0.13"),
        "coordinator": Decimal("0.02"),
        "": Decimal("0.01"),
    }


def test_the_breakdown_of_events_is_that_of_their_tree() -> None:
    assert breakdown(EVENTS) == breakdown(build(EVENTS))
    assert breakdown([]) == {}
    assert list(breakdown(EVENTS)) == ["researcher", "coordinator", ""]


def test_the_breakdown_names_no_outside_where_nothing_was_called_there() -> None:
    assert breakdown([call(COORDINATOR)]) == {"coordinator": Decimal("0.01")}


def test_what_is_not_closed_is_open() -> None:
    tree = build(EVENTS[:3])
    assert (tree.status, tree.ended) == ("open", None)
    assert (tree.roots[0].status, tree.roots[0].ended) == ("open", None)


def test_a_run_without_its_opening_is_made_from_its_calls() -> None:
    tree = build([call(RESEARCHER, 3)])
    assert names(tree.roots) == ["r2"]
    assert tree.roots[0].own.cost == tree.totals.cost == 3 * CENT
    assert tree.started == START
    assert tree.roots[0].started is None


def test_a_parent_may_come_after_its_children() -> None:
    tree = build([call(RESEARCHER), call(COORDINATOR)])
    assert names(tree.roots) == ["r1"]
    assert names(tree.roots[0].children) == ["r2"]


def test_runs_that_name_each_other_as_parent_are_lost_neither() -> None:
    tree = build([call(run("a", "x", "y")), call(run("b", "y", "x")), call(run("c", "z", "z"))])
    assert sorted(node.run for node in tree.nodes()) == ["x", "y", "z"]
    assert tree.totals.calls == 3


def test_a_call_that_names_an_agent_but_no_run_stands_under_that_agent() -> None:
    tree = build([call(SESSION._replace(agent="writer", level=1)), call(COORDINATOR)])
    assert [(node.agent, node.run) for node in tree.roots] == [
        ("writer", ""),
        ("coordinator", "r1"),
    ]


def test_a_thousand_nested_runs_are_shown_no_deeper_than_json_can_be() -> None:
    chain = [call(run("a", str(n), str(n - 1), level=n)) for n in range(1, 1001)]
    tree = build(chain)
    assert sum(1 for _ in tree.nodes()) == tree.totals.calls == 1000
    assert json.loads(json.dumps(tree.to_dict()))["totals"]["calls"] == 1000


def test_a_lapse_is_presumed_until_its_late_truth_is_known() -> None:
    lapse = call(
        COORDINATOR, 0, kind=Kind.LAPSE, held=5 * CENT, status="lapsed", input_tokens=0
    )._replace(output_tokens=0)
    truth = call(COORDINATOR, 3, kind=Kind.ADJUSTMENT, held=5 * CENT)
    before, after = build([lapse]).totals, build([lapse, truth]).totals
    assert (before.calls, before.lapsed_calls, before.cost, before.presumed) == (1, 1, 0, 5 * CENT)
    assert (after.calls, after.cost, after.presumed) == (1, 3 * CENT, 0)
    assert (after.input_tokens, after.output_tokens) == (100, 10)


def test_an_unpriced_call_is_counted_as_such_and_costs_nothing_known() -> None:
    totals = build([call(COORDINATOR, None), call(COORDINATOR, 2)]).totals
    assert (totals.calls, totals.unpriced_calls, totals.cost) == (2, 1, 2 * CENT)


def test_a_tool_charge_is_cost_but_no_call_of_a_model() -> None:
    (node,) = build([call(COORDINATOR, 2, kind=Kind.TOOL, input_tokens=0, output_tokens=0)]).roots
    assert (node.own.cost, node.own.calls, node.models) == (2 * CENT, 0, ())


def test_the_last_close_of_a_continued_session_holds() -> None:
    tree = build([*EVENTS, mark(Kind.SESSION_CLOSED, SESSION, "failed", data={"continued": True})])
    assert tree.status == "failed"


def test_a_tree_needs_events_of_exactly_one_session() -> None:
    with pytest.raises(ValueError, match="there are none"):
        build([])
    with pytest.raises(ValueError, match="'s-1' and of 's-2'"):
        build([call(SESSION), call(Context(session="s-2"))])


def test_what_enforcing_would_have_denied_was_not_denied() -> None:
    would = mark(Kind.DENIED, COORDINATOR, "exhausted", data={"would": True})
    assert build([would, call(COORDINATOR)]).totals.denied_calls == 0


def test_a_run_that_was_refused_its_start_is_exhausted_and_not_open() -> None:
    refused = mark(Kind.DENIED, RESEARCHER, "exhausted", held=CENT, data={"spawn": True})
    tree = build([*EVENTS[:3], refused])
    (root,) = tree.roots
    (node,) = root.children
    assert (node.agent, node.status, node.reason) == (
        "researcher",
        "exhausted",
        "refused its start",
    )
    assert (node.started, node.ended, node.own.calls, node.own.denied_calls) == (START, START, 0, 1)
    assert (root.status, tree.status) == ("open", "open")


def test_a_session_that_was_refused_its_start_says_so_by_its_own_end() -> None:
    refused = mark(Kind.DENIED, SESSION, "exhausted", data={"spawn": True})
    closed = mark(Kind.SESSION_CLOSED, SESSION, "budget_exceeded")
    assert build([EVENTS[0], refused]).status == "open"
    assert build([EVENTS[0], refused, closed]).status == "budget_exceeded"


def test_a_run_and_a_session_tell_why_they_ended() -> None:
    tree = build(
        [
            mark(Kind.RUN_CLOSED, COORDINATOR, "failed", data={"reason": "TimeoutError"}),
            mark(Kind.SESSION_CLOSED, SESSION, "failed", data={"reason": "no answer"}),
        ]
    )
    assert (tree.reason, tree.roots[0].reason) == ("no answer", "TimeoutError")


def test_json_has_dollars_as_decimal_strings_and_times_in_utc() -> None:
    tree = json.loads(json.dumps(build(EVENTS).to_dict()))
    assert tree["totals"]["cost_usd"] == "0.16"
    assert tree["started"] == "2025-11-23T12:13:20Z"
    assert tree["ceiling_usd"] == "0.25"
    assert tree["agents"] == {"researcher": "0.13", "coordinator": "0.02", "": "0.01"}
    assert tree["routing_cycles"][1] == {"routing_cycle": 2, "calls": 1, "cost_usd": "0.08"}
    child = tree["roots"][0]["children"][0]
    assert child["models"][0] == {"model": "gpt-4o-mini", "calls": 1, "cost_usd": "0.04"}
    assert set(child) == set(tree["roots"][0])


def test_a_pico_dollar_is_written_out_and_never_as_an_exponent() -> None:
    assert Sums(cost=1).to_dict()["cost_usd"] == "0.000000000001"


def test_many_runs_of_one_agent_fold_into_one_row_that_counts_the_failed() -> None:
    runs = [run("reader", f"r{n}", level=2) for n in range(5)]
    events = [call(context, n) for n, context in enumerate(runs)]
    events += [mark(Kind.RUN_CLOSED, runs[3], "failed"), call(run("writer", "w", level=2), 7)]
    events += [call(run("note", "n", "r1", 3)), call(run("reader", "again", level=2, cycle=2))]
    group, writer, again = fold(build(events).roots)
    assert isinstance(group, GroupNode)
    assert (group.agent, group.count, group.having("failed")) == ("reader", 5, 1)
    assert (group.own.cost, group.subtree.cost) == (10 * CENT, 11 * CENT)
    assert group.models == (("gpt-4o", 5, 10 * CENT),)
    assert names(group.children) == ["n"]
    assert isinstance(writer, Node)
    assert isinstance(again, Node)


def test_few_runs_of_one_agent_stand_for_themselves() -> None:
    roots = build([call(run("reader", str(n))) for n in range(3)]).roots
    assert fold(roots) == list(roots)
    assert len(fold(roots, above=2)) == 1


AUDIO = {"units": {"input_audio": 7, "web_search": 1}}
DOUBTFUL = {"marks": ["unpriced:input_audio", "unread"], "units": {"input_audio": 2}, "unread": {}}


short = st.sampled_from(["", "a", "b", "c"])
contexts = st.builds(
    Context,
    session=st.just("s"),
    agent=short,
    run=st.sampled_from(["", "1", "2", "3", "4"]),
    parent=st.sampled_from(["", "1", "2", "3", "4", "gone"]),
    level=st.integers(0, 4),
    cycle=st.integers(1, 3),
)
small = st.integers(0, 10**6)
events_of_a_session = st.lists(
    st.builds(
        Event,
        seq=st.just(0),
        kind=st.sampled_from(list(Kind)),
        at=small,
        id=st.binary(min_size=16, max_size=16),
        context=contexts,
        request=st.builds(Request, model=short),
        cost=st.none() | st.integers(0, 10**13),
        held=st.integers(0, 10**13),
        input_tokens=small,
        output_tokens=small,
        cache_read_tokens=small,
        cache_write_tokens=small,
        cache_write_1h_tokens=small,
        status=st.sampled_from(["ok", "failed", "lapsed", "succeeded"]),
        started=st.integers(1, 10**6),
        data=st.sampled_from([None, {"ceiling": 5}, {"task": "read"}, AUDIO, DOUBTFUL]),
    ),
    min_size=1,
    max_size=25,
)


def store_sums(events: list[Event]) -> Sums:
    """Return the sums that a store answers for the same events."""
    rows = sums.totals(events)
    columns = zip(*(row[1:-2] for row in rows), strict=True)
    summed = [reduce(add, column) for column in columns]
    denied = sum(event.kind == Kind.DENIED for event in events)
    none: list[Any] = [*[0] * 12, NO_UNITS]
    calls, failed, lapsed, unpriced, *rest = summed or none
    return Sums(calls, failed, lapsed, unpriced, denied, *rest)


def added(parts: list[Sums]) -> Sums:
    whole = Sums()
    for part in parts:
        whole = whole.plus(part)
    return whole


@settings(deadline=None)
@given(events_of_a_session)
def test_every_sum_equals_the_stores_whatever_the_events(events: list[Event]) -> None:
    tree = build(events)
    expected = store_sums(events)
    nodes = list(tree.nodes())
    assert tree.totals == expected
    assert added([tree.own, *(node.own for node in nodes)]) == expected
    assert added([tree.own, *(root.subtree for root in tree.roots)]) == expected
    assert sum(cycle.cost for cycle in tree.cycles) == expected.cost
    assert sum(breakdown(tree).values()) == Decimal(expected.cost).scaleb(-12)
    assert len({id(node) for node in nodes}) == len(nodes)


@settings(deadline=None)
@given(events_of_a_session)
def test_folding_loses_no_run_and_no_cost(events: list[Event]) -> None:
    tree = build(events)
    rows = fold(tree.roots, above=1)
    assert added([row.subtree for row in rows]) == added([root.subtree for root in tree.roots])
    folded = sum(row.count if isinstance(row, GroupNode) else 1 for row in rows)
    assert folded == len(tree.roots)


@settings(deadline=None)
@given(st.lists(events_of_a_session, max_size=4))
def test_the_rows_of_sessions_add_up_to_the_store(parts: list[list[Event]]) -> None:
    events = [
        event._replace(context=event.context._replace(session=f"s{n}" if n else ""))
        for n, part in enumerate(parts)
        for event in part
    ]
    markers = [e for e in events if e.kind in (Kind.SESSION_OPENED, Kind.SESSION_CLOSED)]
    rows = summaries(sums.totals(events), markers)
    assert added([row.sums for row in rows]) == store_sums(events)._replace(denied_calls=0)
    assert len({row.session for row in rows}) == len(rows)


def test_a_row_of_the_list_is_flat_and_exact() -> None:
    markers = [event for event in EVENTS if event.context == SESSION and event.kind != Kind.CALL]
    (row,) = summaries(sums.totals(EVENTS), markers)
    assert row.to_dict() == {
        "session": "s-1",
        "customer": "acme",
        "team": "search",
        "status": "succeeded",
        "started": "2025-11-23T12:13:20Z",
        "ended": "2025-11-23T12:13:20Z",
        "calls": 6,
        "failed_calls": 1,
        "lapsed_calls": 0,
        "unpriced_calls": 0,
        "input_tokens": 500,
        "output_tokens": 50,
        "cache_read_tokens": 50,
        "cache_write_tokens": 11,
        "cost_usd": "0.16",
        "presumed_usd": "0",
        "partly_unpriced_calls": 0,
        "unread_calls": 0,
        "units": {},
        "origin": "",
    }


def test_calls_of_no_session_are_a_row_of_their_own() -> None:
    (row,) = summaries(sums.totals([call(Context(), 3)]), [])
    assert (row.session, row.status, row.ended) == ("", "unattributed", None)
    assert row.sums.cost == 3 * CENT
    tree = build([call(Context(customer="acme"), 3)])
    assert (tree.status, tree.customer) == ("unattributed", "")


def test_a_session_without_calls_is_a_row_too() -> None:
    opened = mark(Kind.SESSION_OPENED, SESSION)._replace(id=derived_id("session", "s-1"))
    (row,) = summaries([], [opened])
    assert (row.status, row.started, row.ended, row.sums) == ("open", START, None, Sums())


def test_a_time_that_is_no_date_is_unknown_and_breaks_nothing() -> None:
    far = mark(Kind.SESSION_OPENED, SESSION)._replace(at=2**62)
    tree: SessionTree = build([far])
    assert tree.to_dict()["started"] is None
