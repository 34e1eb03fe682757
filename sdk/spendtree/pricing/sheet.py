"""A price sheet: one model's prices as integers, and what a call costs by them. Pure arithmetic.

The rules are those of `genai_prices.types` (0.2.3), against which the tests compare every model:

* of several listings the last one that is in force at the time of the call holds, else the first;
* the tier is chosen by the call's whole input, cached parts included, and its rate then applies to
  all tokens of the call (a cliff, no marginal rates);
* a bucket without a price of its own is charged at the next wider one's: writes for an hour as
  writes, writes and reads as input, reasoning as output (done where a sheet is made, not here).

Beside the text buckets a tier prices units of `usage.UNITS`: tokens of audio and images, searches,
seconds. What was served otherwise than usual (a service tier, a speed, a region) is a *modifier*:
`Sheet.under` makes the sheet that then holds, so that one arithmetic serves all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from spendtree.usage import TOKENS_MAX, UNITS, Usage

DAY_US = 86_400_000_000
ALWAYS = -(2**63)
"""Before every time: a listing that has been in force since ever."""
_EVERYTHING = 2**63
"""More input than any call has: the end of a highest tier."""


class Rates(NamedTuple):
    """Pico-dollars per token of each bucket of `Usage`, and `request` per call."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    request: int = 0


Prices = Mapping[str, int]
"""Pico-dollars by the name of a unit."""

NO_PRICES: Prices = MappingProxyType({})


class Tier(NamedTuple):
    """Rates for calls with more than `above` tokens of input in all; -1 is any call.

    `units` are the prices of what is billed beside text tokens, as far as they are known.
    """

    above: int
    rates: Rates
    units: Prices = NO_PRICES


class Listing(NamedTuple):
    """Tiers (ascending, the first above -1) and when they are in force.

    From `since` on (microseconds since 1970 UTC), each day between the times `opens` and `closes`
    (microseconds since midnight UTC, across midnight if `closes` is the earlier one).
    """

    tiers: tuple[Tier, ...]
    since: int = ALWAYS
    opens: int = 0
    closes: int = DAY_US

    @property
    def all_day(self) -> bool:
        """Return whether it is in force at every time of the day."""
        return self.opens == 0 and self.closes == DAY_US

    def in_force(self, at_us: int) -> bool:
        """Return whether it is in force at a time, in microseconds since 1970 UTC."""
        if at_us < self.since:
            return False
        time = at_us % DAY_US
        if self.closes < self.opens:
            return time >= self.opens or time < self.closes
        return self.opens <= time < self.closes


Modifier = Fraction | tuple[Listing, ...]
"""What a modifier makes of a price: a factor on all tokens, or listings of its own."""


class Charge(NamedTuple):
    """What a call costs in pico-dollars; of parts without a price, what text would cost at least.

    `unpriced` names the parts that are not: units, and modifiers of the sheet (see `under`).
    """

    cost: int
    unpriced: tuple[str, ...] = ()


class Item(NamedTuple):
    """One line of a charge: so many of a bucket or unit, each at so much (None: unknown).

    `least` is what each counts while its price is unknown: tokens cost no less than text does.
    """

    name: str
    amount: int
    price: int | None
    least: int = 0

    @property
    def cost(self) -> int:
        """Return what it adds to the cost."""
        return self.amount * (self.least if self.price is None else self.price)


class _Line(NamedTuple):
    """The most expensive rates of one tier of one listing: a call in it costs at most this."""

    above: int
    upto: int
    input: int
    output: int
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One model's prices, resolved once.

    `provider` and `model` are the ids it was found under ("" is no particular provider);
    `context_window` and `max_output_tokens` are tokens, None where nobody told. `modifiers` say
    what a service tier, a speed or a region makes of the prices, which are those of the standard
    tier. `unknown` are the modifiers of a call that this sheet has no price for. `source` says in
    words where the prices come from. Without `by_tokens` the text buckets have no price: the model
    is billed by units alone. All results are pico-dollars.
    """

    provider: str
    model: str
    listings: tuple[Listing, ...]
    context_window: int | None = None
    max_output_tokens: int | None = None
    modifiers: Mapping[str, Modifier] = field(default_factory=dict, hash=False)
    unknown: tuple[str, ...] = ()
    source: str = ""
    by_tokens: bool = True
    as_text: tuple[str, ...] = ("image", "video")
    """What costs as text does where the model lists no price for it: modalities that are read, and
    units that are made."""
    _flat: Rates | None = field(init=False, repr=False, compare=False)
    _bounds: tuple[tuple[int, tuple[_Line, ...]], ...] = field(
        init=False, repr=False, compare=False
    )
    _line: _Line | None = field(init=False, repr=False, compare=False)
    _under: dict[tuple[str, ...], "Sheet"] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        first = self.listings[0]
        flat = len(self.listings) == 1 and len(first.tiers) == 1
        object.__setattr__(self, "_flat", first.tiers[0].rates if flat else None)
        bounds = _bounds(self.listings)
        object.__setattr__(self, "_bounds", bounds)
        simple = len(bounds) == 1 and len(bounds[0][1]) == 1 and bounds[0][1][0].upto == _EVERYTHING
        object.__setattr__(self, "_line", bounds[0][1][0] if simple else None)

    def cost(self, usage: Usage, at_us: int) -> int:
        """Return what a call made at `at_us` (microseconds since 1970 UTC) costs, exactly.

        Tokens of units that have no price count as text, and fees as nothing; `charge` names them.
        """
        if usage.units:
            return self.charge(usage, at_us).cost
        rates = self._flat
        if rates is None:
            rates = self._rates(usage, at_us)
        input, output, cache_read, cache_write, cache_write_1h, reasoning, request = rates
        reasoned = usage.reasoning_tokens
        return (
            usage.input_tokens * input
            + (usage.output_tokens - reasoned) * output
            + reasoned * reasoning
            + usage.cache_read_tokens * cache_read
            + usage.cache_write_tokens * cache_write
            + usage.cache_write_1h_tokens * cache_write_1h
            + request
        )

    def charge(self, usage: Usage, at_us: int) -> Charge:
        """Return what a call costs, and which of its parts have no price."""
        unpriced = list(self.unknown)
        cost = 0
        for item in self.items(usage, at_us):
            cost += item.cost
            if item.price is None:
                unpriced.append(item.name)
        return Charge(cost, tuple(unpriced))

    def items(self, usage: Usage, at_us: int) -> Iterator[Item]:
        """Yield the lines of a charge: what was used, each at its price; zeros are left out."""
        tier = self._tier(usage, at_us)
        rates = tier.rates
        text = (
            ("input", usage.input_tokens, rates.input),
            ("cache_read", usage.cache_read_tokens, rates.cache_read),
            ("cache_write", usage.cache_write_tokens, rates.cache_write),
            ("cache_write_1h", usage.cache_write_1h_tokens, rates.cache_write_1h),
            ("output", usage.output_tokens - usage.reasoning_tokens, rates.output),
            ("reasoning", usage.reasoning_tokens, rates.reasoning),
        )
        for name, count, price in text:
            if count:
                yield Item(name, count, price if self.by_tokens else None)
        for name, count in usage.units.items():
            known = price_of_unit(tier, name, self)
            yield Item(name, count, known, _text_price(tier, name) if known is None else 0)
        if rates.request:
            yield Item("request", 1, rates.request)

    def under(self, served: tuple[str, ...]) -> "Sheet":
        """Return the sheet that holds for calls that are served so; itself for ().

        Modifiers multiply; one that has listings of its own comes first. A modifier that is not
        known leaves the prices as they are and is named in `unknown`.
        """
        if not served:
            return self
        try:
            return self._under[served]
        except KeyError:
            return self._under.setdefault(served, self._modified(served))

    def _modified(self, served: tuple[str, ...]) -> "Sheet":
        listings, factor = self.listings, Fraction(1)
        for name in served:
            modifier = self.modifiers.get(name, Fraction(1))
            if isinstance(modifier, Fraction):
                factor *= modifier
            else:
                listings = modifier
        unknown = tuple(name for name in served if name not in self.modifiers)
        if factor != 1:
            listings = tuple(_times(each, factor) for each in listings)
        return replace(self, listings=listings, unknown=unknown)

    def worst(self, input_tokens: int, output_tokens: int, at_us: int = 0) -> int:
        """Return the most that a call can cost from `at_us` on (default: at any time).

        The bound holds for every call of at most that much input, in whichever buckets, and at
        most that much output, at every time of day and under prices that are announced to come:
        a price that changes while the call runs is held at its dearest. Smaller calls are
        included because a higher tier may be cheaper per token. Both counts are 0 or more.
        """
        only = self._line
        if only is not None:  # one price at all times: four times as fast
            return input_tokens * only.input + output_tokens * only.output + only.request
        return max(
            min(input_tokens, line.upto) * line.input + output_tokens * line.output + line.request
            for line in self._lines(at_us)
            if input_tokens > line.above
        )

    def worst_units(self, units: Prices, at_us: int = 0) -> int:
        """Return the most that so many units can cost; those without a price are left out."""
        return sum(
            count
            * max(
                price_of_unit(tier, name, self) or 0
                for listing in self.listings
                for tier in listing.tiers
            )
            for name, count in units.items()
        )

    def reading(self, modalities: tuple[str, ...]) -> "Sheet":
        """Return the sheet that bounds calls whose input and output may be of these modalities.

        Each token may be of the most expensive one: how many are is known only afterwards.
        """
        key = ("reading", *modalities)
        try:
            return self._under[key]
        except KeyError:
            listings = tuple(_raised(each, modalities, self) for each in self.listings)
            return self._under.setdefault(key, replace(self, listings=listings))

    def affordable_output_tokens(self, pico: int, input_tokens: int, at_us: int = 0) -> int:
        """Return the most output for which `worst` of that input is within `pico`.

        At most 2**40 (for output that costs nothing); 0 also where the input alone is too much.
        """
        most = TOKENS_MAX
        for line in self._lines(at_us):
            if input_tokens <= line.above:
                continue
            left = pico - min(input_tokens, line.upto) * line.input - line.request
            if left < 0:
                return 0
            if line.output:
                most = min(most, left // line.output)
        return most

    def _rates(self, usage: Usage, at_us: int) -> Rates:
        return self._tier(usage, at_us).rates

    def _tier(self, usage: Usage, at_us: int) -> Tier:
        total = (
            usage.input_tokens
            + usage.cache_read_tokens
            + usage.cache_write_tokens
            + usage.cache_write_1h_tokens
        )
        for name, count in usage.units.items():
            if UNITS[name].family == "tokens" and UNITS[name].direction == "input":
                total += count
        in_force = (listing for listing in reversed(self.listings) if listing.in_force(at_us))
        tiers = next(in_force, self.listings[0]).tiers
        return next(tier for tier in reversed(tiers) if total > tier.above)

    def _lines(self, at_us: int) -> tuple[_Line, ...]:
        return next(lines for since, lines in self._bounds if at_us >= since)


def _bounds(listings: tuple[Listing, ...]) -> tuple[tuple[int, tuple[_Line, ...]], ...]:
    """Return (since, lines that can still matter), the latest first, the last one since ever.

    A listing is out for good once a later one is in force all day and every day.
    """
    starts = {ALWAYS} | {listing.since for listing in listings if listing.all_day}
    bounds = []
    for start in sorted(starts, reverse=True):
        lasting = [i for i, each in enumerate(listings) if each.all_day and each.since <= start]
        lines = {line for each in listings[max(lasting, default=0) :] for line in _lines_of(each)}
        bounds.append((start, tuple(line for line in sorted(lines) if not _hidden(line, lines))))
    return tuple(bounds)


def _lines_of(listing: Listing) -> list[_Line]:
    ends = [tier.above for tier in listing.tiers[1:]] + [_EVERYTHING]
    return [
        _Line(
            tier.above,
            end,
            max(
                rates.input,
                rates.cache_read,
                rates.cache_write,
                rates.cache_write_1h,
                *_modal(tier.units, "input"),
            ),
            max(rates.output, rates.reasoning, *_modal(tier.units, "output")),
            rates.request,
        )
        for tier, end in zip(listing.tiers, ends, strict=True)
        for rates in (tier.rates,)
    ]


def _modal(units: Prices, direction: str) -> list[int]:
    """Return the prices of other modalities' tokens that any call of a model may use.

    A model that lists output of sound or pictures is made for it, so its calls are held for that.
    A model that only reads sound is held for it where a request has some (see `worst`).
    """
    makes = any(UNITS[name].direction == "output" and UNITS[name].modality for name in units)
    if not makes:
        return []
    return [price for name, price in units.items() if UNITS[name].direction == direction]


def _hidden(line: _Line, lines: set[_Line]) -> bool:
    """Return whether another line applies wherever this one does and is nowhere cheaper."""
    return any(
        other != line
        and other.above <= line.above
        and other.upto >= line.upto
        and other.input >= line.input
        and other.output >= line.output
        and other.request >= line.request
        for other in lines
    )


def price_of_unit(tier: Tier, name: str, sheet: Sheet) -> int | None:
    """Return the price of one unit in a tier, None if nobody knows it.

    Without a price of its own a unit costs what the wider one does (a search of files as one of
    stored documents), what is read from a cache as if it were not cached, and a picture or film
    that is read as text: providers that charge otherwise list it. Sound, and whatever is made,
    never cost as text: that is where list prices differ tenfold.
    """
    units, unit = tier.units, UNITS[name]
    if name in units:
        return units[name]
    if unit.cached and f"input_{unit.modality}" in units:
        return units[f"input_{unit.modality}"]
    if unit.wider in units:
        return units[unit.wider]
    kind = unit.modality if unit.direction == "input" else name
    return _text_price(tier, name) if kind in sheet.as_text and sheet.by_tokens else None


def _text_price(tier: Tier, name: str) -> int:
    """Return what as many tokens of text would cost; nothing for what is no token."""
    unit, rates = UNITS[name], tier.rates
    if unit.family != "tokens":
        return 0
    if unit.direction == "output":
        return rates.output
    return rates.cache_read if unit.cached else rates.input


def _times(listing: Listing, factor: Fraction) -> Listing:
    """Return a listing whose prices of tokens are multiplied, rounded up to pico-dollars."""

    def times(price: int) -> int:
        return -(-price * factor.numerator // factor.denominator)

    def tier(before: Tier) -> Tier:
        rates = Rates._make((*map(times, before.rates[:-1]), before.rates.request))
        units = {
            name: times(price) if UNITS[name].family == "tokens" else price
            for name, price in before.units.items()
        }
        return Tier(before.above, rates, MappingProxyType(units) if units else NO_PRICES)

    return listing._replace(tiers=tuple(tier(each) for each in listing.tiers))


def _raised(listing: Listing, modalities: tuple[str, ...], sheet: Sheet) -> Listing:
    """Return a listing whose text rates are those of the most expensive of some modalities."""

    def most(tier: Tier, direction: str, rate: int) -> int:
        names = (f"{direction}_{modality}" for modality in modalities)
        known = [price_of_unit(tier, name, sheet) or 0 for name in names if name in UNITS]
        return max(rate, *known) if known else rate

    def tier(before: Tier) -> Tier:
        rates = before.rates
        input, output = most(before, "input", rates.input), most(before, "output", rates.output)
        return before._replace(rates=rates._replace(input=input, output=output))

    return listing._replace(tiers=tuple(tier(each) for each in listing.tiers))
