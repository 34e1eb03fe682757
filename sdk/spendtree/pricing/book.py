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
from typing import TYPE_CHECKING, Any

from spendtree.errors import ConfigurationError, MoneyError
from spendtree.money import to_pico
from spendtree.pricing.providers import canonical, is_named, read_model
from spendtree.pricing.sheet import Listing, Rates, Sheet, Tier
from spendtree.usage import TOKENS_MAX

if TYPE_CHECKING:
    from spendtree.pricing.catalogue import Catalogue

OWN_KEYS: dict[str, str] = {
    "input_usd_per_mtok": "dollars per million tokens of input; required",
    "output_usd_per_mtok": "dollars per million tokens of output; required",
    "cache_read_usd_per_mtok": "of input read from a cache; as input if missing",
    "cache_write_usd_per_mtok": "of input written to a cache; as input if missing",
    "cache_write_1h_usd_per_mtok": "of input written for an hour; as cache_write if missing",
    "web_search_usd": "dollars of one web search that the provider makes; none if missing",
    "context_window": "the most input tokens of a call",
    "max_output_tokens": "the most output tokens of a call",
    "provider": "the only provider that this price is meant for",
}
"""What an own price may say under `prices: {<model>: …}`."""

_CACHE_LIMIT = 10_000  # names come from traces, too: they must not fill the memory


class PriceBook:
    """Finds price sheets; safe for many threads, and for a fork at any time (it has no lock).

    `prices` are own prices, as under `prices:` in spendtree.yaml: model -> mapping of `OWN_KEYS`.
    Amounts are str, Decimal, int or float dollars; what is finer than a pico-dollar per token is
    rounded up. Raises ConfigurationError for what cannot be meant. The catalogue is loaded when
    a model is first looked up that has no own price, and kept as it was then.
    """

    def __init__(self, prices: Mapping[str, Any] | None = None) -> None:
        if prices is not None and not isinstance(prices, Mapping):
            raise ConfigurationError(f"prices: {prices!r} is no mapping of models to prices")
        self._own = {model: _own_sheet(model, price) for model, price in (prices or {}).items()}
        self._sheets: dict[tuple[str, str], Sheet | None] = {}
        self._providers: dict[str, str] = {}
        self._answered: dict[tuple[str, str, str], Sheet | None] = {}
        self._catalogue: Catalogue | None = None

    def sheet(self, model: str, provider: str = "") -> Sheet | None:
        """Return the price sheet of a model, None if its price is unknown."""
        try:
            return self._sheets[model, provider]
        except KeyError:
            pass
        sheet = self._own_price(model, provider) or self._load().sheet(model, provider)
        if len(self._sheets) >= _CACHE_LIMIT:
            self._sheets.clear()
        return self._sheets.setdefault((model, provider), sheet)

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
        named = canonical(provider)
        told, short = read_model(model)
        if model not in self._own and is_named(told) and named in ("", canonical(told)):
            model, named = short, canonical(told)
        sheet = self._own.get(model)
        if sheet is None or (named and sheet.provider not in ("", named)):
            return None
        return replace(sheet, provider=named or sheet.provider)

    def _load(self) -> "Catalogue":
        if self._catalogue is None:
            # Loads genai-prices, 0.2 s: nobody who has own prices for everything needs it.
            from spendtree.pricing.catalogue import Catalogue  # noqa: PLC0415

            self._catalogue = Catalogue()
        return self._catalogue


def _own_sheet(model: str, price: Any) -> Sheet:
    where = f"prices.{model}"
    if not isinstance(model, str) or not model:
        raise ConfigurationError(f"{where}: the name of a model must be text, not {model!r}")
    if not isinstance(price, Mapping):
        raise ConfigurationError(f"{where}: {price!r} is no mapping; {_allowed()}")
    for key in price:
        if key not in OWN_KEYS:
            raise ConfigurationError(f"{where}.{key}: unknown (value {price[key]!r}); {_allowed()}")
    provider = price.get("provider", "")
    if "provider" in price and not (isinstance(provider, str) and provider.strip()):
        raise ConfigurationError(f"{where}.provider: {provider!r} is no name; leave it out for any")
    return Sheet(
        provider=canonical(provider),
        model=model,
        listings=(Listing((Tier(-1, _own_rates(where, price)),)),),
        context_window=_tokens(where, price, "context_window"),
        max_output_tokens=_tokens(where, price, "max_output_tokens"),
        search=_dollars(where, price, "web_search_usd"),
    )


def _own_rates(where: str, price: Mapping[str, Any]) -> Rates:
    input = _per_token(where, price, "input_usd_per_mtok")
    output = _per_token(where, price, "output_usd_per_mtok")
    write = _per_token(where, price, "cache_write_usd_per_mtok", input)
    return Rates(
        input=input,
        output=output,
        cache_read=_per_token(where, price, "cache_read_usd_per_mtok", input),
        cache_write=write,
        cache_write_1h=_per_token(where, price, "cache_write_1h_usd_per_mtok", write),
        reasoning=output,
    )


def _per_token(where: str, price: Mapping[str, Any], key: str, default: int | None = None) -> int:
    if key not in price:
        if default is None:
            raise ConfigurationError(f"{where}.{key}: missing; it is {OWN_KEYS[key]}")
        return default
    return -(-_dollars(where, price, key) // 10**6)


def _dollars(where: str, price: Mapping[str, Any], key: str) -> int:
    """Return an amount in pico-dollars, rounded up; 0 if it is not there."""
    try:
        return to_pico(price.get(key, 0), what=f"{where}.{key}", round_up=True)
    except MoneyError as error:
        raise ConfigurationError(str(error)) from error


def _tokens(where: str, price: Mapping[str, Any], key: str) -> int | None:
    """Return a token count, which YAML may also give as its digits; None if it is not there."""
    if key not in price:
        return None
    value = price[key]
    count = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(count) is not int or not 0 < count <= TOKENS_MAX:
        allowed = f"give a whole number from 1 to {TOKENS_MAX}"
        raise ConfigurationError(f"{where}.{key}: {value!r} is no token count; {allowed}")
    return count


def _allowed() -> str:
    return f"allowed are {', '.join(OWN_KEYS)}"
