"""Restarts: the state taken up again is the log's, and no scraper sees a counter fall."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree.account import session_account
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.metrics import Fold, Limits, state
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter import follow
from spendtree_exporter.follow import Follower
from spendtree_exporter.own import own_figures
from spendtree_exporter.render import TEXT, render
from tests.exporter.conftest import Load
from tests.exporter.oracle import logs

MINUTE = 60_000_000
LIMITS = Limits(series=400, session_series=30, customers=1, agents=2)


def lines(fold: Fold) -> set[bytes]:
    return set(render(fold, TEXT).splitlines())


def through_json(fold: Fold, **options: object) -> Fold:
    """Return what the state of a fold, written down and read, comes to."""
    empty = Fold(fold.store_id, limits=fold.limits, **options)  # type: ignore[arg-type]
    pieces = [json.loads(json.dumps(piece)) for piece in state.dump(fold)]
    state.load(empty, ((name, value) for name, value in pieces))
    return empty


@given(logs, logs, st.sampled_from([Limits(), LIMITS]), st.integers(0, 200))
@settings(deadline=None, max_examples=80)
def test_a_fold_that_was_written_down_goes_on_like_one_that_was_not(
    before: list[Event], after: list[Event], limits: Limits, now: int
) -> None:
    timed = [event._replace(at=n * 4 * MINUTE) for n, event in enumerate([*before, *after])]
    one = Fold("st", limits=limits)
    one.tick(now * MINUTE)
    one.apply(timed[: len(before)])
    one.tick(now * MINUTE)

    other = through_json(one)
    assert lines(other) == lines(one)
    for fold in (one, other):
        fold.apply(timed[len(before) :])
        fold.tick(250 * MINUTE)

    assert lines(other) == lines(one)
    assert other.events == one.events
    assert other.live_sessions == one.live_sessions
    assert (other.session_series, other.standing_series) == (
        one.session_series,
        one.standing_series,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exporter.state"


def exporter(store: Store, file: Path, limits: Limits | None = None) -> Follower:
    """Return a follower that has resumed and stands at the end of the log."""
    follower = Follower(store, fold=Fold(store.id, limits=limits), state_file=file)
    follower.resume()
    while follower.step()[1]:
        pass
    return follower


def stopped(store: Store, file: Path) -> None:
    """Run an exporter until it has read everything, and stop it: the state is written."""
    follower = Follower(store, fold=Fold(store.id), state_file=file)
    follower.start()
    follower.wait(30)
    follower.stop()


def test_a_restart_reads_only_what_came_since(file: Path, load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 100)
    stopped(store, file)
    load(store, 100, 7)

    follower = exporter(store, file)

    assert follower.events_read == 7
    assert follower.fold.events == 107
    assert lines(follower.fold) == lines(exporter(store, file / "none").fold)


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])


def cut_at_a_line(file: Path) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-3]))


def altered(file: Path) -> None:
    file.write_text(file.read_text().replace("customer-1", "customer-9"))


def garbage(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 10)


def somebody_elses(file: Path) -> None:
    file.write_text('{"some": ["other", "file"]}\n')


def emptied(file: Path) -> None:
    file.write_text("")


def removed(file: Path) -> None:
    file.unlink()


def of_another_form(file: Path) -> None:
    file.write_text(file.read_text().replace(state.form(), "0-0", 1))


@pytest.mark.parametrize(
    "harm",
    [torn, cut_at_a_line, altered, garbage, somebody_elses, emptied, removed, of_another_form],
)
def test_a_file_that_cannot_be_used_only_costs_the_reading_of_the_log(
    file: Path, load: Load, harm: Callable[[Path], None]
) -> None:
    store = MemoryStore()
    load(store, 0, 50)
    stopped(store, file)
    harm(file)

    follower = exporter(store, file)

    assert follower.events_read == 50
    assert lines(follower.fold) == lines(exporter(store, file / "none").fold)


def test_the_state_of_another_store_is_not_taken(file: Path, load: Load) -> None:
    first, second = MemoryStore(), MemoryStore()
    load(first, 0, 50)
    load(second, 0, 20)
    stopped(first, file)

    assert exporter(second, file).fold.events == 20


def test_a_log_that_was_put_back_is_read_again(file: Path, load: Load) -> None:
    """The same store, as a backup has it: shorter, or gone on otherwise."""
    store, older = MemoryStore(), MemoryStore()
    older.id = store.id
    load(store, 0, 50)
    stopped(store, file)
    load(older, 0, 20)
    load(older, 100, 40)

    assert exporter(older, file).events_read == 60


def test_other_settings_make_another_fold_so_the_log_is_read(file: Path, load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 50)
    stopped(store, file)

    follower = exporter(store, file, Limits(customers=1))

    assert follower.events_read == 50


def test_a_state_that_cannot_be_written_is_told_and_following_goes_on(
    tmp_path: Path, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    load(store, 0, 5)

    stopped(store, tmp_path / "no such folder" / "state")

    assert "could not be written" in caplog.text


def test_no_part_of_a_file_is_left_when_writing_fails(
    file: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    load(store, 0, 5)
    stopped(store, file)
    before = file.read_bytes()
    load(store, 5, 5)

    dump = state.dump

    def full(fold: Fold) -> Iterator[state.Value]:
        yield from list(dump(fold))[:2]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "dump", full)
    stopped(store, file)

    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


RESTARTS = 50


@pytest.mark.slow
def test_50_restarts_under_load_and_no_counter_ever_goes_down(
    file: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late truths included; sometimes the state is old, lost or from a kill. Births too."""
    monkeypatch.setattr(follow, "SNAPSHOT_SECONDS", 0.05)
    seed = random.Random(50)
    store = open_store(sqlite_url)
    done = threading.Event()
    writer = threading.Thread(target=write_until, args=(sqlite_url, done))
    writer.start()
    seen: dict[str, float] = {}
    falls: list[str] = []
    kept = b""
    try:
        for _ in range(RESTARTS):
            fate = seed.choice(("kept", "kept", "older", "lost"))
            if fate == "lost":
                file.unlink(missing_ok=True)
            elif fate == "older" and kept:
                file.write_bytes(kept)
            elif file.exists():
                kept = file.read_bytes()
            run_for(store, file, seed, seen, falls)
    finally:
        done.set()
        writer.join()
    assert not falls
    follower = exporter(store, file)
    ledger = sum(event.cost or 0 for event in store.events(kinds=[Kind.CALL, Kind.ADJUSTMENT]))
    assert sum(each.value for each in follower.fold.rows("cost_usd_total").values()) == ledger
    store.close()
    assert max(seen.values()) > 0


def run_for(
    store: Store, file: Path, seed: random.Random, seen: dict[str, float], falls: list[str]
) -> None:
    """Run an exporter for a random while, scraping it; half the time it is killed."""
    fold = Fold(store.id, limits=Limits(customers=5), birth_hold_us=300_000)
    follower = Follower(store, fold=fold, state_file=file)
    if seed.random() < 0.5:
        # What a killed one leaves is what it wrote before: it does not write at its end.
        follower._write_down = lambda: None  # type: ignore[method-assign]
    follower.start()
    follower.wait(30)
    assert follower.complete, follower.failure
    until = time.monotonic() + seed.uniform(0.02, 0.25)
    while time.monotonic() < until:
        with follower.lock:
            body = render(follower.fold, TEXT, own_figures(follower, 0)).decode()
        look(body, seen, falls)
        threading.Event().wait(0.01)
    follower.stop()
    assert not follower.failure


def look(body: str, seen: dict[str, float], falls: list[str]) -> None:
    """Note the series that are lower than before, or gone; the exporter's own begin anew."""
    found = {}
    for line in body.splitlines():
        labels, _, value = line.rpartition(" ")
        if not line.startswith("#") and "_exporter_" not in line and "_budget_" not in line:
            found[labels] = float(value)
    falls += [f"{name}: {seen[name]} -> {found.get(name)}" for name in seen
              if found.get(name, -1.0) < seen[name] and "oldest_hold" not in name]  # fmt: skip
    seen.update(found)


def write_until(url: str, done: threading.Event) -> None:
    """Write sessions of a few calls, some of which lapse and are known later."""
    store, number, late = open_store(url), 0, list[Event]()
    model = Request("openai", "gpt-4o")
    while not done.wait(0.002):
        number += 1
        name, now = f"s-{number // 10}", time.time_ns() // 1000
        account = session_account(name)
        context = Context(
            name, f"customer-{number // 40}", agent=f"agent-{number % 3}", path=(account.id,)
        )
        id = derived_id("call", str(number))
        event = Event(0, Kind.CALL, now, id, context, model, number, 9, 5, 5, status="ok")
        if number % 5 == 0:
            event = event._replace(kind=Kind.LAPSE, cost=0, held=9, status="lapsed")
            late.append(event)
        store.load([account], [event])
        if len(late) > 7:
            lapse = late.pop(0)
            truth = lapse._replace(kind=Kind.ADJUSTMENT, cost=number, at=now, status="ok")
            store.adjust(lapse.id, number, truth)
    store.close()
