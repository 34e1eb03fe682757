"""What recorded responses cost: against another library's price, and against what was charged."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import calc_price, extract_usage

from spendtree import Spendtree, Usage
from spendtree.call.answer import read
from spendtree.event import Kind
from spendtree.money import to_pico, to_usd
from spendtree.pricing import PriceBook, Sheet
from spendtree.response import model_of, reported_cost, usage_of
from tests.sdk.recordings import ROWS, needs_recordings, raw, recorded
from tests.sdk.test_response import (
    BEYOND_THE_TOP,
    GENAI_FLAVOURS,
    NOT_READ_BY_IT,
    last_statement,
    metered,
    used,
)

pytestmark = needs_recordings

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT_US = int(AT.timestamp()) * 1_000_000

SELLERS = {"azure_openai": "azure", "bedrock": "aws", "gemini": "google", "vertex": "google"}
"""The other library's names of providers, where they are not the recordings'."""

NOT_LISTED = {
    "bedrock/converse__json__200__014.json": "the model is the ARN of a profile",
    "bedrock/converse_stream__eventstream__200__005.json": "anthropic.claude-v2",
    "cerebras/chat__json__200__005.json": "qwen-3-coder-480b is listed without any price",
    "groq/chat__sse__200__013.json": "compound is billed by the models that it uses",
    "huggingface/chat__json__200__002.json": "the router sells at others' prices",
    "huggingface/chat__json__200__003.json": "the router sells at others' prices",
    "huggingface/chat__sse__200__004.json": "the router sells at others' prices",
    "openrouter/chat__json__200__006.json": "x-ai/grok-4 under OpenRouter",
    "openrouter/chat__sse__200__024.json": "x-ai/grok-4 under OpenRouter",
    "openrouter/chat__sse__200__026.json": "a free variant",
}
"""Recordings whose price neither library knows; the second opinion says so, too."""


ASKED = {row["file"]: row["model"] or "" for row in ROWS}
"""The model that was asked: Bedrock does not say which one answered."""


SEVERAL = {
    "anthropic/messages__sse__200__040.json": {
        "claude-sonnet-5": Usage(1128 + 1283, 135 + 10),
        "claude-opus-4-8": Usage(2543, 18),
    },
    "groq/chat__json__200__004.json": {
        "meta-llama/llama-4-scout-17b-16e-instruct": Usage(
            117 + 520 + 3816 + 4893, 4 + 77 + 99 + 123
        ),
        "openai/gpt-oss-120b": Usage(4754, 618),
    },
}
"""Recordings in which other models (an advisor, a system's) answered a part; counted by hand."""


def ours(file: str, provider: str) -> Decimal | None:
    body = recorded(file)
    if file in SEVERAL:
        sheets = {model: PRICES.sheet(model, provider) for model in SEVERAL[file]}
        costs = [
            sheet.cost(SEVERAL[file][model], AT_US)
            for model, sheet in sheets.items()
            if sheet is not None
        ]
        assert len(costs) == len(sheets)
        return to_usd(sum(costs))
    sheet = PRICES.sheet(model_of(body) or ASKED[file], provider)
    if sheet is None:
        return None
    served = read(body).served or ()
    return to_usd(sheet.under(served).cost(used(file), AT_US))


def search_fee(sheet: Sheet, searches: int) -> Decimal:
    """Return the dollars that the provider charges for searches, beside all tokens."""
    return to_usd(
        sheet.cost(Usage(0, 0, units={"web_search": searches}), AT_US)
        - sheet.cost(Usage(0, 0), AT_US)
    )


PRICES = PriceBook()


def searches_of(body: Any) -> int:
    usage = usage_of(body)
    return 0 if usage is None else usage.units.get("web_search", 0)


FEES_IT_DOES_NOT_COUNT = (
    *("openai/responses__json__200__001.json", "openai/responses__json__200__008.json"),
    *("openai/responses__sse__200__017.json", "gemini/generate_content__json__200__026.json"),
    *("gemini/generate_content__json__200__027.json", "bedrock/converse__json__200__008.json"),
    "bedrock/converse_stream__eventstream__200__002.json",
    "bedrock/converse_stream__eventstream__200__003.json",
)
"""Recordings whose items show searches or guardrails: the other library looks at the usage only."""


def fee_of(file: str, provider: str) -> Decimal:
    """Return what a recording costs beside its tokens by the list."""
    body = recorded(file)
    sheet = PRICES.sheet(model_of(body) or ASKED[file], provider)
    assert sheet is not None
    return to_usd(
        sheet.cost(Usage(0, 0, units=used(file).units), AT_US) - sheet.cost(Usage(0, 0), AT_US)
    )


def theirs(row: dict[str, Any]) -> Decimal | None:
    """Return the other library's price of what it has read itself, None if it knows none."""
    body, provider = recorded(row["file"]), row["provider"]
    flavour = GENAI_FLAVOURS[provider, row["endpoint"]]
    usage = extract_usage(last_statement(body), provider_id=flavour[0], api_flavor=flavour[1]).usage
    model = (model_of(body) or ASKED[row["file"]]).removeprefix("models/")
    try:
        price = calc_price(
            usage,
            model,
            provider_id=SELLERS.get(provider, provider),
            genai_request_timestamp=AT,
        )
    except LookupError:
        return None
    return price.total_price or None


def test_costs_equal_those_of_another_library_to_the_last_digit() -> None:
    """Both from the response on: it reads the usage itself, and prices it by the same list."""
    compared: Counter[str] = Counter()
    for row in ROWS:
        file, provider = row["file"], row["provider"]
        known = (provider, row["endpoint"]) in GENAI_FLAVOURS
        if not known or file not in metered() or file in NOT_READ_BY_IT:
            continue
        if file == "openrouter/chat__json__200__009.json":  # it refuses that usage as inconsistent
            continue
        if file in SEVERAL:  # it prices the sum
            continue
        if read(body := recorded(file)).served:
            last = body[-1] if isinstance(body, list) else body
            assert last["usageMetadata"]["trafficType"] == "ON_DEMAND_FLEX"  # it knows no tiers
            continue
        expected = theirs(row)
        assert (expected is None) == (file in NOT_LISTED), file
        found = ours(file, provider)
        if file in FEES_IT_DOES_NOT_COUNT and found is not None:
            found -= fee_of(file, provider)
        assert found == expected, file
        compared[provider] += expected is not None
    assert sum(compared.values()) >= 105
    assert compared.keys() >= {
        *("anthropic", "azure_openai", "bedrock", "cerebras", "cohere", "deepseek", "gemini"),
        *("groq", "mistral", "openai", "openrouter", "together", "vertex"),
    }


def test_searches_of_the_provider_are_part_of_the_price() -> None:
    found = {row["file"]: n for row in ROWS if (n := searches_of(recorded(row["file"])))}
    assert found == {
        "anthropic/messages__json__200__017.json": 1,
        "anthropic/messages__json__200__030.json": 1,
        "anthropic/messages__json__200__031.json": 1,
        "gemini/generate_content__json__200__026.json": 1,
        "gemini/generate_content__json__200__027.json": 1,
        "groq/chat__json__200__004.json": 1,
        "groq/chat__sse__200__013.json": 1,
        "openai/responses__json__200__001.json": 1,
        "openai/responses__json__200__008.json": 1,
        "openai/responses__sse__200__017.json": 1,
        "openrouter/chat__json__200__014.json": 1,
        "openrouter/chat__sse__200__027.json": 1,
        "openrouter/chat__sse__200__029.json": 1,
    }
    sheet = PRICES.sheet("claude-sonnet-4-5", "anthropic")
    assert sheet is not None
    assert search_fee(sheet, 1) == Decimal("0.01")


@pytest.mark.parametrize(
    ("usage", "searches"),
    [
        ({"server_tool_use": {"web_search_requests": 3}}, 3),
        ({"server_tool_use": {"web_search_requests": 0}}, 0),
        ({"server_tool_use": {"web_search_requests": -1}}, 0),
        ({"server_tool_use": {"web_search_requests": "many"}}, 0),
        ({"server_tool_use": None}, 0),
        ({"num_search_queries": 2}, 2),
        ({}, 0),
    ],
)
def test_searches_are_counted_where_a_response_states_them(usage: Any, searches: int) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, **usage}
    assert searches_of({"usage": usage}) == searches
    assert searches_of([{"message": {"usage": {}}}, {"usage": usage}]) == searches


def test_where_a_model_ran_several_times_each_run_is_priced_at_its_own_price() -> None:
    """The other library prices the counts at the top, which leave runs out."""
    for file, usage in BEYOND_THE_TOP.items():
        by_hand = Decimal(0)
        for model, part in SEVERAL.get(file, {model_of(recorded(file)): usage}).items():
            sheet = PRICES.sheet(model, "anthropic")
            assert sheet is not None
            rates = sheet.listings[-1].tiers[0].rates
            for tokens, rate in zip(disjoint(part), rates, strict=False):
                by_hand += to_usd(tokens * rate)
        assert ours(file, "anthropic") == by_hand


def disjoint(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )


CHARGED_OTHERWISE = {
    "openrouter/chat__json__200__001.json": "the list has halved the price since",
    "openrouter/chat__json__200__009.json": "writing to the cache was charged, and is not listed",
    "openrouter/chat__json__200__014.json": "a web search, which the list lacks there",
    "openrouter/chat__sse__200__029.json": "a web search, which the list lacks there",
    "openrouter/chat__json__200__015.json": "OpenRouter chose a dearer seller of the same model",
    "openrouter/chat__sse__200__027.json": "an alias that another model answered",
    "openrouter/chat__sse__200__026.json": "a free variant",
    "openrouter/chat__sse__200__024.json": "x-ai/grok-4, which the list lacks there",
    "openrouter/responses__json__200__001.json": "the list has changed since",
    "openrouter/responses__sse__200__003.json": "OpenRouter chose a dearer seller",
}
"""Recordings whose charge the list does not tell: why a charge that is reported goes before it."""


def test_charges_that_openrouter_states_are_what_the_list_makes_of_its_usage() -> None:
    stated = {
        row["file"]: cost
        for row in ROWS
        if row["file"] in metered() and (cost := reported_cost(recorded(row["file"]))) is not None
    }
    assert len(stated) == 18
    for file, cost in stated.items():
        if file not in CHARGED_OTHERWISE:
            assert ours(file, "openrouter") == cost, file
    assert len(stated.keys() - CHARGED_OTHERWISE.keys()) == 8


def test_an_own_price_may_name_that_of_a_search() -> None:
    own = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1", "web_search_usd": "0.005"}
    sheet = PriceBook({"m": own}).sheet("m")
    assert sheet is not None
    assert search_fee(sheet, 1) == Decimal("0.005")
    assert sheet.worst(10, 10) == 20 * 1_000_000
    assert usage_of({"usage": {"input_tokens": 1, "output_tokens": 1}}) == Usage(1, 1)


def test_a_call_records_every_recorded_response_as_it_came_and_as_it_was_parsed() -> None:
    """Its event has the buckets, and the cost that was charged, else the list's."""
    tracker = Spendtree("memory:", clock=lambda: AT_US * 1_000)  # DeepSeek is cheaper at night
    files = {row["file"]: row["provider"] for row in ROWS if row["file"] in metered()}
    for file, provider in files.items():
        for response in (raw(file), recorded(file)):
            model = model_of(recorded(file)) or ASKED[file]
            with tracker.call(model, provider=provider) as call:
                call.record(response)

    events = tracker.store.events(kinds=[Kind.CALL])
    for file, provider in files.items():
        cost = reported_cost(recorded(file))
        expected = ours(file, provider) if cost is None else cost
        pico = None if expected is None else to_pico(expected, what="cost", round_up=True)
        for event in (next(events), next(events)):
            assert (event.usage, event.cost, event.status) == (used(file), pico, "ok"), file
    assert next(events, None) is None
