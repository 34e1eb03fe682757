"""Budgets and envelopes: what each account may spend, and whether its size is right."""

from grafana.build import colours, denials, envelopes
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    RATIO,
    SECONDS,
    USD,
    About,
    Column,
    Query,
    graph,
    stat_of,
    table_of,
)
from grafana.build.queries import (
    grown,
    once,
    recorded,
    select,
    total,
)

PAYERS = 'kind=~"customer|team"'
USED = recorded("budget:spendtree_budget_used:ratio")
LEFT = recorded("budget:spendtree_budget_left_seconds:max")
PROJECTED = recorded("budget:spendtree_budget_projected:ratio")
_BY = "by (kind, customer, team, period)"


def _account(name: str) -> str:
    return f"max {_BY} ({once(select(name, PAYERS))})"


_fullest_budget = stat_of(
    About(
        "Fullest budget",
        "The budget of a customer or team that has least left in its period. At 100 % its calls "
        "are refused: raise it in spendtree.yaml, or wait for the next period.",
        RATIO,
        0,
    ),
    f"max({USED})",
    thresholds=colours.steps(0.8, 1),
    empty="no budget",
)

_budgets_running_out = stat_of(
    About(
        "Budgets running out",
        "Budgets that are projected to be used up before their period ends. Each is a row below "
        "with more than 100 % in “Projected”.",
        COUNT,
        0,
    ),
    f"count({PROJECTED} > 1) or vector(0)",
    thresholds=colours.steps(1, 5),
)

_calls_denied = stat_of(
    About(
        "Calls denied",
        "Calls and agent runs refused in the time shown, before anything was sent. Why, and by "
        "which kind of limit, is below.",
        COUNT,
        0,
    ),
    grown(select("denied_calls_total")),
    thresholds=colours.steps(1),
    empty="0",
)

_would_be_denied = stat_of(
    About(
        "Would be denied",
        "Calls that were made because a mode is warn or record. See who has many before you "
        "switch to enforce: these calls will fail then.",
        COUNT,
        0,
    ),
    grown(select("would_deny_calls_total")),
    colour=colours.QUIET,
    empty="0",
)

_presumed_not_resolved = stat_of(
    About(
        "Presumed, not resolved",
        "Money of calls whose end is not known: timed out, cut off, or without usage. It blocks "
        "like spent money. If it grows, see “Calls of unclear ending” below.",
        USD,
        3,
    ),
    f"{total(select('presumed_usd_total'))} - "
    f"({total(select('presumed_resolved_usd_total'))} or vector(0))",
    colour=colours.PRESUMED,
)

_oldest_hold = stat_of(
    About(
        "Oldest hold",
        "How long the oldest call in flight has held its money. Above some minutes it hangs, or "
        "its process died without the exporter noticing: see the runbook of SpendtreeHoldStuck.",
        SECONDS,
        0,
    ),
    f"max({once('spendtree_oldest_hold_age_seconds')})",
    thresholds=colours.steps(300, 900),
    empty="none",
)

_top = Line(
    4,
    [
        (4, _fullest_budget),
        (4, _budgets_running_out),
        (4, _calls_denied),
        (4, _would_be_denied),
        (4, _presumed_not_resolved),
        (4, _oldest_hold),
    ],
)

_GAUGE = {
    "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
    "min": 0,
    "max": 1,
    "color": {"mode": "thresholds"},
}

_what_has_each_budget_left = table_of(
    About(
        "What has each budget left?",
        "One row for each budget in its current period (UTC). Held is for calls in flight and "
        "comes back; presumed is of calls of unclear ending. Remaining below zero is an overrun. "
        "Budgets of several stores stand on one row, the larger one: see the runbook of "
        "SpendtreeBudgetSplitOverStores.",
        USD,
        2,
    ),
    [
        _account("budget_limit_usd"),
        _account("budget_spent_usd"),
        _account("budget_presumed_usd"),
        _account("budget_held_usd"),
        _account("budget_remaining_usd"),
        f"max {_BY} ({USED})",
        f"max {_BY} ({PROJECTED})",
        f"max {_BY} ({LEFT})",
    ],
    [
        Column("kind", "Of a", width=90),
        Column("customer", "Customer"),
        Column("team", "Team"),
        Column("period", "Period", width=110),
        Column("Value #A", "Limit", USD, 2, 90),
        Column("Value #B", "Spent", USD, 2, 90),
        Column("Value #C", "Presumed", USD, 2, 90),
        Column("Value #D", "Held", USD, 3, 80),
        Column("Value #E", "Remaining", USD, 2, 100),
        Column("Value #F", "Used", RATIO, 0, 150, _GAUGE),
        Column(
            "Value #G",
            "Projected",
            RATIO,
            0,
            100,
            {
                "custom.cellOptions": {"type": "color-text"},
                "color": {"mode": "thresholds"},
            },
        ),
        Column("Value #H", "Ends in", SECONDS, 0, 100),
    ],
    sort="Used",
    thresholds=colours.steps(0.8, 1),
)

_how_do_the_budgets_fill = graph(
    About(
        "How do the budgets fill?",
        "Spent and presumed money over the limit; a line falls where its period ends. One that "
        "gets to 100 % stops its customer or team. Many that never pass a half are too generous "
        "to warn of anything.",
        RATIO,
        0,
    ),
    [
        Query(
            f'label_join(max {_BY} ({USED}), "whose", "", "customer", "team")',
            "{{whose}} {{period}}",
        )
    ],
    thresholds=colours.steps(0.8, 1),
    top=1,
    calcs=("lastNotNull",),
)

_warnings = graph(
    About(
        "Warnings",
        "Marks (50 %, 80 %, …) that accounts crossed, by kind of account. Many of envelopes are "
        "usual; one of a customer or a team is worth a look above.",
        COUNT,
        0,
    ),
    [
        Query(
            total(
                f"increase({select('budget_warnings_total')}[$__rate_interval])",
                "kind",
            ),
            "{{kind}}",
        )
    ],
    stacked=True,
    bars=True,
    calcs=("sum",),
    interval="10m",
)

_accounts = Section(
    "Budgets of customers and teams",
    [
        Line(9, [(24, _what_has_each_budget_left)]),
        Line(8, [(12, _how_do_the_budgets_fill), (12, _warnings)]),
    ],
)

BOARD = Board(
    uid="spendtree-budgets",
    title="Spendtree / Budgets and envelopes",
    description="What each account may spend, what it has left, and whether its size is right.",
    sections=[Section("", [_top]), _accounts, envelopes.SIZES, denials.DENIED],
)
