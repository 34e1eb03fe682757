"""Sessions: what runs now and ran of late, the dearest, and how fast each burns its ceiling.

Session series are read by their value: the last one in the time that is shown is the spend.
"""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Panel

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    RATIO,
    SESSION_LINK,
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
from grafana.build.queries import (
    grown,
    once,
    recorded,
    seen,
    select,
    share,
    total,
)

ONE = 'session!="_overflow"'
COST = select("session_cost_usd_total", ONE)
FIRST = select("session_cost_usd_total", f'{ONE}, routing_cycle="1"')
CALLS = select("session_calls_total", ONE)
TOKENS = select("session_tokens_total", ONE)

ACCOUNT = f'kind="session", {ONE}'
LIMIT = select("budget_limit_usd", ACCOUNT, skip=("agent",))
SPENT = select("budget_spent_usd", ACCOUNT, skip=("agent",))
PRESUMED = select("budget_presumed_usd", ACCOUNT, skip=("agent",))
HELD = select("budget_held_usd", ACCOUNT, skip=("agent",))

DEAREST = 12
"""Sessions that a graph shows at a time: what can still be told apart."""

SHORT = '"id", "$1", "session", ".*(.{6})"'
"""The end of a session's id is enough to tell sessions apart; its beginning is its time."""

USED = f"({once(SPENT)} + {once(PRESUMED)}) / ({once(LIMIT)} > 0)"

_open_sessions = stat_of(
    About(
        "Open sessions",
        "Sessions that run now, of all customers. If it only ever grows, sessions are not closed: "
        "use `with`, so that each ends with its scope.",
        COUNT,
        0,
    ),
    f"sum({once('spendtree_exporter_live_sessions')})",
    colour=colours.SPENT,
    trend=True,
)

_sessions_ended = stat_of(
    About(
        "Sessions ended",
        "In the time shown, of the customers and teams chosen. If it is unusual, so is what your "
        "users ask, or an application that starts sessions in a loop.",
        COUNT,
        0,
    ),
    grown(select("sessions_total")),
    colour=colours.QUIET,
)

_dearest_session = stat_of(
    About(
        "Dearest session",
        "What the dearest session shown has cost. It stands first in the table below: open it to "
        "see which agent spent it.",
        USD,
        3,
    ),
    f"max(sum by (session) ({seen(COST)}))",
    colour=colours.SPENT,
)

_nearest_to_its_ceiling = stat_of(
    About(
        "Nearest to its ceiling",
        "How much of its ceiling the fullest session that is shown now has used. Above 80 % it is "
        "about to be stopped: raise its ceiling with `set_ceiling`, or let it end.",
        RATIO,
        0,
    ),
    f"max({USED})",
    thresholds=colours.steps(0.8, 1),
    empty="no ceiling",
)

_held_for_calls_in_flight = stat_of(
    About(
        "Held for calls in flight",
        "Worst cases of calls that are being made: given back when they end. If it is large for "
        "long, calls hang, or their output limits are far above what they use.",
        USD,
        3,
    ),
    f"sum({once(HELD)})",
    colour=colours.HELD,
    trend=True,
)

_without_an_answer = stat_of(
    About(
        "Without an answer",
        "Of the sessions that ended in the time shown, those that failed or were stopped by a "
        "budget. If it is high, see “How sessions ended” for which of the two.",
        RATIO,
        1,
    ),
    share(
        grown(select("sessions_total", 'status!="succeeded"')),
        grown(select("sessions_total")),
    ),
    thresholds=colours.steps(0.1, 0.2),
)

_top = Line(
    4,
    [
        (4, _open_sessions),
        (4, _sessions_ended),
        (4, _dearest_session),
        (4, _nearest_to_its_ceiling),
        (4, _held_for_calls_in_flight),
        (4, _without_an_answer),
    ],
)


def _burn(title: str, description: str, unit: str, decimals: int, expr: str) -> Builder[Panel]:
    """Return a graph of the dearest sessions; a click on one opens its page."""
    best = f"topk({DEAREST}, max by (session) (max_over_time({SPENT}[$__range] @ end())))"
    return graph(
        About(title, description, unit, decimals),
        [Query(f"label_replace({expr} and on (session) {best}, {SHORT})", "{{customer}} …{{id}}")],
        overrides=[(colours.like("/.*/"), [_OPEN])],
        calcs=("lastNotNull",),
    )


def _quantile(which: float) -> str:
    buckets = recorded("customer_le:spendtree_completed_session_cost_usd_bucket:rate1h")
    return f"histogram_quantile({which}, sum by (le) ({buckets})) >= 0"


_OPEN = DynamicConfigValue(
    id_val="links",
    value=[
        {
            "title": "Open the session",
            "url": "${exporter}/sessions/${__field.labels.session:percentencode}",
            "targetBlank": True,
        }
    ],
)

_BY = "by (session, customer)"

_dearest = table_of(
    About(
        "The dearest sessions",
        "Live and recent sessions, the dearest first; those over for longer than the time shown "
        "are in the exporter's list. A click on an id opens its tree there. Look first at "
        "amplification (routed again) and calls (a loop), then at what its ceiling was.",
        USD,
        3,
    ),
    [
        f"topk(50, sum {_BY} ({seen(COST)}))",
        f"sum {_BY} ({seen(CALLS)})",
        f"sum {_BY} ({seen(TOKENS)})",
        f"sum {_BY} ({seen(COST)}) / (sum {_BY} ({seen(FIRST)}) > 0)",
        f"max {_BY} ({seen(LIMIT)})",
        f"max {_BY} ({seen(SPENT)} + {seen(PRESUMED)}) / (max {_BY} ({seen(LIMIT)}) > 0)",
    ],
    [
        Column("session", "Session", width=290, more=SESSION_LINK),
        Column("customer", "Customer"),
        Column("Value #A", "Cost", USD, 3, 90),
        Column("Value #B", "Calls", COUNT, 0, 70),
        Column("Value #C", "Tokens", COUNT, 1, 80),
        Column("Value #D", "Amplification", TIMES, 2, 110),
        Column("Value #E", "Ceiling", USD, 2, 90),
        Column(
            "Value #F",
            "Used",
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
    sort="Cost",
    thresholds=colours.steps(0.8, 1),
)

_how_fast_do_they_burn = _burn(
    "How fast do they burn?",
    "Spent and presumed money over the ceiling, of the dearest sessions. A straight climb to 100 "
    "% is a loop, or a ceiling that is too small for the question. A click on a line opens the "
    "session.",
    RATIO,
    0,
    f"max by (session, customer) ({USED})",
)

_what_have_they_cost = _burn(
    "What have they cost?",
    "True cost of the dearest sessions while they are shown: as long as they run, and a quarter "
    "of an hour longer. A click on a line opens the session.",
    USD,
    3,
    f"max by (session, customer) ({once(SPENT)})",
)

_live = Section(
    "Live and recent",
    [
        Line(12, [(24, _dearest)]),
        Line(8, [(12, _how_fast_do_they_burn), (12, _what_have_they_cost)]),
    ],
)

_cost_by_agent = ranking(
    About(
        "Cost by agent",
        "What each role spent in the sessions shown. If one stands out, open one of the dearest "
        "sessions and see how often it ran and with what model.",
        USD,
        2,
    ),
    [Query(f"sort_desc(sum by (agent) ({seen(COST)}))", "{{agent}}")],
)

_cost_by_routing_cycle = ranking(
    About(
        "Cost by routing cycle",
        "1 is the first attempt; what stands below it was paid to ask again. If that is more than "
        "a third, find what fails in the first: see “Failed runs” on “Efficiency”.",
        USD,
        2,
    ),
    [
        Query(
            f"sort_desc(sum by (routing_cycle) ({seen(COST)}))",
            "cycle {{routing_cycle}}",
        )
    ],
    overrides=colours.cycles(),
)

_calls_by_agent = ranking(
    About(
        "Calls by agent",
        "Finished calls in the sessions shown. A role with many calls and little cost is fine; "
        "one with many of both is where to save.",
        COUNT,
        0,
    ),
    [Query(f"sort_desc(sum by (agent) ({seen(CALLS)}))", "{{agent}}")],
)

_how_sessions_ended = graph(
    About(
        "How sessions ended",
        "Each bar is what ended in that time. Stopped by a budget: the ceiling is too small or "
        "something loops. Failed: the application's error, paid for all the same. Abandoned: its "
        "process died.",
        COUNT,
        1,
    ),
    [
        Query(
            total(
                f"increase({select('sessions_total')}[$__rate_interval])",
                "status",
            ),
            "{{status}}",
        )
    ],
    stacked=True,
    bars=True,
    overrides=colours.meant("succeeded", "failed", "budget_exceeded", "abandoned"),
    calcs=("sum",),
    interval="10m",
)

_what_does_a_session_cost = graph(
    About(
        "What does a session cost?",
        "Half of the sessions cost less than the lower line, 95 of 100 less than the upper. If "
        "the upper runs away, few sessions do: they are in the table above. If the lower does, "
        "all have become dearer.",
        USD,
        2,
    ),
    [
        Query(_quantile(0.95), "95 of 100 cost less"),
        Query(_quantile(0.5), "half cost less"),
    ],
    overrides=[
        (
            colours.named("95 of 100 cost less"),
            [colours.colour(colours.NEAR)],
        ),
        (colours.named("half cost less"), [colours.colour(colours.SPENT)]),
    ],
)

_inside = Section(
    "Inside these sessions",
    [
        Line(8, [(8, _cost_by_agent), (8, _cost_by_routing_cycle), (8, _calls_by_agent)]),
        Line(8, [(12, _how_sessions_ended), (12, _what_does_a_session_cost)]),
    ],
)

BOARD = Board(
    uid="spendtree-sessions",
    title="Spendtree / Sessions",
    description="Live and recent sessions, the dearest, and how fast each burns its ceiling.",
    sections=[Section("", [_top]), _live, _inside],
    variables=("customer", "team", "agent"),
    time_from="now-1h",
)
