"""Units and doubts of a call, from the response to every sum: alike in all engines, exact."""

from pathlib import Path
from typing import Any

import pytest

from spendtree import Spendtree, Usage
from spendtree.cli.doctor.recorded import look
from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics.fold import Fold
from spendtree.metrics.names import RARE_MAX
from spendtree.store import open_store
from spendtree.store.health import Doubtful, Health, examine
from spendtree.store.rollups import Roller
from spendtree.tree import Sums, build
from spendtree.usage import Units

PRICES = {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1", "context_window": 10_000}}
AUDIO = {
    "model": "m",
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"audio_tokens": 800},
        "server_tool_use": {"web_search_requests": 2},
        "hologram_tokens": 3,
    },
}
WHO = Context(session="s", customer="acme", agent="reader", level=1)


def call(number: int, data: dict[str, Any] | None = None, **fields: Any) -> Event:
    return Event(
        number, Kind.CALL, 10 + number, number.to_bytes(16, "big"), WHO, Request("p", "m"),
        status="ok", started=10, data=data, **fields,
    )  # fmt: skip


def doubtful(number: int, key: str = "hologram_tokens", part: str = "input_audio") -> Event:
    data = {
        "units": {"input_audio": 800, "web_search": 2},
        "marks": [f"unpriced:{part}", "unread"],
        "unread": {key: 3},
    }
    return call(number, data, cost=7_000, input_tokens=200, output_tokens=100)


@pytest.mark.parametrize("engine", ["memory:", "sqlite"])
def test_a_call_keeps_its_units_and_what_was_not_understood(engine: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'spend.db'}" if engine == "sqlite" else engine
    tracker = Spendtree(url, {"prices": PRICES})
    with tracker.session() as session, session.call("m", max_output_tokens=10) as made:
        made.record(AUDIO)

    (event,) = tracker.store.events(kinds=[Kind.CALL])
    assert event.usage == Usage(200, 100, units={"input_audio": 800, "web_search": 2})
    assert event.data is not None
    assert event.data["unread"] == {"hologram_tokens": 3}
    assert "unread" in event.marks
    (totals,) = tracker.store.totals()
    assert (totals.units, totals.unread) == (event.units, 1)
    assert session.tree().totals.units == event.units
    assert session.tree().totals.tokens == 1100


def test_both_engines_add_up_units_and_doubts_alike(tmp_path: Path) -> None:
    events = [doubtful(1), call(2, cost=5, input_tokens=1), doubtful(3, part="flex")]
    for url in ("memory:", f"sqlite:///{tmp_path / 'spend.db'}"):
        store = open_store(url)
        for event in events:
            store.append(event)

        (totals,) = store.totals()

        assert totals.units == {"input_audio": 1600, "web_search": 4}
        assert (totals.partly_unpriced, totals.unread, totals.cost) == (2, 2, 14_005)
        assert store.totals("s") == store.totals()
        assert build(store.events()).totals.units == totals.units


def test_a_rollup_has_the_sums_of_units_and_counts_keys() -> None:
    events = [doubtful(n, key=f"key_{n % 2}") for n in range(5)]

    (merge,) = Roller().merges(events)

    assert merge.rollup.units == {"input_audio": 4000, "web_search": 10}
    assert merge.rollup.marks == ("unpriced:input_audio", "unread")
    assert merge.rollup.unread == {"key_0": 3, "key_1": 2}
    alone, together = Fold("x"), Fold("x")
    alone.apply(events)
    together.apply([merge.rollup])
    for name in FAMILIES:
        assert shown(alone, name) == shown(together, name), name


def test_calls_of_different_marks_stay_apart() -> None:
    assert Roller().merges([doubtful(1), doubtful(2, part="flex"), call(3)]) == []


FAMILIES = (
    "tokens_total",
    "billed_units_total",
    "partly_unpriced_calls_total",
    "unread_usage_keys_total",
    "uncertain_cost_usd_total",
)


def shown(fold: Fold, name: str) -> dict[tuple[str, ...], int]:
    rows = fold.rows(name).items()
    return {labels: value for labels, each in rows if (value := getattr(each, "value", each))}


def test_metrics_count_units_marks_and_keys() -> None:
    fold = Fold("x", birth_hold_us=0)
    fold.apply([doubtful(1), call(2, cost=5, input_tokens=1)])

    who = ("acme", "reader", "p", "m")
    assert shown(fold, "tokens_total") == {
        (*who, "input"): 201,
        (*who, "output"): 100,
        (*who, "input_audio"): 800,
    }
    assert shown(fold, "billed_units_total") == {(*who, "web_search"): 2}
    assert shown(fold, "partly_unpriced_calls_total") == {("p", "m", "input_audio"): 1}
    assert shown(fold, "unread_usage_keys_total") == {("p", "hologram_tokens"): 1}
    assert shown(fold, "uncertain_cost_usd_total") == {
        ("acme", "reader", "m", "partly_unpriced"): 7_000
    }
    assert list(shown(fold, "session_tokens_total").values()) == [201 + 100 + 800]


def test_keys_from_responses_have_a_bounded_number_of_names() -> None:
    fold = Fold("x", birth_hold_us=0)
    fold.apply([doubtful(n, key=f"key_{n}") for n in range(RARE_MAX + 5)])

    keys = shown(fold, "unread_usage_keys_total")
    assert len(keys) == RARE_MAX + 1
    assert keys["p", "_other"] == 5
    assert shown(fold, "label_overflow_total") == {("key",): 5}


def test_doctor_names_what_is_not_certain(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    store = open_store(f"sqlite:///{path}")
    store.append(doubtful(1))
    store.append(call(2, cost=1))
    store.close()

    health = examine(str(path))

    assert health.doubtful == (
        Doubtful("partly_unpriced", 1, 7_000, ("input_audio",)),
        Doubtful("unread", 1, 7_000, ("hologram_tokens",)),
    )
    texts = [finding.text for finding in look(health).findings]
    assert any("a part without a price" in text and "input_audio" in text for text in texts)
    assert any("not understood" in text and "hologram_tokens" in text for text in texts)
    assert look(Health("x", 1, 1, ())).findings


def test_sums_tell_all_tokens_by_direction() -> None:
    units = Units({"input_audio": 5, "cache_read_image": 3, "output_image": 2})
    sums = Sums(input_tokens=10, output_tokens=20, cache_read_tokens=1, units=units)

    assert (sums.all_input_tokens, sums.all_cached_tokens, sums.all_output_tokens) == (15, 4, 22)
    assert sums.tokens == 41
    assert sums.plus(sums).units == {"input_audio": 10, "cache_read_image": 6, "output_image": 4}


def test_zeros_never_pass_a_ceiling() -> None:
    """A gateway that states nothing but zeros: each call is presumed at its hold."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    tracker = Spendtree("memory:", {"mode": "enforce"})
    made = 0
    with tracker.session(ceiling="0.02") as session:
        for _ in range(100):
            try:
                with session.call("gpt-4o", input_tokens=1000, max_output_tokens=1000) as one:
                    one.record({"model": "gpt-4o", "choices": [], "usage": zeros})
            except Exception:
                break
            made += 1
    assert made == 1
    (event,) = tracker.store.events(kinds=[Kind.LAPSE])
    assert event.data == {"reason": "the response states a usage of nothing but zeros"}


def test_a_usage_of_zeros_that_the_program_states_itself_is_believed() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session() as session, session.call("m", max_output_tokens=10) as made:
        made.record(Usage(0, 0))

    (event,) = tracker.store.events(kinds=[Kind.CALL])
    assert (event.cost, event.status) == (0, "ok")


def test_a_usage_that_is_stated_in_part_costs_that_part_at_least() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    bound: Any = {"input_tokens": 10, "max_output_tokens": 10}
    with tracker.session() as session:
        with session.call("m", **bound) as more:
            more.record({"usage": {"completion_tokens": 5000}})
        with session.call("m", **bound) as less:
            less.record({"usage": {"completion_tokens": 5}})

    more_, less_ = tracker.store.events(kinds=[Kind.CALL, Kind.LAPSE])
    assert (more_.kind, more_.cost, more_.output_tokens) == (Kind.CALL, 5000 * 10**6, 5000)
    assert more_.marks == ("unread",)
    assert (less_.kind, less_.held) == (Kind.LAPSE, 20 * 10**6)
