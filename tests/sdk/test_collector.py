"""The application's own metrics: what this process books, in its own prometheus_client registry."""

import gc
import inspect
import logging
import multiprocessing
import socket
import sqlite3
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Timestamp
from starlette.applications import Starlette
from starlette.routing import Route

import spendtree
from spendtree import Spendtree, Usage
from spendtree.collector import workers
from spendtree.collector.exemplars import EXEMPLAR_MAX, exemplar_labels
from spendtree.collector.hearing import HeardStore
from spendtree.config.figures import catalogue_figures, configured_figures
from spendtree.errors import ConfigurationError, StoreUnavailableError
from spendtree.event import Context, Event, Kind
from spendtree.metrics import CATALOGUE, PREFIX
from spendtree.store import Store, open_store
from spendtree.testing import FrozenClock
from spendtree_exporter.follow import Follower
from spendtree_exporter.render import OPENMETRICS, TEXT, Format, render

Parse = Callable[[str], Iterable[Metric]]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

OPEN: Parse = openmetrics_parser.text_string_to_metric_families
PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
CONFIG = {
    "prices": PRICES,
    "session": {"warn_at": [0.5]},
    "customers": {"acme": {"budgets_usd": {"month": 400, "day": 20}}, "lax": {"mode": "warn"}},
    "agents": {"writer": {"contract": {"output_tokens": {"max": 10}}}},
}
OPENMETRICS_ACCEPT = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing in the environment speak of several workers."""
    for name in ("WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def tracker(tmp_path: Path, clock: FrozenClock) -> Iterator[Spendtree]:
    made = Spendtree(f"sqlite:///{tmp_path}/spend.db", CONFIG, clock=clock)
    yield made
    made.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


TOKENS = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
ODD = {
    "usage": {
        **TOKENS,
        "completion_tokens_details": {"audio_tokens": 2},
        "quantum_tokens": 7,
    }
}
"""A part that has no price, and a key that nobody knows."""


def spend(tracker: Spendtree, tokens: int = 1000, **options: Any) -> None:
    """Make one call of two cents for each thousand tokens."""
    bounds = {"input_tokens": tokens, "max_output_tokens": tokens}
    with tracker.call("m", provider="p", **{**bounds, **options}) as call:
        call.record(Usage(tokens, tokens))


def work(tracker: Spendtree, clock: FrozenClock) -> None:
    """Have something of every kind happen."""
    with tracker.session("s-1", customer="acme", team="search", ceiling="0.20") as session:
        with session.cycle(), tracker.agent("coordinator", envelope="0.05", max_cost="0.5"):
            spend(tracker)
            with tracker.agent("writer", envelope="0.06", reserved=True) as writer:
                spend(tracker)
                writer.deliver(25)
            clock.advance(3)
            session.transfer("writer", "coordinator", "0.01")
            with pytest.raises(spendtree.BudgetExceededError):
                spend(tracker, 100_000)
            with tracker.call("m", input_tokens=100, max_output_tokens=100):
                pass  # answered without usage
            with tracker.call("m", provider="p", input_tokens=100, max_output_tokens=100) as odd:
                odd.record(ODD)
            with tracker.call("m", provider="p", input_tokens=9, max_output_tokens=9) as billed:
                billed.record({"usage": {**TOKENS, "cost": 0.001}})
            with tracker.call("m", provider="p", input_tokens=9, max_output_tokens=9) as searching:
                searching.record(Usage(5, 5, units={"web_search": 2}))
        session.set_ceiling("0.50")
        with session.cycle(), tracker.agent("planner") as again:
            spend(tracker, 10_000)
            again.fail("no answer")
    clock.advance(1)
    with tracker.session("s-2", expected_usd="0.01") as failed:
        spend(tracker, 500)
        failed.fail("no answer")
    with tracker.session("s-1"):
        spend(tracker)
    with tracker.session("s-3", customer="lax", ceiling="0.01"):
        spend(tracker)
    with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
        call.record(Usage(5, 5))
    with tracker.call("unheard-of") as call:
        call.record(Usage(7, 7))


def parsed(body: str, parse: Parse) -> Samples:
    """Return all samples but those that an exporter or a collector tells of itself."""
    found: Samples = {}
    for family in parse(body):
        name = family.name.removeprefix(PREFIX)
        if name.startswith("exporter_") or name in ("build_info", "unrecorded_calls"):
            continue
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"two samples of one label set: {key}"
            found[key] = sample.value
    return found


def opened(registry: CollectorRegistry) -> str:
    """Return what a registry shows in OpenMetrics."""
    body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return body.decode()


def own(registry: CollectorRegistry) -> Samples:
    return parsed(opened(registry), OPEN)


def exported(tracker: Spendtree, clock: FrozenClock, format: Format = OPENMETRICS) -> str:
    """Return what the exporter shows of a tracker's store by its configuration."""
    follower = Follower(tracker.store, now=lambda: clock() // 1000)
    while follower.step()[1]:
        pass
    follower.refresh()
    dated = catalogue_figures(tracker.prices.catalogue_timestamp)
    own = {**dated, **configured_figures(tracker.config)}
    return render(follower.fold, format, own).decode()


def value(registry: CollectorRegistry, name: str, /, **labels: str) -> float:
    """Return the sum over the samples of a name that have these labels."""
    samples = [
        s for family in registry.collect() for s in family.samples if s.name == PREFIX + name
    ]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


# The same figures as the exporter's.


def test_its_figures_are_the_exporters_where_only_this_process_writes(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)

    work(tracker, clock)

    newborn = parsed(exported(tracker, clock), OPEN)
    assert own(registry) == newborn
    clock.advance(61)
    grown = parsed(exported(tracker, clock), OPEN)
    assert own(registry) == grown
    assert sum(newborn.values()) < sum(grown.values())
    clock.advance(15 * 60)
    assert own(registry) == parsed(exported(tracker, clock), OPEN)


def test_the_work_compared_touches_nearly_every_family(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    work(tracker, clock)
    clock.advance(61)

    silent = {m.name.removeprefix(PREFIX) for m in registry.collect() if not m.samples}

    assert silent == {
        "hold_wait_seconds",
        "oldest_hold_age_seconds",
        "presumed_resolved_usd",
        "label_overflow",
        "plan_price_usd",
        "alert_threshold",
    }


def test_what_the_configuration_says_is_shown_and_follows_it(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    assert value(registry, "price_catalogue_timestamp_seconds") > 1.7e9
    assert value(registry, "plan_price_usd") == 0

    tracker.reconfigure(
        {
            "plans": {"pro": {"price_usd": "99.90"}},
            "customers": {"acme": {"plan": "pro"}},
            "alerts": {"thresholds": {"series_ratio": "0.95"}},
        }
    )

    assert value(registry, "plan_price_usd", customer="acme", plan="pro") == 99.9
    assert value(registry, "alert_threshold", name="series_ratio") == 0.95


def test_a_new_counter_shows_0_until_it_was_surely_scraped(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    with tracker.session("s"):
        spend(tracker)

    assert value(registry, "cost_usd_total") == 0
    assert value(registry, "session_cost_usd_total") == 0.02, "sessions are read by value"
    clock.advance(60)
    assert value(registry, "cost_usd_total") == 0.02


def test_every_family_is_there_without_series_too(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)

    found = {family.name: family for family in OPEN(opened(registry))}

    for each in CATALOGUE:
        family = found.get(each.full_name.removesuffix("_total"))
        if each.name.startswith("exporter_"):
            assert family is None, "there is no exporter here"
        else:
            assert family is not None, each.name
            assert (family.type, family.unit) == (each.kind, each.unit)
            assert family.documentation == each.help


def test_events_are_folded_when_many_wait_although_nobody_scrapes(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    made = spendtree.collector(registry, tracker=tracker)
    with tracker.session("s"):
        for _ in range(1_100):
            spend(tracker, 1)

        assert len(made._waiting) < 200
        clock.advance(61)
        assert value(registry, "calls_total") == 1_100


# Only what this process books.


def test_what_other_processes_and_imports_write_is_not_in_it(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    other = Spendtree(open_store(tracker.store.url), CONFIG, clock=clock)
    with other.session("theirs"):
        spend(other)
    with tracker.session("ours"):
        spend(tracker)
    late = Event(0, Kind.CALL, 1, b"i" * 16, Context("imported"), cost=10**12, status="ok")
    tracker.store.load([], [late])
    other.close()
    clock.advance(61)

    sessions = {s.labels["session"] for m in registry.collect() for s in m.samples
                if "session" in s.labels}  # fmt: skip
    assert sessions == {"ours"}
    assert value(registry, "cost_usd_total") == 0.02
    assert "theirs" in exported(tracker, clock)


def test_two_trackers_of_one_store_do_not_mix(tracker: Spendtree, clock: FrozenClock) -> None:
    other = Spendtree(tracker.store, CONFIG, clock=clock)
    mine, others = CollectorRegistry(), CollectorRegistry()
    spendtree.collector(mine, tracker=tracker)
    spendtree.collector(others, tracker=other)
    with tracker.session():
        spend(tracker)
    with other.session():
        spend(other, 2000)
    clock.advance(61)

    assert value(mine, "cost_usd_total") == 0.02
    assert value(others, "cost_usd_total") == 0.04


def test_one_registry_takes_the_figures_of_one_tracker(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    first = spendtree.collector(registry, tracker=tracker)
    other = Spendtree("memory:", CONFIG)

    with pytest.raises(ConfigurationError, match="another Spendtree") as refused:
        spendtree.collector(registry, tracker=other)

    assert "CollectorRegistry(), tracker=" in str(refused.value)
    first.close()
    spendtree.collector(registry, tracker=other)
    assert value(registry, "build_info") == 1


def test_asked_again_it_is_the_same_collector(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    made = spendtree.collector(registry, tracker=tracker)

    assert spendtree.collector(registry, tracker=tracker) is made
    assert spendtree.collector(CollectorRegistry(), tracker=tracker) is not made


def test_without_arguments_it_is_the_default_tracker_in_the_default_registry(
    tracker: Spendtree, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spendtree.default, "_default", tracker)
    made = spendtree.collector()
    try:
        with spendtree.session():
            spend(tracker)
        clock.advance(61)
        assert value(REGISTRY, "cost_usd_total", store=tracker.store.id) == 0.02
    finally:
        made.close()


def test_a_session_joined_here_has_its_gauges_until_it_is_left(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    other = Spendtree(open_store(tracker.store.url), CONFIG, clock=clock)
    with other.session("shared", ceiling="1"):
        made = spendtree.collector(registry, tracker=tracker)
        with tracker.session("shared"):
            clock.advance(3600)
            assert value(registry, "budget_limit_usd", session="shared") == 1
            spend(tracker)
            assert value(registry, "budget_spent_usd", session="shared") == 0.02
        assert value(registry, "sessions_total") == 0, "its end is not ours to count"
        assert made._fold.live_sessions == 0
        clock.advance(15 * 60)
        assert value(registry, "budget_limit_usd", session="shared") == 0
    other.close()


def test_a_closed_collector_leaves_the_registry_and_the_tracker_as_they_were(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    bare = tracker.store
    made = spendtree.collector(registry, tracker=tracker)
    assert tracker.store is not bare

    made.close()
    made.close()

    assert tracker.store is bare
    assert not list(registry.collect())


def test_every_verb_that_records_an_event_tells_of_it() -> None:
    """A verb that goes by __getattr__ would be heard by nobody."""
    verbs = {name for name, verb in inspect.getmembers(Store, inspect.isfunction)
             if "event" in inspect.signature(verb).parameters}  # fmt: skip

    assert verbs <= set(vars(HeardStore))
    assert "settle" in verbs


def test_warnings_crossed_by_any_verb_are_counted(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    with tracker.session("s", customer="c", ceiling="0.10") as session:
        with tracker.agent("a", envelope="0.03"), tracker.agent("b", envelope="0.08"):
            spend(tracker, 1000)  # b: no mark yet
            session.transfer("b", "a", "0.05")  # b: 0.02 of 0.03
        session.set_ceiling("0.04")  # the session: 0.02 of 0.04
        spend(tracker, 500)
    clock.advance(61)

    found = list(tracker.store.events(kinds=[Kind.WARNED]))
    assert len(found) == value(registry, "budget_warnings_total") == 2


def test_open_holds_and_unrecorded_calls_of_this_process_are_told(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    assert value(registry, "unrecorded_calls_total") == 0
    with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
        clock.advance(5)
        assert value(registry, "oldest_hold_age_seconds") == 5
        call.record(Usage(1, 1))
    tracker.unrecorded(StoreUnavailableError("the disk is full"))

    assert not [s for m in registry.collect() for s in m.samples if "oldest_hold" in s.name]
    assert value(registry, "unrecorded_calls_total") == 1


def test_another_configuration_bounds_the_series_from_then_on(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    tracker.reconfigure({"prices": PRICES, "metrics": {"max_customers": 1}})
    for customer in ("a", "b"):
        with tracker.session(customer=customer):
            spend(tracker)
    clock.advance(61)

    assert value(registry, "cost_usd_total", customer="a") == 0.02
    assert value(registry, "cost_usd_total", customer="_other") == 0.02


def test_threads_that_spend_while_others_scrape_lose_nothing(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    clock = FrozenClock()
    tracker = Spendtree("memory:", CONFIG, clock=clock)
    spendtree.collector(registry, tracker=tracker)
    done = threading.Event()
    seen: list[float] = []

    def scrape() -> None:
        while not done.is_set():
            seen.append(value(registry, "session_calls_total"))

    def session(number: int) -> None:
        with tracker.session(f"s-{number}"):
            for _ in range(400):
                spend(tracker, 1)

    scraper = threading.Thread(target=scrape)
    spenders = [threading.Thread(target=session, args=(number,)) for number in range(4)]
    for thread in (scraper, *spenders):
        thread.start()
    for thread in spenders:
        thread.join()
    done.set()
    scraper.join()

    assert value(registry, "session_calls_total") == 1_600
    assert seen == sorted(seen)


def test_a_scope_closed_by_the_garbage_collector_in_a_scrape_does_not_block_it(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    """The scrape has the lock, and the forgotten scope's end is heard by the same thread."""
    made = spendtree.collector(registry, tracker=tracker)

    def forgotten() -> Iterator[None]:
        with tracker.session("forgotten"):
            yield

    abandoned = forgotten()
    next(abandoned)
    made._waiting.extend(Event(0, Kind.MESSAGE, 1, b"") for _ in range(2_000))
    with made._lock:
        del abandoned
        gc.collect()
        assert made._waiting[-1].kind == Kind.SESSION_CLOSED


def test_gauges_stay_as_they_were_while_the_store_cannot_be_read(
    tracker: Spendtree,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spendtree.collector(registry, tracker=tracker)
    with tracker.session("s", ceiling="1"):
        assert value(registry, "budget_limit_usd", session="s") == 1

        def fails(_: object) -> None:
            raise StoreUnavailableError("the disk is gone")

        monkeypatch.setattr(tracker.store.bare, "accounts_named", fails)  # type: ignore[attr-defined]
        assert value(registry, "budget_limit_usd", session="s") == 1
        assert value(registry, "budget_limit_usd", session="s") == 1

    assert caplog.text.count("the disk is gone") == 1


def test_a_scrape_after_the_tracker_was_closed_opens_no_file(
    tracker: Spendtree, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    spendtree.collector(registry, tracker=tracker)
    with tracker.session("s", ceiling="1"):
        spend(tracker)
    value(registry, "build_info")
    tracker.close()

    def connected(*_: object, **__: object) -> None:
        raise AssertionError("a closed store was opened again")

    monkeypatch.setattr(sqlite3, "connect", connected)
    assert value(registry, "session_cost_usd_total") == 0.02


def test_a_fold_that_fails_shows_nothing_and_disturbs_no_call(
    tracker: Spendtree,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = spendtree.collector(registry, tracker=tracker)

    def fails(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(made._fold, "apply", fails)
    with tracker.session():
        spend(tracker)
        assert list(registry.collect()) == []
        spend(tracker)

    assert list(registry.collect()) == []
    assert caplog.text.count("left out, counting ended: ZeroDivisionError") == 1


# Exemplars.


def exemplars(body: str) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for family in OPEN(body):
        for sample in family.samples:
            if sample.exemplar is not None:
                labels = tuple(sorted(sample.exemplar.labels.items()))
                found.setdefault(family.name.removeprefix(PREFIX), set()).add(labels)
    return found


def test_every_histogram_names_a_session_and_a_span_in_openmetrics_and_in_text_nothing(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    work(tracker, clock)
    assert exemplars(opened(registry)) == {}, "all show 0 yet"
    clock.advance(61)

    found = exemplars(opened(registry))

    ends = list(tracker.store.events(kinds=[Kind.SESSION_CLOSED]))
    named = {e.context.session: (("session_id", e.context.session), ("span_id", e.id.hex()))
             for e in reversed(ends)}  # fmt: skip
    assert set(found) == {
        each.name
        for each in CATALOGUE
        if each.kind == "histogram" and each.name != "hold_wait_seconds"
    }
    assert set().union(*found.values()) == set(named.values())
    assert found["completed_session_cost_to_expected_ratio"] == {named["s-2"]}
    assert found["envelope_usage_ratio"] == {named["s-1"]}
    assert " # {" not in generate_latest(registry).decode()


def test_an_exemplar_is_the_value_that_filled_its_bucket(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    for session, tokens in (("cheap", 100), ("dear", 40_000), ("dearer", 45_000)):
        with tracker.session(session):
            spend(tracker, tokens)
    clock.advance(61)

    body = opened(registry)

    (family,) = [f for f in OPEN(body) if f.name == PREFIX + "completed_session_cost_usd"]
    found = {
        s.labels["le"]: (s.exemplar.labels["session_id"], s.exemplar.value, s.exemplar.timestamp)
        for s in family.samples
        if s.exemplar is not None
    }
    at = tracker.store.read().events[-1].at / 1e6
    assert {le: each[:2] for le, each in found.items()} == {
        "0.002": ("cheap", 0.002),
        "1.0": ("dearer", 0.9),
    }
    assert [each[2] for each in found.values()] == [Timestamp(at, 0)] * 2


def test_a_call_that_waited_names_itself(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    made = spendtree.collector(registry, tracker=tracker)
    waited = Event(0, Kind.CALL, clock() // 1000, b"w" * 16, Context("s"), status="ok",
                   data={"waited_us": 20_000, "waited_at": "session"})  # fmt: skip
    made.heard(waited)
    clock.advance(61)

    found = exemplars(opened(registry))

    assert found == {"hold_wait_seconds": {(("session_id", "s"), ("span_id", "77" * 16))}}


@pytest.mark.parametrize(
    ("session", "named"),
    [
        ("s" * 79, {"session_id", "span_id"}),
        ("s" * 80, {"session_id"}),
        ("s" * 118, {"session_id"}),
        ("s" * 119, {"span_id"}),
        ("", {"span_id"}),
        ('a"b', {"span_id"}),
        ("a\\b", {"span_id"}),
    ],
)
def test_an_exemplar_has_at_most_128_characters_no_part_of_an_id_and_nothing_escaped(
    session: str, named: set[str]
) -> None:
    labels = exemplar_labels(Event(0, Kind.CALL, 1, bytes(16), Context(session)))

    assert set(labels) == named
    assert labels.get("session_id", session) == session
    assert sum(len(name) + len(text) for name, text in labels.items()) <= EXEMPLAR_MAX


def test_names_of_any_characters_break_neither_format(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    spendtree.collector(registry, tracker=tracker)
    odd = 'a"b\\c\nd\x00é'
    with tracker.session(odd, customer=odd), tracker.agent(odd):
        spend(tracker)
    clock.advance(61)

    assert own(registry) == parsed(exported(tracker, clock), OPEN)
    parsed(generate_latest(registry).decode(), text_string_to_metric_families)


# Over HTTP.


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app on the loopback; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_metrics_app_serves_both_formats_zipped_within_an_application(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    Counter("requests", "The application's own.", registry=registry).inc()
    metrics = spendtree.metrics_app(registry, tracker=tracker)
    app = Starlette()
    app.router.routes.append(Route("/metrics", metrics))
    app.mount("/mounted", metrics)
    work(tracker, clock)
    clock.advance(61)

    with serving(app) as url, httpx.Client(base_url=url, follow_redirects=True) as client:
        text = client.get("/metrics", headers={"Accept": "text/plain"})
        metered = client.get("/metrics", headers={"Accept": OPENMETRICS_ACCEPT})
        mounted = client.get("/mounted", headers={"Accept-Encoding": "identity"})
        one = client.get("/metrics", params={"name[]": "spendtree_sessions_total"})
        posted = client.post("/metrics")

    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert metered.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (text.headers["content-encoding"], metered.headers["content-encoding"]) == ("gzip",) * 2
    assert "content-encoding" not in mounted.headers
    assert mounted.text == text.text
    assert "requests_total 1.0" in text.text
    assert exemplars(metered.text)
    assert " # {" not in text.text
    assert {line.partition("{")[0] for line in one.text.splitlines() if line[0] != "#"} == {
        "spendtree_sessions_total"
    }
    assert posted.status_code == 405
    for response, parse, format in (
        (metered, OPEN, OPENMETRICS),
        (text, text_string_to_metric_families, TEXT),
    ):
        found = parsed(response.text, parse)
        del found["requests_total", frozenset()]
        found = {key: each for key, each in found.items() if "_created" not in key[0]}
        assert found == parsed(exported(tracker, clock, format), parse)


def test_metrics_app_takes_nothing_but_http(registry: CollectorRegistry) -> None:
    app = spendtree.metrics_app(registry, tracker=Spendtree("memory:"))

    async def never(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="http requests, no websocket"):
        app({"type": "websocket"}, never, never).send(None)


# Where there are several processes.


@pytest.mark.parametrize(
    ("name", "set_to"),
    [
        ("PROMETHEUS_MULTIPROC_DIR", "shared"),
        ("prometheus_multiproc_dir", "shared"),
        ("WEB_CONCURRENCY", "2"),
    ],
)
def test_it_is_refused_where_the_environment_speaks_of_several_workers(
    name: str, set_to: str, monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    monkeypatch.setenv(name, set_to)

    with pytest.raises(ConfigurationError, match=name) as refused:
        spendtree.collector(registry, tracker=Spendtree("memory:"))

    assert "counters would go backwards. Run spendtree-exporter" in str(refused.value)
    with pytest.raises(ConfigurationError, match=name):
        spendtree.metrics_app(registry, tracker=Spendtree("memory:"))


@pytest.mark.parametrize("set_to", ["1", "", "many"])
def test_one_worker_in_the_environment_is_none_too_many(
    set_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", set_to)

    assert workers.why_many() == ""


APPLICATION = """
import spendtree

metrics = spendtree.metrics_app(tracker=spendtree.Spendtree("memory:"))

async def app(scope, receive, send):
    await metrics(scope, receive, send)
"""


def test_uvicorns_workers_refuse_it(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "uvicorn", "application:app", "--port", "0", "--workers", "2"]
    server = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said = next((line for line in server.stderr if "one of" in line), "")
    finally:
        server.terminate()
        server.communicate(timeout=60)

    assert "ConfigurationError: collector(): this is one of 2 workers of uvicorn" in said


def _ask_why(config: object, answer: Any) -> None:
    answer.send(workers.why_many())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workers": 3}, "this is one of 3 workers of uvicorn"),
        ({"workers": 1}, ""),
        ({"workers": 3, "reload": True}, ""),
    ],
)
def test_what_uvicorn_starts_its_processes_with_tells_how_many_there_are(
    options: dict[str, Any], why: str
) -> None:
    config = uvicorn.Config("application:app", log_config=None, **options)
    assert _in_child(_ask_why, config=config) == why


def test_below_gunicorns_arbiter_its_workers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape of gunicorn 20 to 27: the worker is forked off within a method of the arbiter."""
    module = types.ModuleType("gunicorn.arbiter")
    code = (
        "class Arbiter:\n"
        "    def __init__(self, cfg): self.cfg = cfg\n"
        "    def spawn_worker(self, work): return work()\n"
    )
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", module)

    def arbiter(count: int) -> Any:
        return module.Arbiter(types.SimpleNamespace(workers=count))

    assert arbiter(4).spawn_worker(workers.why_many) == "this is one of 4 workers of gunicorn"
    assert arbiter(1).spawn_worker(workers.why_many) == ""
    assert workers.why_many() == ""


def _in_child(target: Callable[..., None], **arguments: Any) -> Any:
    """Run a function in a forked process; return what it sends."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=target, kwargs={**arguments, "answer": there})
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()
        here.close()


def test_a_forked_child_shows_nothing_of_its_parents_and_can_have_its_own(
    tracker: Spendtree, clock: FrozenClock, registry: CollectorRegistry
) -> None:
    made = spendtree.collector(registry, tracker=tracker)
    with tracker.session("parents"):
        spend(tracker)
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    def child(answer: Any) -> None:
        logging.getLogger("spendtree").addHandler(Keep())
        inherited = [len(list(registry.collect())) for _ in range(2)]
        again = spendtree.collector(registry, tracker=tracker)
        with tracker.session("childs"):
            spend(tracker, 500)
        clock.advance(61)
        answer.send((inherited, said, again is made, value(registry, "cost_usd_total")))

    inherited, told, same, spent = _in_child(child)

    assert inherited == [0, 0]
    (line,) = told
    assert "forked" in line
    assert "Call spendtree.collector() here" in line
    assert not same
    assert spent == 0.01
    clock.advance(61)
    assert value(registry, "cost_usd_total") == 0.02, "the parent counts on as before"
    assert spendtree.collector(registry, tracker=tracker) is made


def test_a_child_forked_during_a_scrape_does_not_wait_for_it(
    tracker: Spendtree, registry: CollectorRegistry
) -> None:
    made = spendtree.collector(registry, tracker=tracker)

    def child(answer: Any) -> None:
        with tracker.session("childs"):
            spend(tracker)
        answer.send(list(made.collect()))

    with made._lock:
        assert _in_child(child) == []


def test_importing_spendtree_loads_nothing_of_it() -> None:
    code = (
        "import sys, spendtree; print(*[name for name in sys.modules if name.startswith(("
        "'prometheus_client', 'spendtree.metrics', 'spendtree.collector.c'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
