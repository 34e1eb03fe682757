"""The vocabulary of spendtree.yaml, and its door.

The tables, here and in `sections`, are the whole of it: a new key is a reader in a table, and a
field of its settings.
"""

import os
from collections.abc import Mapping
from typing import Any, get_args

from spendtree.config.document import read_document
from spendtree.config.place import Place
from spendtree.config.readers import (
    Reader,
    dollars,
    each,
    marks,
    one_of,
    seconds,
    section,
    suggestion,
    text,
    tokens,
    truth,
)
from spendtree.config.sections import alerts, contract, metrics, plan, policy, prices, steps
from spendtree.config.settings import (
    ACCOUNT_KINDS,
    EVERY_AGENT,
    MODES,
    PERIODS,
    AgentSettings,
    Config,
    OnExhausted,
    PayerSettings,
    PeriodSettings,
    SessionSettings,
)
from spendtree.config.steps import STEP_NAMES
from spendtree.config.version import Version, of_time, version
from spendtree.errors import ConfigurationError

SESSION: dict[str, Reader] = {
    "ceiling_usd": dollars,
    "warn_at": marks,
    "min_cost_usd": dollars,
    "max_output_tokens": tokens,
    "required": truth,
}

AGENT: dict[str, Reader] = {
    "envelope_usd": dollars,
    "max_cost_usd": dollars,
    "reserved": truth,
    "min_cost_usd": dollars,
    "max_output_tokens": tokens,
    "warn_at": marks,
    "policy": policy,
    "on_exhausted": one_of(get_args(OnExhausted)),
    "contract": contract,
}

PAYER: dict[str, Reader] = {
    "budgets_usd": section(dict.fromkeys(PERIODS, dollars)),
    "mode": one_of(MODES),
    "warn_at": marks,
}

CUSTOMER: dict[str, Reader] = {**PAYER, "plan": text("the name of a plan")}

PERIOD: dict[str, Reader] = {"customer_usd": dollars, "team_usd": dollars}


def agents(place: Place, value: Any) -> dict[str, AgentSettings]:
    """Read the settings of each role; what one does not say, "*" says for every agent."""
    given = each(section(AGENT), "of agent roles")(place, value)
    shared = given.get(EVERY_AGENT, {})
    return {role: AgentSettings(**{**shared, **own}) for role, own in given.items()}


SECTIONS: dict[str, Reader] = {
    "mode": one_of(MODES),
    "modes": section(dict.fromkeys(ACCOUNT_KINDS, one_of(MODES))),
    "busy_timeout_seconds": seconds,
    "session": section(SESSION, SessionSettings),
    "agents": agents,
    "customers": each(section(CUSTOMER, PayerSettings), "of customers"),
    "teams": each(section(PAYER, PayerSettings), "of teams"),
    "periods": section(dict.fromkeys(PERIODS, section(PERIOD, PeriodSettings))),
    "plans": each(plan, "of plans"),
    "policies": each(steps, "of policies"),
    "prices": prices,
    "metrics": metrics,
    "alerts": alerts,
    "version": version,
}


def load_config(source: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file (by its path) or a mapping of the same shape; None is all defaults.

    Raises ConfigurationError naming the file and line (for a mapping, the key), the value and what
    is allowed: for unknown or duplicate keys, values that cannot be meant, and unreadable files.
    """
    return locate_config(source)[0]


def locate_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | None,
) -> tuple[Config, Place]:
    """Read as `load_config` does, and return the place too, which knows the line of each key."""
    if source is None:
        source = {}
    if isinstance(source, Mapping):
        place, data, dated = Place("", {}), source, None
    elif isinstance(source, (str, os.PathLike)):
        # Its time is taken first: of a file that is written just now rather the old one.
        dated = _time_of(os.fspath(source))
        place, data = read_document(os.fspath(source))
    else:
        raise ConfigurationError(f"config: {source!r} is neither a path nor a mapping")
    config = Config(dated=dated, **section(SECTIONS)(place, data))
    _check_policies(place, config)
    _check_plans(place, config)
    return config, place


def _time_of(file: str) -> Version | None:
    """Return the version that a file has which states none: when it was changed last."""
    try:
        return of_time(os.stat(file).st_mtime_ns, f"{file} of")
    except OSError:  # reading it says what is wrong
        return None


def _check_policies(place: Place, config: Config) -> None:
    """Refuse the name of a policy that there is not."""
    for role, agent in config.agents.items():
        name = agent.policy
        if isinstance(name, str) and name not in config.policies:
            if name in STEP_NAMES:
                way_out = f"for this one step write [{name}]"
            elif config.policies:
                way_out = suggestion(name, config.policies)
            else:
                way_out = "there is none under `policies`"
            spot = place.at("agents").at(role).at("policy")
            raise spot.error(f"{name!r} is no policy; {way_out}")


def _check_plans(place: Place, config: Config) -> None:
    """Refuse the name of a plan that there is not."""
    for name, customer in config.customers.items():
        if customer.plan is not None and customer.plan not in config.plans:
            plans = config.plans
            way_out = suggestion(customer.plan, plans) if plans else "there is none under `plans`"
            spot = place.at("customers").at(name).at("plan")
            raise spot.error(f"{customer.plan!r} is no plan; {way_out}")
