"""New series are born at zero: what that means, and that Prometheus then counts every dollar."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from spendtree.account import session_account
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.ingest import Loader, SpanRecord, Terms, parse, sort
from spendtree.metrics import Fold, Limits
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.follow import Follower
from spendtree_exporter.render import TEXT, render
from spendtree_exporter.serve import serving
from tests.exporter.test_prometheus import asked, running

SECOND = 1_000_000
HOLD = 60 * SECOND
NOON = 1_790_000_000 * SECOND
ACME = Context("s-1", "acme", "search", "researcher", level=1)
GPT = Request("openai", "gpt-4o")


def call(at: int, context: Context = ACME, cost: int = 5 * 10**12, **fields: object) -> Event:
    return Event(0, Kind.CALL, at, b"", context, GPT, cost, status="ok")._replace(**fields)  # type: ignore[arg-type]


def at_time(now: int, *events: Event, fold: Fold | None = None) -> dict[str, str]:
    """Return the samples of a scrape at a time, of families with values, by name."""
    fold = fold or Fold("st")
    fold.tick(now)
    fold.apply(events)
    fold.tick(now)
    return shown(fold)


def shown(fold: Fold) -> dict[str, str]:
    lines = render(fold, TEXT).decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {labels.removeprefix("spendtree_"): value for labels, _, value in pairs}


def cost(samples: dict[str, str], name: str = "cost_usd_total") -> list[str]:
    return [value for labels, value in samples.items() if labels.startswith(f"{name}{{")]


def test_a_new_series_shows_zero_until_its_hold_is_over_and_then_all_it_has() -> None:
    fold = Fold("st")
    assert cost(at_time(NOON, call(NOON), fold=fold)) == ["0"]

    assert cost(at_time(NOON + HOLD - 1, call(NOON + HOLD - 1), fold=fold)) == ["0"]

    fold.tick(NOON + HOLD)
    assert cost(shown(fold)) == ["10"]
    assert cost(at_time(NOON + HOLD + 1, call(NOON + HOLD + 1), fold=fold)) == ["15"]


def test_a_restart_shows_the_same_whatever_the_log_was_read_in() -> None:
    late = ACME._replace(customer="late")
    log = [call(NOON), call(NOON + 50 * SECOND, late), call(NOON + 70 * SECOND)]
    now = NOON + 80 * SECOND
    followed = Fold("st")
    for event in log:
        followed.tick(event.at)
        followed.apply([event])
    followed.tick(now)

    restarted = at_time(now, *log)

    assert shown(followed) == restarted
    assert cost(restarted) == ["10", "0"]


def test_an_old_store_shows_its_figures_at_the_first_start() -> None:
    assert cost(at_time(NOON + 3600 * SECOND, call(NOON))) == ["5"]


def test_a_histogram_is_born_as_one() -> None:
    closed = call(NOON, kind=Kind.SESSION_CLOSED, status="succeeded")
    fold = Fold("st")

    before = at_time(NOON, closed, fold=fold)
    fold.tick(NOON + HOLD)

    name = "completed_session_cost_usd"
    assert set(cost(before, f"{name}_bucket") + cost(before, f"{name}_sum")) == {"0"}
    assert cost(shown(fold), f"{name}_sum") == ["5"]
    assert cost(shown(fold), f"{name}_count") == ["1"]


def test_session_series_show_their_value_at_once() -> None:
    assert cost(at_time(NOON, call(NOON)), "session_cost_usd_total") == ["5"]


def test_an_imported_call_is_born_when_it_was_imported_not_when_it_happened() -> None:
    imported = ACME._replace(origin="import")
    first = call(NOON - 86_400 * SECOND, imported, data={"recorded": NOON})
    second = call(NOON - 86_000 * SECOND, imported._replace(customer="other"))
    fold = Fold("st")

    assert cost(at_time(NOON, first, second, fold=fold)) == ["0", "0"]

    fold.tick(NOON + HOLD)
    assert cost(shown(fold)) == ["5", "5"]
    assert shown(fold) == at_time(NOON + HOLD, first, second)


@pytest.mark.parametrize("live", [True, False])
def test_received_spans_begin_at_zero_and_a_files_past_does_not(live: bool) -> None:
    """What has just arrived must be seen beginning; a backfill did not happen now."""
    span = (
        b'{"kind": "LLM", "trace_id": "t1", "span_id": "3", "model": "m", '
        b'"start": "2026-01-01T00:00:01Z", "end": "2026-01-01T00:00:03Z", '
        b'"usage": {"input_tokens": 7, "output_tokens": 3}, "usage_semantics": "inclusive"}'
    )
    store = MemoryStore()
    follower = Follower(store)
    follower.step()

    now = time.time_ns() // 1000
    loader = Loader(store, Terms(prices=PriceBook(), origin="import", now_us=now), live=live)
    spans = [found for found in parse(span) if isinstance(found, SpanRecord)]
    for session in sort(spans).sessions:
        loader.add(session)
    loader.flush()
    follower.step()

    assert cost(shown(follower.fold), "calls_total") == ["0" if live else "1"]
    follower.fold.tick(time.time_ns() // 1000 + HOLD)
    assert cost(shown(follower.fold), "calls_total") == ["1"]


def test_nothing_waits_for_an_event_of_a_clock_that_is_years_ahead() -> None:
    assert cost(at_time(NOON, call(2 * NOON))) == ["5"]


def test_the_hold_can_be_none_at_all() -> None:
    fold = Fold("st", birth_hold_us=0)

    assert cost(at_time(NOON, call(NOON), fold=fold)) == ["5"]


CUSTOMERS = 500
HOLD_SECONDS, QUIET_SECONDS = 3.0, 20.0


@pytest.mark.slow
def test_two_prometheus_count_short_sessions_of_500_new_customers_to_the_dollar(
    prometheus: str, sqlite_url: str, tmp_path: Path
) -> None:
    """Each customer has one session of one call, over long before anybody scrapes."""
    store = open_store(sqlite_url)
    limits = Limits(customers=2 * CUSTOMERS)
    held = Fold(store.id, limits=limits, birth_hold_us=round(HOLD_SECONDS * 1e6))
    bare = Fold(store.id, limits=limits, birth_hold_us=0)
    stop = threading.Event()
    with ExitStack() as stack:
        url = stack.enter_context(serving(create_app(store, fold=held)))
        plain = stack.enter_context(serving(create_app(store, fold=bare)))
        started = time.time()
        apis = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            started_one = running(prometheus, url, tmp_path / name, plain, replica=name)
            apis.append(stack.enter_context(started_one))
        for api in apis:
            asked(api, "count(up == 1) == 2")
        curl = threading.Thread(target=scrape_now_and_then, args=(url, stop), daemon=True)
        curl.start()
        ledger = spend(store)
        stop.wait(HOLD_SECONDS + QUIET_SECONDS)
        stop.set()
        curl.join()
        window = f"{round(time.time() - started) + 5}s"
        query = "sum(increase(spendtree_cost_usd_total{{job='{}'}}[{}]))"
        counted = [asked(api, query.format("spendtree", window)) for api in apis]
        without = [asked(api, query.format("plain", window)) for api in apis]
    store.close()

    print(f"ledger ${ledger:.2f}; counted {counted}; without the hold {without}")
    assert counted == pytest.approx([ledger, ledger], rel=0.05)
    assert without == pytest.approx([0, 0], abs=ledger * 0.05)


def spend(store: Store) -> float:
    """Let each customer have a session of one call, one after the other; return the dollars."""
    pico = 0
    for number in range(CUSTOMERS):
        name, amount = f"short-{number}", (number * 7919 % 1000 + 1) * 10**9
        account = session_account(name, f"customer-{number}")
        context = Context(name, f"customer-{number}", "team", path=(account.id,))
        now = time.time_ns() // 1000
        store.load(
            [account],
            [
                Event(0, Kind.SESSION_OPENED, now, derived_id("session", name), context),
                Event(0, Kind.CALL, now, derived_id(name), context, GPT, amount, status="ok"),
                Event(
                    0,
                    Kind.SESSION_CLOSED,
                    now,
                    derived_id("session", name),
                    context,
                    cost=amount,
                    status="succeeded",
                ),
            ],
        )
        pico += amount
        threading.Event().wait(0.01)
    return pico / 1e12


def scrape_now_and_then(url: str, stop: threading.Event) -> None:
    while not stop.wait(0.7):
        httpx.get(f"{url}/metrics")
