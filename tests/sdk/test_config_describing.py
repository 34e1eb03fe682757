"""Settings written back: what holds, as a configuration that means the same."""

import json
from decimal import Decimal
from typing import Any

from spendtree.config import Config, load_config
from spendtree.config.describing import describe

GIVEN: dict[str, Any] = {
    "mode": "warn",
    "modes": {"customer": "record"},
    "busy_timeout_seconds": 2.5,
    "session": {"ceiling_usd": 0.1, "warn_at": [0.5, 0.8], "min_cost_usd": Decimal("1E-7")},
    "agents": {
        "coordinator": {"envelope_usd": "0.050", "reserved": True, "policy": "careful"},
        "researcher": {
            "max_cost_usd": "0.06",
            "min_cost_usd": "0.005",
            "max_output_tokens": 2000,
            "warn_at": [],
            "policy": [{"wait": {"seconds": 5}}, {"fallback": {"model": "m"}}, "skip"],
            "on_exhausted": "skip",
            "contract": {"output_tokens": {"max": 800}, "mode": "truncate"},
        },
    },
    "customers": {"acme": {"budgets_usd": {"day": 5}, "mode": "enforce", "plan": "pro"}},
    "teams": {"search": {"warn_at": 0.9}},
    "periods": {"month": {"customer_usd": 100, "team_usd": 1000}},
    "policies": {"careful": [{"clamp": {"floor": 64}}, "refuse"]},
    "prices": {
        "m": {
            "input_usd_per_mtok": 0.1,
            "output_usd_per_mtok": "2.50",
            "context_window": "128000",
            "provider": "acme",
        },
        "contract": {
            "input_usd_per_mtok": 0.1,
            "output_usd_per_mtok": 1,
            "web_search_usd": 0.01,
            "output_audio_usd_per_mtok": 64,
            "flex": 0.5,
            "priority": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 4},
            "regions": {"eu": 1.1, "ap": {"input_usd_per_mtok": 3, "output_usd_per_mtok": 5}},
            "tiers": [{"above": "1000", "input_usd_per_mtok": 3, "output_usd_per_mtok": 5}],
        },
    },
    "metrics": {"max_customers": 500},
    "plans": {"pro": {"price_usd": "99.90"}},
    "alerts": {"thresholds": {"series_ratio": 0.9}},
}


def test_agents_show_what_they_inherit() -> None:
    agents = describe(load_config(GIVEN))["agents"]

    assert agents["coordinator"] == {
        "envelope_usd": "0.05",
        "reserved": True,
        "min_cost_usd": "0.0000001",
        "warn_at": ["0.5", "0.8"],
        "policy": [{"clamp": {"floor": 64}}, "refuse"],
        "on_exhausted": "raise",
    }
    assert agents["researcher"] == {
        "max_cost_usd": "0.06",
        "reserved": False,
        "min_cost_usd": "0.005",
        "max_output_tokens": 2000,
        "warn_at": [],
        "policy": [{"wait": {"seconds": 5.0}}, {"fallback": {"model": "m"}}, "skip"],
        "on_exhausted": "skip",
        "contract": {"output_tokens": {"max": 800}, "mode": "truncate"},
    }


def test_customers_and_teams_show_the_budgets_that_bind_them() -> None:
    shown = describe(load_config(GIVEN))

    assert shown["customers"]["acme"] == {
        "budgets_usd": {"day": "5", "month": "100"},
        "mode": "enforce",
        "warn_at": ["0.5", "0.8"],
        "plan": "pro",
    }
    assert shown["teams"]["search"] == {"budgets_usd": {"month": "1000"}, "warn_at": ["0.9"]}


def test_every_kind_of_account_shows_its_mode() -> None:
    assert describe(load_config(GIVEN))["modes"] == {
        "session": "warn",
        "envelope": "warn",
        "run": "warn",
        "customer": "record",
        "team": "warn",
    }


def test_amounts_are_exact_decimal_text_and_counts_are_numbers() -> None:
    shown = describe(load_config(GIVEN))

    assert shown["session"]["ceiling_usd"] == "0.1"
    assert shown["prices"]["m"] == {
        "input_usd_per_mtok": "0.1",
        "output_usd_per_mtok": "2.50",
        "context_window": 128000,
        "provider": "acme",
    }


def test_tiers_factors_and_units_of_prices_show_their_amounts_as_text() -> None:
    shown = describe(load_config(GIVEN))

    assert shown["prices"]["contract"] == {
        "input_usd_per_mtok": "0.1",
        "output_usd_per_mtok": "1",
        "web_search_usd": "0.01",
        "output_audio_usd_per_mtok": "64",
        "flex": "0.5",
        "priority": {"input_usd_per_mtok": "2", "output_usd_per_mtok": "4"},
        "regions": {"eu": "1.1", "ap": {"input_usd_per_mtok": "3", "output_usd_per_mtok": "5"}},
        "tiers": [{"above": 1000, "input_usd_per_mtok": "3", "output_usd_per_mtok": "5"}],
    }


def test_what_is_described_can_be_read_again_and_means_the_same() -> None:
    for config in (Config(), load_config(GIVEN)):
        shown = describe(config)
        again = load_config(json.loads(json.dumps(shown)))

        assert describe(again) == shown
        assert again.policy_for("coordinator") == config.policy_for("coordinator")
        assert again.budgets("customer", "acme") == config.budgets("customer", "acme")
        assert again.metrics == config.metrics
        assert again.plans == config.plans
        assert again.alerts == config.alerts


def test_no_cap_is_not_there_rather_than_zero() -> None:
    shown = describe(Config())

    assert "ceiling_usd" not in shown["session"]
    assert shown["agents"] == shown["customers"] == shown["prices"] == {}
