"""Pricing: a model's prices as integers, found once per model and multiplied per call.

`sheet` is the arithmetic, `book` finds and caches, `own` reads the users' own prices, `catalogue`
is the only place that knows the `genai-prices` package (imported on first use), `supplements` has
what that does not list, `providers` and `hosts` are the tables of names.
Nothing here reads a clock: the time of a call is an argument.
"""

from spendtree.pricing.book import PriceBook
from spendtree.pricing.sheet import Charge, Item, Listing, Rates, Sheet, Tier

__all__ = ["Charge", "Item", "Listing", "PriceBook", "Rates", "Sheet", "Tier"]
