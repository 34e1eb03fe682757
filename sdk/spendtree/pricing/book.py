"""The price book: own prices and the catalogue's, one sheet per model and provider, cached.

How a call's price is found (`PriceBook.sheet`), first come first served:

1. An own price for the model's name as it stands, then for the name without a provider's prefix
   ("openai/gpt-4o" as "gpt-4o"). One that names a provider holds for that provider only, and for
   calls that name none.
2. The list of the provider that the call names, and of those that the catalogue itself lets stand
   in for it (Azure sells OpenAI's models). No other: a call of one known provider is never priced
   by another's list.
3. Where the call names no provider, or one that nobody knows (a gateway's name): the provider that
   the model's name tells ("azure/gpt-4o", "eu.anthropic.claude-…"), else the one that the
   catalogue recognises the model by. Not for local runtimes and sellers that are known to bill
   otherwise (`providers.UNLISTED`).

What is not found is unknown: None, never zero.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from spendtree.errors import ConfigurationError
from spendtree.pricing import supplements
from spendtree.pricing.own import own_provider, own_sheet, own_tokens
from spendtree.pricing.providers import canonical, is_named, plain_id, read_model
from spendtree.pricing.sheet import Sheet, Tier

if TYPE_CHECKING:
    from spendtree.pricing.catalogue import Catalogue
    from spendtree.pricing.limits import LimitTable, OutputLimit

LIMIT_KEYS = ("context_window", "max_output_tokens")
"""What may stand there without a price: the catalogue's price holds then."""

_CACHE_LIMIT = 10_000  # names come from traces, too: they must not fill the memory


class PriceBook:
    """Finds price sheets; safe for many threads, and for a fork at any time (it has no lock).

    `prices` are own prices, as under `prices:` in spendtree.yaml: model -> mapping of `own.KEYS`.
    Amounts are str, Decimal, int or float dollars; what is finer than a pico-dollar per token is
    rounded up. Raises ConfigurationError for what cannot be meant. The catalogue is loaded when
    a model is first looked up that has no own price, and kept as it was then.
    """

    def __init__(self, prices: Mapping[str, Any] | None = None) -> None:
        if prices is not None and not isinstance(prices, Mapping):
            raise ConfigurationError(f"prices: {prices!r} is no mapping of models to prices")
        given = (prices or {}).items()
        self._limits = {m: _own_limits(m, each) for m, each in given if _states_only_limits(each)}
        self._own = {m: own_sheet(m, each) for m, each in given if m not in self._limits}
        self._flat = {m for m, each in given if m in self._own and "tiers" in each}
        self._sheets: dict[tuple[str, str], Sheet | None] = {}
        self._outputs: dict[tuple[str, str], OutputLimit | None] = {}
        self._providers: dict[str, str] = {}
        self._answered: dict[tuple[str, str, str], Sheet | None] = {}
        self._catalogue: Catalogue | None = None
        self._table: LimitTable | None = None

    def sheet(self, model: str, provider: str = "") -> Sheet | None:
        """Return the price sheet of a model, None if its price is unknown."""
        try:
            return self._sheets[model, provider]
        except KeyError:
            pass
        sheet = self._own_price(model, provider) or self._listed(model, provider)
        if len(self._sheets) >= _CACHE_LIMIT:
            self._sheets.clear()
        return self._sheets.setdefault((model, provider), sheet)

    def output_limit(self, model: str, provider: str = "") -> "OutputLimit | None":
        """Return the most output tokens of a model, None if nobody states less than its window.

        An own one (`max_output_tokens`), else the table's, which is read when it is first needed.
        """
        try:
            return self._outputs[model, provider]
        except KeyError:
            pass
        if len(self._outputs) >= _CACHE_LIMIT:
            self._outputs.clear()
        return self._outputs.setdefault((model, provider), self._output_limit(model, provider))

    def is_own(self, model: str, provider: str = "") -> bool:
        """Tell whether a model's price is an own one."""
        return self._own_key(self._own, model, provider) is not None

    def answered(self, asked: str, model: str, provider: str = "") -> Sheet | None:
        """Return the price sheet of a call that one model was asked and another answered.

        Providers answer under a dated name, gateways and deployments under the model behind them.
        The answering model's own price holds, else the asked one's own price (the user gave it for
        this very case), else what the catalogue knows of either, the answering one first.
        """
        key = asked, model, provider
        try:
            return self._answered[key]
        except KeyError:
            pass
        sheet = (
            self._own_price(model, provider)
            or self._own_price(asked, provider)
            or self.sheet(model, provider)
            or self.sheet(asked, provider)
        )
        if len(self._answered) >= _CACHE_LIMIT:
            self._answered.clear()
        return self._answered.setdefault(key, sheet)

    def provider_at(self, url: str) -> str:
        """Return the id of the provider that answers at a base URL, "" if nobody knows it."""
        try:
            return self._providers[url]
        except KeyError:
            if len(self._providers) >= _CACHE_LIMIT:
                self._providers.clear()
            return self._providers.setdefault(url, self._load().provider_at(url))

    @property
    def catalogue_timestamp(self) -> int | None:
        """Return the date of the catalogue's prices in seconds since 1970 UTC; loads it."""
        return self._load().timestamp

    def sells_at(self, host: str, path: str = "/") -> bool:
        """Tell whether a provider's API is at a host, as far as it is listed; loads the list."""
        from spendtree.pricing.hosts import is_api  # noqa: PLC0415 - 2 ms, and few ask

        host = host.lower().rstrip(".")
        return is_api(host) or bool(self._load().provider_at(f"https://{host}{path}"))

    def _own_price(self, model: str, provider: str) -> Sheet | None:
        own = self._own_key(self._own, model, provider)
        if own is None:
            return None
        sheet = self._own[own.model]
        sheet = replace(sheet, provider=own.provider or sheet.provider)
        return _completed(sheet, is_flat=own.model in self._flat)

    def _listed(self, model: str, provider: str) -> Sheet | None:
        """Return the catalogue's sheet, with the user's own limits where there are some."""
        sheet = self._load().sheet(model, provider)
        own = self._own_key(self._limits, model, provider)
        if sheet is None or own is None:
            return sheet
        limits = self._limits[own.model]
        window = limits.context_window or sheet.context_window
        return replace(sheet, context_window=window, max_output_tokens=limits.max_output_tokens)

    def _own_key(
        self, entries: "Mapping[str, Sheet | _Limits]", model: str, provider: str
    ) -> "_OwnKey | None":
        """Find under which name a model has an own entry, None if it has none."""
        named = canonical(provider)
        told, short = read_model(model)
        if model not in entries and is_named(told) and named in ("", canonical(told)):
            model, named = short, canonical(told)
        entry = entries.get(model)
        if entry is None or (named and entry.provider not in ("", named)):
            return None
        return _OwnKey(model, named)

    def _output_limit(self, model: str, provider: str) -> "OutputLimit | None":
        from spendtree.pricing import limits  # noqa: PLC0415 - only who names no limit asks

        sheet = self.sheet(model, provider)
        if sheet is None:
            return None
        if sheet.max_output_tokens is not None:
            own = self._own_key(self._own, model, provider) or self._own_key(
                self._limits, model, provider
            )
            where = f"`prices.{own.model if own else model}.max_output_tokens`"
            return limits.OutputLimit(sheet.max_output_tokens, "prices", where)
        identity = self._load().identify(model, provider)
        if identity is None:
            return None
        if self._table is None:
            self._table = limits.load_table()
        found = self._table.find(identity)
        window = sheet.context_window
        return None if found is None or (window and found.tokens >= window) else found

    def _load(self) -> "Catalogue":
        if self._catalogue is None:
            # Loads genai-prices, 0.2 s: nobody who has own prices for everything needs it.
            from spendtree.pricing.catalogue import Catalogue  # noqa: PLC0415

            self._catalogue = Catalogue()
        return self._catalogue


class _Limits(NamedTuple):
    """What an own entry without a price states."""

    provider: str
    context_window: int | None
    max_output_tokens: int | None


class _OwnKey(NamedTuple):
    """The name under which an own entry stands, and the provider that was asked for."""

    model: str
    provider: str


def _states_only_limits(price: Any) -> bool:
    stated = set(price) - {"provider"} if isinstance(price, Mapping) else set()
    return bool(stated) and stated <= set(LIMIT_KEYS)


def _own_limits(model: str, price: Mapping[str, Any]) -> _Limits:
    provider = own_provider(model, price)
    return _Limits(provider, *(own_tokens(f"prices.{model}", price, key) for key in LIMIT_KEYS))


def _completed(sheet: Sheet, *, is_flat: bool) -> Sheet:
    """Return an own sheet with what its provider charges and the user says nothing of.

    Those are fees, factors, and what large calls cost more, unless the user gave tiers (or an
    empty list of them).
    """
    seller = sheet.provider or supplements.maker(sheet.model)
    model = plain_id(sheet.model)
    fees, factors = supplements.fees(seller, model), supplements.factors(seller, model)
    large = None if is_flat else supplements.large_call(seller, model)
    (listing,) = sheet.listings
    tiers = [*listing.tiers]
    if large is not None:
        tiers.append(_times(tiers[0], large))
    complete = tuple(tier._replace(units={**fees, **tier.units}) for tier in tiers)
    return replace(
        sheet,
        modifiers={**factors, **sheet.modifiers},
        as_text=supplements.as_text(seller, model),
        listings=(listing._replace(tiers=complete),),
    )


def _times(tier: Tier, large: supplements.LargeCall) -> Tier:
    """Return the tier of calls that are larger, from the one of those that are not."""
    rates = tier.rates
    named = {
        name: -(-price * (large.output if name in ("output", "reasoning") else large.input) // 1)
        for name, price in rates._asdict().items()
        if name != "request"
    }
    return Tier(large.above, rates._replace(**named), tier.units)
