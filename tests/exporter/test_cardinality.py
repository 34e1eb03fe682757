"""However many names and sessions come, the exporter's series and memory stay within bounds."""

import gc
import tracemalloc
from collections.abc import Iterator

from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import Fold, Limits
from spendtree.store.memory import MemoryStore
from spendtree_exporter.follow import Follower
from spendtree_exporter.own import own_figures
from spendtree_exporter.render import OPENMETRICS, TEXT, render

MINUTE = 60_000_000
HOSTILE = (
    "\x00\x01\r\n\t\x7f\x85\u2028",
    '"} 1\nspendtree_cost_usd_total{customer="forged',
    "\\" * 300,
    "x" * 10_000,
    "\ud800lone",
    "é" * 300,
    "_other",
    "_overflow",
)


def session(number: int, at: int = 0) -> Iterator[Event]:
    """Yield the events of a session with a ceiling, of two agents."""
    context = Context(f"session-{number:024d}", f"customer-{number}", path=(f"session/{number}",))
    yield Event(0, Kind.SESSION_OPENED, at, b"", context, data={"ceiling": 10**12})
    for level, agent in enumerate(("coordinator", "researcher"), 1):
        who = context._replace(agent=agent, level=level, run=f"{number}-{level}")
        model = Request("openai", "gpt-4o")
        yield Event(0, Kind.CALL, at, b"", who, model, 5, 9, 10, 10, status="ok")
    yield Event(0, Kind.SESSION_CLOSED, at, b"", context, cost=10, status="succeeded")


def applied(fold: Fold, sessions: range, at: int = 0) -> Fold:
    for number in sessions:
        fold.apply(session(number, at))
    return fold


def test_five_thousand_customers_stay_within_the_default_limits_and_totals_are_exact() -> None:
    fold = applied(Fold("st"), range(5_000))

    limits = fold.limits
    assert fold.session_series <= limits.session_series
    assert fold.standing_series <= limits.standing_series
    customers = {labels[0] for labels in fold.rows("cost_usd_total")}
    assert len(customers) == 201
    assert "_other" in customers
    for name, per_session in (("cost_usd_total", 10), ("calls_total", 2), ("sessions_total", 1)):
        total = sum(series.value for series in fold.rows(name).values())
        assert total == 5_000 * per_session, name
    shown = sum(series.value for series in fold.rows("session_cost_usd_total").values())
    assert shown == 5_000 * 10, "what has no series of its own is in _overflow"
    overflow = fold.rows("label_overflow_total")
    assert overflow[("customer",)].value == 2 * 4_800
    assert overflow[("session",)].value > 0


def test_the_exporter_tells_how_many_series_there_are_and_how_near_the_limits() -> None:
    store = MemoryStore()
    events = [event._replace(context=event.context._replace(path=())) for event in session(1)]
    store.load([], events)
    follower = Follower(store, fold=Fold(store.id, limits=Limits(series=500, session_series=60)))
    follower.step()

    own = own_figures(follower, 0)
    body = render(follower.fold, TEXT, own).decode()

    told = dict(own["exporter_series"])
    assert own["exporter_series_limit"] == [(("session",), 60), (("standing",), 440)]
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    carried = [line for line in lines if 'session="s' in line]
    others = [line for line in lines if "spendtree_exporter_" not in line and "build" not in line]
    assert told[("session",)] == len(carried)
    assert told[("standing",)] == len(others) - len(carried)


def test_memory_goes_back_when_sessions_have_lingered() -> None:
    fold = Fold("st", limits=Limits(session_series=10**6, customers=10))
    applied(fold, range(200))
    render(fold, TEXT)
    gc.collect()
    tracemalloc.start()
    try:
        applied(fold, range(1_000, 4_000), at=30 * MINUTE)
        render(fold, TEXT)
        gc.collect()
        full = tracemalloc.get_traced_memory()[0]
        # A quiet log: the clock alone takes the series away, the next session the state as well.
        fold.tick(50 * MINUTE)
        gc.collect()
        hidden = tracemalloc.get_traced_memory()[0]
        applied(fold, range(1), at=50 * MINUTE)
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert full > 3_000 * 6 * 100
    assert hidden < full * 0.7
    assert left < full * 0.25, "only what is kept at hand of names, which is bounded"
    assert len(fold.rows("session_cost_usd_total")) == 2


def test_sessions_that_come_and_go_for_days_take_no_more_memory_than_some() -> None:
    fold = Fold("st", limits=Limits(customers=10))
    applied(fold, range(1_000))
    objects = []
    for hour in range(1, 4):
        applied(fold, range(hour * 10_000, hour * 10_000 + 1_000), at=hour * 60 * MINUTE)
        fold.tick(hour * 60 * MINUTE)
        gc.collect()
        objects.append(len(gc.get_objects()))

    assert objects[-1] - objects[0] < 500, "no object is left of a session that went"


def test_no_label_breaks_a_scrape() -> None:
    fold = Fold("st")
    for text in HOSTILE:
        context = Context(text, text, text, text)
        request = Request(text, text)
        fold.apply(
            [
                Event(0, Kind.SESSION_OPENED, 1, b"", context, data={"ceiling": 1}),
                Event(0, Kind.CALL, 1, b"", context, request, 1, status="ok"),
                Event(0, Kind.DENIED, 1, b"", context, status="busy", data={"kind": text}),
                Event(0, Kind.MESSAGE, 1, b"", context, data={"target": text}),
                Event(
                    0,
                    Kind.CALL,
                    1,
                    b"",
                    Context(),
                    request,
                    1,
                    status="ok",
                    data={"unattributed": text, "waited_us": 1, "waited_at": text},
                ),
                Event(0, Kind.SESSION_CLOSED, 1, b"", context, status="failed"),
            ]
        )

    text_body = render(fold, TEXT).decode()
    open_body = render(fold, OPENMETRICS).decode()

    assert max(map(len, text_body.splitlines())) < 3_000
    families = text_string_to_metric_families(text_body)
    found = [s for f in families for s in f.samples]
    parsed = openmetrics_parser.text_string_to_metric_families(open_body)  # type: ignore[no-untyped-call]
    assert len([s for f in parsed for s in f.samples]) == len(found)
    labels = [(s.name, frozenset(s.labels.items())) for s in found]
    assert len(set(labels)) == len(labels)
    assert not any(s.labels.get("customer") == "forged" for s in found)
    calls = sum(s.value for s in found if s.name == "spendtree_calls_total")
    assert calls == 2 * len(HOSTILE)


def test_parallel_runs_of_one_agent_and_two_sessions_of_one_id_make_no_second_series() -> None:
    fold = Fold("st")
    for run in ("a", "b", "c"):
        who = Context("s-1", "acme", agent="researcher", run=run, level=2)
        fold.apply([Event(0, Kind.CALL, 1, b"", who, Request(), 1, status="ok")])
    again = Event(0, Kind.SESSION_OPENED, 2, b"", Context("s-1", "acme"))
    fold.apply([again, Event(0, Kind.CALL, 2, b"", who, Request(), 1, status="ok")])

    assert {s.value for s in fold.rows("session_calls_total").values()} == {4}
    lines = [line.rpartition(" ")[0] for line in render(fold, TEXT).decode().splitlines()]
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) == len(set(samples))
