"""The families of money that is limited: live accounts, warnings, prices. A table only."""

from spendtree.metrics.family import counter, gauge

_ACCOUNT = "kind period session agent customer team"
_LIVE = (
    "Accounts with a cap: customers and teams in their current period, sessions and envelopes as "
    "long as their session's series. Runs (max_cost) are not shown. "
)

BUDGETS = (
    gauge(
        "budget_limit_usd",
        _ACCOUNT,
        "Cap of a live account as it stands now.",
        _LIVE + "Moves and changed caps are in it.",
        'spendtree_budget_limit_usd{kind="customer"}',
    ),
    gauge(
        "budget_spent_usd",
        _ACCOUNT,
        "True cost charged to a live account.",
        _LIVE + "Money that is held or presumed is not in it.",
        "spendtree_budget_spent_usd / spendtree_budget_limit_usd > 0.8",
    ),
    gauge(
        "budget_presumed_usd",
        _ACCOUNT,
        "Money presumed spent at a live account: it blocks like spent money.",
        _LIVE + "Until late truth takes it away.",
        "spendtree_budget_presumed_usd > 0.1 * spendtree_budget_limit_usd",
    ),
    gauge(
        "budget_held_usd",
        _ACCOUNT,
        "Money held at a live account for calls in flight.",
        _LIVE + "Worst cases, given back when the calls end.",
        'sum by (customer) (spendtree_budget_held_usd{kind="session"})',
    ),
    gauge(
        "budget_remaining_usd",
        _ACCOUNT,
        "What a live account still has free; negative after an overrun.",
        _LIVE + "The cap less spent, presumed, held and reserved money.",
        'spendtree_budget_remaining_usd{kind="customer"} < 1',
    ),
    gauge(
        "budget_period_end_timestamp_seconds",
        "kind period customer team",
        "When a customer's or team's current period ends, in seconds since 1970 UTC.",
        "Periods are UTC days, ISO weeks and months.",
        "(spendtree_budget_period_end_timestamp_seconds - time()) / 3600",
    ),
    counter(
        "budget_warnings_total",
        "customer team kind",
        "Warning marks that accounts have crossed.",
        "Each crossing of each mark once, also where nobody listens.",
        "sum by (customer, kind) (increase(spendtree_budget_warnings_total[1h]))",
    ),
    gauge(
        "plan_price_usd",
        "customer plan",
        "What a customer's plan costs a month, as configured.",
        "Customers with a plan in the configuration.",
        "spendtree_plan_price_usd",
    ),
    gauge(
        "price_catalogue_timestamp_seconds",
        "",
        "Date of the price catalogue in use, in seconds since 1970 UTC.",
        "The catalogue's own date, not that of prices in the configuration.",
        "(time() - spendtree_price_catalogue_timestamp_seconds) / 86400 > 60",
    ),
    gauge(
        "alert_threshold",
        "name",
        "Limits that alerting rules compare with, as configured.",
        "One series per threshold; rules have defaults for those that are not configured.",
        "spendtree_alert_threshold",
        places=6,
    ),
)
