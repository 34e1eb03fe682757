"""The catalogue: finds a model in the `genai-prices` package and makes its price sheet.

The only module that knows that package, and heavy for it (0.2 s): `book` imports it on first use.
"""

import math
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from types import MappingProxyType

from genai_prices import data
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from spendtree.pricing import supplements
from spendtree.pricing.limits import Identity, names_of
from spendtree.pricing.providers import canonical, is_unlisted, plain_id, read_model
from spendtree.pricing.sheet import NO_PRICES, Listing, Prices, Rates, Sheet, Tier

BUCKETS: dict[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "output": ("output_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
}
"""Our bucket -> the catalogue's prices for it, the narrowest first (`decompose` in the package)."""

UNIT_PRICES: dict[str, tuple[tuple[str, ...], int]] = {
    "input_audio": (("input_audio_mtok",), 10**6),
    "input_image": (("input_image_mtok",), 10**6),
    "input_video": (("input_video_mtok",), 10**6),
    "cache_read_audio": (("cache_audio_read_mtok",), 10**6),
    "cache_read_image": (("cache_image_read_mtok",), 10**6),
    "cache_read_video": (("cache_video_read_mtok",), 10**6),
    "output_audio": (("output_audio_mtok",), 10**6),
    "output_image": (("output_image_mtok",), 10**6),
    "output_video": (("output_video_mtok",), 10**6),
    "citation": (("output_citation_mtok",), 10**6),
    "web_search": (("web_searches_kcount",), 1000),
    "social_search": (("social_searches_kcount",), 1000),
    "storage_search": (("storage_searches_kcount",), 1000),
    "rerank_search": (("rerank_searches_kcount",), 1000),
    "code_session": (("code_executions_kcount",), 1000),
    "audio_second": (("input_audio_hours", "audio_hours", "output_audio_hours"), 3600),
    "character": (("input_mchars",), 10**6),
    "pixel": (("input_gpixels",), 10**9),
    "text_message": (("input_text_messages_kcount",), 1000),
    "page": (("input_document_kpages",), 1000),
    "annotated_page": (("input_annotated_document_kpages",), 1000),
}
"""Our unit -> the catalogue's prices for it, and how many units that price is for."""

_Prices = Mapping[str, Decimal | TieredPrices | None]
_EPOCH = date(1970, 1, 1)
_SECOND_US = 1_000_000
_DAY_SECONDS = 86_400


class Catalogue:
    """The price list that `genai-prices` had when this was made, bundled or updated."""

    def __init__(self) -> None:
        self._snapshot = get_snapshot()

    def sheet(self, model: str, provider: str = "") -> Sheet | None:
        """Return a model's price sheet, None if the catalogue does not know its price.

        Models that are billed by the hour, page or character have a sheet that is not `by_tokens`;
        models listed without any price are unknown. One that lists input only (embeddings,
        rerankers, classifiers) bills no output.
        """
        found = self._find(model, provider)
        return sheet_of(*found) if found else _by_units(model, provider)

    def identify(self, model: str, provider: str = "") -> Identity | None:
        """Return which model a name means, None if the catalogue does not know it."""
        found = self._find(model, provider)
        if found is None:
            return None
        seller, info = found
        told, short = read_model(model)
        is_told_by_name = self._provider(told) is seller
        return Identity(
            seller.id,
            names_of(model, short if is_told_by_name else model, info.id),
            is_told_by_name or self._provider(provider) is seller,
        )

    def context_window(self, model: str, provider: str = "") -> int | None:
        """Return a model's context window in tokens, None if the catalogue does not know it."""
        found = self._find(model, provider)
        return found[1].context_window if found else None

    @property
    def timestamp(self) -> int | None:
        """Return the date of the prices in seconds since 1970 UTC, as well as it can be known.

        An updated list has the time of its update. The bundled one has no date of its own: it is
        at least as new as the newest price change in it, leaving out changes announced for later,
        that is after the package was installed. None if neither is known.
        """
        if self._snapshot.from_auto_update:
            return int(self._snapshot.timestamp.timestamp())
        try:
            installed = os.stat(data.__file__).st_mtime
        except OSError:
            return None
        starts = (start for each in self._snapshot.providers for start in _start_seconds(each))
        return max((start for start in starts if start <= installed), default=None)

    def provider_at(self, url: str) -> str:
        """Return the id of the provider whose API is at a URL, "" if it is none of the list's."""
        try:
            return self._snapshot.find_provider(None, None, url).id
        except LookupError:
            return ""

    def _find(self, model: str, provider: str) -> tuple[Provider, ModelInfo] | None:
        """Find who sells a model and its entry there; the rules are told in `book`."""
        told, short = read_model(model)
        seller = self._provider(provider)
        if seller is None:
            if is_unlisted(provider) or is_unlisted(told):
                return None
            seller = self._provider(told) or self._maker(model)
        if seller is None:
            return None
        names = [model]
        if self._provider(told) is seller:
            # Only the seller's own prefix may go: another's makes it another model. Who was told
            # by the prefix is asked without it first: Perplexity lists "sonar", and beside it
            # "perplexity/sonar" as others sell it.
            names.insert(len(names) if self._provider(provider) else 0, short)
        for name in names:
            info = seller.find_model(name, all_providers=self._snapshot.providers)
            if info is not None:
                return seller, info
        return None

    def _provider(self, name: str) -> Provider | None:
        if not name.strip() or is_unlisted(name):
            return None
        return find_provider_by_id(self._snapshot.providers, canonical(name))

    def _maker(self, model: str) -> Provider | None:
        try:
            return self._snapshot.find_provider(model.lower(), None, None)
        except LookupError:
            return None


def sheet_of(provider: Provider, model: ModelInfo) -> Sheet | None:
    """Return the sheet of one entry of the catalogue, None if it has no price at all."""
    fees = supplements.fees(provider.id, plain_id(model.id))
    listings = _listings(model.prices, fees)
    if listings is None:
        return None
    return Sheet(
        provider=provider.id,
        model=model.id,
        listings=listings,
        context_window=model.context_window,
        modifiers=supplements.factors(provider.id, plain_id(model.id)),
        source=f"genai-prices {version('genai-prices')}",
        by_tokens=_is_by_tokens(model.prices),
        as_text=supplements.as_text(provider.id, plain_id(model.id)),
    )


def _by_units(model: str, provider: str) -> Sheet | None:
    """Return the sheet of a model that only the supplements know."""
    told, short = read_model(model)
    seller = canonical(provider or told)
    for known, start in supplements.BILLED_BY_UNITS:
        if seller == known and short.startswith(start):
            listing = Listing((Tier(-1, Rates(0, 0, 0, 0, 0, 0), supplements.fees(known, short)),))
            return Sheet(
                provider=known,
                model=short,
                listings=(listing,),
                modifiers=supplements.factors(known, short),
                source=next(supplements.sources(known, short, "rerank_search"), ""),
                by_tokens=False,
            )
    return None


def _is_by_tokens(prices: ModelPrice | list[ConditionalPrice]) -> bool:
    listed = [prices] if isinstance(prices, ModelPrice) else [each.prices for each in prices]
    return all(vars(each).get("input_mtok") is not None for each in listed)


def _listings(
    prices: ModelPrice | list[ConditionalPrice], fees: Prices
) -> tuple[Listing, ...] | None:
    if isinstance(prices, ModelPrice):
        tiers = _tiers(prices, fees)
        return (Listing(tiers),) if tiers else None
    listings = [_listing(each, fees) for each in prices]
    # A model that is unpriced at any time is unknown as a whole: it could cost anything then.
    known = tuple(listing for listing in listings if listing is not None)
    return known if known and len(known) == len(listings) else None


def _listing(price: ConditionalPrice, fees: Prices) -> Listing | None:
    tiers = _tiers(price.prices, fees)
    constraint: object = price.constraint
    if tiers is None:
        return None
    if constraint is None:
        return Listing(tiers)
    if isinstance(constraint, StartDateConstraint):
        return Listing(tiers, since=_seconds(constraint.start_date) * _SECOND_US)
    if isinstance(constraint, TimeOfDateConstraint):
        opens, closes = _time_us(constraint.start_time), _time_us(constraint.end_time)
        return Listing(tiers, opens=opens, closes=closes)
    return None  # a condition of a later version of the package, which we cannot decide


def _tiers(price: ModelPrice, fees: Prices) -> tuple[Tier, ...] | None:
    prices: _Prices = vars(price)
    own = [prices.get(key) for keys, _ in UNIT_PRICES.values() for key in keys]
    if prices.get("input_mtok") is None and not any(each is not None for each in own):
        return None
    listed = [*(prices.get(key) for keys in BUCKETS.values() for key in keys), *own]
    tiered = [each for each in listed if isinstance(each, TieredPrices)]
    starts = {tier.start for each in tiered for tier in each.tiers}
    return tuple(
        Tier(above, _rates(prices, above + 1), _units(prices, above + 1, fees))
        for above in (-1, *sorted(starts))
    )


def _units(prices: _Prices, total_input: int, fees: Prices) -> Prices:
    """Return the prices of units, the catalogue's before those that it does not list."""
    found = dict(fees)
    for name, (keys, per) in UNIT_PRICES.items():
        if any(prices.get(key) is not None for key in keys):
            found[name] = math.ceil(_usd(prices, keys, total_input) * 10**12 / per)
    if "grounded_prompt" in found and prices.get("web_searches_kcount") is not None:
        found["grounded_prompt"] = found["web_search"]  # that is what is listed for these models
    return MappingProxyType(found) if found else NO_PRICES


def _rates(prices: _Prices, total_input: int) -> Rates:
    """Return the rates of a call with that much input in all."""
    rates = {bucket: _usd(prices, keys, total_input) for bucket, keys in BUCKETS.items()}
    # Rounded up here, once, where a price is no whole number of pico-dollars per token.
    per_token = {bucket: math.ceil(usd * 10**6) for bucket, usd in rates.items()}
    request = _usd(prices, ("requests_kcount",), total_input)
    return Rates(**per_token, request=math.ceil(request * 10**9))


def _usd(prices: _Prices, keys: tuple[str, ...], total_input: int) -> Fraction:
    """Return the first price that is listed, 0 if none is, in dollars per the catalogue's unit."""
    price = next((prices[key] for key in keys if prices.get(key) is not None), None)
    if isinstance(price, TieredPrices):
        passed = [tier.price for tier in price.tiers if total_input > tier.start]
        price = passed[-1] if passed else price.base
    return Fraction(price or 0)


def _time_us(value: time) -> int:
    """Return a time of day as microseconds since midnight UTC; one without a zone is UTC."""
    zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
    utc = datetime.combine(_EPOCH, zoned).astimezone(UTC)
    return ((utc.hour * 60 + utc.minute) * 60 + utc.second) * _SECOND_US + utc.microsecond


def _seconds(day: date) -> int:
    return (day - _EPOCH).days * _DAY_SECONDS


def _start_seconds(provider: Provider) -> list[int]:
    return [
        _seconds(price.constraint.start_date)
        for model in provider.models
        if not isinstance(model.prices, ModelPrice)
        for price in model.prices
        if isinstance(price.constraint, StartDateConstraint)
    ]
