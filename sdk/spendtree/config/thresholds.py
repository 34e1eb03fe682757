"""Thresholds: what the alerting rules compare with where no configured limit says it. Pure.

A table: the configuration may give each another value, the rules and docs/alerts.md read it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Unit = Literal["ratio", "usd", "seconds", "hours", "sessions", "calls", "errors", "stores"]


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
        "2.5", "ratio", "two whole repeats make 3, one makes 2: a third attempt is going on"
    ),
    "session_runaway_floor_usd": _of(
        "0.1", "usd", "a session that cost less than ten cents runs nowhere"
    ),
    "coordinator_share_ratio": _of(
        "0.4", "ratio", "recorded teams of agents spend 12 % pooled on coordination, 34 % at most"
    ),
    "failed_run_cost_ratio": _of(
        "0.2", "ratio", "a fifth of the money buys answers that nobody uses"
    ),
    "contract_violation_ratio": _of(
        "0.1", "ratio", "one result in ten breaks it: the contract or the prompt is wrong"
    ),
    "session_near_ceiling_ratio": _of(
        "0.8", "ratio", "the mark at which applications are warned by default"
    ),
    "session_burn_seconds": _of(
        "600", "seconds", "what a person needs to be told, to look and to stop a session"
    ),
    "session_burn_floor_usd": _of(
        "1", "usd", "left at the ceiling; less is gone before anybody has read the message"
    ),
    "stopped_sessions_ratio": _of(
        "0.05", "ratio", "one session in twenty stopped is felt by users"
    ),
    "budget_near_ratio": _of("0.8", "ratio", "a fifth is left: time to talk about more"),
    "budget_exhausted_ratio": _of(
        "1", "ratio", "all of it; a budget that refuses calls counts as exhausted before that"
    ),
    "budget_projected_ratio": _of(
        "1", "ratio", "the period ends beyond its budget if nothing changes"
    ),
    "budget_projection_elapsed_ratio": _of(
        "0.05", "ratio", "36 hours of a month, 72 minutes of a day: before, a rate says little"
    ),
    "budget_stores": _of(
        "1", "stores", "a cap binds in one store; set it to your hosts if you divided the budget"
    ),
    "customer_spend_ratio": _of(
        "4", "ratio", "times the median hour of the week before; weekdays and launches stay below"
    ),
    "customer_spend_peak_ratio": _of(
        "1.5", "ratio", "times the week's 99th percentile, so that a daily batch is nothing new"
    ),
    "customer_spend_floor_usd": _of(
        "1", "usd", "an hour; below it the cure costs more than the illness"
    ),
    "customer_spend_hours": _of(
        "48", "hours", "with spend in the week before: with fewer there is no usual yet"
    ),
    "plan_price_ratio": _of("1", "ratio", "beyond the price of the plan each call is a loss"),
    "busy_denied_ratio": _of(
        "0.01", "ratio", "holds that keep out one call in a hundred are too large"
    ),
    "lapsed_calls_ratio": _of(
        "0.05", "ratio", "one call in twenty of unknown cost: figures begin to mislead"
    ),
    "hold_age_seconds": _of("900", "seconds", "longer than the slowest answers of providers"),
    "overrun_ratio": _of(
        "0.01", "ratio", "bounds should hold; a cent in the dollar is no rounding"
    ),
    "overrun_floor_usd": _of("0.1", "usd", "an hour; less is no reason to look at bounds"),
    "unpriced_calls": _of(
        "0", "calls", "an hour; each is spend that no figure and no cap knows of"
    ),
    "unmetered_calls": _of(
        "5", "calls", "an hour; a stream that breaks off now and then is normal"
    ),
    "uncertain_spend_ratio": _of(
        "0.05", "ratio", "a twentieth of unsure cost: the bill may differ by more than rounding"
    ),
    "unattributed_cost_ratio": _of(
        "0.05", "ratio", "a twentieth outside any session: a part of the program is not wrapped"
    ),
    "lost_thread_calls": _of("0", "calls", "an hour; each is spend that no ceiling could stop"),
    "label_overflow_calls": _of("0", "calls", "an hour; each stands under _other from now on"),
    "unrecorded_calls": _of("0", "calls", "in 15 minutes; each is spend that no figure knows of"),
    "exporter_lag_seconds": _of("60", "seconds", "figures older than a scrape or two are history"),
    "store_errors": _of("5", "errors", "in 15 minutes; a busy moment makes one or two"),
    "scrape_duration_seconds": _of("5", "seconds", "half of Prometheus' default time-out"),
    "series_ratio": _of("0.8", "ratio", "time to raise the limit before names go to _other"),
    "price_catalogue_age_seconds": _of(
        "7776000", "seconds", "90 days; providers change prices about once a quarter"
    ),
    "minimum_sessions": _of(
        "20", "sessions", "or runs, caps, results: fewer than that make no ratio worth a message"
    ),
    "minimum_calls": _of("100", "calls", "an hour; fewer than that make no ratio worth a message"),
}
