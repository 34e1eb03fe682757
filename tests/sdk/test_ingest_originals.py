"""Every original dump against the compact records that were made from it: the reference."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spendtree.event import Event, Kind, derived_id
from spendtree.ingest import ImportReport, import_files
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store
from spendtree.usage import Usage

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"
COMPACT = TRACES / "small_spans.jsonl.gz"
ORIGINALS = sorted(
    path
    for folder in ("any_agent", "strands_evals", "langfuse")
    for path in (TRACES / "original" / folder).glob("*.json")
)

pytestmark = pytest.mark.skipif(
    not ORIGINALS, reason=f"needs the recorded traces in {TRACES}, kept beside the repository"
)

PRICES = PriceBook()

OTHER_AGENTS: dict[str, tuple[dict[str, int], str]] = {
    "openai_agents_genai_adot_spans": (
        {"coordinator": 1, "math_specialist": 2},
        "the calls carry a library's default label, 'OpenAI Agent'; the runs around have names",
    ),
    "smolagents_live_spans": (
        {"CodeAgent.run": 2},
        "the source names no agent but has an agent span: its name is better than none",
    ),
    "microsoft-agent-2025-12-17": (
        {"171105b7-59dd-49c0-9677-0b95395aa46a": 2},
        "gen_ai.agent.name names the agent, the reference has the name of its span",
    ),
}
"""Dumps whose calls we put under other agents than the reference, and why."""

TOTALS_ONLY = {"claude_adot_spans": 1, "claude_live_spans": 1}
"""Dumps that tell a total for the whole query and not one call: as in the reference, no call."""


def name_of(path: Path) -> str:
    return path.name.removesuffix(".json").removesuffix(".trace")


def imported(*paths: Path) -> tuple[Store, ImportReport]:
    store = open_store("memory:")
    return store, import_files(store, paths, prices=PRICES)


def calls_of(store: Store) -> list[Event]:
    return list(store.events(kinds={Kind.CALL, Kind.LAPSE}))


@pytest.fixture(scope="module")
def reference() -> dict[str, list[dict[str, Any]]]:
    """The compact records by the name of the dump that they were made from."""
    found: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(COMPACT, "rt") as lines:
        for record in map(json.loads, lines):
            found.setdefault(record["dataset"].partition("/")[2], []).append(record)
    return found


@pytest.mark.parametrize("path", ORIGINALS, ids=name_of)
def test_calls_and_tokens_of_a_dump_equal_the_reference(
    path: Path, reference: dict[str, list[dict[str, Any]]]
) -> None:
    store, report = imported(path)
    records = [r for r in reference[name_of(path)] if r["kind"] == "LLM" and not r.get("rollup")]
    expected = {
        derived_id("span", r["trace_id"], r["span_id"]): (
            r["usage"]["input_tokens"],
            r["usage"]["output_tokens"],
        )
        for r in records
    }
    found = {
        event.id: (
            event.input_tokens + event.cache_read_tokens + event.cache_write_tokens,
            event.output_tokens,
        )
        for event in calls_of(store)
    }
    assert found == expected
    assert (report.calls, report.sessions, report.problems) == (len(records), 1, [])
    assert report.totals_only == TOTALS_ONLY.get(name_of(path), 0)


@pytest.mark.parametrize("path", ORIGINALS, ids=name_of)
def test_agents_of_a_dump_equal_the_reference_or_the_difference_is_explained(
    path: Path, reference: dict[str, list[dict[str, Any]]]
) -> None:
    store, _ = imported(path)
    found = Counter(event.context.agent for event in calls_of(store))
    told = Counter(
        record.get("agent", "") for record in reference[name_of(path)] if record["kind"] == "LLM"
    )
    if name_of(path) in OTHER_AGENTS:
        expected, reason = OTHER_AGENTS[name_of(path)]
        assert found == expected, reason
        assert found != told, "no longer a difference"
    else:
        assert found == told


@pytest.mark.parametrize("path", ORIGINALS, ids=name_of)
def test_a_dump_after_its_compact_records_adds_nothing(path: Path) -> None:
    """Also not a session: the trace is known under the name that the records gave it."""
    store, _ = imported(COMPACT)
    before = store.read(limit=10_000).cursor
    report = import_files(store, [path], prices=PRICES)
    calls = [e for e in store.read(before).events if e.kind in (Kind.CALL, Kind.LAPSE)]
    assert (calls, report.problems) == ([], [])
    assert not [e for e in store.read(before).events if e.kind == Kind.SESSION_OPENED]


def test_all_dumps_together_are_what_they_are_one_by_one() -> None:
    together, _ = imported(*ORIGINALS)
    apart = [event for path in ORIGINALS for event in calls_of(imported(path)[0])]
    assert {(e.id, e.cost, e.context) for e in calls_of(together)} == {
        (e.id, e.cost, e.context) for e in apart
    }


def test_priced_models_cost_what_langfuse_computed_for_them() -> None:
    """An independent oracle: Langfuse's own price table, on the calls of its exports."""
    store, _ = imported(*[path for path in ORIGINALS if path.parent.name == "langfuse"])
    compared = [
        (event.request.model, float(event.data["reported_cost_usd"]) * 1e12, event.cost)
        for event in calls_of(store)
        if event.data and event.cost and "reported_cost_usd" in event.data
    ]
    assert len(compared) == 11
    assert all(cost == pytest.approx(langfuse, rel=1e-6) for _, langfuse, cost in compared)


def test_a_total_without_calls_is_told_in_the_run_and_in_no_sum() -> None:
    store, report = imported(next(p for p in ORIGINALS if name_of(p) == "claude_adot_spans"))
    told = [e.data for e in store.events(kinds={Kind.RUN_CLOSED}) if e.data]
    assert told == [
        {
            "reported_total": {
                "input_tokens": 4,
                "output_tokens": 767,
                "cache_read_tokens": 29447,
                "cache_write_tokens": 2861,
            },
            "reported_cost_usd": "0.0712653",
        }
    ]
    assert (report.totals_only, report.calls) == (1, 0)
    assert [balance.spent for _, balance in store.accounts("session")] == [0]


def test_spans_whose_root_was_never_delivered_lose_nothing() -> None:
    """GOOGLE_trace's calls name a parent that is not in the file."""
    store, report = imported(next(p for p in ORIGINALS if name_of(p) == "GOOGLE_trace"))
    assert (report.calls, report.sessions) == (3, 1)
    assert {(e.context.level, e.context.agent) for e in calls_of(store)} == {(0, "")}


def test_sub_agents_hang_under_the_agent_that_called_them() -> None:
    path = next(p for p in ORIGINALS if name_of(p) == "openai_agents_openinference_live_spans")
    store, _ = imported(path)
    opened = {e.context.run: e.context for e in store.events(kinds={Kind.RUN_OPENED})}
    tree = sorted((c.level, c.agent) for c in opened.values())
    assert tree == [(1, "coordinator"), (2, "math_specialist")]
    specialist = next(c for c in opened.values() if c.level == 2)
    assert opened[specialist.parent].agent == "coordinator"


def test_the_compact_reference_itself_imports_whole() -> None:
    store, report = imported(COMPACT)
    assert (report.sessions, report.spans_read, report.problems) == (53, 521, [])
    assert report.duplicates == 3, "one trace was delivered as two sessions"
    # 172 LLM records, of which one is a second delivery and three are wrappers around another LLM
    # span (agno's and the Vercel SDK's), whose counts differ but which are the same call.
    assert report.calls == len(calls_of(store)) == 168
    assert report.unmetered == 2, "beeai's events of a response, which carry no usage"


def test_openai_agents_sessions_with_handoffs_import_whole() -> None:
    """27 LLM records: 4 were delivered twice, 10 of the others have no usage."""
    store, report = imported(TRACES / "openai_agents_sdk_spans.jsonl.gz")
    assert (report.sessions, report.problems) == (11, [])
    assert (report.calls, report.unmetered, report.duplicates) == (23, 10, 8)
    lapses = list(store.events(kinds={Kind.LAPSE}))
    assert {(e.status, e.cost, e.held) for e in lapses} == {("unmetered", 0, 0)}
    assert all(e.data and "usage" in e.data["reason"] for e in lapses)


def test_cache_reads_are_not_priced_as_plain_input() -> None:
    store, _ = imported(COMPACT)
    cached = [e for e in calls_of(store) if e.cache_read_tokens and e.cost]
    assert cached
    for event in cached:
        sheet = PRICES.sheet(event.request.model, event.request.provider)
        plain = Usage(event.input_tokens + event.cache_read_tokens, event.output_tokens)
        assert sheet is not None
        assert event.cost is not None
        assert event.cost < sheet.cost(plain, event.started)
