"""Overview: how much, by whom, how near the limit, and what has changed."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    LIMIT_LINE,
    RATIO,
    SESSION_LINK,
    SEVERITIES,
    TIMES,
    USD,
    About,
    Column,
    Query,
    graph,
    stat_of,
    table_of,
)
from grafana.build.queries import (
    SPENDING,
    THIS_MONTH,
    TODAY,
    added_up,
    grown,
    now_by,
    per_hour,
    recorded,
    select,
    share,
    threshold,
)

COST = recorded(SPENDING)

FIRST_CYCLES = recorded("customer:spendtree_first_cycle_cost_usd:rate5m")
HOURS = recorded("customer:spendtree_cost_usd:increase1h")
FIVE_MINUTES = recorded("customer:spendtree_cost_usd:rate5m")

MONTHLY = 'kind="customer", period=~"....-[0-9]."'
USED = recorded("budget:spendtree_budget_used_usd:max", MONTHLY)
LIMIT = recorded("budget:spendtree_budget_limit_usd:max", MONTHLY)
PROJECTED = recorded("budget:spendtree_budget_projected_usd:max", MONTHLY)

FIRING = 'alertname=~"Spendtree.*", alertstate="firing"'
URGENT = f'ALERTS{{{FIRING}, severity!="info"}}'

_spend_per_hour = stat_of(
    About(
        "Spend per hour",
        "What is being spent now, at the rate of the last five minutes. Follows the customer "
        "filter. If it is far from usual, look at who spends it in the graph below, then at their "
        "sessions.",
        USD,
        2,
    ),
    per_hour(f"sum({FIVE_MINUTES})"),
    colour=colours.SPENT,
    trend=True,
)

_spent_today = stat_of(
    About(
        "Spent today",
        "Since midnight UTC, of the customers chosen. If it is more than a usual whole day, look "
        "at “Changes since last week” for whose it is.",
        USD,
        2,
    ),
    f"300 * sum(sum_over_time((sum({FIVE_MINUTES}) and on () ({TODAY}))[1d:5m]))",
    colour=colours.SPENT,
)

_spent_this_month = stat_of(
    About(
        "Spent this month",
        "Since the first of the month UTC, of the customers chosen. What Prometheus has not kept "
        "is missing in it; the bill is what `spendtree sessions` adds up.",
        USD,
        2,
    ),
    f"sum(sum_over_time((sum({HOURS}) and on () ({THIS_MONTH}))[31d:1h]))",
    colour=colours.SPENT,
)

_budgets_used = stat_of(
    About(
        "Budgets used",
        "Spent and presumed money of the customers who have a budget for the month, of what they "
        "may spend together. If it is high, see on “Budgets and envelopes” whose it is, and raise "
        "that budget or talk to them.",
        RATIO,
        0,
    ),
    share(f"sum({USED})", f"sum({LIMIT})"),
    thresholds=colours.steps(0.8, 1),
    empty="no budget",
)

_budgets_projected = stat_of(
    About(
        "Budgets projected",
        "What these budgets come to at the month's end if it goes on so. Above 100 % some will be "
        "stopped before: see on “Customers” whose budget that is.",
        RATIO,
        0,
    ),
    share(f"sum({PROJECTED})", f"sum({LIMIT})"),
    thresholds=colours.steps(0.9, 1),
    empty="no budget",
)

_alerts_firing = stat_of(
    About(
        "Alerts firing",
        "Spendtree's alerts that fire now, those for information left out. Each has a runbook, "
        "linked in the alert; they are listed below.",
        COUNT,
        0,
    ),
    f"count({URGENT}) or vector(0)",
    thresholds=colours.steps(1, 3),
)

_top = Line(
    4,
    [
        (4, _spend_per_hour),
        (4, _spent_today),
        (4, _spent_this_month),
        (4, _budgets_used),
        (4, _budgets_projected),
        (4, _alerts_firing),
    ],
)

_amplification = stat_of(
    About(
        "Amplification",
        "Cost of everything over the cost of first routing cycles, in the time shown: 1.3× means "
        "that routing again cost 30 % more. If it is high, agents fail and are asked again: see "
        "“Failed runs” on the Efficiency dashboard for which.",
        TIMES,
        2,
    ),
    share(added_up(FIVE_MINUTES), added_up(FIRST_CYCLES)),
    thresholds=colours.steps(1.5, 2),
)

_envelopes_exhausted = stat_of(
    About(
        "Envelopes exhausted",
        "Of the envelopes of sessions that ended in the time shown, those that denied a call. "
        "Above 10 % they are too small: see which role's on “Budgets and envelopes”.",
        RATIO,
        1,
    ),
    share(grown(select("envelopes_exhausted_total")), grown(select("envelopes_total"))),
    thresholds=colours.steps(0.05, 0.1),
)

_coordinator_share = stat_of(
    About(
        "Coordinator share",
        "What coordinators spent of the sessions with two agents or more, in the time shown. 12 % "
        "is usual; if it is above 40 %, organising costs more than it saves: give the coordinator "
        "a cheaper model, or fewer agents shorter answers.",
        RATIO,
        0,
    ),
    share(
        grown(select("completed_multiagent_cost_usd_total", 'part="coordinator"')),
        grown(select("completed_multiagent_cost_usd_total")),
    ),
    thresholds=colours.steps(0.25, 0.4),
)

_sessions_stopped_by_a_budget = stat_of(
    About(
        "Sessions stopped by a budget",
        "Of the sessions that ended in the time shown, those that ran into their ceiling or a "
        "budget: their users got no whole answer. If it is high, see “Denials” on “Budgets and "
        "envelopes” for which limit it was.",
        RATIO,
        1,
    ),
    share(
        grown(select("sessions_total", 'status="budget_exceeded"')),
        grown(select("sessions_total")),
    ),
    thresholds=colours.steps(0.02, 0.05),
)

_second = Line(
    4,
    [
        (6, _amplification),
        (6, _envelopes_exhausted),
        (6, _coordinator_share),
        (6, _sessions_stopped_by_a_budget),
    ],
)


def _spend(by: str, title: str, description: str) -> Builder[Panel]:
    return graph(
        About(title, description, USD, 2),
        [Query(per_hour(now_by(COST, by)), "{{" + by + "}}")],
        stacked=True,
        calcs=("mean", "lastNotNull"),
        interval="5m",
    )


_spend_per_hour_by_customer = _spend(
    "customer",
    "Spend per hour by customer",
    "Whose money it is. If one grows alone, look at their sessions; if all do, at the models and "
    "agents beside this.",
)

_spend_per_hour_by_agent = _spend(
    "agent",
    "Spend per hour by agent",
    "What each role itself spends, without what it spawns. If one has grown, its prompts, its "
    "model or the number of its runs have: see “Efficiency”. Without a name is what no agent made.",
)

_spend_per_hour_by_model = _spend(
    "model",
    "Spend per hour by model",
    "What is paid to providers. If a dear model has grown, see on “Efficiency” which role asks "
    "it, and whether a cheaper one would do.",
)

_spend_per_hour_by_level = graph(
    About(
        "Spend per hour by level",
        "How deep in the tree it is spent: 1 is the coordinator, 2 its sub-agents, 0 what is "
        "outside any agent. If the deep levels grow, agents spawn more than they used to: give "
        "them a max_cost.",
        USD,
        2,
    ),
    [Query(per_hour(now_by(COST, "level")), "level {{level}}")],
    stacked=True,
    calcs=("mean", "lastNotNull"),
    interval="5m",
)

_who = Section(
    "Who spends it",
    [
        Line(8, [(12, _spend_per_hour_by_customer), (12, _spend_per_hour_by_agent)]),
        Line(8, [(12, _spend_per_hour_by_model), (12, _spend_per_hour_by_level)]),
    ],
)

_DAY = f"sum by (customer) (sum_over_time({HOURS}[1d:1h]))"
_SAME_DAY = f"sum by (customer) (sum_over_time({HOURS}[1d:1h] offset 1w))"

_changes_since_last_week = table_of(
    About(
        "Changes since last week",
        "Each customer's last 24 hours beside the same 24 hours a week before, the largest rise "
        "first. A rise is a reason to look at their sessions, a fall to ask whether their "
        "application still works. Prometheus must have kept eight days.",
        USD,
        2,
    ),
    [
        _DAY,
        _SAME_DAY,
        f"{_DAY} - {_SAME_DAY}",
        f"{_DAY} / ({_SAME_DAY} > 0) - 1",
    ],
    [
        Column("customer", "Customer"),
        Column("Value #A", "Last 24 h", USD, 2, 110),
        Column("Value #B", "A week before", USD, 2, 130),
        Column("Value #C", "Difference", USD, 2, 110),
        Column("Value #D", "Change", RATIO, 0, 90),
    ],
    sort="Difference",
)


def _firing(severity: str) -> str:
    labels = "alertname, severity, customer, team, agent, session"
    return f'sum by ({labels}) (ALERTS{{{FIRING}, severity="{severity}"}})'


_which_alerts_fire = table_of(
    About(
        "Which alerts fire?",
        "Spendtree's alerts that fire now, whoever is chosen above. Each has a runbook that says "
        "what it means and what to do, linked in its notification.",
        COUNT,
        0,
    ),
    [f"sort_desc({_firing('critical')} * 3 or {_firing('warning')} * 2 or {_firing('info')})"],
    [
        Column("severity", "Severity", width=90, more=SEVERITIES),
        Column("alertname", "Alert", width=270),
        Column("customer", "Customer", width=100),
        Column("team", "Team", width=100),
        Column("agent", "Agent", width=120),
        Column("session", "Session", more=SESSION_LINK),
    ],
)

_spend_per_hour_and_a_week_before = graph(
    About(
        "Spend per hour, and a week before",
        "Everything that the customers chosen spend, with the same time last week behind it. "
        "Where both lines have one shape it is the usual day; a step that last week did not have "
        "is a release, a new customer or a loop.",
        USD,
        2,
    ),
    [
        Query(f"sum({HOURS})", "now"),
        Query(f"sum({HOURS} offset 1w)", "a week before"),
    ],
    overrides=[
        (colours.named("now"), [colours.colour(colours.SPENT)]),
        (colours.named("a week before"), [colours.colour(colours.QUIET)]),
    ],
)

_amplification_by_customer = graph(
    About(
        "Amplification by customer",
        "Cost of everything over the cost of first routing cycles, each hour. The dashed line is "
        "where the alert stands. If it is above, agents fail and are asked again: see “Failed "
        "runs” on “Efficiency” for which.",
        TIMES,
        2,
    ),
    [
        Query(
            recorded("customer:spendtree_cost_amplification:ratio1h"),
            "{{customer}}",
        ),
        Query(threshold("cost_amplification_ratio"), "limit"),
    ],
    overrides=[LIMIT_LINE],
    bottom=1,
)

_changed = Section(
    "What has changed",
    [
        Line(8, [(12, _changes_since_last_week), (12, _which_alerts_fire)]),
        Line(7, [(12, _spend_per_hour_and_a_week_before), (12, _amplification_by_customer)]),
    ],
)

BOARD = Board(
    uid="spendtree-overview",
    title="Spendtree / Overview",
    description="How much, by whom, how near the limit, and what has changed.",
    sections=[Section("", [_top, _second]), _who, _changed],
)
