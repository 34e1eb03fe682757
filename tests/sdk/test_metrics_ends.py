"""What the ends of sessions, runs and caps come to, and what is counted as it happens."""

from collections.abc import Sequence
from typing import Any

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import Fold, Histogram, family

DOLLAR = 10**12
GPT = Request("openai", "gpt-4o")
SESSION = Context("s-1", "acme", "search", path=("session/s-1",))
BOSS = SESSION._replace(agent="boss", run="b1", level=1)
WORKER = SESSION._replace(agent="worker", run="b2", level=2)


def event(kind: Kind, context: Context = SESSION, **fields: Any) -> Event:
    return Event(0, kind, 1, b"", context)._replace(**fields)


def call(context: Context, dollars: int, **fields: Any) -> Event:
    return event(Kind.CALL, context, request=GPT, cost=dollars * DOLLAR, status="ok", **fields)


def closed(dollars: int = 0, status: str = "succeeded", **fields: Any) -> Event:
    return event(Kind.SESSION_CLOSED, cost=dollars * DOLLAR, status=status, **fields)


def folded(*events: Event) -> Fold:
    fold = Fold("st")
    fold.apply(events)
    return fold


def total(fold: Fold, name: str, *labels: str) -> int:
    return sum(s.value for values, s in fold.rows(name).items() if set(labels) <= set(values))


def observed(fold: Fold, name: str, *labels: str) -> dict[str, int]:
    """Return how many observations each bucket of a histogram took, those with none left out."""
    series = fold.rows(name)[labels]
    assert isinstance(series, Histogram)
    buckets: Sequence[str] = (*family(name).buckets, "+Inf")
    pairs = zip(buckets, series.counts, strict=True)
    return {le: count for le, count in pairs if count}


def test_a_value_on_a_bound_is_in_the_bucket_and_one_above_is_in_the_next() -> None:
    on, above = closed(2), closed(2)._replace(cost=2 * DOLLAR + 1)

    fold = folded(on, above)

    found = observed(fold, "completed_session_cost_usd", "acme", "succeeded")
    assert found == {"2.0": 1, "5.0": 1}
    assert total(fold, "completed_session_cost_usd") == 4 * DOLLAR + 1


def test_more_than_the_last_bound_is_in_infinity() -> None:
    fold = folded(closed(101))

    assert observed(fold, "completed_session_cost_usd", "acme", "succeeded") == {"+Inf": 1}


def test_a_session_counts_the_calls_it_finished() -> None:
    calls = [call(BOSS, 1), call(WORKER, 2), event(Kind.LAPSE, WORKER, held=9, status="lapsed")]

    fold = folded(*calls, event(Kind.TOOL, WORKER, cost=DOLLAR, status="ok"), closed(4))

    assert total(fold, "completed_session_calls", "succeeded") == 3


def test_amplification_is_the_whole_over_the_first_cycle() -> None:
    fold = folded(call(BOSS, 2), call(BOSS._replace(cycle=2), 3), closed(5))

    assert total(fold, "completed_session_amplification_ratio", "succeeded") == 2_500_000
    assert observed(fold, "completed_session_amplification_ratio", "succeeded") == {"2.5": 1}


def test_a_session_whose_first_cycle_cost_nothing_has_no_amplification() -> None:
    fold = folded(call(BOSS._replace(cycle=2), 3), closed(3))

    assert not fold.rows("completed_session_amplification_ratio")


def test_cost_to_expected_is_told_where_something_was_expected() -> None:
    opened = event(Kind.SESSION_OPENED, data={"expected": 4 * DOLLAR})

    told, silent = folded(opened, closed(1)), folded(closed(1))

    assert total(told, "completed_session_cost_to_expected_ratio") == 250_000
    assert not silent.rows("completed_session_cost_to_expected_ratio")


def test_cost_is_split_between_coordinator_and_workers_where_two_agents_worked() -> None:
    several = folded(call(SESSION, 1), call(BOSS, 2), call(WORKER, 4), closed(7))
    alone = folded(call(SESSION, 1), call(BOSS, 2), closed(3))

    name = "completed_multiagent_cost_usd_total"
    assert total(several, name, "acme", "coordinator") == 3 * DOLLAR
    assert total(several, name, "acme", "worker") == 4 * DOLLAR
    assert not alone.rows(name)


def test_a_continued_session_completes_once() -> None:
    fold = folded(call(BOSS, 1), closed(1), call(BOSS, 1), closed(2, data={"continued": True}))

    assert total(fold, "sessions_total") == 1
    assert total(fold, "completed_session_cost_usd") == DOLLAR


def envelope(dollars: int, context: Context = WORKER) -> Event:
    return event(Kind.RUN_OPENED, context, data={"envelope": dollars * DOLLAR})


IN_ENVELOPE = WORKER._replace(path=("session/s-1", "envelope/s-1/worker"))


def test_an_envelope_is_counted_once_however_many_runs_spend_from_it() -> None:
    fold = folded(
        envelope(10),
        call(IN_ENVELOPE, 2),
        envelope(10),
        call(IN_ENVELOPE._replace(run="b3"), 3),
        closed(5),
    )

    assert total(fold, "envelopes_total", "acme", "search", "worker", "envelope") == 1
    assert total(fold, "envelopes_exhausted_total") == 0
    assert total(fold, "envelope_usage_ratio", "worker", "envelope") == 500_000


def test_an_envelope_that_denied_is_exhausted_and_one_that_would_have_is_not() -> None:
    data = {"account": "envelope/s-1/worker", "kind": "envelope"}
    denied = event(Kind.DENIED, IN_ENVELOPE, status="exhausted", data=data)
    lenient = denied._replace(data={**data, "would": True})

    strict = folded(envelope(10), denied, denied, closed())
    warned = folded(envelope(10), lenient, closed())

    assert total(strict, "envelopes_exhausted_total", "worker", "envelope") == 1
    assert total(strict, "denied_calls_total", "envelope", "exhausted") == 2
    assert total(warned, "envelopes_exhausted_total") == 0
    assert total(warned, "would_deny_calls_total", "envelope", "exhausted") == 1


def test_max_cost_counts_what_the_run_and_all_below_it_spent() -> None:
    opened = event(Kind.RUN_OPENED, BOSS, data={"max_cost": 10 * DOLLAR})
    path = ("session/s-1", "run/b1")

    fold = folded(
        opened, call(BOSS._replace(path=path), 1), call(WORKER._replace(path=path), 7), closed(8)
    )

    assert total(fold, "envelopes_total", "boss", "max_cost") == 1
    assert total(fold, "envelope_usage_ratio", "boss", "max_cost") == 800_000


def test_of_several_max_costs_of_a_role_the_one_nearest_its_cap_is_told() -> None:
    runs = [BOSS._replace(run=run, path=(f"run/{run}",)) for run in ("b1", "b2")]
    opened = [event(Kind.RUN_OPENED, run, data={"max_cost": 10 * DOLLAR}) for run in runs]

    fold = folded(*opened, call(runs[0], 9), call(runs[1], 2), closed(11))

    assert total(fold, "envelopes_total", "boss", "max_cost") == 1
    assert total(fold, "envelope_usage_ratio", "boss", "max_cost") == 900_000


def test_usage_is_of_the_cap_as_it_stood_last() -> None:
    moved = event(
        Kind.TRANSFER,
        cost=5 * DOLLAR,
        data={
            "source": "envelope/s-1/worker",
            "target": "envelope/s-1/boss",
            "source_agent": "worker",
            "target_agent": "boss",
        },
    )
    data = {"account": "envelope/s-1/boss", "kind": "envelope"}
    raised = event(Kind.CAP_CHANGED, cost=20 * DOLLAR, data=data)
    boss = BOSS._replace(path=("envelope/s-1/boss",))

    fold = folded(
        envelope(10),
        envelope(1, BOSS),
        call(IN_ENVELOPE, 4),
        call(boss, 4),
        moved,
        raised,
        closed(),
    )

    assert total(fold, "envelope_usage_ratio", "worker") == 800_000
    assert total(fold, "envelope_usage_ratio", "boss") == 200_000
    assert total(fold, "transfers_total", "worker", "boss") == 1
    assert total(fold, "transferred_usd_total", "worker", "boss") == 5 * DOLLAR


def test_warnings_are_counted_by_kind_of_account() -> None:
    data = {"account": "session/s-1", "kind": "session", "mark": "0.8"}

    fold = folded(event(Kind.WARNED, data=data), event(Kind.WARNED, data={**data, "mark": "0.9"}))

    assert total(fold, "budget_warnings_total", "acme", "search", "session") == 2


def test_a_message_counts_its_tokens_its_price_and_how_far_it_missed_its_contract() -> None:
    data = {"target": "boss", "violation": {"kind": "max", "excess": 200}}
    long = event(Kind.MESSAGE, WORKER, input_tokens=700, cost=DOLLAR, data=data)
    unpriced = event(Kind.MESSAGE, WORKER, input_tokens=50, cost=None, data={"target": "boss"})

    fold = folded(long, unpriced)

    assert total(fold, "messages_total", "worker", "boss") == 2
    assert total(fold, "message_tokens_total", "worker", "boss") == 750
    assert total(fold, "message_cost_usd_total", "worker", "boss") == DOLLAR
    assert total(fold, "contract_violations_total", "worker", "max") == 1
    assert total(fold, "contract_excess_tokens_total", "worker", "max") == 200


def test_only_calls_that_waited_are_in_the_waiting_times() -> None:
    waited = call(BOSS, 1, data={"waited_us": 2_000_000, "waited_at": "customer"})

    fold = folded(waited, call(BOSS, 1))

    assert observed(fold, "hold_wait_seconds", "customer") == {"5.0": 1}
    assert total(fold, "hold_wait_seconds") == 2_000_000
