"""Efficiency: which models the money goes to, and how much of it buys nothing."""

from grafana.build import colours, messages, waste
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    RATIO,
    USD,
    USD_PER_MTOK,
    About,
    Column,
    Query,
    graph,
    ranking,
    stat_of,
    table_of,
)
from grafana.build.queries import (
    added_up,
    grown,
    now_by,
    of_roles,
    recorded,
    share,
)

COST = recorded("agent_model:spendtree_cost_usd:rate5m", 'model!=""')
TOKENS = recorded("agent_model_type:spendtree_tokens:rate5m")
INPUT = recorded("agent_model_type:spendtree_tokens:rate5m", 'type!="output"')
CACHED = recorded("agent_model_type:spendtree_tokens:rate5m", 'type="cache_read"')
CALLS = recorded("agent_model:spendtree_calls:rate5m")


RUN_COST = of_roles("agent_run_cost_usd_total")
FAILED_COST = of_roles("agent_run_cost_usd_total", 'status="failed"')
FAILED_CALLS = of_roles("calls_total", 'status="failed"')


def _blended(by: str = "") -> str:
    """Return dollars for a million tokens of all types."""
    return f"1e6 * {share(added_up(COST, by), added_up(TOKENS, by))}"


def _hourly(rate5m: str) -> str:
    return f"sum by (model) (sum_over_time({rate5m}[59m59s:5m]))"


_usd_per_million_tokens = stat_of(
    About(
        "$ per million tokens",
        "Of all tokens together, cached ones included, in the time shown. If it rises, a dear "
        "model has taken over or a cache no longer hits: both are below.",
        USD_PER_MTOK,
        2,
    ),
    _blended(),
    colour=colours.SPENT,
)

_cache_share = stat_of(
    About(
        "Cache share",
        "Of all input tokens, those read from a provider's cache at a tenth of the price. If it "
        "falls, prompts have lost their common beginning: put what changes last.",
        RATIO,
        0,
    ),
    share(added_up(CACHED), added_up(INPUT)),
    thresholds=colours.falling(0.1, 0.25),
)

_money_in_failed_runs = stat_of(
    About(
        "Money in failed runs",
        "Of all that agent runs cost in the time shown, what failed ones did: it bought answers "
        "that nobody uses. Which role's it is, is below.",
        RATIO,
        1,
    ),
    share(grown(FAILED_COST), grown(RUN_COST)),
    thresholds=colours.steps(0.1, 0.2),
    empty="0 %",
)

_failed_calls = stat_of(
    About(
        "Failed calls",
        "Of all calls, those that a provider refused or broke off. They cost little by "
        "themselves, but each is asked again. If it is high, see the model below.",
        RATIO,
        1,
    ),
    share(grown(FAILED_CALLS), added_up(CALLS)),
    thresholds=colours.steps(0.05, 0.1),
    empty="0 %",
)

_cost_of_messages = stat_of(
    About(
        "Cost of messages",
        "What agents pay to read each other's results, of all cost in the last hour. If it is "
        "above a fifth, results are too long: give the senders an output contract.",
        RATIO,
        1,
    ),
    recorded("all:spendtree_message_cost:ratio1h"),
    thresholds=colours.steps(0.1, 0.2),
)

_unattributed = stat_of(
    About(
        "Unattributed",
        "Of all cost in the last hour, what was spent outside any session. If it is more than a "
        "few percent, a part of the program is not wrapped: see “Calls that nobody owns”.",
        RATIO,
        2,
    ),
    recorded("all:spendtree_unattributed_cost:ratio1h"),
    thresholds=colours.steps(0.02, 0.05),
)

_top = Line(
    4,
    [
        (4, _usd_per_million_tokens),
        (4, _cache_share),
        (4, _money_in_failed_runs),
        (4, _failed_calls),
        (4, _cost_of_messages),
        (4, _unattributed),
    ],
)

_dollars_per_million_tokens_by_role = ranking(
    About(
        "Dollars per million tokens by role",
        "What each role pays for tokens of all types, in the time shown. A simple role (reading, "
        "extracting) near the top asks too dear a model: `spendtree tiers` reckons what a cheaper "
        "one would save.",
        USD_PER_MTOK,
        2,
    ),
    [Query(f"sort_desc({_blended('agent')})", "{{agent}}")],
)

_which_role_asks_which_model = table_of(
    About(
        "Which role asks which model?",
        "Cost, calls and price in the time shown, the dearest pair first. The first rows are "
        "where a cheaper model saves most.",
        USD,
        2,
    ),
    [
        f"topk(50, {added_up(COST, 'agent, model')})",
        added_up(CALLS, "agent, model"),
        _blended("agent, model"),
    ],
    [
        Column("agent", "Agent"),
        Column("model", "Model"),
        Column("Value #A", "Cost", USD, 2, 100),
        Column("Value #B", "Calls", COUNT, 0, 90),
        Column("Value #C", "$ per Mtok", USD_PER_MTOK, 2, 110),
    ],
    sort="Cost",
)

_dollars_per_million_tokens_by_model = graph(
    About(
        "Dollars per million tokens by model",
        "The price that is paid in effect: it falls with the cache and rises with the share of "
        "output. A step is a new price or a cache that no longer hits.",
        USD_PER_MTOK,
        2,
    ),
    [
        Query(
            f"1e6 * {share(_hourly(COST), _hourly(TOKENS))}",
            "{{model}}",
        )
    ],
    interval="5m",
    calcs=("lastNotNull", "mean"),
)

_tokens_by_type = graph(
    About(
        "Tokens by type",
        "Per second, in disjoint types. Output is the dear one; cache_read should be most of what "
        "long agent loops read.",
        COUNT,
        1,
    ),
    [Query(now_by(TOKENS, "type"), "{{type}}")],
    stacked=True,
    overrides=colours.meant("input", "cache_read", "cache_write", "output"),
    calcs=("mean", "lastNotNull"),
    interval="1m",
)

_cache_share_by_role = graph(
    About(
        "Cache share by role",
        "Of the input tokens of each role, those read from a cache, each hour. Roles that loop "
        "should be above a half; if one falls, its prompt has lost its common beginning.",
        RATIO,
        0,
    ),
    [Query(recorded("agent:spendtree_cache_hit:ratio1h"), "{{agent}}")],
    top=1,
    calcs=("lastNotNull", "mean"),
)

_cache_share_by_model = graph(
    About(
        "Cache share by model",
        "The same by model: one that never reads from a cache either has none, or is asked with "
        "prompts below its least length.",
        RATIO,
        0,
    ),
    [Query(recorded("model:spendtree_cache_hit:ratio1h"), "{{model}}")],
    top=1,
    calcs=("lastNotNull", "mean"),
)

_models = Section(
    "Models and their price",
    [
        Line(9, [(12, _dollars_per_million_tokens_by_role), (12, _which_role_asks_which_model)]),
        Line(8, [(12, _dollars_per_million_tokens_by_model), (12, _tokens_by_type)]),
        Line(8, [(12, _cache_share_by_role), (12, _cache_share_by_model)]),
    ],
)

BOARD = Board(
    uid="spendtree-efficiency",
    title="Spendtree / Efficiency",
    description="Which models the money goes to, and how much of it buys nothing.",
    sections=[Section("", [_top]), _models, waste.WASTED, messages.MESSAGES],
    variables=("agent", "model"),
)
