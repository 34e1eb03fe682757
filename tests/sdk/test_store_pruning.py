"""Pruning: no figure changes, nobody waits, nothing is counted twice, and space comes back."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spendtree
from spendtree.account import envelope_account, run_account, session_account
from spendtree.cli import main
from spendtree.errors import PrunedError, StoreError
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.ids import new_id
from spendtree.metrics import Fold
from spendtree.store import Store, database, open_store
from spendtree.store.memory import MemoryStore
from spendtree.store.protocol import START, Cursor, Pruned
from spendtree.store.rollups import DAY_US, MEMBERS_MAX, Merge, Roller, rolled_up
from spendtree.tree import build, summaries
from spendtree.usage import TOKENS_MAX
from tests.exporter.oracle import expected, logs
from tests.sdk.test_metrics import samples

ROOT = Path(__file__).resolve().parents[2]
CHATDEV = ROOT / ".." / "shared" / "data" / "traces" / "chatdev_spans.jsonl.gz"

HOUR = 3_600_000_000
NOON = 20_000 * DAY_US + 12 * HOUR
"""Some day at noon, long ago."""
LATER = NOON + 10 * DAY_US
FOREVER = 2**62

SESSION, ENVELOPE, RUN = (
    session_account("s"),
    envelope_account("s", "writer"),
    run_account("s", "writer", "07" * 16),
)
TOP = Context("s", "acme", "search", path=(SESSION.id,))
WRITER = TOP._replace(
    agent="writer", run="07" * 16, level=1, path=(SESSION.id, ENVELOPE.id, RUN.id)
)
STRAY = Context(customer="acme")
GPT = Request("openai", "gpt-4o")
EXHAUSTED = {"kind": "run", "account": RUN.id}
BROKEN = {"target": "boss", "violation": {"kind": "max", "excess": 7}}

Figures = tuple[Any, ...]


def figures(store: Store) -> Figures:
    """Return everything that is told of a store: counters, sums, sessions, trees."""
    fold = Fold(store.id)
    fold.apply(store.events())
    sessions = sorted({event.context.session for event in store.events()})
    return (
        samples(fold),
        store.totals(),
        summaries(store.totals(), store.events(kinds=(Kind.SESSION_OPENED, Kind.SESSION_CLOSED))),
        [build(store.events(session=session)) for session in sessions],
    )


def event(kind: Kind, at: int, context: Context = WRITER, **fields: Any) -> Event:
    """Return an event of one second, with an id of its own."""
    fields = {"id": new_id(), "started": at - 10**6, "status": "ok", **fields}
    return Event(0, kind, at, fields.pop("id"), context, GPT, **fields)


def ledger_of(path: Path) -> Store:
    """Return a store with the closed session `s` in it, and all that can happen in one."""
    store = open_store(f"sqlite:///{path}")
    store.open([(SESSION, 10**12)], opened(TOP))
    run = event(Kind.RUN_OPENED, NOON, id=b"\7" * 16, data={"max_cost": 10**11, "envelope": 10**12})
    store.open([(ENVELOPE, 10**12), (RUN, 10**11)], run)
    for number in range(1, 4):
        at = NOON + number
        for made in (
            event(Kind.CALL, at, cost=number, held=2, input_tokens=5, output_tokens=number),
            event(Kind.CALL, at, cost=None, held=2, input_tokens=5),
            event(Kind.CALL, at, cost=0, status="failed", data={"error": f"number {number}"}),
            event(
                Kind.CALL, at, cost=7, held=9, data={"waited_us": 10**number, "waited_at": "run"}
            ),
            event(Kind.TOOL, at, cost=3, data={"name": "search"}),
        ):
            store.load([], [made])
        store.append(event(Kind.DENIED, at, status="exhausted", held=10, data=EXHAUSTED))
        store.append(
            event(Kind.DENIED, at, status="busy", held=10, data={**EXHAUSTED, "would": True})
        )
        store.append(event(Kind.MESSAGE, at, cost=2, input_tokens=4, data=BROKEN))
        store.append(event(Kind.MESSAGE, at, cost=None, input_tokens=4, data={"target": "boss"}))
    for number in range(1, 6):
        hold(store, number)
        lapse(store, number, "lapsed" if number < 4 else "unmetered")
    store.adjust(id_of(1), 4, event(Kind.ADJUSTMENT, NOON + 30, id=id_of(1)))
    store.adjust(id_of(2), None, event(Kind.ADJUSTMENT, NOON + 30, id=id_of(2)))
    store.append(event(Kind.RUN_CLOSED, NOON + 40, id=b"\7" * 16, cost=42, status="succeeded"))
    store.append(closed(TOP, NOON + 50))
    return store


def opened(context: Context, at: int = NOON) -> Event:
    id = derived_id("session", context.session)
    data = {"ceiling": 10**12, "expected": 50}
    return event(Kind.SESSION_OPENED, at, context, id=id, status="", data=data)


def closed(context: Context, at: int) -> Event:
    id = derived_id("session", context.session)
    return event(Kind.SESSION_CLOSED, at, context, id=id, cost=99, status="succeeded")


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def hold(store: Store, number: int, context: Context = WRITER) -> None:
    store.hold(id_of(number), context.path, 10, context=context, request=GPT, at=NOON)


def lapse(store: Store, number: int, status: str = "lapsed", context: Context = WRITER) -> None:
    made = event(Kind.LAPSE, NOON + 20 + number, context, id=id_of(number), status=status)
    store.lapse(id_of(number), made)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Store]:
    with closing(ledger_of(tmp_path / "spend.db")) as store:
        yield store


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a demo, closed: denials, retries, failures, strays, several sessions."""
    path = tmp_path_factory.mktemp("pruning") / "demo.db"
    assert main(["demo", "--sessions", "10", "--json", "--store", f"sqlite:///{path}"]) == 0
    return path


@pytest.fixture
def worked(demo: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "demo.db"
    shutil.copy(demo, path)
    with closing(open_store(f"sqlite:///{path}")) as store:
        yield store


# Every figure stays the same.


def test_no_figure_changes_where_everything_happened(ledger: Store) -> None:
    before = figures(ledger)
    count = len(list(ledger.events()))

    done = ledger.prune(LATER)

    assert figures(ledger) == before
    assert done.sessions == 1
    assert done.events > 15
    assert len(list(ledger.events())) == count - done.events
    assert samples_of(before, "hold_wait_seconds_count") == 3
    assert samples_of(before, "overrun_usd_total") > 0


def samples_of(found: Figures, name: str) -> Decimal:
    return sum((value for (each, _), value in found[0].items() if each == name), Decimal(0))


def test_no_figure_changes_for_the_work_of_the_demo(worked: Store) -> None:
    before = figures(worked)

    done = worked.prune(FOREVER)

    assert figures(worked) == before
    assert done.events > 20
    assert done.accounts > 50


def test_no_figure_changes_for_imported_traces(tmp_path: Path) -> None:
    if not CHATDEV.exists():
        pytest.skip("needs shared/data/traces/chatdev_spans.jsonl.gz beside the repository")
    url = f"sqlite:///{tmp_path}/chatdev.db"
    assert main(["import", "--store", url, str(CHATDEV)]) == 0
    with closing(open_store(url)) as store:
        before = figures(store)

        done = store.prune(FOREVER)

        assert done.sessions > 50
        assert done.events > 0
        assert figures(store) == before


@settings(max_examples=150)
@given(log=logs)
def test_no_counter_changes_in_any_log(log: list[Event]) -> None:
    events = [
        each._replace(seq=seq, at=seq, id=new_id(), started=seq if seq % 5 else 0)
        for seq, each in enumerate(log, 1)
    ]

    agree(rolled(events), events)


UNSURE: tuple[dict[str, Any] | None, ...] = (
    None,
    {"units": {"input_audio": 800, "web_search": 2}},
    {"units": {"input_audio": 1}, "marks": ["unpriced:input_audio"]},
    {"marks": ["unpriced:input_audio"], "units": {"guardrail_topic": 3, "input_audio": 2}},
    {"marks": ["unread"], "unread": {"hologram_tokens": 3, "total": 9}},
    {"marks": ["unread"], "unread": {"total": "12 of 11"}, "units": {"citation": 7}},
)


@settings(max_examples=50)
@given(log=st.lists(st.tuples(st.sampled_from(UNSURE), st.sampled_from([0, 7]))))
def test_units_and_marks_of_like_calls_are_added_up(log: list[tuple[Any, int]]) -> None:
    events = [
        event(Kind.CALL, NOON + seq, cost=cost, input_tokens=seq, data=data)._replace(seq=seq)
        for seq, (data, cost) in enumerate(log, 1)
    ]

    kept = rolled(events)

    if len(events) > 2 * len(UNSURE):
        assert len(kept) < len(events)
    agree(kept, events)
    agree(rolled(kept), events)


def agree(kept: list[Event], events: list[Event]) -> None:
    """Check that a pruned log says what the whole one does, and what the oracle makes of that."""
    assert samples(folded(kept)) == samples(folded(events)) == expected("st", events)
    for session in {each.context.session for each in events}:
        assert tree(kept, session) == tree(events, session)


def folded(events: Iterable[Event]) -> Fold:
    fold = Fold("st")
    fold.apply(events)
    return fold


def tree(events: Iterable[Event], session: str) -> object:
    return build(each for each in events if each.context.session == session)


def rolled(events: Iterable[Event]) -> list[Event]:
    """Return a log with the merges done that each session's roller says."""
    events = list(events)
    rollers: dict[str, list[Event]] = {}
    for each in events:
        rollers.setdefault(each.context.session, []).append(each)
    kept = {each.seq: each for each in events}
    for of_session in rollers.values():
        for merge in Roller().merges(of_session):
            kept[merge.first.seq] = merge.rollup
            for gone in merge.rest:
                del kept[gone.seq]
    return [kept[seq] for seq in sorted(kept)]


def test_figures_stay_the_same_when_a_pruned_session_goes_on_and_is_pruned_again(
    ledger: Store,
) -> None:
    ledger.prune(LATER)
    ledger.load([], [event(Kind.CALL, LATER + each, TOP, cost=5) for each in range(4)])
    again = {"continued": True}
    ledger.append(closed(TOP, LATER + 9)._replace(id=new_id(), data=again))
    before = figures(ledger)

    done = ledger.prune(LATER + DAY_US)

    assert (done.sessions, done.events, done.rollups) == (1, 3, 1)
    assert figures(ledger) == before


def test_pruning_a_second_time_finds_nothing(worked: Store) -> None:
    worked.prune(FOREVER)
    before = list(worked.events())

    done = worked.prune(FOREVER)

    assert done._replace(longest_stall_us=0) == Pruned()
    assert list(worked.events()) == before


# What a rollup is.


def test_a_rollup_says_what_single_events_said() -> None:
    calls = [
        event(Kind.CALL, NOON + n, cost=n, held=2, output_tokens=n, data=data)
        for n, data in ((1, None), (5, {"waited_us": 8, "waited_at": "run"}), (3, None))
    ]
    once = rolled_up(calls)
    twice = rolled_up([rolled_up(calls[:2]), calls[2]])

    assert once == twice
    assert (once.times, once.cost, once.held, once.output_tokens) == (3, 9, 6, 9)
    assert (once.first_at, once.at, once.started) == (NOON + 1, NOON + 5, NOON + 1 - 10**6)
    assert (once.overrun, once.waits) == (3 + 1, [("run", 8)])
    assert (once.id, once.seq) == (calls[0].id, calls[0].seq)


def test_a_rollup_has_the_sum_of_what_stated_costs_differ_from_the_list() -> None:
    calls = [
        event(Kind.CALL, NOON + n, data={"stated_difference": n, "cost_source": "provider"})
        for n in (5, -2, 9)
    ]
    once = rolled_up(calls)

    assert once == rolled_up([rolled_up(calls[:2]), calls[2]])
    assert once.stated_difference == 12


@pytest.mark.parametrize(
    "other",
    [
        {"at": NOON + DAY_US, "started": NOON + DAY_US},
        {"cost": None},
        {"kind": Kind.LAPSE},
        {"status": "failed"},
        {"context": TOP},
        {"request": GPT._replace(purpose="plan")},
        {"data": {"unattributed": "lost_thread"}},
        {"input_tokens": TOKENS_MAX},
        {"held": 2**62},
    ],
    ids=str,
)
def test_what_figures_tell_apart_stays_apart(other: dict[str, Any]) -> None:
    one = event(Kind.CALL, NOON, cost=1, held=1, input_tokens=1)._replace(seq=1)
    same, different = one._replace(seq=2), one._replace(seq=2, **other)

    assert [merge.rest for merge in Roller().merges([one, same])] == [[same]]
    assert Roller().merges([one, different]) == []


def test_the_end_of_a_session_parts_what_was_before_and_after_it() -> None:
    calls = [event(Kind.CALL, NOON + n)._replace(seq=n) for n in range(1, 5)]
    log = [*calls[:2], closed(TOP, NOON)._replace(seq=3), *calls[2:]]
    merges = Roller().merges(log)
    assert [(merge.first, *merge.rest) for merge in merges] == [tuple(calls[:2]), tuple(calls[2:])]


def test_no_merge_is_larger_than_a_short_transaction() -> None:
    calls = [event(Kind.CALL, NOON)._replace(seq=n) for n in range(2 * MEMBERS_MAX + 1)]
    merges: list[Merge] = Roller().merges(calls)
    assert [len(merge.rest) + 1 for merge in merges] == [MEMBERS_MAX, MEMBERS_MAX]


# What stays.


@pytest.mark.parametrize("why", ["open", "young", "held"])
def test_sessions_stay_that_are_open_or_young_or_hold_money(ledger: Store, why: str) -> None:
    other = Context("t", "acme", path=("session/t",))
    ledger.open([(session_account("t"), None)], opened(other))
    ledger.load([], [event(Kind.CALL, NOON + n, other, cost=1) for n in range(5)])
    if why == "held":
        hold(ledger, 77, other)
    if why != "open":
        ledger.append(closed(other, LATER if why == "young" else NOON + 9))
    before = list(ledger.events(session="t"))

    assert ledger.prune(LATER).sessions == 1
    assert list(ledger.events(session="t")) == before
    assert ledger.open_holds() == (why == "held")


def test_calls_of_no_session_become_one_a_day_up_to_the_day_of_the_limit(ledger: Store) -> None:
    for day in range(3):
        for n in range(4):
            reason = {"unattributed": "no_scope" if n else "lost_thread"}
            ledger.load([], [event(Kind.CALL, NOON + day * DAY_US, STRAY, cost=n, data=reason)])
    before = figures(ledger)

    ledger.prune(NOON + 2 * DAY_US + HOUR)

    assert [each.times for each in ledger.events(session="")] == [1, 3, 1, 3, 1, 1, 1, 1]
    assert figures(ledger) == before


def test_a_dry_run_says_what_there_is_and_changes_nothing(ledger: Store) -> None:
    before = list(ledger.events())

    planned = ledger.prune(LATER, dry_run=True)

    assert list(ledger.events()) == before
    assert ledger.pruned_before() == 0
    done = ledger.prune(LATER)
    assert planned[:3] == done[:3]


def test_a_session_that_is_opened_again_has_its_accounts_as_they_stood(ledger: Store) -> None:
    kept = [ledger.balance(account.id) for account in (SESSION, ENVELOPE)]

    assert ledger.prune(LATER).accounts == 1

    again = ledger.open([(SESSION, 10**15), (ENVELOPE, 10**15)], opened(TOP, LATER))
    assert not again.fresh
    assert [ledger.balance(account.id) for account in (SESSION, ENVELOPE)] == kept
    assert ledger.balance(RUN.id) is None
    with pytest.raises(StoreError, match=RUN.id):
        hold(ledger, 99)
    hold(ledger, 99, TOP)


# What comes late.


@pytest.mark.parametrize("number", [3, 4, 5])
def test_late_truth_about_a_pruned_lapse_is_refused_and_changes_nothing(
    ledger: Store, number: int
) -> None:
    ledger.prune(LATER)
    before = list(ledger.events()), ledger.balance(SESSION.id)

    for late in (ledger.adjust, ledger.settle):
        with pytest.raises(PrunedError, match="pruned"):
            late(id_of(number), 5, event(Kind.CALL, LATER, id=id_of(number)))

    assert (list(ledger.events()), ledger.balance(SESSION.id)) == before


def test_late_truth_about_a_session_that_stayed_is_booked(ledger: Store) -> None:
    ledger.prune(NOON)
    late = ledger.settle(id_of(3), 5, event(Kind.CALL, LATER, id=id_of(3)))
    assert (late.kind, late.cost) == (Kind.ADJUSTMENT, 5)


def test_what_is_older_than_what_was_pruned_cannot_be_loaded_but_is_recognized(
    ledger: Store,
) -> None:
    known = next(ledger.events(session="s", kinds=(Kind.RUN_OPENED,)))
    ledger.prune(LATER)
    before = list(ledger.events()), ledger.balance(SESSION.id)

    with pytest.raises(PrunedError, match="too late"):
        ledger.load([], [event(Kind.CALL, LATER - 1, TOP, cost=1)])

    assert (list(ledger.events()), ledger.balance(SESSION.id)) == before
    assert ledger.load([], [known]) == 0
    assert ledger.load([], [event(Kind.CALL, LATER, TOP, cost=1)]) == 1


def test_importing_pruned_traces_again_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not CHATDEV.exists():
        pytest.skip("needs shared/data/traces/chatdev_spans.jsonl.gz beside the repository")
    url = f"sqlite:///{tmp_path}/chatdev.db"
    assert main(["import", "--store", url, str(CHATDEV)]) == 0
    with closing(open_store(url)) as store:
        store.prune(FOREVER)
        before = figures(store)

        assert main(["import", "--store", url, str(CHATDEV)]) == 1

        said = capsys.readouterr().err
        assert "not imported" in said
        assert "pruned" in said
        assert len(said.splitlines()) == 1
        assert figures(store) == before


# Those who follow the log.


def test_a_fresh_follower_gets_rollups_and_one_at_the_end_nothing_twice(ledger: Store) -> None:
    before = figures(ledger)[0]
    end = ledger.read().cursor
    ledger.prune(LATER)

    assert ledger.read(end).events == []
    again, cursor, more = [], START, True
    while more:
        page, cursor, more = ledger.read(cursor, 3)
        again += page
    fold = Fold(ledger.id)
    fold.apply(again)
    assert samples(fold) == before
    ledger.load([], [event(Kind.CALL, LATER, TOP)])
    assert len(ledger.read(end).events) == len(ledger.read(cursor).events) == 1


def test_a_follower_within_what_was_pruned_is_told_to_start_over(ledger: Store) -> None:
    count = len(list(ledger.events()))
    cursors = [ledger.read(limit=n).cursor for n in range(1, count + 1)]
    ledger.prune(LATER)

    told = [refused(ledger, cursor) for cursor in cursors]

    assert told[0] is False, "nothing before the first call was pruned"
    assert told[10] is True
    assert told[-1] is False
    assert refused(ledger, ledger.read(limit=10).cursor) is False, "what is read now is read whole"
    ledger.prune(LATER + 1)
    assert [refused(ledger, cursor) for cursor in cursors] == told


def refused(store: Store, cursor: Cursor) -> bool:
    try:
        store.read(cursor)
    except PrunedError:
        return True
    return False


def test_a_reader_of_pages_is_told_if_pruning_comes_between_them(
    ledger: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spendtree.store.reading.PAGE", 10)
    events = ledger.events()
    next(events)
    ledger.prune(LATER)
    with pytest.raises(PrunedError, match="from the start"):
        list(events)


# Space, crashes, others.


def test_the_file_becomes_smaller(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    store = fill(path, sessions=60)
    before = path.stat().st_size

    done = store.prune(FOREVER)

    store.close()
    assert done.freed_bytes > before / 2
    assert path.stat().st_size < before / 2


def fill(path: Path, sessions: int) -> Store:
    """Write closed sessions of one run with 60 calls each."""
    store = open_store(f"sqlite:///{path}")
    for number in range(sessions):
        name = f"s-{number}"
        who = Context(name, "acme", agent="a", run=new_id().hex(), path=(f"session/{name}",))
        calls = [event(Kind.CALL, NOON + n, who, cost=n, held=1) for n in range(60)]
        store.load([session_account(name)], [opened(who), *calls, closed(who, NOON + 99)])
    store.close()
    return store


PRUNE = """
import sys
from spendtree.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*store.prune(2**62))
"""


def pruner(store: Store) -> subprocess.Popen[str]:
    """Return a process that prunes a store when it gets a line."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", PRUNE, store.url], stdin=pipe, stdout=pipe, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL (POSIX)")
def test_pruning_that_is_killed_loses_nothing_and_is_finished_by_the_next(tmp_path: Path) -> None:
    store = fill(tmp_path / "spend.db", sessions=60)
    before, count = figures(store), len(list(store.events()))
    for less in (200, 800, 1500):
        with pruner(store) as process:
            go(process)
            while rows(tmp_path / "spend.db") > count - less:
                assert process.poll() is None, "it was done before it could be killed"
            process.kill()
        assert figures(store) == before

    done = store.prune(FOREVER)

    assert 0 < done.events < count
    assert figures(store) == before
    assert {each.times for each in store.events(kinds=(Kind.CALL,))} == {60}


def test_two_processes_that_prune_at_once_do_it_once(tmp_path: Path) -> None:
    store = fill(tmp_path / "spend.db", sessions=60)
    before = figures(store)
    with pruner(store) as one, pruner(store) as other:
        go(one)
        go(other)
        done = [process.communicate(timeout=60)[0].split() for process in (one, other)]

    assert sum(int(words[0]) for words in done) >= 60
    assert sum(int(words[1]) for words in done) == 60 * 59
    assert figures(store) == before
    assert {each.times for each in store.events(kinds=(Kind.CALL,))} == {60}


def test_a_program_goes_on_spending_meanwhile(tmp_path: Path) -> None:
    store = fill(tmp_path / "spend.db", sessions=100)
    live = session_account("live")
    who = Context("live", path=(live.id,))
    store.open([(live, None)], event(Kind.SESSION_OPENED, LATER, who))
    slowest, count = 0.0, 0
    with pruner(store) as process:
        go(process)
        while process.poll() is None:
            started = time.perf_counter()
            id = new_id()
            store.hold(id, who.path, 10, context=who, request=GPT, at=LATER)
            store.settle(id, 7, event(Kind.CALL, LATER, who, id=id))
            slowest = max(slowest, time.perf_counter() - started)
            count += 1

    assert slowest < 2, "bench/pruning.py has the figure; busy machines are slow at random"
    assert count > 10
    balance = store.balance(live.id)
    assert balance is not None
    assert balance.spent == 7 * count
    assert sum(each.times for each in store.events(session="live", kinds=(Kind.CALL,))) == count


def test_threads_of_the_pruning_process_go_on_too(worked: Store) -> None:
    tracker = spendtree.Spendtree(worked.url, {})
    threads = [threading.Thread(target=worked.prune, args=(NOON,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    with tracker.session("beside"), tracker.call("gpt-4o", input_tokens=1) as call:
        call.record(spendtree.Usage(1, 1))
    for thread in threads:
        thread.join()
    assert len(list(worked.events(session="beside", kinds=(Kind.CALL,)))) == 1


def test_a_store_of_before_there_was_pruning_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = database.schema_steps()
    path = tmp_path / "old.db"
    with monkeypatch.context() as patch:
        patch.setattr(database, "schema_steps", lambda: [first])
        old = open_store(f"sqlite:///{path}")
        for number in range(3):
            who = Context("s", path=())
            made = event(Kind.CALL, NOON + number, who, cost=1)
            assert old.append(made)
        old.append(closed(who, NOON + 9))
        old.close()
    with closing(open_store(f"sqlite:///{path}")) as store:
        before = figures(store)
        assert store.prune(LATER)[:3] == (1, 2, 1)
        assert figures(store) == before


def test_the_list_of_sessions_can_be_read_while_pruning_goes_on(
    ledger: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spendtree.store.reading.PAGE", 1)
    ends = ledger.events(kinds=(Kind.SESSION_OPENED, Kind.SESSION_CLOSED))
    first = next(ends)
    ledger.prune(LATER)
    assert [each.kind for each in (first, *ends)] == [Kind.SESSION_OPENED, Kind.SESSION_CLOSED]


def test_a_memory_store_has_nothing_old() -> None:
    store = MemoryStore()
    store.append(event(Kind.CALL, NOON, STRAY))
    assert store.prune(FOREVER) == Pruned()
    assert store.pruned_before() == 0
