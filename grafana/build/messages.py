"""Messages: what agents pay to read each other, and calls nobody owns. A section of Efficiency."""

from grafana.build.dashboard import Line, Section
from grafana.build.panels import (
    COUNT,
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
    of_roles,
    share,
    total,
)


def _odd(kind: str, label: str) -> str:
    return grown(of_roles(f"{kind}_calls_total"), f"model, {label}") + " > 0"


_what_does_reading_each_other_cost = table_of(
    About(
        "What does reading each other cost?",
        "Results handed from one agent to another in the time shown, and what reading them costs "
        "at the receiver's price. The first row is the pair whose results to shorten.",
        USD,
        4,
    ),
    [
        grown("spendtree_message_cost_usd_total", "source, target") + " > 0",
        grown("spendtree_messages_total", "source, target"),
        share(
            grown("spendtree_message_tokens_total", "source, target"),
            grown("spendtree_messages_total", "source, target"),
        ),
    ],
    [
        Column("source", "From"),
        Column("target", "To"),
        Column("Value #A", "Cost", USD, 4, 110),
        Column("Value #B", "Messages", COUNT, 0, 100),
        Column("Value #C", "Tokens each", COUNT, 0, 110),
    ],
    sort="Cost",
)

_broken_output_contracts = graph(
    About(
        "Broken output contracts",
        "Results that were longer (max) or shorter (min) than their contract allows. If a role "
        "breaks its contract often, its prompt does not say how long a result may be; or the "
        "contract is wrong.",
        COUNT,
        0,
    ),
    [
        Query(
            total(
                "increase(" + of_roles("contract_violations_total") + "[$__rate_interval])",
                "agent, kind",
            ),
            "{{agent}} ({{kind}})",
        )
    ],
    stacked=True,
    bars=True,
    calcs=("sum",),
    interval="10m",
)

_tokens_over_their_contract = ranking(
    About(
        "Tokens over their contract",
        "By how much results missed their contracts in the time shown. Each is read by another "
        "agent, and paid for once more.",
        COUNT,
        1,
    ),
    [
        Query(
            "sort_desc(" + grown(of_roles("contract_excess_tokens_total"), "agent, kind") + " > 0)",
            "{{agent}} ({{kind}})",
        )
    ],
    empty="none",
)

_calls_that_nobody_owns_or_that_have_no_price = table_of(
    About(
        "Calls that nobody owns, or that have no price",
        "In the time shown. Unattributed: made outside any session; open one around it, or bind "
        "the scope to the thread. Unpriced: give the model a price under prices. Unmetered: "
        "answered without usage; ask the provider for it.",
        COUNT,
        0,
    ),
    [
        _odd("unattributed", "reason"),
        _odd("unpriced", "provider"),
        _odd("unmetered", "provider"),
    ],
    [
        Column("model", "Model"),
        Column("provider", "Provider"),
        Column("reason", "Why unattributed"),
        Column("Value #A", "Unattributed", COUNT, 0, 120),
        Column("Value #B", "Unpriced", COUNT, 0, 100),
        Column("Value #C", "Unmetered", COUNT, 0, 100),
    ],
    sort="Unattributed",
)

MESSAGES = Section(
    "Messages and contracts",
    [
        Line(7, [(12, _what_does_reading_each_other_cost), (12, _broken_output_contracts)]),
        Line(
            7,
            [
                (12, _tokens_over_their_contract),
                (12, _calls_that_nobody_owns_or_that_have_no_price),
            ],
        ),
    ],
)
