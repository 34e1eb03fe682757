"""Settings written back as plain data: what holds, defaults and inheritance worked out. Pure.

What is written is a configuration again: `load_config(describe(config))` means the same. Amounts
and fractions are decimal text, so that no reader of JSON makes them binary floats.
"""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Literal

from spendtree.config.settings import ACCOUNT_KINDS, Config, ContractSettings, Marks
from spendtree.config.steps import Step
from spendtree.pricing.own import MODIFIERS, RATES, UNIT_KEYS

Plain = dict[str, Any]

REGION = MODIFIERS[0]
"""A region is given as a modifier is: a factor, or prices."""

AMOUNTS = frozenset((*RATES, *UNIT_KEYS, *MODIFIERS))
"""The keys of own prices whose values are dollars or factors, not counts or names."""


def describe(config: Config) -> Plain:
    """Return the effective settings: dicts, lists, text, whole numbers, seconds as float, bool.

    Agents, customers and teams are those that are named; what they inherit is written out. What is
    not limited is not there, and thresholds of alerts are only those that are given.
    """
    return {
        **_known(version=config.version and config.version.text),
        "mode": config.mode,
        "modes": {kind: config.mode_for(kind) for kind in ACCOUNT_KINDS},
        "busy_timeout_seconds": config.busy_timeout_seconds,
        "session": _known(
            ceiling_usd=_text(config.session.ceiling_usd),
            warn_at=_marks(config.session.warn_at),
            min_cost_usd=_text(config.session.min_cost_usd),
            max_output_tokens=config.session.max_output_tokens,
            required=config.session.required,
        ),
        "agents": {role: _agent(config, role) for role in config.agents},
        "customers": {name: _payer(config, "customer", name) for name in config.customers},
        "teams": {name: _payer(config, "team", name) for name in config.teams},
        "periods": {
            period: _known(customer_usd=_text(shared.customer_usd), team_usd=_text(shared.team_usd))
            for period, shared in config.periods.items()
        },
        "plans": {
            name: {"price_usd": _text(plan.price_usd)} for name, plan in config.plans.items()
        },
        "policies": {name: _steps(steps) for name, steps in config.policies.items()},
        "prices": {model: _price(price) for model, price in config.prices.items()},
        "metrics": asdict(config.metrics),
        "alerts": {
            "thresholds": {name: _text(each) for name, each in config.alerts.thresholds.items()}
        },
    }


def _agent(config: Config, role: str) -> Plain:
    agent = config.agent(role)
    return _known(
        envelope_usd=_text(agent.envelope_usd),
        max_cost_usd=_text(agent.max_cost_usd),
        reserved=agent.reserved,
        min_cost_usd=_text(config.min_cost_for(role)),
        max_output_tokens=agent.max_output_tokens,
        warn_at=_marks(config.marks_for("envelope", role)),
        policy=_steps(config.policy_for(role)),
        on_exhausted=agent.on_exhausted,
        contract=agent.contract and _contract(agent.contract),
    )


def _contract(contract: ContractSettings) -> Plain:
    bounds = _known(min=contract.min_output_tokens, max=contract.max_output_tokens)
    return {"output_tokens": bounds, "mode": contract.mode}


def _payer(config: Config, kind: Literal["customer", "team"], name: str) -> Plain:
    budgets = config.budgets(kind, name)
    return _known(
        budgets_usd={period: _text(budget) for period, budget in budgets.items()},
        mode=config.payer(kind, name).mode,
        warn_at=_marks(config.marks_for(kind, name)),
        plan=config.payer(kind, name).plan,
    )


def _steps(steps: tuple[Step, ...]) -> list[str | Plain]:
    return [_step(step) for step in steps]


def _step(step: Step) -> str | Plain:
    options = _known(
        seconds=step.seconds,
        floor=step.floor,
        model=step.model or None,
        provider=step.provider or None,
    )
    return {step.name: options} if options else step.name


def _price(price: Mapping[str, Any]) -> Plain:
    """Return an own price with its amounts as text and its counts as numbers."""
    return {key: _priced(key, value) for key, value in price.items()}


def _priced(key: str, value: Any) -> Any:
    """Return what stands at a key of an own price: amounts and factors as text."""
    if isinstance(value, Mapping):
        if key == "regions":
            return {name: _priced(REGION, each) for name, each in value.items()}
        return _price(value)
    if isinstance(value, (list, tuple)):
        return [_price(each) for each in value]
    if key in AMOUNTS:
        return _text(value)
    return _count(value)


def _count(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _marks(marks: Marks) -> list[str]:
    return [f"{mark:f}" for mark in marks]


def _text(dollars: Any) -> str | None:
    """Return dollars, of whatever type they were given in, as decimal text."""
    if dollars is None:
        return None
    return f"{Decimal(float.__repr__(dollars) if isinstance(dollars, float) else dollars):f}"


def _known(**values: Any) -> Plain:
    return {key: value for key, value in values.items() if value is not None}
