"""Envelopes: whether the caps of roles are of the right size. A section of Budgets."""

from grafana.build import colours
from grafana.build.dashboard import Line, Section
from grafana.build.panels import (
    COUNT,
    LIMIT_LINE,
    RATIO,
    USD,
    About,
    Column,
    Query,
    buckets,
    graph,
    ranking,
    table_of,
)
from grafana.build.queries import (
    grown,
    recorded,
    select,
    threshold,
    total,
)

USAGE = select("envelope_usage_ratio", suffix="_bucket")

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

SIZES = Section(
    "Are the envelopes of the right size?",
    [
        Line(9, [(12, _exhaustion_by_role), (12, _which_envelopes_are_too_tight_or_too_loose)]),
        Line(9, [(12, _how_much_of_its_envelope_does_a_role_use), (12, _transfers)]),
    ],
)
