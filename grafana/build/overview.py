"""Overview: how much, by whom, how near the limit, and what has changed."""

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    RATIO,
    TIMES,
    USD,
    About,
    Column,
    Query,
    graph,
    ranking,
    stat_of,
    table_of,
)
from grafana.build.queries import grown, per_hour, rate, recorded, select, share, threshold, total

COST = select("cost_usd_total")

TODAY = "day_of_month() == day_of_month(vector($__to / 1000))"
THIS_MONTH = "month() == month(vector($__to / 1000))"
"""Of the day and the month (UTC) in which the time that is shown ends."""

HOURS = recorded("customer:spendtree_cost_usd:increase1h")
FIVE_MINUTES = recorded("customer:spendtree_cost_usd:rate5m")

MONTHLY = 'kind="customer", period=~"....-[0-9]."'
USED = recorded("budget:spendtree_budget_used_usd:max", MONTHLY)
LIMIT = recorded("budget:spendtree_budget_limit_usd:max", MONTHLY)
PROJECTED = recorded("budget:spendtree_budget_projected_usd:max", MONTHLY)

FIRING = 'ALERTS{alertname=~"Spendtree.*", alertstate="firing"}'

_top = Line(
    4,
    [
        (
            4,
            stat_of(
                About(
                    "Spend per hour",
                    "What is being spent now, at the rate of the last five minutes. Follows the customer "
                    "filter. If it is far from usual, look at who spends it in the graph below, then "
                    "at their sessions.",
                    USD,
                    2,
                ),
                per_hour(f"sum({FIVE_MINUTES})"),
                colour=colours.SPENT,
                trend=True,
            ),
        ),
        (
            4,
            stat_of(
                About(
                    "Spent today",
                    "Since midnight UTC, of the customers chosen. If it is more than a usual whole day, "
                    "look at “Changes since last week” for whose it is.",
                    USD,
                    2,
                ),
                f"300 * sum(sum_over_time((sum({FIVE_MINUTES}) and on () ({TODAY}))[1d:5m]))",
                colour=colours.SPENT,
            ),
        ),
        (
            4,
            stat_of(
                About(
                    "Spent this month",
                    "Since the first of the month UTC, of the customers chosen. What Prometheus has not "
                    "kept is missing in it; the bill is what `spendtree sessions` adds up.",
                    USD,
                    2,
                ),
                f"sum(sum_over_time((sum({HOURS}) and on () ({THIS_MONTH}))[31d:1h]))",
                colour=colours.SPENT,
            ),
        ),
        (
            4,
            stat_of(
                About(
                    "Month's budgets used",
                    "Spent and presumed money of the customers who have a budget for the month, of "
                    "what they may spend together. If it is high, see on “Budgets and envelopes” "
                    "whose it is, and raise that budget or talk to them.",
                    RATIO,
                    0,
                ),
                share(f"sum({USED})", f"sum({LIMIT})"),
                thresholds=colours.steps(0.8, 1),
                empty="no budget",
            ),
        ),
        (
            4,
            stat_of(
                About(
                    "Month's budgets, projected",
                    "What these budgets come to at the month's end if it goes on so. Above 100 % some "
                    "will be stopped before: see on “Customers” whose budget that is.",
                    RATIO,
                    0,
                ),
                share(f"sum({PROJECTED})", f"sum({LIMIT})"),
                thresholds=colours.steps(0.9, 1),
                empty="no budget",
            ),
        ),
        (
            4,
            stat_of(
                About(
                    "Alerts firing",
                    "Spendtree's alerts that fire now, those for information left out. Each has a "
                    "runbook, linked in the alert; they are listed below.",
                    COUNT,
                    0,
                ),
                f'count({FIRING.replace("}", ", severity!=" + chr(34) + "info" + chr(34) + "}")}) or vector(0)',
                thresholds=colours.steps(1, 3),
            ),
        ),
    ],
)

_second = Line(
    4,
    [
        (
            6,
            stat_of(
                About(
                    "Amplification",
                    "Cost of everything over the cost of first routing cycles, in the time shown: 1.3× "
                    "means that routing again cost 30 % more. If it is high, agents fail and are "
                    "asked again: see “Failed runs” on the Efficiency dashboard for which.",
                    TIMES,
                    2,
                ),
                share(grown(COST), grown(select("cost_usd_total", 'routing_cycle="1"'))),
                thresholds=colours.steps(1.5, 2),
            ),
        ),
        (
            6,
            stat_of(
                About(
                    "Envelopes exhausted",
                    "Of the envelopes of sessions that ended in the time shown, those that denied a "
                    "call. Above 10 % they are too small: see which role's on “Budgets and envelopes”.",
                    RATIO,
                    1,
                ),
                share(
                    grown(select("envelopes_exhausted_total")), grown(select("envelopes_total"))
                ),
                thresholds=colours.steps(0.05, 0.1),
            ),
        ),
        (
            6,
            stat_of(
                About(
                    "Coordinator share",
                    "What coordinators spent of the sessions with two agents or more, in the time "
                    "shown. 12 % is usual; if it is above 40 %, organising costs more than it saves: "
                    "give the coordinator a cheaper model, or fewer agents shorter answers.",
                    RATIO,
                    0,
                ),
                share(
                    grown(select("completed_multiagent_cost_usd_total", 'part="coordinator"')),
                    grown(select("completed_multiagent_cost_usd_total")),
                ),
                thresholds=colours.steps(0.25, 0.4),
            ),
        ),
        (
            6,
            stat_of(
                About(
                    "Sessions stopped by a budget",
                    "Of the sessions that ended in the time shown, those that ran into their ceiling "
                    "or a budget: their users got no whole answer. If it is high, see “Denials” on "
                    "“Budgets and envelopes” for which limit it was.",
                    RATIO,
                    1,
                ),
                share(
                    grown(select("sessions_total", 'status="budget_exceeded"')),
                    grown(select("sessions_total")),
                ),
                thresholds=colours.steps(0.02, 0.05),
            ),
        ),
    ],
)


def _spend(by: str, title: str, description: str) -> object:
    return graph(
        About(title, description, USD, 2),
        [Query(per_hour(rate(COST, by)), "{{" + by + "}}")],
        stacked=True,
        calcs=("mean", "lastNotNull"),
        interval="1m",
    )
