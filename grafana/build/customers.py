"""Customers: what each costs, what they pay, and how a session of theirs is spread."""

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    RATIO,
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
from grafana.build.queries import (
    SPENDING,
    THIS_MONTH,
    added_up,
    grown,
    once,
    recorded,
    select,
    share,
)

COST = recorded(SPENDING, skip=("agent", "model"))
USED = recorded("budget:spendtree_budget_used:ratio", 'kind="customer"')
HOURS = recorded("customer:spendtree_cost_usd:increase1h")

NAMED = 'customer!="_other", customer!=""'
NAMED_HOURS = recorded("customer:spendtree_cost_usd:increase1h", NAMED)
BY_CUSTOMER = f"sum by (customer) (sum_over_time({NAMED_HOURS}[$__range:1h]))"
MONTH = f"sum by (customer) (sum_over_time(({NAMED_HOURS} and on () ({THIS_MONTH}))[31d:1h]))"
PRICE = f"max by (customer) ({once(select('plan_price_usd'))})"

SESSIONS = select("sessions_total")
SPREAD = recorded("customer_le:spendtree_completed_session_cost_usd_bucket:rate1h")

_customers_that_spend = stat_of(
    About(
        "Customers that spend",
        "Named customers with any spend in the time shown. If it falls, somebody's application "
        "has stopped.",
        COUNT,
        0,
    ),
    f"count({BY_CUSTOMER} > 0)",
    colour=colours.QUIET,
    empty="0",
)

_spent = stat_of(
    About(
        "Spent",
        "In the time shown, by the customers and teams chosen. Who they are is in the table below.",
        USD,
        2,
    ),
    added_up(COST),
    colour=colours.SPENT,
)

_cost_of_a_session = stat_of(
    About(
        "Cost of a session",
        "Average of the sessions that ended in the time shown. If it rises, see whose did in "
        "“Cost of a session by customer”.",
        USD,
        3,
    ),
    share(
        grown(select("completed_session_cost_usd", suffix="_sum")),
        grown(select("completed_session_cost_usd", suffix="_count")),
    ),
    colour=colours.SPENT,
)

_fullest_customer_budget = stat_of(
    About(
        "Fullest customer budget",
        "The budget of a customer that has least left in its period. At 100 % their calls are "
        "refused: see whose it is below.",
        RATIO,
        0,
    ),
    f"max({USED})",
    thresholds=colours.steps(0.8, 1),
    empty="no budget",
)

_dearer_than_their_plan = stat_of(
    About(
        "Dearer than their plan",
        "Customers who have consumed more this month than their plan costs. Each is in “Who costs "
        "more than they pay?” with more than 100 %.",
        COUNT,
        0,
    ),
    f"count({MONTH} > {PRICE}) or vector(0)",
    thresholds=colours.steps(1, 5),
)

_top = Line(
    4,
    [
        (5, _customers_that_spend),
        (5, _spent),
        (5, _cost_of_a_session),
        (5, _fullest_customer_budget),
        (4, _dearer_than_their_plan),
    ],
)

_what_does_each_customer_cost = table_of(
    About(
        "What does each customer cost?",
        "By customer and team, in the time shown; set it to a month for a bill's worth. `_other` "
        "are customers beyond the limit of names: raise metrics.max_customers if it is large. "
        "Without a name is what was attributed to nobody.",
        USD,
        2,
    ),
    [
        f"topk(200, {added_up(COST, 'customer, team')})",
        grown(SESSIONS, "customer, team"),
        share(added_up(COST, "customer, team"), grown(SESSIONS, "customer, team")),
    ],
    [
        Column("customer", "Customer"),
        Column("team", "Team"),
        Column("Value #A", "Cost", USD, 2, 110),
        Column("Value #B", "Sessions", COUNT, 0, 100),
        Column("Value #C", "Per session", USD, 3, 110),
    ],
    sort="Cost",
)

_cost_per_hour_by_customer = graph(
    About(
        "Cost per hour by customer",
        "Each bar is one hour. A customer that grows out of their usual height is worth a call "
        "before the bill is.",
        USD,
        2,
    ),
    [Query(HOURS, "{{customer}}")],
    stacked=True,
    bars=True,
    calcs=("sum", "max"),
    interval="1h",
)

_budgets_of_customers = ranking(
    About(
        "Budgets of customers",
        "Spent and presumed money over the limit of each period. Full bars are stopped until "
        "their period ends: raise customers.NAME.budgets_usd, or talk to them.",
        RATIO,
        0,
    ),
    [
        Query(
            "sort_desc(max by (customer, period) ("
            + recorded("budget:spendtree_budget_used:ratio", 'kind="customer"')
            + "))",
            "{{customer}} {{period}}",
        )
    ],
    thresholds=colours.steps(0.8, 1),
    top=1,
    empty="no budget",
)

_where_do_these_budgets_end = ranking(
    About(
        "Where do these budgets end?",
        "What each period comes to at its end if it goes on so, over its limit. Above 100 % it "
        "will be used up before: there is still time to raise it.",
        RATIO,
        0,
    ),
    [
        Query(
            "sort_desc(max by (customer, period) ("
            + recorded("budget:spendtree_budget_projected:ratio", 'kind="customer"')
            + "))",
            "{{customer}} {{period}}",
        )
    ],
    thresholds=colours.steps(0.9, 1),
    empty="no budget",
)

_showback = Section(
    "Showback",
    [
        Line(9, [(12, _what_does_each_customer_cost), (12, _cost_per_hour_by_customer)]),
        Line(8, [(12, _budgets_of_customers), (12, _where_do_these_budgets_end)]),
    ],
)

_who_costs_more_than_they_pay = table_of(
    About(
        "Who costs more than they pay?",
        "What each customer has consumed this month beside the price of their plan. Above 100 % "
        "each further call is a loss: sell them a larger plan, or give them a budget. Plans are "
        "under plans and customers in spendtree.yaml.",
        USD,
        2,
    ),
    [
        MONTH,
        f"max by (customer, plan) ({once(select('plan_price_usd'))})",
        f"{MONTH} / ({PRICE} > 0)",
    ],
    [
        Column("customer", "Customer"),
        Column("plan", "Plan"),
        Column("Value #A", "This month", USD, 2, 110),
        Column("Value #B", "Plan's price", USD, 2, 110),
        Column(
            "Value #C",
            "Of the price",
            RATIO,
            0,
            150,
            {
                "custom.cellOptions": {
                    "type": "gauge",
                    "mode": "basic",
                    "valueDisplayMode": "text",
                },
                "min": 0,
                "max": 1,
                "color": {"mode": "thresholds"},
            },
        ),
    ],
    sort="Of the price",
    thresholds=colours.steps(0.8, 1),
)

_heavy_users = ranking(
    About(
        "Heavy users",
        "The ten customers who spent most in the time shown. If the first has half of everything, "
        "their budget is the one that protects you.",
        USD,
        2,
    ),
    [
        Query(
            f"topk(10, {BY_CUSTOMER})",
            "{{customer}}",
        )
    ],
)

_plans = Section(
    "Plans and heavy users",
    [
        Line(8, [(12, _who_costs_more_than_they_pay), (12, _heavy_users)]),
    ],
)

_cost_per_session = buckets(
    About(
        "Cost per session",
        "Sessions that ended in each hour, by what they cost. One band is one kind of question; a "
        "second one above it, sessions that are routed again or loop: open one of those on "
        "“Sessions”.",
        USD,
        3,
    ),
    f"3600 * sum by (le) ({SPREAD})",
    interval="1h",
)

_cost_of_a_session_by_customer = graph(
    About(
        "Cost of a session by customer",
        "95 of 100 sessions of a customer cost less, each hour. If one customer's line leaves the "
        "others, what they ask has changed, or loops.",
        USD,
        2,
    ),
    [
        Query(
            recorded("customer:spendtree_completed_session_cost_usd:p95_1h"),
            "{{customer}}",
        )
    ],
)

_sessions_by_customer = graph(
    About(
        "Sessions by customer",
        "Sessions that ended in each hour. Cost that rises with it is growth; cost that rises "
        "without it is waste.",
        COUNT,
        0,
    ),
    [Query(recorded("customer:spendtree_sessions:increase1h"), "{{customer}}")],
)

_sessions_stopped_by_a_budget = ranking(
    About(
        "Sessions stopped by a budget",
        "Of each customer's sessions in the time shown, those that ran into their ceiling or a "
        "budget. Their users got no whole answer: see “Which limit denied whom?” on “Budgets and "
        "envelopes”.",
        RATIO,
        0,
    ),
    [
        Query(
            "sort_desc("
            + share(
                grown(
                    select("sessions_total", 'status="budget_exceeded"'),
                    "customer",
                ),
                grown(SESSIONS, "customer"),
            )
            + ")",
            "{{customer}}",
        )
    ],
    thresholds=colours.steps(0.05, 0.2),
    top=1,
    empty="none",
)

_sessions = Section(
    "What a session costs",
    [
        Line(9, [(12, _cost_per_session), (12, _cost_of_a_session_by_customer)]),
        Line(8, [(12, _sessions_by_customer), (12, _sessions_stopped_by_a_budget)]),
    ],
)

BOARD = Board(
    uid="spendtree-customers",
    title="Spendtree / Customers",
    description="What each customer and team costs, their budgets and plans, and their sessions.",
    sections=[Section("", [_top]), _showback, _plans, _sessions],
    variables=("customer", "team"),
    time_from="now-24h",
)
