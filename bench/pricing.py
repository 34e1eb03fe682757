"""Pricing a call: our integer sheet against genai-prices' own calculation, and the worst case.

Run as a script (`python bench/pricing.py`) for a table. A figure is the median of repeats, in
microseconds per call; both sides get their usage ready-made and have their caches warm.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from timeit import repeat

import genai_prices

from spendtree.pricing import PriceBook, Sheet
from spendtree.usage import Usage

REPEATS = 7
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
AT_US = int(AT.timestamp()) * 1_000_000
BOOK = PriceBook()
OURS = Usage(1200, 400, 300)
THEIRS = genai_prices.Usage(input_tokens=1500, output_tokens=400, cache_read_tokens=300)

FLAT = ("gpt-4o", "openai")
TIERED = ("gemini-2.5-pro", "google")
TIMED = ("deepseek-chat", "deepseek")


def figures() -> list[tuple[str, float, str]]:
    """Return (name, value, unit) rows."""
    flat, tiered, timed = (_sheet(*model) for model in (FLAT, TIERED, TIMED))
    rows = [
        ("pricing a call, sheet cached", lambda: flat.cost(OURS, AT_US)),
        ("pricing a call, sheet looked up", lambda: _sheet(*FLAT).cost(OURS, AT_US)),
        ("pricing a call, price with tiers", lambda: tiered.cost(OURS, AT_US)),
        ("pricing a call, price that changes in the day", lambda: timed.cost(OURS, AT_US)),
        ("worst case of a call", lambda: flat.worst(1500, 400, AT_US)),
        ("affordable output of a call", lambda: flat.affordable_output_tokens(10**9, 1500, AT_US)),
        ("making a usage", lambda: Usage(1200, 400, 300)),
    ]
    measured = [(name, _microseconds(call, 20_000), "us") for name, call in rows]
    theirs = _microseconds(_calc_price, 500)
    return [*measured, ("pricing a call, genai-prices alone", theirs, "us")]


def _sheet(model: str, provider: str) -> Sheet:
    sheet = BOOK.sheet(model, provider)
    assert sheet is not None
    return sheet


def _calc_price() -> object:
    model, provider = FLAT
    return genai_prices.calc_price(
        THEIRS, model, provider_id=provider, genai_request_timestamp=AT
    ).total_price


def _microseconds(call: Callable[[], object], number: int) -> float:
    call()
    return median(repeat(call, number=number, repeat=REPEATS)) / number * 1e6


if __name__ == "__main__":
    for name, value, unit in figures():
        print(f"{name:48} {value:8.2f} {unit}")
