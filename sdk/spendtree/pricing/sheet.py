"""A price sheet: one model's prices as integers, and what a call costs by them. Pure arithmetic.

The rules are those of `genai_prices.types` (0.2.3), against which the tests compare every model:

* of several listings the last one that is in force at the time of the call holds, else the first;
* the tier is chosen by the call's whole input, cached parts included, and its rate then applies to
  all tokens of the call (a cliff, no marginal rates);
* a bucket without a price of its own is charged at the next wider one's: writes for an hour as
  writes, writes and reads as input, reasoning as output (done where a sheet is made, not here).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from spendtree.usage import TOKENS_MAX, Usage

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


class Tier(NamedTuple):
    """Rates for calls with more than `above` tokens of input in all; -1 is any call."""

    above: int
    rates: Rates


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


class _Line(NamedTuple):
    """The dearest rates of one tier of one listing: a call in it costs at most this."""

    above: int
    upto: int
    input: int
    output: int
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One model's prices, resolved once.

    `provider` and `model` are the ids it was found under ("" is no particular provider);
    `context_window` and `max_output_tokens` are tokens, None where nobody told; `search` is the
    price of one web search that the provider makes, which no bound of tokens covers. All results
    are pico-dollars. The catalogue's prices are those of the standard service tier: batch, flex
    and priority processing are not applied.
    """

    provider: str
    model: str
    listings: tuple[Listing, ...]
    context_window: int | None = None
    max_output_tokens: int | None = None
    search: int = 0
    _flat: Rates | None = field(init=False, repr=False, compare=False)
    _bounds: tuple[tuple[int, tuple[_Line, ...]], ...] = field(
        init=False, repr=False, compare=False
    )
    _line: _Line | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first = self.listings[0]
        flat = len(self.listings) == 1 and len(first.tiers) == 1
        object.__setattr__(self, "_flat", first.tiers[0].rates if flat else None)
        bounds = _bounds(self.listings)
        object.__setattr__(self, "_bounds", bounds)
        simple = len(bounds) == 1 and len(bounds[0][1]) == 1 and bounds[0][1][0].upto == _EVERYTHING
        object.__setattr__(self, "_line", bounds[0][1][0] if simple else None)

    def cost(self, usage: Usage, at_us: int) -> int:
        """Return what a call made at `at_us` (microseconds since 1970 UTC) costs, exactly."""
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
        total = (
            usage.input_tokens
            + usage.cache_read_tokens
            + usage.cache_write_tokens
            + usage.cache_write_1h_tokens
        )
        in_force = (listing for listing in reversed(self.listings) if listing.in_force(at_us))
        tiers = next(in_force, self.listings[0]).tiers
        return next(tier.rates for tier in reversed(tiers) if total > tier.above)

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
            max(rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h),
            max(rates.output, rates.reasoning),
            rates.request,
        )
        for tier, end in zip(listing.tiers, ends, strict=True)
        for rates in (tier.rates,)
    ]


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
