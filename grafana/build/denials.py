"""Denials: what was refused, waited for and not foreseen. A section of Budgets."""

from grafana.build import colours
from grafana.build.dashboard import Line, Section
from grafana.build.panels import (
    COUNT,
    SECONDS,
    USD,
    About,
    Column,
    Query,
    graph,
    ranking,
    table_of,
)
from grafana.build.queries import (
    grown,
    select,
    total,
)

CALLS = select("denied_calls_total")


def _wait(which: float) -> str:
    found = total("rate(spendtree_hold_wait_seconds_bucket[1h])", "le")
    return f"histogram_quantile({which}, {found}) >= 0"


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
            total(f"increase({CALLS}[$__rate_interval])", "reason"),
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
    [f"topk(50, {grown(CALLS, 'customer, agent, kind, reason')} > 0)"],
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

DENIED = Section(
    "Denials, and what was not foreseen",
    [
        Line(8, [(12, _denials_by_reason), (12, _which_limit_denied_whom)]),
        Line(
            8,
            [
                (8, _how_long_do_calls_wait_for_money),
                (8, _overruns_by_model),
                (8, _calls_of_unclear_ending),
            ],
        ),
    ],
)
