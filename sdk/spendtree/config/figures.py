"""What a configuration shows as metrics: the prices of plans, and thresholds of alerts. Pure.

Not loaded with the package: only who shows metrics needs it.
"""

from collections.abc import Mapping, Sequence

from spendtree.config.settings import Config
from spendtree.metrics import Labels, family, label_text
from spendtree.money import to_pico

Figures = Mapping[str, Sequence[tuple[Labels, int]]]
"""Samples by family: label values, and the value in the family's integer unit."""

PLAN_PRICE = "plan_price_usd"
THRESHOLD = "alert_threshold"
CATALOGUE_DATE = "price_catalogue_timestamp_seconds"


def configured_figures(config: Config) -> Figures:
    """Return the samples of `plan_price_usd` and `alert_threshold` that a configuration gives.

    One for each customer with a plan, and one for each threshold that is given: the alerting rules
    know the defaults of the others.
    """
    scale = 10 ** family(THRESHOLD).decimals
    return {
        PLAN_PRICE: [
            ((label_text(name), label_text(customer.plan)), _price(config, customer.plan))
            for name, customer in config.customers.items()
            if customer.plan is not None
        ],
        THRESHOLD: [
            ((name,), int(value * scale)) for name, value in config.alerts.thresholds.items()
        ],
    }


def catalogue_figures(timestamp: int | None) -> Figures:
    """Return the sample of a price catalogue's date, in seconds since 1970; none if not known."""
    if timestamp is None:
        return {}
    return {CATALOGUE_DATE: [((), timestamp * 10 ** family(CATALOGUE_DATE).decimals)]}


def _price(config: Config, plan: str) -> int:
    return to_pico(config.plans[plan].price_usd, what=f"plans.{plan}.price_usd")
