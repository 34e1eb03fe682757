"""Thresholds: what the alerting rules compare with where no configured limit says it. Pure.

A table: the configuration may give each another value, the rules and docs/alerts.md read it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Unit = Literal["ratio", "usd", "seconds", "sessions", "calls"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that an alert compares with: its default and unit, and why it is this number."""

    default: Decimal
    unit: Unit
    reason: str


def _of(default: str, unit: Unit, reason: str) -> Threshold:
    return Threshold(Decimal(default), unit, reason)


THRESHOLDS: dict[str, Threshold] = {
    "envelope_exhaustion_ratio": _of(
        "0.1", "ratio", "more than one session in ten cut short is a size that does not fit"
    ),
    "cost_amplification_ratio": _of(
        "2", "ratio", "routing again has cost as much as all first attempts together"
    ),
    "session_amplification_ratio": _of(
        "5", "ratio", "five times its first attempt: a session that goes round in circles"
    ),
    "coordinator_share_ratio": _of(
        "0.4", "ratio", "recorded teams of agents spend 12 % pooled on coordination, 34 % at most"
    ),
    "failed_run_cost_ratio": _of(
        "0.2", "ratio", "a fifth of the money buys answers that nobody uses"
    ),
    "session_near_ceiling_ratio": _of(
        "0.8", "ratio", "the mark at which applications are warned by default"
    ),
    "session_burn_seconds": _of(
        "300", "seconds", "what a person needs at least to look and to stop a session"
    ),
    "budget_exceeded_ratio": _of("0.05", "ratio", "one session in twenty stopped is felt by users"),
    "budget_near_ratio": _of("0.8", "ratio", "a fifth is left: time to talk about more"),
    "customer_spend_ratio": _of(
        "4", "ratio", "times the median hour of the week before; weekdays and launches stay below"
    ),
    "customer_spend_floor_usd": _of(
        "1", "usd", "an hour; below it the cure costs more than the illness"
    ),
    "plan_price_ratio": _of("1", "ratio", "beyond the price of the plan each call is a loss"),
    "busy_denied_ratio": _of(
        "0.01", "ratio", "holds that keep out one call in a hundred are too large"
    ),
    "presumed_ratio": _of(
        "0.05", "ratio", "a twentieth of the money unknown: figures begin to mislead"
    ),
    "hold_age_seconds": _of("900", "seconds", "longer than the slowest answers of providers"),
    "overrun_ratio": _of(
        "0.01", "ratio", "bounds should hold; a cent in the dollar is no rounding"
    ),
    "unattributed_ratio": _of(
        "0.05", "ratio", "a twentieth outside any session: a part of the program is not wrapped"
    ),
    "contract_violation_ratio": _of(
        "0.1", "ratio", "one result in ten too long: the contract or the prompt is wrong"
    ),
    "exporter_lag_seconds": _of("60", "seconds", "figures older than a scrape or two are history"),
    "scrape_duration_seconds": _of("5", "seconds", "half of Prometheus' default time-out"),
    "series_ratio": _of("0.8", "ratio", "time to raise the limit before names go to _other"),
    "price_catalogue_age_seconds": _of(
        "7776000", "seconds", "90 days; providers change prices about once a quarter"
    ),
    "minimum_sessions": _of("20", "sessions", "fewer than that make no ratio worth a message"),
}
