"""Limits of a fold that change while it runs, and names that are always shown."""

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import OTHER, Fold, Limits, family

MINUTE = 60_000_000


def call(
    customer: str, session: str = "", *, team: str = "", model: str = "m", at: int = 1
) -> Event:
    """Return a finished call of 1 pico-dollar."""
    context = Context(session, customer, team)
    return Event(0, Kind.CALL, at, b"", context, Request("p", model), cost=1, held=1, status="ok")


def cost_by(made: Fold, label: str, name: str = "cost_usd_total") -> dict[str, int]:
    """Return a family's sums by the values of one label."""
    place = family(name).labels.index(label)
    found: dict[str, int] = {}
    for labels, series in made.rows(name).items():
        found[labels[place]] = found.get(labels[place], 0) + series.value
    return found


def test_a_kept_name_is_shown_whoever_came_first_and_takes_no_others_place() -> None:
    made = Fold("st", limits=Limits(customers=1, kept_customers=frozenset({"acme", "globex"})))

    made.apply([call(name) for name in ("acme", "first", "second", "globex", "acme")])

    assert cost_by(made, "customer") == {"acme": 2, "first": 1, OTHER: 1, "globex": 1}


def test_who_is_admitted_does_not_depend_on_when_kept_names_come() -> None:
    limits = Limits(customers=1, kept_customers=frozenset({"acme"}))
    names = ["first", "second", "acme"]

    shown = []
    for order in (names, ["acme", "first", "second"]):
        made = Fold("st", limits=limits)
        made.apply([call(name) for name in order])
        shown.append(cost_by(made, "customer"))

    assert shown[0] == shown[1] == {"first": 1, OTHER: 1, "acme": 1}


def test_a_kept_name_is_shown_even_when_there_are_too_many_series() -> None:
    limits = Limits(
        series=1,
        session_series=0,
        kept_customers=frozenset({"acme"}),
        kept_teams=frozenset({"search"}),
    )
    made = Fold("st", limits=limits)

    made.apply([call(name, team=name) for name in ("a", "b")])
    made.apply([call("acme", team="search", model=f"m-{number}") for number in range(9)])

    assert cost_by(made, "customer")["acme"] == 9
    assert cost_by(made, "team")["search"] == 9
    assert set(cost_by(made, "model")) <= {"m", OTHER}
    assert made.standing_series < 60


def test_higher_limits_hold_from_the_next_event_on_and_nothing_leaves_other() -> None:
    made = Fold("st", limits=Limits(customers=1, models=1))
    made.apply([call("a"), call("b", model="n"), call("b", model="n")])

    made.limit(Limits())
    made.apply([call("b", model="n"), call("a"), call("a")])

    assert cost_by(made, "customer") == {"a": 3, OTHER: 2, "b": 1}
    assert cost_by(made, "model") == {"m": 3, OTHER: 2, "n": 1}


def test_lower_limits_take_no_name_away_and_admit_nobody_new() -> None:
    made = Fold("st")
    made.apply([call("a"), call("b")])

    made.limit(Limits(customers=1))
    made.apply([call("a"), call("b"), call("c")])

    assert cost_by(made, "customer") == {"a": 2, "b": 2, OTHER: 1}


def test_a_customer_whose_budget_is_new_is_shown_from_then_on() -> None:
    made = Fold("st", limits=Limits(customers=0))
    made.apply([call("acme", "s")])

    made.limit(Limits(customers=0, kept_customers=frozenset({"acme"})))
    made.apply([call("acme", "s")])

    assert cost_by(made, "customer") == {OTHER: 1, "acme": 1}
    assert cost_by(made, "customer", "session_cost_usd_total") == {OTHER: 1, "acme": 1}


def test_a_customer_whose_budget_is_gone_stays_and_takes_a_place_of_the_others() -> None:
    made = Fold("st", limits=Limits(customers=1, kept_customers=frozenset({"acme"})))
    made.apply([call("acme")])

    made.limit(Limits(customers=1))
    made.apply([call("acme"), call("b")])

    assert cost_by(made, "customer") == {"acme": 2, OTHER: 1}


def test_live_sessions_and_their_series_survive_other_limits() -> None:
    context = Context("s", "acme")
    made = Fold("st")
    made.apply([Event(0, Kind.SESSION_OPENED, 0, b"s", context), call("acme", "s")])

    made.limit(Limits(session_series=0), linger_us=0)
    made.apply([call("acme", "s", at=9), call("acme", "late", at=9)])
    made.tick(60 * MINUTE)

    assert made.live_sessions == 1
    assert cost_by(made, "session", "session_cost_usd_total") == {"s": 2, "_overflow": 1}


def test_a_shorter_linger_counts_for_sessions_that_ended_before() -> None:
    made = Fold("st")
    made.apply([call("acme", "s", at=0)])

    made.limit(Limits(), linger_us=MINUTE)
    made.tick(MINUTE - 1)
    assert made.session_series == 3
    made.tick(MINUTE)
    assert made.session_series == 0


def test_a_longer_linger_counts_for_sessions_that_ended_before() -> None:
    made = Fold("st", linger_us=MINUTE)
    made.apply([call("acme", "s", at=0)])

    made.limit(Limits(), linger_us=10 * MINUTE)
    made.tick(10 * MINUTE - 1)
    assert made.session_series == 3
    made.tick(10 * MINUTE)
    assert made.session_series == 0
