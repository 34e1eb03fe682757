"""How the cost of one call came about, line by line: an event read beside a price book. Pure.

The log keeps what was used, how it was served and what it cost, and no prices. So the lines are
made of the prices that are known now; where they do not add up to the recorded cost (a price has
changed since, or was the user's own then), the explanation says so instead of hiding it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spendtree.event import Event, Kind
from spendtree.money import format_usd, to_usd
from spendtree.pricing import PriceBook, Sheet, supplements
from spendtree.tree import iso
from spendtree.usage import UNITS

WORDS = {
    "input": "input tokens",
    "cache_read": "input tokens read from a cache",
    "cache_write": "input tokens written to a cache",
    "cache_write_1h": "input tokens written to a cache for an hour",
    "output": "output tokens",
    "reasoning": "output tokens of reasoning",
    "request": "request",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One part of a cost: `count` of something at `price` pico-dollars each (None: unknown).

    Where `is_known` is false, no price is known for it, and it counts as text does.
    """

    what: str
    count: int
    price: int | None
    is_known: bool = True

    @property
    def cost(self) -> int | None:
        """Return what the part costs in pico-dollars, None if that is not known at all."""
        return None if self.price is None else self.count * self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A call's cost: its lines by the price list, what was recorded, and why they may differ.

    Amounts are pico-dollars. `cost` is what was recorded (None: unpriced), `listed` what the lines
    add up to (None where no price is known), `held` what was reserved before it was sent.
    """

    id: str
    at: int
    session: str
    agent: str
    provider: str
    asked: str
    answered: str
    served: tuple[str, ...]
    source: str
    lines: tuple[Line, ...]
    listed: int | None
    cost: int | None
    held: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, amounts as decimal dollars in text."""
        return {
            "call": self.id,
            "at": iso(self.at),
            "session": self.session,
            "agent": self.agent,
            "provider": self.provider,
            "asked_model": self.asked,
            "answered_by": self.answered,
            "served": list(self.served),
            "price_source": self.source,
            "lines": [
                {
                    "what": line.what,
                    "count": line.count,
                    "unit_price_usd": _usd(line.price),
                    "price_known": line.is_known,
                    "cost_usd": _usd(line.cost),
                }
                for line in self.lines
            ],
            "listed_usd": _usd(self.listed),
            "cost_usd": _usd(self.cost),
            "held_usd": _usd(self.held),
            "notes": list(self.notes),
        }


def explain(event: Event, prices: PriceBook) -> Explanation:
    """Explain the end of a call or tool charge: a CALL, LAPSE, ADJUSTMENT or TOOL event."""
    data = event.data or {}
    request = event.request
    answered = str(data.get("answered_by", "")) or request.model
    served = tuple(data.get("served", ()))
    found = prices.answered(request.model, answered, request.provider) if request.model else None
    sheet = None if found is None else found.under(served)
    lines = tuple(_lines(sheet, event))
    priced = [line.cost for line in lines if line.cost is not None]
    listed = sum(priced) if sheet is not None else None
    return Explanation(
        id=event.id.hex(),
        at=event.at,
        session=event.context.session,
        agent=event.context.agent,
        provider=(sheet.provider if sheet else "") or request.provider,
        asked=request.model or f"tool {data.get('name', '')}".strip(),
        answered=answered,
        served=served,
        source=_source(sheet, served),
        lines=lines,
        listed=listed,
        cost=event.cost if event.kind != Kind.LAPSE else None,
        held=event.held,
        notes=tuple(_notes(event, listed)),
    )


def _lines(sheet: Sheet | None, event: Event) -> Iterator[Line]:
    if sheet is None:
        usage = event.usage
        counts = {
            "input": usage.input_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
            "cache_write_1h": usage.cache_write_1h_tokens,
            "output": usage.output_tokens,
            **usage.units,
        }
        for name, count in counts.items():
            if count:
                yield Line(what=_what(name, count), count=count, price=None, is_known=False)
        return
    for item in sheet.items(event.usage, event.started):
        is_known = item.price is not None
        price = item.price if is_known else item.least or None
        what = _what(item.name, item.amount)
        yield Line(what=what, count=item.amount, price=price, is_known=is_known)


def _what(name: str, count: int) -> str:
    if name in WORDS:
        return WORDS[name]
    return UNITS[name].words if count == 1 else _plural(UNITS[name].words)


def _plural(words: str) -> str:
    """Return a unit's words for several: the first noun takes the ending ("searches of …")."""
    noun, space, rest = words.partition(" of ") if " of " in words else (words, "", "")
    if noun.startswith("prompt grounded"):
        return words.replace("prompt", "prompts", 1)
    ending = "es" if noun.endswith(("ch", "s")) else "s"
    return f"{noun}{ending}{space}{rest}"


def _source(sheet: Sheet | None, served: tuple[str, ...]) -> str:
    if sheet is None:
        return ""
    parts = [sheet.source] if sheet.source else []
    for name in served:
        factor = sheet.modifiers.get(name)
        if factor is not None:
            where = next(iter(supplements.sources(sheet.provider, sheet.model, name)), "")
            parts.append(f"{name}: {_factor(factor)}{f' ({where})' if where else ''}")
    return "; ".join(parts)


def _factor(modifier: object) -> str:
    return f"× {modifier}" if not isinstance(modifier, tuple) else "prices of its own"


def _notes(event: Event, listed: int | None) -> Iterator[str]:
    data = event.data or {}
    if event.kind == Kind.LAPSE:
        yield (
            f"How it ended is not known ({data.get('reason', 'no reason given')}): its hold of "
            f"{format_usd(event.held)} is presumed spent until the truth is known."
        )
        return
    if "parts" in data:
        yield (
            f"Several models worked together ({', '.join(data['parts'])}), each at its own price; "
            "the lines have the price of the one that answered."
        )
    yield from _on_the_cost(event, listed)
    for mark in event.marks:
        if mark.startswith("unpriced:"):
            yield _on_the_unpriced(mark.partition(":")[2])
        elif mark == "unread":
            keys = ", ".join(sorted(data.get("unread", {}))) or "some keys"
            yield f"The response states more than was understood: {keys}."
    if event.held and event.cost is not None:
        if event.cost > event.held:
            over = format_usd(event.cost - event.held)
            yield f"It cost {over} more than the {format_usd(event.held)} held for it."
        else:
            yield f"Held before it was sent: {format_usd(event.held)}."


def _on_the_unpriced(name: str) -> str:
    if name not in UNITS:
        return f"No price is known for being served as {name}; the lines have the everyday price."
    if UNITS[name].family == "tokens":
        return f"No price is known for {name}; it counts as text, the least that it can cost."
    return f"No price is known for {name}; it counts as nothing, and may have cost more."


_STATED_BY = {"provider": "The provider", "source": "The tool that recorded this call"}


def _on_the_cost(event: Event, listed: int | None) -> Iterator[str]:
    data, cost = event.data or {}, event.cost
    if cost is None:
        yield "No price is known for this model: the call is unpriced, not free."
        return
    if event.kind == Kind.TOOL and not event.request.model:
        yield f"A charge of {format_usd(cost)} that the program stated."
    elif data.get("cost_source") in _STATED_BY:
        who = _STATED_BY[data["cost_source"]]
        text = f"{who} stated a cost of {format_usd(cost)}, which holds"
        difference = data.get("stated_difference", 0)
        if difference:
            word = "more" if difference > 0 else "less"
            text += f"; that is {format_usd(abs(difference))} {word} than the price list said then"
        yield f"{text}."
    elif "priced_part" in data:
        yield (
            f"The priced parts cost {format_usd(data['priced_part'])}. As a part has no price, the "
            f"call is counted at what was held for it, {format_usd(cost)}."
        )
    elif event.times > 1:
        yield (
            f"A sum of {event.times} calls that were pruned. How they were served is not kept, so "
            "the lines are at the everyday price."
        )
    elif event.status == "failed" and not cost:
        yield f"Nothing was billed ({data.get('reason', 'it failed')})."
    elif listed is None:
        yield "No price of the model is known now; an own price of it is given with --config."
    elif listed != cost and "parts" not in data:
        yield (
            f"The recorded cost is {format_usd(cost)}: the price was another one when the call was "
            "made, or the user's own then."
        )


def _usd(pico: int | None) -> str | None:
    return None if pico is None else f"{to_usd(pico):f}"
