"""Into the store: what is imported counts once, in any number of pieces, live or as history."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spendtree.errors import ConfigurationError
from spendtree.event import Context, Event, Kind, derived_id
from spendtree.ingest import ImportReport, import_files
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store

PRICES = PriceBook({"m": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}})
MTOK = 10**6


@pytest.fixture(params=["memory:", "sqlite:///"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = request.param
    opened = open_store(url if url == "memory:" else f"{url}{tmp_path}/spend.db")
    yield opened
    opened.close()


def span(id: str, parent: str | None = None, tokens: int | None = MTOK, **fields: Any) -> Any:
    """Return an SDK span of trace 1; an LLM call of a dollar's worth of input."""
    attributes: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    if tokens is not None:
        attributes |= {"gen_ai.usage.input_tokens": tokens}
    told = {
        "name": id,
        "trace_id": "1" * 32,
        "span_id": id,
        "parent_span_id": parent,
        "start_time": "2026-01-01T00:00:00Z",
        "end_time": f"2026-01-01T00:00:{len(id):02d}Z",
        "status": {"code": "OK"},
        "attributes": attributes,
    }
    return told | fields


def agent(id: str, name: str = "boss") -> Any:
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
    return span(id, attributes=attributes)


class Importer:
    """Writes spans into files and imports them."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store, self.directory, self.files = store, directory, 0

    def __call__(self, *batches: list[Any], **options: Any) -> ImportReport:
        paths = []
        for batch in batches:
            self.files += 1
            paths.append(self.directory / f"{self.files}.json")
            paths[-1].write_text(json.dumps(batch))
        return import_files(self.store, paths, prices=PRICES, **options)

    def calls(self) -> list[Event]:
        return list(self.store.events(kinds={Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT}))

    def kinds(self) -> list[str]:
        return [Kind(event.kind).name for event in self.store.events()]

    def spent(self) -> int:
        ((_, balance),) = self.store.accounts("session")
        return balance.spent // 10**12


@pytest.fixture
def load(store: Store, tmp_path: Path) -> Importer:
    return Importer(store, tmp_path)


def test_importing_the_same_again_changes_nothing(load: Importer) -> None:
    first = load([agent("a"), span("b", "a"), span("c", "a", tokens=None)])
    before = list(load.store.events())
    again = load([agent("a"), span("b", "a"), span("c", "a", tokens=None)])
    assert (first.new_events, first.duplicates) == (6, 0)
    assert (again.new_events, again.duplicates, again.calls) == (0, 6, 2)
    assert list(load.store.events()) == before
    assert load.spent() == 1


def test_a_span_in_two_files_of_one_import_counts_once(load: Importer) -> None:
    report = load([span("b")], [span("b"), span("c")])
    assert (report.calls, report.duplicates, load.spent()) == (2, 1, 2)


def test_a_wrapper_and_its_call_in_different_files_are_one_call(load: Importer) -> None:
    report = load([span("outer")], [span("inner", "outer")])
    assert (report.calls, report.sessions, load.spent()) == (1, 1, 1)


def test_a_session_that_goes_on_in_a_later_import_is_closed_again_with_all_its_calls(
    load: Importer,
) -> None:
    load([agent("a"), span("b", "a")])
    report = load([agent("a"), span("cc", "a"), span("b", "a")])
    assert report.new_events == 2
    assert load.kinds()[-2:] == ["CALL", "SESSION_CLOSED"]
    closed = list(load.store.events(kinds={Kind.SESSION_CLOSED}))[-1]
    assert (closed.data, closed.cost) == ({"continued": True}, 2 * 10**12)
    assert (closed.input_tokens, load.spent()) == (2 * MTOK, 2)
    assert load([agent("a"), span("cc", "a"), span("b", "a")]).new_events == 0


def test_usage_that_comes_later_adjusts_the_unmetered_call(load: Importer) -> None:
    load([span("b", tokens=None)])
    assert [event.status for event in load.calls()] == ["unmetered"]
    report = load([span("b")])
    assert [Kind(event.kind).name for event in load.calls()] == ["LAPSE", "ADJUSTMENT"]
    assert (report.new_events, load.spent()) == (2, 1)
    assert load([span("b")]).new_events == 0
    assert load([span("b", tokens=None)]).new_events == 0
    assert sum(total.calls for total in load.store.totals()) == 1


def test_usage_that_is_told_without_later_is_no_second_call(load: Importer) -> None:
    load([span("b")])
    assert load([span("b", tokens=None)]).new_events == 0


def test_a_trace_that_is_known_under_a_session_adds_to_that_session(load: Importer) -> None:
    attributes = {"spendtree.session": "request-7"} | span("x")["attributes"]
    load([span("b", attributes=attributes)])
    report = load([span("b"), span("cc")])
    assert {event.context.session for event in load.store.events()} == {"request-7"}
    assert (report.sessions, load.spent()) == (1, 2)


def test_customer_and_team_of_the_import_stand_where_spans_name_none(load: Importer) -> None:
    named = {"spendtree.customer": "acme"} | span("x")["attributes"]
    load(
        [span("b", attributes=named), span("c", trace_id="2" * 32)], customer="default", team="ops"
    )
    found = {(a.session[0], a.customer, a.team) for a, _ in load.store.accounts("session")}
    assert found == {("1", "acme", "ops"), ("2", "default", "ops")}
    assert {event.context.customer for event in load.calls()} == {"acme", "default"}


def test_the_path_of_a_call_is_its_sessions_account(load: Importer) -> None:
    load([span("b")])
    assert load.calls()[0].context.path == (f"session/{'1' * 32}",)


def live_call(store: Store) -> None:
    store.load([], [Event(0, Kind.CALL, 1, b"live" * 4, Context(), cost=5, status="ok")])


def test_a_store_with_live_calls_must_be_told_what_the_import_is(load: Importer) -> None:
    live_call(load.store)
    with pytest.raises(ConfigurationError, match=r"--live .*--history"):
        load([span("b")])
    assert len(load.calls()) == 1


@pytest.mark.parametrize(
    ("history", "origin"), [(None, "import"), (False, "import"), (True, "history")]
)
def test_the_origin_of_imported_calls(load: Importer, history: bool | None, origin: str) -> None:
    if history is not None:
        live_call(load.store)
    load([agent("a"), span("b", "a")], history=history)
    assert {event.context.origin for event in load.store.events() if event.context.session} == {
        origin
    }


def test_a_second_import_needs_no_word_about_the_first(load: Importer) -> None:
    load([span("b")])
    assert load([span("b"), span("c")]).new_events == 2


def test_spans_of_a_session_that_runs_live_do_not_close_it(load: Importer) -> None:
    id = derived_id("session", "live")
    context = Context("live", "acme", path=("session/live",))
    opened = Event(0, Kind.SESSION_OPENED, 1, id, context)
    load.store.open([], opened)
    attributes = {"spendtree.session": "live"} | span("x")["attributes"]
    load([span("b", attributes=attributes)], history=False)
    assert load.kinds() == ["SESSION_OPENED", "CALL"]
    assert [a.customer for a, _ in load.store.accounts("session")] == ["acme"]


def test_calls_of_no_trace_are_recorded_as_unattributed(load: Importer) -> None:
    report = load([span("b", trace_id=None)])
    (event,) = load.calls()
    assert (event.context.session, event.context.level, event.context.path) == ("", 0, ())
    assert event.data is not None
    assert event.data["unattributed"] == "imported"
    assert (report.sessions, report.calls) == (0, 1)
    assert load([span("b", trace_id=None)]).new_events == 0


def test_imports_larger_than_a_transaction_are_whole(load: Importer) -> None:
    spans = [span(f"{i}", trace_id=f"{i % 7 + 1:032x}", end_time=1) for i in range(1, 12_001)]
    report = load(spans)
    assert (report.calls, report.new_events) == (12_000, 12_000 + 2 * 7)
    assert sum(balance.spent for _, balance in load.store.accounts()) == 12_000 * 10**12


def test_progress_is_told_of_files_and_sessions(load: Importer) -> None:
    told: list[tuple[str, int, int]] = []
    load([span("b")], [span("c", trace_id="2" * 32)], on_progress=lambda *t: told.append(t))
    assert told == [("read", 1, 2), ("read", 2, 2), ("load", 1, 2), ("load", 2, 2)]


def test_a_problem_says_where_it_is_when_it_is_printed(load: Importer) -> None:
    (problem,) = load([5]).problems
    assert str(problem) == f"{load.directory}/1.json: [0]: is not an object, so not a span"
