"""Own prices: what a user writes under `prices: {<model>: …}`, checked, as a sheet. Pure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from spendtree.errors import ConfigurationError, MoneyError
from spendtree.money import PICO_PER_USD, to_pico
from spendtree.pricing.providers import canonical
from spendtree.pricing.sheet import NO_PRICES, Listing, Modifier, Prices, Rates, Sheet, Tier
from spendtree.usage import TOKENS_MAX, UNITS

RATES: dict[str, str] = {
    "input_usd_per_mtok": "dollars per million tokens of input; required with any other price",
    "output_usd_per_mtok": "dollars per million tokens of output; required with any other price",
    "cache_read_usd_per_mtok": "of input read from a cache; as input if missing",
    "cache_write_usd_per_mtok": "of input written to a cache; as input if missing",
    "cache_write_1h_usd_per_mtok": "of input written for an hour; as cache_write if missing",
    "reasoning_usd_per_mtok": "of output that is reasoning; as output if missing",
}
UNIT_KEYS: dict[str, str] = {
    f"{unit.name}_usd_per_mtok" if unit.family == "tokens" else f"{unit.name}_usd": unit.name
    for unit in UNITS.values()
}
"""The key of each unit's price: per million for tokens, for one of everything else."""

MODIFIERS = ("batch", "flex", "priority", "fast", "ultrafast", "scale", "provisioned", "regional")
"""What a call may be served as; each may be given a factor or prices of its own."""

KEYS: dict[str, str] = {
    **RATES,
    **{key: f"dollars of one {UNITS[name].words}" for key, name in UNIT_KEYS.items()},
    **{
        key: f"dollars per million of one {UNITS[name].words}s"
        for key, name in UNIT_KEYS.items()
        if UNITS[name].family == "tokens"
    },
    "tiers": "a list of prices for larger calls, each with `above: <tokens of input in all>`",
    **dict.fromkeys(MODIFIERS, "a factor on all prices of tokens, or prices of its own"),
    "regions": "for each region (us, eu …) a factor, or prices of its own",
    "context_window": "the most input tokens of a call",
    "max_output_tokens": "the most output tokens of a call",
    "provider": "the only provider that this price is meant for",
}
"""What an own price may say."""

_TIER_KEYS = ("above", *RATES, *UNIT_KEYS)
_PRICE_KEYS = (*RATES, *UNIT_KEYS, "tiers")


def own_sheet(model: str, price: Any) -> Sheet:
    """Return the sheet of an own price. Raises ConfigurationError that names the key."""
    where = f"prices.{model}"
    _check_keys(where, price, KEYS)
    return Sheet(
        provider=own_provider(model, price),
        model=model,
        listings=_listings(where, price),
        context_window=own_tokens(where, price, "context_window"),
        max_output_tokens=own_tokens(where, price, "max_output_tokens"),
        modifiers=MappingProxyType(_modifiers(where, price)),
        source="your own prices",
    )


def own_provider(model: str, price: Mapping[str, Any]) -> str:
    """Return the provider that an own entry is meant for, "" if for any."""
    where = f"prices.{model}"
    if not isinstance(model, str) or not model:
        raise ConfigurationError(f"{where}: the name of a model must be text, not {model!r}")
    provider = price.get("provider", "")
    if "provider" in price and not (isinstance(provider, str) and provider.strip()):
        raise ConfigurationError(
            f"{where}.provider: {provider!r} is not a name; leave it out for any"
        )
    return canonical(provider)


def _listings(where: str, price: Mapping[str, Any]) -> tuple[Listing, ...]:
    first = _tier(where, price, -1)
    tiers = price.get("tiers", ())
    if not isinstance(tiers, Sequence) or isinstance(tiers, str):
        raise ConfigurationError(f"{where}.tiers: {tiers!r} is not a list of prices")
    found = [first]
    for index, entry in enumerate(tiers):
        spot = f"{where}.tiers.{index}"
        _check_keys(spot, entry, _TIER_KEYS)
        above = own_tokens(spot, entry, "above")
        if above is None:
            raise ConfigurationError(f"{spot}.above: missing; it is the input that a call exceeds")
        if above <= found[-1].above:
            raise ConfigurationError(
                f"{spot}.above: {above} does not come after {found[-1].above}; sort the tiers"
            )
        found.append(_tier(spot, {**_base(price), **entry}, above))
    return (Listing(tuple(found)),)


def _base(price: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tier need not say again: the prices of units."""
    return {key: value for key, value in price.items() if key in UNIT_KEYS}


def _tier(where: str, price: Mapping[str, Any], above: int) -> Tier:
    units = _units(where, price)
    return Tier(above, _rates(where, price), units)


def _rates(where: str, price: Mapping[str, Any]) -> Rates:
    input = _per_token(where, price, "input_usd_per_mtok")
    output = _per_token(where, price, "output_usd_per_mtok")
    write = _per_token(where, price, "cache_write_usd_per_mtok", input)
    return Rates(
        input=input,
        output=output,
        cache_read=_per_token(where, price, "cache_read_usd_per_mtok", input),
        cache_write=write,
        cache_write_1h=_per_token(where, price, "cache_write_1h_usd_per_mtok", write),
        reasoning=_per_token(where, price, "reasoning_usd_per_mtok", output),
    )


def _units(where: str, price: Mapping[str, Any]) -> Prices:
    found = {}
    for key, name in UNIT_KEYS.items():
        if key in price:
            tokens = UNITS[name].family == "tokens"
            found[name] = _per_token(where, price, key) if tokens else _dollars(where, price, key)
    return MappingProxyType(found) if found else NO_PRICES


def _modifiers(where: str, price: Mapping[str, Any]) -> dict[str, Modifier]:
    found = {name: _modifier(f"{where}.{name}", price[name]) for name in MODIFIERS if name in price}
    regions = price.get("regions", {})
    if not isinstance(regions, Mapping):
        raise ConfigurationError(f"{where}.regions: {regions!r} is not a mapping of regions")
    for region, value in regions.items():
        if not isinstance(region, str) or not region:
            raise ConfigurationError(f"{where}.regions: {region!r} is not the name of a region")
        found[f"region:{region.lower()}"] = _modifier(f"{where}.regions.{region}", value)
    return found


def _modifier(where: str, value: Any) -> Modifier:
    """Return a factor, or the listings of prices of its own."""
    if isinstance(value, Mapping):
        _check_keys(where, value, _PRICE_KEYS)
        return _listings(where, value)
    try:
        factor = Fraction(to_pico(value, what=where), PICO_PER_USD)
    except MoneyError:
        raise ConfigurationError(
            f"{where}: {value!r} is neither a factor (0.5 is half the price) nor prices of its own"
        ) from None
    if factor > 1000:
        raise ConfigurationError(f"{where}: {value} is a factor on prices; at most 1000")
    return factor


def _check_keys(where: str, price: Any, known: Mapping[str, str] | Sequence[str]) -> None:
    allowed = f"allowed are {', '.join(known)}"
    if not isinstance(price, Mapping):
        raise ConfigurationError(f"{where}: {price!r} is not a mapping; {allowed}")
    for key in price:
        if key not in known:
            raise ConfigurationError(f"{where}.{key}: unknown (value {price[key]!r}); {allowed}")


def _per_token(where: str, price: Mapping[str, Any], key: str, default: int | None = None) -> int:
    if key not in price:
        if default is None:
            raise ConfigurationError(f"{where}.{key}: missing; it is {KEYS[key]}")
        return default
    return -(-_dollars(where, price, key) // 10**6)


def _dollars(where: str, price: Mapping[str, Any], key: str) -> int:
    """Return an amount in pico-dollars, rounded up."""
    try:
        return to_pico(price[key], what=f"{where}.{key}", round_up=True)
    except MoneyError as error:
        raise ConfigurationError(str(error)) from error


def own_tokens(where: str, price: Mapping[str, Any], key: str) -> int | None:
    """Return a token count, which YAML may also give as its digits; None if it is not there."""
    if key not in price:
        return None
    value = price[key]
    count = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(count) is not int or not 0 < count <= TOKENS_MAX:
        allowed = f"give a whole number from 1 to {TOKENS_MAX}"
        raise ConfigurationError(f"{where}.{key}: {value!r} is not a token count; {allowed}")
    return count
