"""Pricing: a model's prices as integers, found once per model and multiplied per call.

`sheet` is the arithmetic, `book` the users' own prices and the cache, `catalogue` the only place
that knows the `genai-prices` package (imported on first use), `providers` and `hosts` the tables of
names.
Nothing here reads a clock: the time of a call is an argument.
"""

from spendtree.pricing.book import PriceBook
from spendtree.pricing.sheet import Listing, Rates, Sheet, Tier

__all__ = ["Listing", "PriceBook", "Rates", "Sheet", "Tier"]
