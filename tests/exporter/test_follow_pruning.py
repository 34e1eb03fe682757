"""Following a store that is pruned meanwhile: every figure stays, none ever goes down."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree.account import session_account
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.ids import new_id
from spendtree.metrics import Fold
from spendtree.store import Store, open_store
from spendtree.store.protocol import START, Cursor, Page
from spendtree_exporter import follow
from spendtree_exporter.follow import Follower
from tests.sdk.test_metrics import samples, total

OLD = 1_700_000_000_000_000
CALLS = 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store with two old sessions, closed, whose calls come in turn."""
    with closing(open_store(f"sqlite:///{tmp_path}/spend.db")) as opened:
        whos = [Context(name, "acme", path=(f"session/{name}",)) for name in ("one", "two")]
        events = [made(Kind.SESSION_OPENED, 0, who) for who in whos]
        events += [made(Kind.CALL, n, who) for n in range(CALLS // 2) for who in whos]
        events += [made(Kind.SESSION_CLOSED, CALLS, who) for who in whos]
        opened.load([session_account(who.session) for who in whos], events)
        yield opened


def made(kind: Kind, second: int, who: Context) -> Event:
    id = new_id() if kind == Kind.CALL else derived_id("session", who.session)
    status = {Kind.CALL: "ok", Kind.SESSION_CLOSED: "succeeded"}.get(kind, "")
    at = OLD + second
    return Event(0, kind, at, id, who, Request("", "m"), 5, status=status, started=at)


def fresh(store: Store) -> Fold:
    fold = Fold(store.id)
    fold.apply(store.events())
    return fold


def standing(fold: Fold) -> object:
    """Return the samples without those of sessions, which go in time."""
    return {
        (name, labels): value
        for (name, labels), value in samples(fold).items()
        if not name.startswith("session_")
    }


def until_complete(follower: Follower) -> None:
    follower.start()
    try:
        deadline, pause = time.monotonic() + 20, threading.Event()
        while not follower.complete:
            assert time.monotonic() < deadline, "it did not come to the end of the log"
            pause.wait(0.005)
    finally:
        follower.stop()


@pytest.mark.parametrize("pages", [1, 4, 8])
def test_a_follower_starts_over_when_the_log_is_pruned_under_it(
    store: Store, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE", 5)
    wanted = standing(fresh(store))
    follower = Follower(store)
    for _ in range(pages):
        follower.step()
    assert total(follower.fold, "calls_total") < CALLS

    assert store.prune(OLD + 10**9).events == CALLS - 2
    until_complete(follower)

    assert follower.failure == ""
    assert follower.store_errors == 0
    assert standing(follower.fold) == wanted == standing(fresh(store))


def test_a_follower_at_the_end_notices_nothing(store: Store) -> None:
    follower = Follower(store)
    follower.step()
    before, fold = standing(follower.fold), follower.fold

    store.prune(OLD + 10**9)

    assert follower.step() == (0, False)
    assert follower.fold is fold
    assert standing(follower.fold) == before


def test_what_is_shown_stays_until_the_log_is_folded_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE", 5)
    follower = Follower(store)
    for _ in range(4):
        follower.step()
    store.prune(OLD + 10**9)
    shown: list[int] = []
    read = store.read

    def watched(cursor: Cursor = START, limit: int = 10_000) -> Page:
        shown.append(total(follower.fold, "calls_total"))
        return read(cursor, limit)

    monkeypatch.setattr(store, "read", watched)
    version = follower.fold.version
    follower.start_over()
    shown.append(total(follower.fold, "calls_total"))

    assert shown == sorted(shown)
    assert shown[0] == shown[-2] > 0
    assert shown[-1] == CALLS
    assert follower.fold.version > version


def test_a_state_file_of_before_the_pruning_costs_only_time(store: Store, tmp_path: Path) -> None:
    wanted = standing(fresh(store))
    state_file = tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "PAGE", 20)
        first = Follower(store, state_file=state_file)
        first.step()
        first._write_down()
    assert state_file.exists()
    store.prune(OLD + 10**9)

    second = Follower(store, state_file=state_file)
    until_complete(second)

    assert standing(second.fold) == wanted
