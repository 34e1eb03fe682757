"""Efficiency: which models the money goes to, and how much of it buys nothing."""

from grafana.build import colours
from grafana.build.dashboard import Board, Line, Section
from grafana.build.panels import (
    COUNT,
    LIMIT_LINE,
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
    per_hour,
    recorded,
    select,
    share,
    threshold,
    total,
)

COST = recorded("agent_model:spendtree_cost_usd:rate5m", 'model!=""')
TOKENS = recorded("agent_model_type:spendtree_tokens:rate5m")
INPUT = recorded("agent_model_type:spendtree_tokens:rate5m", 'type!="output"')
CACHED = recorded("agent_model_type:spendtree_tokens:rate5m", 'type="cache_read"')
CALLS = recorded("agent_model:spendtree_calls:rate5m")
EVERY_CYCLE = recorded("agent:spendtree_cost_usd:rate5m")
FIRST_CYCLE = recorded("agent:spendtree_first_cycle_cost_usd:rate5m")


def _select(name: str, matchers: str = "") -> str:
    """Return a selector under the choices of this dashboard: it is about roles and models."""
    return select(name, matchers, skip=("customer", "team"))


RUNS = _select("agent_runs_total")
RUN_COST = _select("agent_run_cost_usd_total")
FAILED_COST = _select("agent_run_cost_usd_total", 'status="failed"')
FAILED_CALLS = _select("calls_total", 'status="failed"')


def _blended(by: str = "") -> str:
    """Return dollars for a million tokens of all types."""
    return f"1e6 * {share(added_up(COST, by), added_up(TOKENS, by))}"


def _hourly(rate5m: str) -> str:
    return f"sum by (model) (sum_over_time({rate5m}[59m59s:5m]))"


def _odd(kind: str, label: str) -> str:
    return grown(_select(f"{kind}_calls_total"), f"model, {label}") + " > 0"


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
        (
            4,
            _usd_per_million_tokens,
        ),
        (
            4,
            _cache_share,
        ),
        (
            4,
            _money_in_failed_runs,
        ),
        (
            4,
            _failed_calls,
        ),
        (
            4,
            _cost_of_messages,
        ),
        (
            4,
            _unattributed,
        ),
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
        0,
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
        Line(
            9,
            [
                (
                    12,
                    _dollars_per_million_tokens_by_role,
                ),
                (
                    12,
                    _which_role_asks_which_model,
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    12,
                    _dollars_per_million_tokens_by_model,
                ),
                (
                    12,
                    _tokens_by_type,
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    12,
                    _cache_share_by_role,
                ),
                (
                    12,
                    _cache_share_by_model,
                ),
            ],
        ),
    ],
)

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

_wasted = Section(
    "Retries and failed runs",
    [
        Line(
            8,
            [
                (
                    12,
                    _failed_runs,
                ),
                (
                    12,
                    _how_runs_end,
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    8,
                    _what_routing_again_costs,
                ),
                (
                    8,
                    _failed_calls_by_model,
                ),
                (
                    8,
                    _money_in_failed_runs_by_role,
                ),
            ],
        ),
    ],
)

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
                "increase(" + _select("contract_violations_total") + "[$__rate_interval])",
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
        0,
    ),
    [
        Query(
            "sort_desc(" + grown(_select("contract_excess_tokens_total"), "agent, kind") + " > 0)",
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

_messages = Section(
    "Messages and contracts",
    [
        Line(
            8,
            [
                (
                    12,
                    _what_does_reading_each_other_cost,
                ),
                (
                    12,
                    _broken_output_contracts,
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    12,
                    _tokens_over_their_contract,
                ),
                (
                    12,
                    _calls_that_nobody_owns_or_that_have_no_price,
                ),
            ],
        ),
    ],
)

BOARD = Board(
    uid="spendtree-efficiency",
    title="Spendtree / Efficiency",
    description="Which models the money goes to, and how much of it buys nothing.",
    sections=[Section("", [_top]), _models, _wasted, _messages],
    variables=("agent", "model"),
)
