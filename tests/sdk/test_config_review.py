"""Each check finds what it is for, says where, and is silent about what may well be meant."""

from typing import Any

import pytest

from spendtree.config import load_config
from spendtree.config.review import Remark, review


def remarks(given: dict[str, Any]) -> list[Remark]:
    return review(load_config(given))


OF_GPT_4O: dict[str, Any] = {"input_usd_per_mtok": "2.5", "output_usd_per_mtok": 10}

ODD: dict[str, tuple[dict[str, Any], Remark]] = {
    "a max_cost above the ceiling": (
        {"session": {"ceiling_usd": 1}, "agents": {"a": {"max_cost_usd": "1.5"}}},
        Remark(
            ("agents", "a", "max_cost_usd"),
            "$1.50 is above session.ceiling_usd, $1.00: that binds first",
        ),
    ),
    "an envelope above the ceiling": (
        {"session": {"ceiling_usd": "0.02"}, "agents": {"a": {"envelope_usd": "0.0201"}}},
        Remark(
            ("agents", "a", "envelope_usd"),
            "$0.0201 is above session.ceiling_usd, $0.02: that binds first",
        ),
    ),
    "a session that cannot start": (
        {"session": {"ceiling_usd": 1, "min_cost_usd": 2}},
        Remark(
            ("session", "min_cost_usd"),
            "$2.00 is above ceiling_usd, $1.00: no session can start",
        ),
    ),
    "an agent that cannot start": (
        {"agents": {"a": {"envelope_usd": 1, "min_cost_usd": 2}}},
        Remark(
            ("agents", "a", "min_cost_usd"),
            "$2.00 is above envelope_usd, $1.00: 'a' can never start",
        ),
    ),
    "an agent that cannot start for the session's sake": (
        {"session": {"min_cost_usd": 2}, "agents": {"a": {"max_cost_usd": 1}}},
        Remark(
            ("session", "min_cost_usd"), "$2.00 is above max_cost_usd, $1.00: 'a' can never start"
        ),
    ),
    "an agent's warn_at without a cap": (
        {"agents": {"a": {"warn_at": 0.5}}},
        Remark(
            ("agents", "a", "warn_at"),
            "warns of nothing: neither envelope_usd nor max_cost_usd is given here",
        ),
    ),
    "a customer's warn_at without a budget": (
        {"customers": {"acme": {"warn_at": 0.5}}, "periods": {"day": {"team_usd": 1}}},
        Remark(
            ("customers", "acme", "warn_at"),
            "warns of nothing: no budget is given here or under `periods`",
        ),
    ),
    "warn_at where nothing has a cap": (
        {"session": {"warn_at": 0.5}},
        Remark(("session", "warn_at"), "there is no cap in this configuration to warn about"),
    ),
    "nothing to reserve": (
        {"agents": {"a": {"reserved": True}}},
        Remark(("agents", "a", "reserved"), "there is no envelope_usd here that could be reserved"),
    ),
    "more reserved than there is": (
        {
            "session": {"ceiling_usd": 1},
            "agents": {
                "a": {"envelope_usd": "0.6", "reserved": True},
                "b": {"envelope_usd": "0.5", "reserved": True},
            },
        },
        Remark(
            ("agents",),
            "reserved envelopes come to $1.10, above the session's $1.00: "
            "not all of these agents can start",
        ),
    ),
    "a day's budget above the month's": (
        {"teams": {"search": {"budgets_usd": {"day": 2, "month": 1}}}},
        Remark(
            ("teams", "search", "budgets_usd", "day"),
            "the day's $2.00 is above the month's $1.00: that binds first",
        ),
    ),
    "a floor above the output limit": (
        {"agents": {"a": {"max_output_tokens": 50, "policy": [{"clamp": {"floor": 64}}]}}},
        Remark(
            ("agents", "a", "policy"),
            "never clamps: its floor, 64, is above max_output_tokens, 50",
        ),
    ),
    "a policy that nobody names": (
        {"policies": {"careful": ["wait"]}},
        Remark(("policies", "careful"), "no agent names this policy"),
    ),
    "a fallback without a price": (
        {"agents": {"a": {"policy": ["wait", {"fallback": {"model": "no-such-model"}}]}}},
        Remark(
            ("agents", "a", "policy", 1, "fallback", "model"),
            "no price is known for model 'no-such-model': it is refused under a cap; "
            "add it under `prices`",
        ),
    ),
    "a fallback to a provider that does not sell it": (
        {
            "agents": {"a": {"policy": "p"}},
            "policies": {"p": [{"fallback": {"model": "gpt-4o", "provider": "anthropic"}}]},
        },
        Remark(
            ("policies", "p", 0, "fallback", "model"),
            "no price is known for model 'gpt-4o' of provider 'anthropic': it is refused under a "
            "cap; add it under `prices`",
        ),
    ),
    "a price per token": (
        {"prices": {"gpt-4o": {"input_usd_per_mtok": "0.0000025", "output_usd_per_mtok": 10}}},
        Remark(
            ("prices", "gpt-4o", "input_usd_per_mtok"),
            "833,333 times cheaper than in the catalogue; prices are dollars per million tokens",
        ),
    ),
    "a price per thousand million": (
        {"prices": {"gpt-4o": {"input_usd_per_mtok": "2.5", "output_usd_per_mtok": 10_000}}},
        Remark(
            ("prices", "gpt-4o", "output_usd_per_mtok"),
            "1,000 times dearer than in the catalogue; prices are dollars per million tokens",
        ),
    ),
    "a fee per thousand": (
        {"prices": {"gpt-4o": {**OF_GPT_4O, "input_usd_per_mtok": 2, "web_search_usd": 10}}},
        Remark(
            ("prices", "gpt-4o", "web_search_usd"),
            "1,000 times dearer than in the catalogue; the price is dollars for one web search",
        ),
    ),
    "a factor in percent": (
        {"prices": {"m": {**OF_GPT_4O, "flex": 50}}},
        Remark(
            ("prices", "m", "flex"),
            "makes every token 50 times as expensive; half the price is 0.5",
        ),
    ),
    "a region in percent": (
        {"prices": {"m": {**OF_GPT_4O, "regions": {"eu": "110"}}}},
        Remark(
            ("prices", "m", "regions", "eu"),
            "makes every token 110 times as expensive; half the price is 0.5",
        ),
    ),
    "a large call that is cheaper": (
        {
            "prices": {
                "m": {
                    **OF_GPT_4O,
                    "tiers": [{"above": 5, "input_usd_per_mtok": "1", "output_usd_per_mtok": 10}],
                }
            }
        },
        Remark(
            ("prices", "m", "tiers", 0, "input_usd_per_mtok"),
            "$1 is less than the $2.5 of smaller calls",
        ),
    ),
    "a price that is in the catalogue": (
        {
            "prices": {
                "gpt-4o": {
                    "input_usd_per_mtok": "2.5",
                    "output_usd_per_mtok": 10,
                    "cache_read_usd_per_mtok": "1.25",
                }
            }
        },
        Remark(
            ("prices", "gpt-4o"),
            "is what the catalogue says too; left out, it would follow its updates",
        ),
    ),
}

CAP: dict[str, Any] = {"session": {"ceiling_usd": 1}}
WINDOWED: dict[str, Any] = {
    "input_usd_per_mtok": 1,
    "output_usd_per_mtok": 2,
    "context_window": 90_000,
}

ODD |= {
    "a model that is held at its window": (
        {**CAP, "prices": {"own": WINDOWED}},
        Remark(
            ("prices", "own"),
            "a call that names no output limit holds the whole context window, 90,000 tokens of "
            "'own'; give prices.own.max_output_tokens or session.max_output_tokens",
        ),
    ),
    "limits of a model that has no price": (
        {"prices": {"own": {"max_output_tokens": 5}}},
        Remark(
            ("prices", "own"),
            "states limits only, and the catalogue knows no price: add the prices",
        ),
    ),
    "a default of every agent, once": (
        {
            "session": {"ceiling_usd": 1},
            "agents": {"*": {"max_cost_usd": 2}, "a": {"envelope_usd": "0.5"}, "b": {}},
        },
        Remark(
            ("agents", "*", "max_cost_usd"),
            "$2.00 is above session.ceiling_usd, $1.00: that binds first",
        ),
    ),
}

FINE: dict[str, dict[str, Any]] = {
    "nothing at all": {},
    "envelopes that sum above the ceiling": {
        "session": {"ceiling_usd": 1},
        "agents": {name: {"envelope_usd": "0.9"} for name in "abc"},
    },
    "caps as high as the ceiling": {
        "session": {"ceiling_usd": 1, "min_cost_usd": 1},
        "agents": {"a": {"envelope_usd": 1, "max_cost_usd": 1, "reserved": True}},
    },
    "marks of something that has a cap": {
        "session": {"ceiling_usd": 1, "warn_at": 0.5},
        "agents": {"a": {"max_cost_usd": "0.5", "warn_at": 0.5}},
        "customers": {"acme": {"warn_at": 0.5}},
        "periods": {"month": {"customer_usd": 5}},
    },
    "no marks where there is no cap": {"agents": {"a": {"warn_at": []}}},
    "a budget for each period": {
        "customers": {"acme": {"budgets_usd": {"day": 1, "week": 5, "month": 5}}}
    },
    "a fallback with an own price, and one of the catalogue": {
        "agents": {
            "a": {"policy": [{"fallback": {"model": "own"}}]},
            "b": {"policy": [{"fallback": {"model": "gpt-4o-mini", "provider": "openai"}}]},
        },
        "prices": {"own": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}},
    },
    "a negotiated price": {
        "prices": {"gpt-4o": {"input_usd_per_mtok": "2.0", "output_usd_per_mtok": 8}}
    },
    "the catalogue's price with a limit added": {
        "prices": {
            "gpt-4o": {
                "input_usd_per_mtok": "2.5",
                "output_usd_per_mtok": 10,
                "cache_read_usd_per_mtok": "1.25",
                "max_output_tokens": 16_384,
            }
        }
    },
    "a window where a default limits all calls": {
        "session": {"ceiling_usd": 1, "max_output_tokens": 500},
        "prices": {"own": WINDOWED},
    },
    "a window where a default limits every agent": {
        **CAP,
        "agents": {"*": {"max_output_tokens": 500}},
        "prices": {"own": WINDOWED},
    },
    "a window with a limit": {**CAP, "prices": {"own": {**WINDOWED, "max_output_tokens": 500}}},
    "a window that the table's limit is below": {
        **CAP,
        "prices": {"gpt-4o": {"context_window": 100_000}},
    },
    "a window where nothing has a cap": {"prices": {"own": WINDOWED}},
    "a model that writes nothing": {
        **CAP,
        "prices": {"own": {**WINDOWED, "output_usd_per_mtok": 0}},
    },
    "a model that is free of charge": {
        "prices": {"gpt-4o": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}}
    },
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_likely_not_meant_is_remarked_where_it_stands(what: str) -> None:
    given, remark = ODD[what]

    assert remarks(given) == [remark]


@pytest.mark.parametrize("what", FINE)
def test_what_may_well_be_meant_is_passed_over(what: str) -> None:
    assert remarks(FINE[what]) == []
