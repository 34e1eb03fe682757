"""Importing ChatDev's sessions; the oracle is what the program itself logged: sums and costs."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from spendtree.event import Event, Kind, derived_id
from spendtree.ingest import ImportReport, Problem, import_files, parse
from spendtree.money import to_usd
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"
SPANS = TRACES / "chatdev_spans.jsonl.gz"
LOGS = TRACES / "original" / "chatdev"

pytestmark = pytest.mark.skipif(
    not SPANS.is_file(), reason=f"needs the recorded traces in {TRACES}, kept beside the repository"
)

LIST_PRICES = {
    "gpt-3.5-turbo": {"input_usd_per_mtok": "1.5", "output_usd_per_mtok": "2"},
    "gpt-3.5-turbo-16k": {"input_usd_per_mtok": "3", "output_usd_per_mtok": "4"},
    "gpt-4": {"input_usd_per_mtok": "30", "output_usd_per_mtok": "60"},
}
"""OpenAI's list in 2023, when the sessions ran."""


class Imported(NamedTuple):
    store: Store
    report: ImportReport
    records: list[dict[str, Any]]

    def calls(self, session: str | None = None) -> list[Event]:
        return list(self.store.events(session=session, kinds={Kind.CALL, Kind.LAPSE}))


@pytest.fixture(scope="module", params=["memory:", "sqlite:///"])
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Imported]:
    url = request.param
    if url.startswith("sqlite"):
        url += str(tmp_path_factory.mktemp("chatdev") / "spend.db")
    with gzip.open(SPANS, "rt") as lines:
        records = [json.loads(line) for line in lines]
    with closing(open_store(url)) as store:
        report = import_files(store, [SPANS], prices=PriceBook(LIST_PRICES))
        yield Imported(store, report, records)


def test_all_sessions_and_calls_are_imported(imported: Imported) -> None:
    report = imported.report
    assert (report.spans_read, report.sessions, report.calls) == (3042, 57, 1396)
    assert (report.problems, report.duplicates, report.failed_calls) == ([], 0, 0)
    assert len(imported.calls()) == 1396
    assert len(list(imported.store.events(kinds={Kind.SESSION_OPENED}))) == 57


def test_tokens_equal_the_totals_that_the_logs_state(imported: Imported) -> None:
    stated = {
        record["session_id"]: (
            record["attrs"]["logged_total_prompt_tokens"],
            record["attrs"]["logged_total_completion_tokens"],
        )
        for record in imported.records
        if record.get("attrs", {}).get("logged_total_tokens", -1) >= 0  # -1 is "not logged"
    }
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for event in imported.calls():
        sums[event.context.session][0] += event.input_tokens
        sums[event.context.session][1] += event.output_tokens
    assert len(stated) == 31
    assert {session: tuple(sums[session]) for session in stated} == stated


def test_costs_equal_those_that_the_program_logged_to_the_microdollar(imported: Imported) -> None:
    logged = {
        derived_id("span", record["trace_id"], record["span_id"]): record["attrs"]
        for record in imported.records
        if "reported_cost_usd" in record.get("attrs", {})
    }
    priced = {e.id: to_usd(e.cost) for e in imported.calls() if e.cost is not None}
    independent = {
        id: Decimal(attrs["reported_cost_usd"])
        for id, attrs in logged.items()
        if "model_from_reported_cost" not in attrs
    }
    assert (len(logged), len(independent)) == (202, 200)
    micro = Decimal("0.000001")
    assert {id: priced[id].quantize(micro) for id in independent} == independent


def test_the_logged_cost_stays_readable_beside_ours(imported: Imported) -> None:
    told = [e for e in imported.calls() if e.data and "reported_cost_usd" in e.data]
    assert len(told) == 202
    assert all(isinstance(event.data["reported_cost_usd"], str) for event in told if event.data)


def test_calls_without_a_model_are_unpriced_and_never_free(imported: Imported) -> None:
    unpriced = [event for event in imported.calls() if event.cost is None]
    assert len(unpriced) == imported.report.unpriced == 32
    assert {event.request.model for event in unpriced} == {""}
    assert all(event.cost != 0 for event in imported.calls())


def test_each_call_stands_under_the_agent_that_made_it(imported: Imported) -> None:
    told = Counter(record["agent"] for record in imported.records if record["kind"] == "LLM")
    assert Counter(event.context.agent for event in imported.calls()) == told


def test_level_1_is_the_coordinators_share(imported: Imported) -> None:
    """The share that was computed from the sources: median 17 %, 2 to 34 %, pooled 12.1 %."""
    unpriced = {e.context.session for e in imported.calls() if e.cost is None}
    costs: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for event in imported.calls():
        if event.context.session not in unpriced:
            costs[event.context.session][event.context.level != 1] += event.cost or 0
    mixed = [cost for cost in costs.values() if cost[1]]
    shares = sorted(coordinator / (coordinator + worker) for coordinator, worker in mixed)
    assert [round(share, 2) for share in (median(shares), shares[0], shares[-1])] == [
        0.17,
        0.02,
        0.34,
    ]
    pooled = sum(cost[0] for cost in mixed) / sum(map(sum, mixed))
    assert round(pooled, 3) == 0.121


def test_workers_run_under_the_coordinator_that_spoke_before_them(imported: Imported) -> None:
    session = "RandomPick_ModelBest1024_20231022154124"
    opened = list(imported.store.events(session=session, kinds={Kind.RUN_OPENED}))
    agents = {event.context.run: event.context.agent for event in opened}
    tree = [(agents.get(e.context.parent), e.context.agent, e.context.level) for e in opened]
    assert tree[:5] == [
        (None, "Chief Product Officer", 1),
        (None, "Chief Executive Officer", 1),
        (None, "Chief Technology Officer", 1),
        ("Chief Technology Officer", "Programmer", 2),
        ("Chief Technology Officer", "Code Reviewer", 2),
    ]
    assert opened[3].data == {"task": "Coding"}


def test_closing_events_carry_the_sums_of_their_calls(imported: Imported) -> None:
    runs: dict[str, int] = defaultdict(int)
    sessions: dict[str, int] = defaultdict(int)
    for event in imported.calls():
        runs[event.context.run] += event.cost or 0
        sessions[event.context.session] += event.cost or 0
    closed = {e.context.run: e.cost for e in imported.store.events(kinds={Kind.RUN_CLOSED})}
    assert closed == runs
    ended = {e.context.session: e.cost for e in imported.store.events(kinds={Kind.SESSION_CLOSED})}
    assert ended == sessions
    spent = {a.session: balance.spent for a, balance in imported.store.accounts("session")}
    assert spent == sessions


def test_the_events_of_a_session_come_in_order_and_nothing_outside_what_is_open(
    imported: Imported,
) -> None:
    session = "RandomPick_ModelBest1024_20231022154124"
    events = list(imported.store.events(session=session))
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert [events[0].kind, events[-1].kind] == [Kind.SESSION_OPENED, Kind.SESSION_CLOSED]
    open_runs = {""}
    for event in events:
        if event.kind == Kind.RUN_OPENED:
            assert event.context.parent in open_runs
            open_runs.add(event.context.run)
        elif event.kind == Kind.RUN_CLOSED:
            open_runs.remove(event.context.run)
            assert all(e.context.parent != event.context.run for e in events if e.at > event.at)
        else:
            assert event.context.run in open_runs


def test_a_time_with_day_and_month_swapped_is_still_a_time(imported: Imported) -> None:
    """Three records say "2024-15-01": the original log wrote year, day, month."""
    swapped = [r for r in imported.records if str(r.get("end")).startswith("2024-15-01")]
    assert len(swapped) == 3
    ids = {derived_id("span", r["trace_id"], r["span_id"]) for r in swapped}
    times = {event.at for event in imported.calls() if event.id in ids}
    assert all(1_705_276_800 <= at / 10**6 < 1_705_363_200 for at in times)


def test_refused_attempts_are_told_on_the_call_that_came_through(imported: Imported) -> None:
    told = {
        derived_id("span", r["trace_id"], r["span_id"]): r["attrs"]["rate_limit_errors_before"]
        for r in imported.records
        if "rate_limit_errors_before" in r.get("attrs", {})
    }
    found = {e.id: (e.data or {}).get("refused_before") for e in imported.calls()}
    assert {id: found[id] for id in told} == told


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.gz")), ids=lambda log: log.name[:10])
def test_a_raw_log_gives_the_calls_of_its_records(imported: Imported, log: Path) -> None:
    """Also the agents, models and costs; even the ids, so a log after its records adds nothing."""
    store = open_store("memory:")
    report = import_files(store, [log], prices=PriceBook(LIST_PRICES))
    assert (report.sessions, report.problems) == (1, [])
    session = log.name.removesuffix(".log.gz")
    mine = list(store.events(kinds={Kind.CALL}))
    assert [_essence(event) for event in mine] == [
        _essence(event) for event in imported.calls(session)
    ]
    again = import_files(imported.store, [log], prices=PriceBook(LIST_PRICES))
    assert again.new_events == 0


def _essence(event: Event) -> tuple[Any, ...]:
    context = event.context
    place = (context.session, context.agent, context.level, context.run, context.parent)
    return (event.id, event.at, event.started, place, event.request, event.cost, event[8:14])


def test_a_log_that_was_cut_in_a_call_keeps_the_calls_before() -> None:
    log = min(LOGS.glob("*.gz"))
    text = gzip.decompress(log.read_bytes()).decode()
    cut = text.rindex("completion_tokens:", 0, text.index("Code Reviewer<->Programmer"))
    found = list(parse(text[:cut].encode(), file="cut.log"))
    problems = [each for each in found if isinstance(each, Problem)]
    assert [problem.reason for problem in problems] == ["a call without its token counts"]
    assert problems[0].position.startswith("line ")
    spans = [each for each in found if not isinstance(each, Problem)]
    assert sum(span.kind == "LLM" for span in spans) == 3
