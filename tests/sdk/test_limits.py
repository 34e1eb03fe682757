"""The output limit of a call that names none: the table, own limits, defaults, and what is said."""

import gzip
import pkgutil
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from spendtree import BudgetExceededError, ConfigurationError, Spendtree, Usage
from spendtree.call import Call
from spendtree.event import Kind
from spendtree.pricing import PriceBook
from spendtree.pricing.catalogue import Catalogue
from spendtree.pricing.limits import TABLE, OutputLimit, load_table
from spendtree.testing import assert_books_balance

OWN = {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}
WINDOWED = {**OWN, "context_window": 5000}


def tokens(model: str, provider: str = "", **prices: Any) -> int | None:
    limit = PriceBook(prices).output_limit(model, provider)
    return None if limit is None else limit.tokens


# The table as it is shipped.


def test_the_table_is_small() -> None:
    data = pkgutil.get_data("spendtree.pricing", TABLE)

    assert data is not None
    assert len(gzip.compress(data)) < 12_000


def test_every_row_is_whole_and_has_a_source_of_a_day() -> None:
    table = load_table()

    assert len(table.rows) > 500
    assert set(table.sources) == {"L", "M"}
    assert all(re.search(r" of 20\d\d-\d\d-\d\d\b", source) for source in table.sources.values())
    for (seller, model), row in table.rows.items():
        assert seller, model
        assert model == model.strip(), model
        assert 0 < row.tokens < 10_000_000, model
        assert row.sources in ("L", "M", "LM"), model


def test_no_row_reaches_the_context_window_of_its_entry() -> None:
    catalogue, checked = Catalogue(), 0
    for (seller, model), row in load_table().rows.items():
        window = catalogue.context_window(model.removesuffix("*"), seller)
        if window is not None:
            assert row.tokens < window, model
            checked += 1
    assert checked > 200


def test_every_name_in_it_is_found_by_the_resolution_that_prices_have() -> None:
    """A row that no name leads to would be dead."""
    catalogue, rows = Catalogue(), load_table().rows
    named = [(seller, model) for seller, model in rows if not model.endswith("*")]

    for seller, model in named:
        identity = catalogue.identify(model, seller)
        assert identity is not None, model
        assert (seller, identity.names[-1]) in rows, model


def test_it_is_read_within_milliseconds_and_only_when_it_is_needed() -> None:
    assert min(_seconds_to_load() for _ in range(10)) < 0.005

    code = (
        "import sys, spendtree\n"
        "t = spendtree.Spendtree('memory:', {'prices': {'m': "
        "{'input_usd_per_mtok': 1, 'output_usd_per_mtok': 1}}})\n"
        "with t.session(ceiling=1), t.agent('a', max_output_tokens=9) as agent:\n"
        "    with agent.call('m', input_tokens=1) as call:\n"
        "        call.record(spendtree.Usage(1, 1))\n"
        "print('genai_prices' in sys.modules, t.prices._table)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["False", "None"]


def _seconds_to_load() -> float:
    started = time.perf_counter()
    load_table()
    return time.perf_counter() - started


# Which model is meant.


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", ""),
        ("GPT-4o", "openai"),
        ("openai/gpt-4o", ""),
        ("gpt-4o-2024-08-06", "openai"),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "openai"),
        ("gpt-4o", "azure_openai"),
        ("azure/gpt-4o", ""),
        ("openai/gpt-4o", "openrouter"),
    ],
)
def test_a_name_means_the_model_that_its_price_is_found_for(model: str, provider: str) -> None:
    assert tokens(model, provider) == 16_384


def test_snapshots_that_write_less_have_their_own_limit() -> None:
    assert tokens("gpt-4o-2024-05-13", "openai") == 4096
    assert tokens("gpt-5-chat-latest", "openai") < (tokens("gpt-5", "openai") or 0)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", ""),
        ("claude-sonnet-4-5@20250929", "vertex_ai"),
    ],
)
def test_one_model_has_its_limit_at_every_host(model: str, provider: str) -> None:
    assert tokens(model, provider) == 64_000


def test_what_nobody_knows_and_what_a_local_runtime_serves_has_none() -> None:
    assert tokens("gpt-17", "openai") is None
    assert tokens("gpt-4o", "ollama", **{"gpt-4o": WINDOWED}) is None


def test_a_limit_that_an_own_window_does_not_reach_is_none() -> None:
    assert tokens("gpt-4o", "", **{"gpt-4o": {"context_window": 8000}}) is None
    assert tokens("gpt-4o", "", **{"gpt-4o": OWN}) == 16_384


def test_a_guessed_seller_of_open_weights_is_not_sent_a_limit() -> None:
    """At an unknown address a model of that name may have any limit."""
    book = PriceBook()
    named = book.output_limit("deepseek-chat", "deepseek")
    guessed = book.output_limit("deepseek-chat")

    assert named is not None
    assert guessed is not None
    assert named.tokens == guessed.tokens
    assert (named.is_sent, guessed.is_sent) == (True, False)


def test_a_disputed_limit_is_held_and_not_sent() -> None:
    disputed = [key for key, row in load_table().rows.items() if row.disputed and key[1] != "*"]
    assert disputed
    limit = PriceBook().output_limit("gemini-2.5-flash", "google")

    assert limit == OutputLimit(65_536, "table", limit.source if limit else "", is_sent=False)


# Own limits without prices.


def test_limits_can_be_given_without_prices() -> None:
    book = PriceBook({"gpt-4o": {"max_output_tokens": "500", "context_window": 9000}})
    sheet, listed = book.sheet("gpt-4o", "openai"), PriceBook().sheet("gpt-4o", "openai")

    assert sheet is not None
    assert listed is not None
    assert sheet.listings == listed.listings
    assert (sheet.context_window, sheet.max_output_tokens) == (9000, 500)
    assert tokens("openai/gpt-4o", "", **{"gpt-4o": {"max_output_tokens": 500}}) == 500


def test_limits_for_a_provider_hold_for_that_one() -> None:
    own = {"gpt-4o": {"max_output_tokens": 500, "provider": "azure"}}

    assert tokens("gpt-4o", "azure", **own) == 500
    assert tokens("gpt-4o", "openai", **own) == 16_384


def test_limits_alone_make_no_price() -> None:
    assert PriceBook({"mine": {"max_output_tokens": 500}}).sheet("mine") is None


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ({"max_output_tokens": 0}, "max_output_tokens: 0"),
        ({"context_window": "many"}, "context_window: 'many'"),
        ({"max_output_tokens": 5, "provider": " "}, "provider: ' '"),
        ({"max_output_tokens": 5, "output_usd_per_mtok": 1}, "input_usd_per_mtok: missing"),
        ({"provider": "openai"}, "input_usd_per_mtok: missing"),
        ({"max_output_token": 5}, "max_output_token: unknown"),
    ],
)
def test_wrong_limits_are_refused_where_they_stand(price: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        PriceBook({"gpt-4o": price})


# What a call assumes.


def held(tracker: Spendtree, model: str, **options: Any) -> Call:
    with tracker.call(model, input_tokens=10, **options) as call:
        call.record(Usage(10, 1))
    return call


def made(**config: Any) -> Spendtree:
    return Spendtree("memory:", {"prices": {"m": WINDOWED}, **config})


def test_the_first_that_says_something_wins() -> None:
    tracker = made(
        session={"max_output_tokens": 400},
        agents={"*": {"max_output_tokens": 300}, "writer": {"max_output_tokens": 200}},
    )
    with tracker.session(ceiling=1):
        assert held(tracker, "m", max_output_tokens=7).max_output_tokens == 7
        assert held(tracker, "m").max_output_tokens == 400
        with tracker.agent("anybody"):
            assert held(tracker, "m").max_output_tokens == 300
        with tracker.agent("writer"):
            assert held(tracker, "m").max_output_tokens == 200
        with tracker.agent("writer", max_output_tokens=100):
            assert held(tracker, "m").max_output_tokens == 100
    assert held(tracker, "m").max_output_tokens == 5000, "outside any session"
    assert_books_balance(tracker)


def test_a_default_above_what_the_model_writes_is_lowered_to_that() -> None:
    tracker = made(session={"max_output_tokens": 20_000})
    with tracker.session(ceiling=1):
        assert held(tracker, "gpt-4o").max_output_tokens == 16_384
        assert held(tracker, "gpt-4o", max_output_tokens=20_000).max_output_tokens == 20_000
        assert held(tracker, "claude-sonnet-4-5").max_output_tokens == 20_000


def test_without_a_limit_the_table_is_held_else_the_window() -> None:
    tracker = made()
    with tracker.session(ceiling="0.50"):
        held(tracker, "gpt-4o")
        held(tracker, "m")
    first, second = (event.held for event in tracker.store.events(kinds=[Kind.CALL]))

    assert first == 10 * 2_500_000 + 16_384 * 10_000_000
    assert second == (10 + 5000) * 10_000_000


def test_the_defaults_of_every_agent_are_those_of_one_that_says_nothing_else() -> None:
    tracker = made(
        agents={
            "*": {"envelope_usd": "0.02", "on_exhausted": "skip", "warn_at": [0.5]},
            "rich": {"envelope_usd": "0.20"},
        }
    )
    config = tracker.config

    assert (config.agent("rich").envelope_usd, config.agent("rich").on_exhausted) == (
        config.agent("rich").envelope_usd,
        "skip",
    )
    assert str(config.agent("rich").envelope_usd) == "0.2"
    assert str(config.agent("anybody").envelope_usd) == "0.02"
    assert config.agent("").envelope_usd is None, "what is outside any agent"
    with tracker.session() as session:
        for name in ("a", "b"):
            with tracker.agent(name) as agent:
                balance = tracker.store.balance(f"envelope/{session.id}/{name}")
                assert balance is not None
                assert balance.cap == 20_000_000_000
                assert agent.on_exhausted == "skip"


# What a refusal says.

WAYS = (
    "give max_output_tokens in the request",
    "`agents.NAME.max_output_tokens`, `session.max_output_tokens`",
    "`prices.{}.max_output_tokens`",
)


@pytest.mark.parametrize(
    ("model", "config", "options", "limit", "source"),
    [
        ("m", {"agents": {"a": {"max_output_tokens": 4500}}}, {}, 4500, "of agent 'a'"),
        ("m", {"agents": {"*": {"max_output_tokens": 4500}}}, {}, 4500, "of agent 'a'"),
        ("m", {"session": {"max_output_tokens": 4600}}, {}, 4600, "`session.max_output_tokens`"),
        ("m", {}, {}, 5000, "the context window, since no smaller output limit is known"),
        ("gpt-4o", {}, {}, 16_384, "the largest output by LiteLLM"),
        (
            "gpt-4o",
            {"prices": {"gpt-4o": {"max_output_tokens": 9000}}},
            {},
            9000,
            "`prices.gpt-4o.max_output_tokens`",
        ),
    ],
)
def test_it_names_the_limit_its_source_and_the_ways_to_set_one(
    model: str, config: dict[str, Any], options: Any, limit: int, source: str
) -> None:
    tracker = made(**config)
    with (
        tracker.session(ceiling="0.03"),
        tracker.agent("a"),
        pytest.raises(BudgetExceededError) as refused,
    ):
        tracker.call(model, input_tokens=10, **options).__enter__()

    error, said = refused.value, str(refused.value)
    assert error.output_limit == limit
    assert error.output_limit_source.startswith(source)
    assert f"output limit {limit} tokens ({source}" in said
    assert f"{error.affordable_output_tokens} output tokens would fit" in said
    for way in WAYS:
        assert way.format(model) in said


def test_a_limit_that_the_request_gives_is_not_said_again() -> None:
    tracker = made()
    with tracker.session(ceiling="0.03"), pytest.raises(BudgetExceededError) as refused:
        tracker.call("m", input_tokens=10, max_output_tokens=4000).__enter__()

    error = refused.value
    assert (error.output_limit, error.output_limit_source) == (4000, "given in the request")
    assert "output limit" not in str(error)
    assert str(error).endswith(f"{error.affordable_output_tokens} output tokens would fit")


def test_a_refusal_that_no_limit_would_help_advises_none() -> None:
    tracker = made()
    with tracker.session(ceiling="0.03"), pytest.raises(BudgetExceededError) as refused:
        tracker.call("m", input_tokens=5000, max_output_tokens=10).__enter__()

    assert refused.value.affordable_output_tokens == 0
    assert "give max_output_tokens" not in str(refused.value)


def test_a_tool_that_is_refused_names_no_output_limit() -> None:
    tracker = made()
    with tracker.session(ceiling="0.03"), pytest.raises(BudgetExceededError) as refused:
        tracker.tool("search", cost=1).__enter__()

    assert refused.value.output_limit is None
    assert "output" not in str(refused.value)
