"""What a configuration means to the fold: how many series and names there are, and how long.

Not loaded with the package: only who runs a fold needs it.
"""

from typing import NamedTuple

from spendtree.config.settings import Config
from spendtree.metrics import BIRTH_HOLD_US, LINGER_US, Limits

LIMITS = {
    "max_series": "series",
    "max_session_series": "session_series",
    "max_customers": "customers",
    "max_teams": "teams",
    "max_agents": "agents",
    "max_providers": "providers",
    "max_models": "models",
}
"""Keys of the section `metrics`, and the limits of the fold that they are."""


class FoldSettings(NamedTuple):
    """What a fold is made with; the times are microseconds."""

    limits: Limits = Limits()
    linger_us: int = LINGER_US
    birth_hold_us: int = BIRTH_HOLD_US


def fold_settings(config: Config) -> FoldSettings:
    """Return the fold's part of a configuration: who has a budget or a plan keeps their name."""
    counts = {field: getattr(config.metrics, key) for key, field in LIMITS.items()}
    customers = (
        name
        for name, customer in config.customers.items()
        if customer.plan is not None or config.budgets("customer", name)
    )
    teams = (name for name in config.teams if config.budgets("team", name))
    limits = Limits(**counts, kept_customers=frozenset(customers), kept_teams=frozenset(teams))
    return FoldSettings(
        limits,
        linger_us=round(config.metrics.linger_seconds * 1e6),
        birth_hold_us=round(config.metrics.birth_hold_seconds * 1e6),
    )
