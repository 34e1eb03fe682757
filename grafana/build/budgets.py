"""Budgets and envelopes: what each account may spend, and whether its size is right."""

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    LIMIT_LINE,
    RATIO,
    SECONDS,
    USD,
    About,
    Column,
    Query,
    buckets,
    graph,
    ranking,
    stat_of,
    table_of,
)
from grafana.build.queries import grown, once, recorded, select, threshold, total

PAYERS = 'kind=~"customer|team"'
USED = recorded("budget:spendtree_budget_used:ratio")
LEFT = recorded("budget:spendtree_budget_left_seconds:max")
PROJECTED = recorded("budget:spendtree_budget_projected:ratio")
_BY = "by (kind, customer, team, period)"

ENVELOPES = select("envelopes_total")
EXHAUSTED = select("envelopes_exhausted_total")
USAGE = select("envelope_usage_ratio", suffix="_bucket")
DENIED = select("denied_calls_total")


def _account(name: str) -> str:
    return f"max {_BY} ({once(select(name, PAYERS))})"


def _wait(which: float) -> str:
    found = total("rate(spendtree_hold_wait_seconds_bucket[1h])", "le")
    return f"histogram_quantile({which}, {found}) >= 0"


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
    grown(DENIED),
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
        (
            4,
            _fullest_budget,
        ),
        (
            4,
            _budgets_running_out,
        ),
        (
            4,
            _calls_denied,
        ),
        (
            4,
            _would_be_denied,
        ),
        (
            4,
            _presumed_not_resolved,
        ),
        (
            4,
            _oldest_hold,
        ),
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
        Line(
            9,
            [
                (
                    24,
                    _what_has_each_budget_left,
                )
            ],
        ),
        Line(
            8,
            [
                (
                    12,
                    _how_do_the_budgets_fill,
                ),
                (
                    12,
                    _warnings,
                ),
            ],
        ),
    ],
)

_exhaustion_by_role = graph(
    About(
        "Exhaustion by role",
        "Of the envelopes of sessions that ended, those that denied a call, each hour. Above the "
        "dashed line (10 %) the role's envelope is too small: raise envelope_usd or max_cost_usd, "
        "or shorten what it does.",
        RATIO,
        1,
    ),
    [
        Query(
            f"max by (agent, kind) "
            f"({recorded('team_agent_kind:spendtree_envelope_exhaustion:ratio1h')})",
            "{{agent}} ({{kind}})",
        ),
        Query(threshold("envelope_exhaustion_ratio"), "limit"),
    ],
    overrides=[LIMIT_LINE],
    calcs=("lastNotNull", "mean"),
)

_which_envelopes_are_too_tight_or_too_loose = ranking(
    About(
        "Which envelopes are too tight or too loose?",
        "What the median session uses of each role's caps, in the time shown. Near or above 100 "
        "%: too tight. Below a quarter: too loose to stop anything, set it nearer to what 95 of "
        "100 sessions need.",
        RATIO,
        0,
    ),
    [
        Query(
            f"sort_desc(histogram_quantile(0.5, {grown(USAGE, 'agent, kind, le')}) >= 0)",
            "{{agent}} ({{kind}})",
        )
    ],
    thresholds=colours.steps(0.9, 1),
    top=1,
)

_how_much_of_its_envelope_does_a_role_use = buckets(
    About(
        "How much of its envelope does a role use?",
        "Envelopes of sessions that ended, by what they used of their cap. A dark band at the top "
        "is too tight, one at the bottom too loose; choose an agent above to see one role.",
        RATIO,
        0,
    ),
    total(f"increase({USAGE}[$__rate_interval])", "le"),
    interval="10m",
)

_transfers = table_of(
    About(
        "Transfers",
        "Unused money that agents gave each other in the time shown; it is not spend. Where the "
        "same pair moves it again and again, the giver's envelope is too large and the taker's "
        "too small.",
        USD,
        2,
    ),
    [
        grown("spendtree_transferred_usd_total", "source, target") + " > 0",
        grown("spendtree_transfers_total", "source, target") + " > 0",
    ],
    [
        Column("source", "From"),
        Column("target", "To"),
        Column("Value #A", "Moved", USD, 2, 110),
        Column("Value #B", "Times", COUNT, 0, 90),
    ],
    sort="Moved",
)

_sizes = Section(
    "Are the envelopes of the right size?",
    [
        Line(
            9,
            [
                (
                    12,
                    _exhaustion_by_role,
                ),
                (
                    12,
                    _which_envelopes_are_too_tight_or_too_loose,
                ),
            ],
        ),
        Line(
            9,
            [
                (
                    12,
                    _how_much_of_its_envelope_does_a_role_use,
                ),
                (
                    12,
                    _transfers,
                ),
            ],
        ),
    ],
)

_denials_by_reason = graph(
    About(
        "Denials by reason",
        "Exhausted: the money is gone. Busy: others held it too long; hold less (smaller output "
        "limits), or wait longer. Unknown price: give the model one under prices. Store: the "
        "store was out of reach.",
        COUNT,
        0,
    ),
    [
        Query(
            total(f"increase({DENIED}[$__rate_interval])", "reason"),
            "{{reason}}",
        )
    ],
    stacked=True,
    bars=True,
    overrides=colours.meant("exhausted", "busy", "unknown_price", "store"),
    calcs=("sum",),
    interval="10m",
)

_which_limit_denied_whom = table_of(
    About(
        "Which limit denied whom?",
        "Denials in the time shown. Kind is the account that refused: a session's ceiling, an "
        "agent's envelope or run, a customer's or team's period. The first row is the limit to "
        "look at first.",
        COUNT,
        0,
    ),
    [f"topk(50, {grown(DENIED, 'customer, agent, kind, reason')} > 0)"],
    [
        Column("customer", "Customer"),
        Column("agent", "Agent"),
        Column("kind", "Kind", width=110),
        Column("reason", "Reason", width=130),
        Column("Value", "Denied", COUNT, 0, 90),
    ],
    sort="Denied",
)

_how_long_do_calls_wait_for_money = graph(
    About(
        "How long do calls wait for money?",
        "Of calls that waited for others' holds and were then made: half waited less than the "
        "lower line, 95 of 100 less than the upper. If it is long, ceilings are too tight for so "
        "many agents at once.",
        SECONDS,
        2,
    ),
    [
        Query(_wait(0.95), "95 of 100"),
        Query(_wait(0.5), "half"),
    ],
    overrides=[
        (colours.named("95 of 100"), [colours.colour(colours.NEAR)]),
        (colours.named("half"), [colours.colour(colours.SPENT)]),
    ],
    interval="10m",
    calcs=("lastNotNull",),
    narrow=True,
)

_overruns_by_model = ranking(
    About(
        "Overruns by model",
        "True cost above what was held, in the time shown. Bounds should hold: a model here "
        "writes more than its output limit, or is billed for what is not in the request.",
        USD,
        4,
    ),
    [
        Query(
            f"sort_desc({grown(select('overrun_usd_total'), 'model')} > 0)",
            "{{model}}",
        )
    ],
    empty="none",
)

_calls_of_unclear_ending = graph(
    About(
        "Calls of unclear ending",
        "Lapsed: timed out or cut off. Unmetered: answered without usage. Their worst case is "
        "presumed spent. If there are many, ask the provider for usage in streams, and look at "
        "time-outs.",
        COUNT,
        0,
    ),
    [
        Query(
            total(
                "increase("
                + select("calls_total", 'status=~"lapsed|unmetered"')
                + "[$__rate_interval])",
                "status",
            ),
            "{{status}}",
        )
    ],
    stacked=True,
    bars=True,
    overrides=colours.meant("lapsed", "unmetered"),
    calcs=("sum",),
    interval="10m",
    narrow=True,
)

_denied = Section(
    "Denials, and what was not foreseen",
    [
        Line(
            8,
            [
                (
                    12,
                    _denials_by_reason,
                ),
                (
                    12,
                    _which_limit_denied_whom,
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    8,
                    _how_long_do_calls_wait_for_money,
                ),
                (
                    8,
                    _overruns_by_model,
                ),
                (
                    8,
                    _calls_of_unclear_ending,
                ),
            ],
        ),
    ],
)

BOARD = Board(
    uid="spendtree-budgets",
    title="Spendtree / Budgets and envelopes",
    description="What each account may spend, what it has left, and whether its size is right.",
    sections=[Section("", [_top]), _accounts, _sizes, _denied],
)
