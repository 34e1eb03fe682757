"""What is in force for an account: whose setting wins, and what is inherited."""

from decimal import Decimal

import pytest

from spendtree.config import ACCOUNT_KINDS, DEFAULT_POLICY, Config, Step, load_config

USD = Decimal


def test_the_customers_mode_wins_for_the_whole_path_then_the_kinds_then_the_global_one() -> None:
    config = load_config(
        {
            "mode": "warn",
            "modes": {"session": "enforce", "customer": "record"},
            "customers": {"acme": {"mode": "enforce"}, "globex": {}},
        }
    )

    assert {kind: config.mode_for(kind) for kind in ACCOUNT_KINDS} == {
        "session": "enforce",
        "envelope": "warn",
        "run": "warn",
        "customer": "record",
        "team": "warn",
    }
    assert {config.mode_for(kind, "acme") for kind in ACCOUNT_KINDS} == {"enforce"}
    assert config.mode_for("customer", "globex") == "record"
    assert config.mode_for("envelope", "stranger") == "warn"


def test_a_teams_mode_holds_for_its_own_budgets_unless_the_customer_has_one() -> None:
    config = load_config(
        {"teams": {"search": {"mode": "record"}}, "customers": {"acme": {"mode": "warn"}}}
    )

    assert config.mode_for("team", "", "search") == "record"
    assert config.mode_for("team", "acme", "search") == "warn"
    assert config.mode_for("session", "", "search") == "enforce"
    assert config.mode_for("team", "", "ads") == "enforce"


def test_enforcing_is_the_mode_of_everything_that_nobody_configured() -> None:
    assert {Config().mode_for(kind, "acme", "search") for kind in ACCOUNT_KINDS} == {"enforce"}


def test_budgets_are_a_customers_own_and_for_other_periods_those_of_everybody() -> None:
    config = load_config(
        {
            "customers": {"acme": {"budgets_usd": {"day": 5}}, "globex": None},
            "teams": {"search": {"budgets_usd": {"week": "7.5"}}},
            "periods": {"day": {"customer_usd": 1}, "month": {"customer_usd": 10, "team_usd": 99}},
        }
    )

    assert config.budgets("customer", "acme") == {"day": USD(5), "month": USD(10)}
    assert config.budgets("customer", "globex") == {"day": USD(1), "month": USD(10)}
    assert config.budgets("customer", "stranger") == {"day": USD(1), "month": USD(10)}
    assert config.budgets("team", "search") == {"week": USD("7.5"), "month": USD(99)}
    assert config.budgets("team", "acme") == {"month": USD(99)}


def test_a_budget_of_zero_is_a_budget_and_is_not_replaced_by_everybodys() -> None:
    config = load_config(
        {
            "customers": {"trial": {"budgets_usd": {"day": 0}}},
            "periods": {"day": {"customer_usd": 1}},
        }
    )

    assert config.budgets("customer", "trial") == {"day": USD(0)}


def test_nobody_has_no_budget() -> None:
    config = load_config({"periods": {"day": {"customer_usd": 1, "team_usd": 1}}})

    assert config.budgets("customer", "") == config.budgets("team", "") == {}


def test_marks_are_the_accounts_own_else_those_of_the_session() -> None:
    config = load_config(
        {
            "session": {"warn_at": [0.6, 0.8]},
            "agents": {"a": {"warn_at": 0.5}, "quiet": {"warn_at": []}, "plain": {}},
            "customers": {"acme": {"warn_at": 0.9}},
            "teams": {"acme": {"warn_at": [0.1, 0.2]}},
        }
    )
    shared = (USD("0.6"), USD("0.8"))

    assert config.marks_for("session") == shared
    assert config.marks_for("envelope", "a") == config.marks_for("run", "a") == (USD("0.5"),)
    assert config.marks_for("run", "quiet") == ()
    assert config.marks_for("run", "plain") == config.marks_for("envelope", "stranger") == shared
    assert config.marks_for("customer", "acme") == (USD("0.9"),)
    assert config.marks_for("team", "acme") == (USD("0.1"), USD("0.2"))
    assert config.marks_for("team", "a") == shared


def test_what_must_be_free_to_start_is_the_roles_own_else_the_sessions() -> None:
    config = load_config(
        {
            "session": {"min_cost_usd": "0.01"},
            "agents": {"a": {"min_cost_usd": 0}, "plain": {}},
        }
    )

    assert config.min_cost_for() == config.min_cost_for("plain") == USD("0.01")
    assert config.min_cost_for("a") == 0
    assert Config().min_cost_for("a") == 0


@pytest.mark.parametrize(
    ("role", "steps"),
    [
        ("named", (Step("clamp", floor=10), Step("skip"))),
        ("inline", (Step("reallocate"),)),
        ("plain", DEFAULT_POLICY),
        ("stranger", DEFAULT_POLICY),
    ],
)
def test_the_policy_of_a_role_is_the_named_one_its_own_or_to_wait_and_refuse(
    role: str, steps: tuple[Step, ...]
) -> None:
    config = load_config(
        {
            "policies": {"gentle": [{"clamp": {"floor": 10}}, "skip"]},
            "agents": {
                "named": {"policy": "gentle"},
                "inline": {"policy": ["reallocate"]},
                "plain": {},
            },
        }
    )

    assert config.policy_for(role) == steps
    assert Config().policy_for("") == (Step("wait"), Step("refuse"))
