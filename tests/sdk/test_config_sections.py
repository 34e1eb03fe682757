"""What only one section has: policies and their steps, output contracts, limits of the metrics."""

from typing import Any

import pytest

from spendtree.config import ContractSettings, MetricsSettings, Step, load_config
from spendtree.errors import ConfigurationError
from spendtree.metrics import LINGER_US, Limits


def refusal(source: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(source)
    return str(caught.value)


def steps(value: Any) -> tuple[Step, ...]:
    return load_config({"policies": {"p": value}}).policies["p"]


def contract(value: Any) -> ContractSettings | None:
    return load_config({"agents": {"a": {"contract": value}}}).agents["a"].contract


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ("wait", Step("wait")),
        ({"wait": None}, Step("wait")),
        ({"wait": {"seconds": "5"}}, Step("wait", seconds=5.0)),
        ("clamp", Step("clamp")),
        ({"clamp": {"floor": "64"}}, Step("clamp", floor=64)),
        ({"fallback": {"model": "gpt-4o-mini"}}, Step("fallback", model="gpt-4o-mini")),
        (
            {"fallback": {"model": "m", "provider": "openai"}},
            Step("fallback", model="m", provider="openai"),
        ),
        ("reallocate", Step("reallocate")),
        ("skip", Step("skip")),
        ({"refuse": {}}, Step("refuse")),
    ],
)
def test_a_step_is_a_bare_word_or_a_word_with_what_is_said_about_it(
    written: Any, step: Step
) -> None:
    assert steps([written]) == (step,)


def test_a_policy_keeps_the_order_of_its_steps() -> None:
    written = ["reallocate", "clamp", {"fallback": {"model": "m"}}, "clamp", "refuse"]

    assert [step.name for step in steps(written)] == [
        "reallocate",
        "clamp",
        "fallback",
        "clamp",
        "refuse",
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("clamp", "policies.p: 'clamp' is no list of steps; for one step write [clamp]"),
        (None, "policies.p: None is no list of steps"),
        ([], "policies.p: has no step; give at least one of wait, clamp, fallback, reallocate, "),
        (["weight"], "policies.p.0: 'weight' is no step; a step is one of wait, clamp, "),
        ([3], "policies.p.0: 3 is no step; a step is one of "),
        ([["wait"]], "policies.p.0: ['wait'] is no step; a step is one of "),
        ([{"wait": None, "clamp": None}], "policies.p.0: {'wait': None, 'clamp': None} is no step"),
        ([{3: None}], "policies.p.0: 3 is no step; a step is one of "),
        ([{"wait": 5}], "policies.p.0.wait: 5 is no mapping of seconds"),
        ([{"wait": {"floor": 5}}], "policies.p.0.wait.floor: unknown key; allowed are seconds"),
        (
            [{"wait": {"seconds": -1}}],
            "policies.p.0.wait.seconds: -1 is no number of seconds; give 0 or more",
        ),
        (
            [{"clamp": {"floor": 0}}],
            "policies.p.0.clamp.floor: 0 is no count of tokens; give a whole number from 1",
        ),
        (["fallback"], "policies.p.0: 'fallback' needs a model: write `fallback: {model: NAME}`"),
        (
            [{"fallback": {"provider": "x"}}],
            "policies.p.0.fallback: 'fallback' needs a model: write ",
        ),
        (
            [{"fallback": {"model": " "}}],
            "policies.p.0.fallback.model: ' ' is not the name of a model",
        ),
        ([{"skip": {"floor": 1}}], "policies.p.0.skip: {'floor': 1} is too much; 'skip' stands"),
        (
            ["refuse", "wait"],
            "policies.p.1: nothing may follow 'refuse', which ends the policy; put it last",
        ),
        (["wait", "skip", "refuse"], "policies.p.2: nothing may follow 'skip', which ends "),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_naming_the_step(
    written: Any, message: str
) -> None:
    assert refusal({"policies": {"p": written}}).startswith(message)


def test_a_wrong_step_of_an_agents_own_policy_is_refused_where_it_stands() -> None:
    said = refusal({"agents": {"a": {"policy": ["wait", "wat"]}}})

    assert said.startswith("agents.a.policy.1: 'wat' is no step")


def test_a_contract_may_bound_one_side_only_and_then_only_records() -> None:
    assert contract({"output_tokens": {"max": 800}}) == ContractSettings(max_output_tokens=800)
    assert contract({"output_tokens": {"min": "0"}}) == ContractSettings(min_output_tokens=0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"output_tokens": {"min": 9, "max": 8}}, "output_tokens: min 9 is more than max 8"),
        ({"output_tokens": 800}, "output_tokens: 800 is no mapping of min, max"),
        ({"mode": "cut"}, "mode: 'cut' is none of record, truncate, refuse"),
        (
            {"output_tokens": {"min": 5}, "mode": "truncate"},
            "mode: 'truncate' needs output_tokens.max, to know where to cut",
        ),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(written: Any, message: str) -> None:
    said = refusal({"agents": {"a": {"contract": written}}})

    assert said == f"agents.a.contract.{message}"


def test_the_metrics_limits_default_to_those_of_the_fold() -> None:
    limits, default = Limits(), MetricsSettings()

    assert default.max_series == limits.series
    assert default.max_session_series == limits.session_series
    assert default.max_customers == limits.customers
    assert default.max_teams == limits.teams
    assert default.max_agents == limits.agents
    assert default.max_providers == limits.providers
    assert default.max_models == limits.models
    assert default.linger_seconds * 1e6 == LINGER_US


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"max_series": 10_000},
            "metrics: max_session_series 20000 is more than max_series 10000, of which it is a",
        ),
        ({"max_customers": -1}, "metrics.max_customers: -1 is no count of names; give a whole "),
        ({"max_series": 0}, "metrics.max_series: 0 is no count of series; give a whole number "),
        ({"linger_seconds": "long"}, "metrics.linger_seconds: 'long' is not a number of seconds"),
    ],
)
def test_metrics_limits_that_cannot_be_are_refused(written: Any, message: str) -> None:
    assert refusal({"metrics": written}).startswith(message)
