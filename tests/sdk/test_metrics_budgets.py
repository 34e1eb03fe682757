"""The gauges of live accounts: which there are, how they stand, and when they go."""

from typing import Any

from spendtree.account import (
    Account,
    Balance,
    envelope_account,
    payer_account,
    run_account,
    session_account,
)
from spendtree.event import Context, Event, Kind
from spendtree.metrics import Fold, Limits

MINUTE = 60_000_000
NOVEMBER = 1_795_000_000 * 1_000_000  # 2026-11-18
DECEMBER = 1_796_083_200 * 1_000_000  # 2026-12-01T00:00:00Z
MONTH = payer_account("customer", "acme", "2026-11")
DAY = payer_account("customer", "acme", "2026-11-18")
CEILING = session_account("s-1", "acme", "search")
ENVELOPE = envelope_account("s-1", "worker", "acme", "search")
TOP = Context("s-1", "acme", "search", path=(MONTH.id, DAY.id, CEILING.id))
WORKER = TOP._replace(agent="worker", run="a1", level=2, path=(*TOP.path, ENVELOPE.id, "run/a1"))


def event(kind: Kind, context: Context, at: int = NOVEMBER, **fields: Any) -> Event:
    return Event(0, kind, at, b"", context, status="ok")._replace(**fields)


LIVE = (
    event(Kind.SESSION_OPENED, TOP, data={"ceiling": 100}),
    event(Kind.RUN_OPENED, WORKER, data={"envelope": 50, "max_cost": 60}),
    event(Kind.CALL, WORKER, cost=5),
)


def folded(*events: Event, now: int = NOVEMBER, **options: Any) -> Fold:
    fold = Fold("st", **options)
    fold.tick(now)
    fold.apply(events)
    fold.tick(now)
    return fold


def gauges(fold: Fold, name: str) -> dict[tuple[str, ...], int]:
    return {labels: sample.value for labels, sample in fold.rows(name).items()}


def standing(*accounts: Account) -> list[tuple[Account, Balance]]:
    return [(account, Balance(100, 5, 2, 3)) for account in accounts]


def test_sessions_envelopes_and_periods_are_live_and_runs_are_not() -> None:
    assert set(folded(*LIVE).live_accounts) == {MONTH.id, DAY.id, CEILING.id, ENVELOPE.id}


def test_a_live_account_shows_its_cap_and_where_its_money_is() -> None:
    fold = folded(*LIVE)

    fold.set_balances(standing(ENVELOPE))

    labels = ("envelope", "", "s-1", "worker", "acme", "search")
    shown = {
        name: gauges(fold, f"budget_{name}_usd")
        for name in ("limit", "spent", "presumed", "held", "remaining")
    }
    assert shown == {
        "limit": {labels: 100},
        "spent": {labels: 5},
        "presumed": {labels: 2},
        "held": {labels: 3},
        "remaining": {labels: 90},
    }
    assert not gauges(fold, "budget_period_end_timestamp_seconds")
    assert fold.session_series == 3 + 5


def test_the_day_and_the_month_of_a_customer_are_two_series_with_their_ends() -> None:
    fold = folded(*LIVE)

    fold.set_balances(standing(MONTH, DAY))

    assert len(gauges(fold, "budget_limit_usd")) == 2
    assert gauges(fold, "budget_period_end_timestamp_seconds") == {
        ("customer", "2026-11", "acme", ""): DECEMBER,
        ("customer", "2026-11-18", "acme", ""): 1_795_046_400 * 1_000_000,
    }


def test_an_account_without_a_cap_is_no_budget() -> None:
    fold = folded(*LIVE)

    fold.set_balances([(CEILING, Balance(None, 5))])

    assert not gauges(fold, "budget_spent_usd")


def test_a_session_that_gets_its_ceiling_later_shows_it_from_then_on() -> None:
    opened = event(Kind.SESSION_OPENED, TOP)
    changed = event(Kind.CAP_CHANGED, TOP, cost=9, data={"account": CEILING.id, "kind": "session"})

    assert CEILING.id not in folded(opened).live_accounts
    assert CEILING.id in folded(opened, changed).live_accounts


def test_the_gauges_of_a_session_go_with_its_series() -> None:
    closed = event(Kind.SESSION_CLOSED, TOP)
    fold = folded(*LIVE, closed)
    fold.set_balances(standing(CEILING, MONTH))

    fold.tick(NOVEMBER + 15 * MINUTE)

    assert set(fold.live_accounts) == {MONTH.id, DAY.id}
    fold.set_balances(standing(MONTH))
    assert list(gauges(fold, "budget_limit_usd")) == [("customer", "2026-11", "", "", "acme", "")]
    assert fold.session_series == 0


def test_a_period_is_shown_until_it_ends() -> None:
    fold = folded(*LIVE)

    fold.tick(DECEMBER - 1)
    assert MONTH.id in fold.live_accounts
    assert DAY.id not in fold.live_accounts
    fold.tick(DECEMBER)
    assert MONTH.id not in fold.live_accounts


def test_the_version_changes_when_a_balance_does_and_only_then() -> None:
    fold = folded(*LIVE)
    fold.set_balances(standing(CEILING))
    before = fold.version

    fold.set_balances(standing(CEILING))
    assert fold.version == before

    fold.set_balances([(CEILING, Balance(100, 6))])
    assert fold.version != before
    fold.set_balances([])
    assert fold.version != before + 1


def test_gauges_of_sessions_take_places_of_the_session_series() -> None:
    """Three counters of a row and five gauges of the ceiling fit, the envelope's do not."""
    fold = folded(*LIVE, limits=Limits(session_series=8))

    assert CEILING.id in fold.live_accounts
    assert ENVELOPE.id not in fold.live_accounts


def test_who_stands_under_other_has_no_gauges_and_who_is_kept_always_has() -> None:
    stranger = payer_account("customer", "stranger", "2026-11")
    spent = event(Kind.CALL, Context("s-2", "stranger", path=(stranger.id,)), cost=1)

    few = folded(*LIVE, spent, limits=Limits(customers=1))
    kept = folded(*LIVE, spent, limits=Limits(customers=1, kept_customers=frozenset({"stranger"})))

    assert stranger.id not in few.live_accounts
    assert stranger.id in kept.live_accounts


def test_two_accounts_that_look_alike_make_one_series() -> None:
    fold = folded(*LIVE)

    fold.set_balances([*standing(CEILING), (CEILING._replace(id="session/other"), Balance(7))])

    assert list(gauges(fold, "budget_limit_usd").values()) == [100]


def test_a_run_is_never_asked_for() -> None:
    run = run_account("s-1", "worker", "a1")

    assert run.id in WORKER.path
    assert run.id not in folded(*LIVE).live_accounts
