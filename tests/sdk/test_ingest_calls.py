"""Which spans are calls and who made them: the rules of `ingest.calls` and `ingest.runs`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.event import Event, Kind
from spendtree.ingest import Converted, SpanRecord, Terms, to_events
from spendtree.pricing import PriceBook
from spendtree.usage import Usage

TERMS = Terms(
    prices=PriceBook({"m": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}}), origin="import"
)


def span(
    id: str, parent: str = "", kind: Any = "LLM", tokens: int = 0, **fields: Any
) -> SpanRecord:
    """Return a span of trace "t" that lasts from its ordinal second to the next."""
    usage = Usage(tokens, 1) if tokens else None
    second = len(id) * 1_000_000
    told: dict[str, Any] = {"model": "m", "start_us": second, "end_us": second + 1, "status": "ok"}
    return SpanRecord(
        trace_id="t", span_id=id, parent_span_id=parent, kind=kind, usage=usage, **told | fields
    )


def converted(*spans: SpanRecord) -> Converted:
    (session,) = to_events(spans, TERMS)
    return session


def calls(*spans: SpanRecord) -> list[Event]:
    return [e for e in converted(*spans).events if e.kind in (Kind.CALL, Kind.LAPSE)]


def inputs(*spans: SpanRecord) -> list[int]:
    return sorted(event.input_tokens for event in calls(*spans))


@pytest.mark.parametrize("kind", ["AGENT", "CHAIN", "SPAN", "SESSION", "TOOL"])
def test_a_total_on_a_wrapper_does_not_count_beside_its_calls(kind: str) -> None:
    assert inputs(span("a", kind=kind, tokens=30), span("b", "a", tokens=30)) == [30]


@pytest.mark.parametrize("kind", ["AGENT", "CHAIN", "TOOL"])
def test_a_total_without_calls_is_no_call_either(kind: str) -> None:
    assert calls(span("a", kind=kind, tokens=30)) == []


def test_a_marked_rollup_never_counts() -> None:
    assert inputs(span("a", tokens=30, rollup=True), span("b", "a", tokens=10)) == [10]
    assert calls(span("a", tokens=30, rollup=True)) == []


@pytest.mark.parametrize("outer", [30, 44])
def test_of_nested_llm_spans_the_innermost_counts_whether_the_counts_agree_or_not(
    outer: int,
) -> None:
    around = span("a", tokens=outer)
    assert inputs(around, span("b", "a", kind="CHAIN"), span("c", "b", tokens=30)) == [30]


def test_usage_on_the_wrapper_alone_counts_there() -> None:
    assert inputs(span("a", tokens=30), span("b", "a")) == [30]


def test_failed_attempts_inside_a_call_that_has_the_usage_are_kept() -> None:
    failed = span("bb", "a", status="failed", error="RateLimitError")
    found = calls(span("a", tokens=30), failed, span("c", "a"))
    assert sorted((e.status, e.input_tokens) for e in found) == [("failed", 0), ("ok", 30)]


def test_an_agent_used_as_a_tool_inside_a_call_has_calls_of_its_own() -> None:
    assert inputs(
        span("a", tokens=30),
        span("b", "a", kind="TOOL"),
        span("c", "b", kind="AGENT", agent="sub"),
        span("d", "c", tokens=7),
    ) == [7, 30]


def test_an_untold_span_with_usage_is_a_call_and_one_without_is_nothing() -> None:
    assert inputs(span("a", kind="SPAN", tokens=30), span("b", kind="SPAN")) == [30]


def test_two_records_of_one_response_are_one_call_and_the_fuller_one_is_kept() -> None:
    first = span("a", tokens=10, response_id="r")
    assert inputs(first, span("b", tokens=30, response_id="r"), span("c", tokens=5)) == [5, 30]


def test_a_span_delivered_again_counts_once_with_the_usage_that_has_grown() -> None:
    assert inputs(span("a", tokens=10), span("a", tokens=30), span("a", tokens=20)) == [30]


def test_a_failed_call_without_usage_is_kept_and_costs_nothing() -> None:
    (event,) = calls(span("a", status="failed", error="RateLimitError"))
    assert (event.kind, event.status, event.cost) == (Kind.CALL, "failed", 0)
    assert event.data == {"error": "RateLimitError"}


def test_a_failed_call_with_usage_costs_what_it_used() -> None:
    (event,) = calls(span("a", status="failed", tokens=10))
    assert (event.status, event.cost) == ("failed", 12_000_000)


def test_a_successful_call_without_usage_is_unmetered() -> None:
    (event,) = calls(span("a"))
    assert (event.kind, event.status, event.cost, event.held) == (Kind.LAPSE, "unmetered", 0, 0)
    assert event.data == {"reason": "the imported span has no usage"}


def test_a_call_of_an_unknown_model_is_unpriced() -> None:
    session = converted(span("a", tokens=5, model="nobody-knows-this-one"))
    assert [e.cost for e in session.events if e.kind == Kind.CALL] == [None]
    assert session.unpriced == 1


def test_a_missing_parent_loses_nothing() -> None:
    (event,) = calls(span("a", "never-delivered", tokens=5))
    assert (event.context.session, event.context.level, event.context.agent) == ("t", 0, "")


def test_calls_without_any_trace_are_unattributed() -> None:
    found = converted(SpanRecord(trace_id="", span_id="a", kind="LLM", model="m", end_us=1))
    (event,) = found.events
    assert (found.session, found.accounts, event.context.path) == ("", [], ())
    assert event.data == {"unattributed": "imported", "reason": "the imported span has no usage"}


def test_levels_are_the_depth_of_agents_within_agents() -> None:
    found = calls(
        span("a", kind="AGENT", agent="coordinator"),
        span("b", "a", kind="CHAIN"),
        span("c", "b", kind="AGENT", agent="researcher"),
        span("d", "c", tokens=1),
        span("e", "a", tokens=2),
        span("f", tokens=3),
    )
    assert [(e.input_tokens, e.context.agent, e.context.level) for e in found] == [
        (1, "researcher", 2),
        (2, "coordinator", 1),
        (3, "", 0),
    ]
    assert found[0].context.parent == found[1].context.run != ""


def test_a_frame_around_agents_is_no_level_of_its_own() -> None:
    (event,) = calls(
        span("a", kind="AGENT", name="Agent workflow"),
        span("b", "a", kind="AGENT", agent="writer"),
        span("c", "b", tokens=1),
    )
    assert (event.context.agent, event.context.level) == ("writer", 1)


def test_an_agent_span_without_a_name_takes_the_label_of_its_calls_or_its_own_name() -> None:
    unnamed = span("a", kind="AGENT", name="CodeAgent.run")
    (labelled,) = calls(unnamed, span("b", "a", tokens=1, agent="coder"))
    (bare,) = calls(unnamed, span("b", "a", tokens=1))
    assert (labelled.context.agent, bare.context.agent) == ("coder", "CodeAgent.run")


def test_calls_that_only_carry_a_label_form_one_run_per_span_they_hang_on() -> None:
    session = converted(
        span("a", kind="CHAIN", name="Coding"),
        span("b", "a", tokens=1, agent="programmer"),
        span("c", "a", tokens=2, agent="programmer"),
        span("d", tokens=3, agent="programmer"),
    )
    opened = [e for e in session.events if e.kind == Kind.RUN_OPENED]
    assert [(e.context.agent, e.context.level, e.data) for e in opened] == [
        ("programmer", 1, {"task": "Coding"}),
        ("programmer", 1, None),
    ]


def test_a_run_lasts_as_long_as_what_it_started() -> None:
    session = converted(
        span("a", kind="AGENT", agent="boss", start_us=10, end_us=20),
        span("b", "a", kind="AGENT", agent="helper", start_us=15, end_us=90),
        span("c", "b", tokens=1, start_us=15, end_us=95),
    )
    closed = {e.context.agent: e.at for e in session.events if e.kind == Kind.RUN_CLOSED}
    assert closed == {"helper": 95, "boss": 95}
    kinds = [e.context.agent for e in session.events if e.kind == Kind.RUN_CLOSED]
    assert kinds == ["helper", "boss"]


@pytest.mark.parametrize(
    ("spans", "status"),
    [
        ([span("a", kind="AGENT", agent="x", status="failed")], "failed"),
        ([span("a", kind="AGENT", agent="x"), span("b", "a", status="failed")], "succeeded"),
        ([span("a", status="failed"), span("bb", tokens=1)], "succeeded"),
        ([span("a", tokens=1), span("bb", status="failed")], "failed"),
    ],
    ids=["its root failed", "an inner call failed", "a retry succeeded", "the last try failed"],
)
def test_a_session_failed_if_its_root_did(spans: list[SpanRecord], status: str) -> None:
    assert converted(*spans).events[-1].status == status


def test_what_has_no_time_is_dated_like_the_latest_of_its_session_and_says_so() -> None:
    undated = span("b", tokens=1, start_us=None, end_us=None)
    found = calls(span("aaa", tokens=2), undated)
    assert {e.at for e in found} == {3_000_001}
    assert [e.data for e in found if e.input_tokens == 1] == [{"undated": True}]


def test_parents_in_a_circle_end_and_lose_nothing() -> None:
    assert inputs(span("a", "b", tokens=1), span("b", "a", kind="CHAIN"), span("c", "c")) == [0, 1]


def test_a_hundred_thousand_spans_within_each_other_are_no_problem() -> None:
    deep = [
        SpanRecord(trace_id="t", span_id=str(i), parent_span_id=str(i - 1), kind="AGENT", agent="x")
        for i in range(100_000)
    ]
    (event,) = calls(*reversed(deep), span("call", "99999", tokens=1))
    assert event.context.level == 100_000


KINDS = st.sampled_from(["AGENT", "CHAIN", "LLM", "TOOL", "SPAN", "SESSION", "EVENT"])
TREES = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 14), KINDS, st.integers(0, 3), st.booleans()),
    max_size=12,
    unique_by=lambda drawn: drawn[0],
)


@given(TREES)
def test_any_spans_convert_into_runs_that_nest_and_sums_that_agree(
    drawn: list[tuple[int, int, Any, int, bool]],
) -> None:
    spans = [
        span(f"{id:x}", f"{parent:x}", kind, tokens, status="failed" if failed else "ok")
        for id, parent, kind, tokens, failed in drawn
    ]
    for session in to_events(spans, TERMS):
        found = [e for e in session.events if e.kind in (Kind.CALL, Kind.LAPSE)]
        contexts = {e.context.run: e.context for e in session.events if e.kind == Kind.RUN_OPENED}
        assert len({e.id for e in found}) == len(found) == session.calls
        assert session.events[-1].cost == sum(e.cost or 0 for e in found)
        for context in contexts.values():
            above = contexts[context.parent].level if context.parent else 0
            assert context.level == above + 1
        assert all(e.context.run in contexts or e.context.level == 0 for e in found)
        metered = [s for s in spans if s.kind == "LLM" and s.usage]
        assert not metered or any(e.input_tokens for e in found)
