"""Waste: retries and failed runs, which buy nothing. A section of Efficiency."""

from grafana.build import colours
from grafana.build.dashboard import Line, Section
from grafana.build.panels import (
    COUNT,
    LIMIT_LINE,
    RATIO,
    USD,
    About,
    Query,
    graph,
    ranking,
)
from grafana.build.queries import (
    added_up,
    grown,
    of_roles,
    per_hour,
    recorded,
    share,
    threshold,
    total,
)

CALLS = recorded("agent_model:spendtree_calls:rate5m")
EVERY_CYCLE = recorded("agent:spendtree_cost_usd:rate5m")
FIRST_CYCLE = recorded("agent:spendtree_first_cycle_cost_usd:rate5m")
RUNS = of_roles("agent_runs_total")
FAILED_COST = of_roles("agent_run_cost_usd_total", 'status="failed"')
FAILED_CALLS = of_roles("calls_total", 'status="failed"')

_failed_runs = graph(
    About(
        "Failed runs",
        "Of what each role's runs cost, the part of failed ones, each hour. Above the dashed line "
        "the alert fires: open a session with such a run and read why it failed.",
        RATIO,
        1,
    ),
    [
        Query(
            "max by (agent) ("
            + recorded("team_agent:spendtree_failed_run_cost:ratio1h", skip=("team",))
            + ")",
            "{{agent}}",
        ),
        Query(threshold("failed_run_cost_ratio"), "limit"),
    ],
    overrides=[LIMIT_LINE],
)

_how_runs_end = graph(
    About(
        "How runs end",
        "Each bar is what ended in that time. Exhausted: out of money, the coordinator goes on "
        "without it. Failed: an error of the application or the provider.",
        COUNT,
        0,
    ),
    [Query(total(f"increase({RUNS}[$__rate_interval])", "status"), "{{status}}")],
    stacked=True,
    bars=True,
    overrides=colours.meant("succeeded", "failed", "exhausted"),
    calcs=("sum",),
    interval="10m",
)

_what_routing_again_costs = graph(
    About(
        "What routing again costs",
        "Per hour: what the first routing cycles cost, and what was paid to ask again. If the "
        "second grows, find what fails in the first.",
        USD,
        2,
    ),
    [
        Query(per_hour(f"sum({FIRST_CYCLE})"), "cycle 1"),
        Query(per_hour(f"(sum({EVERY_CYCLE}) - sum({FIRST_CYCLE}))"), "later cycles"),
    ],
    stacked=True,
    overrides=[
        *colours.cycles(),
        (colours.named("later cycles"), [colours.colour(colours.NEAR)]),
    ],
    calcs=("mean",),
    interval="5m",
    narrow=True,
)

_failed_calls_by_model = ranking(
    About(
        "Failed calls by model",
        "Of each model's calls in the time shown, those refused or broken off. If one is above a "
        "tenth, ask the provider for a higher limit, or wait between tries.",
        RATIO,
        1,
    ),
    [
        Query(
            f"sort_desc({share(grown(FAILED_CALLS, 'model'), added_up(CALLS, 'model'))} > 0)",
            "{{model}}",
        )
    ],
    thresholds=colours.steps(0.05, 0.1),
    empty="none failed",
)

_money_in_failed_runs_by_role = ranking(
    About(
        "Money in failed runs by role",
        "What failed runs of each role cost in the time shown. The first is the one to mend first.",
        USD,
        2,
    ),
    [Query(f"sort_desc({grown(FAILED_COST, 'agent')} > 0)", "{{agent}}")],
    empty="none failed",
)

WASTED = Section(
    "Retries and failed runs",
    [
        Line(8, [(12, _failed_runs), (12, _how_runs_end)]),
        Line(
            8,
            [
                (8, _what_routing_again_costs),
                (8, _failed_calls_by_model),
                (8, _money_in_failed_runs_by_role),
            ],
        ),
    ],
)
