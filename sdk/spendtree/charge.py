"""What a call cost: where what the response says meets the price list, and nowhere else. Pure.

One rule says which figure holds, for calls as they are made and for imports alike:

1. The cost that the provider states in its response, since that is what is on the bill. What the
   price list says beside it is kept as a difference. A stated cost of 0 is believed only where no
   price is known: "free" must never be how a ceiling is passed.
2. The price of the model that answered, as it was served (tier, speed, region), as far as its parts
   have prices. What has none is named in the event's marks; under a cap such a call costs at least
   what was held for it.
3. What a tool estimates that recorded the call (`estimated`): it has a price list of its own, which
   may be older than ours, so it holds where 1 and 2 say nothing or not all. Beside a price it is
   compared, and the difference kept.
4. Nothing: the call is unpriced, and its cost None.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from spendtree.errors import MoneyError
from spendtree.event import UNPRICED, Request
from spendtree.model_names import is_another
from spendtree.money import to_pico
from spendtree.pricing import Charge, PriceBook, Sheet
from spendtree.usage import Usage

STATED = "stated_cost"

ROUNDING = 1_000_000
"""A difference below this part of a cost is how a tool writes dollars, and no difference."""


class Answer(Protocol):
    """What was read of an answer: `call.answer.Answer`, or the `response.Reading` of an import."""

    @property
    def model(self) -> str:
        """Return the model that answered, "" where it is not named."""

    @property
    def cost(self) -> Decimal | None:
        """Return the dollars that the provider says it charged."""

    @property
    def parts(self) -> Sequence[tuple[str, Usage]]:
        """Return what each model used, where several answered together."""

    @property
    def served(self) -> tuple[str, ...] | None:
        """Return how it was served, None where the response does not say."""

    @property
    def unread(self) -> Mapping[str, Any]:
        """Return what of the usage was not understood."""

    @property
    def free(self) -> bool:
        """Return whether the answer is of a kind that its provider does not bill."""


class Price(NamedTuple):
    """What a call cost, in pico-dollars (None: nobody knows), and what its event says of it."""

    cost: int | None
    said: dict[str, Any]


class Terms(NamedTuple):
    """What is known of a call before it is answered: what was asked, and its sheet.

    `served` is what the request asked to be served as; what the response states goes before it.
    """

    request: Request
    sheet: Sheet | None
    prices: PriceBook
    at: int
    served: tuple[str, ...] = ()


def price(answer: Answer, usage: Usage, terms: Terms, floor: int = 0) -> Price:
    """Return the price of a usage that a response states.

    `floor` is the least that it costs where a part of it has no price: its hold, under a cap.
    """
    if answer.free:
        return Price(0, _answered_by(answer, terms.request.model))
    charge, said = _charge(answer, usage, terms)
    said |= _units(usage)
    stated, marks = _pico(answer.cost), list[str]()
    cost = None if charge is None else charge.cost
    unpriced = () if charge is None else charge.unpriced
    if stated is not None and cost is not None and stated != cost and not unpriced:
        said["stated_difference"] = stated - cost
    if stated is not None and (stated or not cost):
        said["cost_source"] = "provider"
        cost, marks = stated, [STATED]
    elif cost is not None:
        marks = [f"unpriced:{name}" for name in unpriced]
        if (unpriced or answer.unread) and cost < floor:
            said["priced_part"], cost = cost, floor
    if answer.unread:
        marks.append("unread")
        said["unread"] = dict(answer.unread)
    if marks:
        said["marks"] = sorted(marks)
    return Price(cost, said)


def estimated(found: Price, estimate: Decimal | None) -> Price:
    """Return a price beside the cost that a tool has estimated for the same call."""
    stated = _pico(estimate)
    if not stated or found.said.get("cost_source"):
        return found
    marks = found.said.get("marks", [])
    parts = [mark for mark in marks if mark.startswith(UNPRICED)]
    cost, said = found.cost, dict(found.said)
    if cost is None or (parts and stated >= cost):
        said["cost_source"] = "source"
        said["marks"] = sorted({STATED, *marks} - set(parts))
        return Price(stated, said)
    if abs(stated - cost) > cost // ROUNDING:
        said["stated_difference"] = stated - cost
    return Price(cost, said)


def _charge(answer: Answer, usage: Usage, terms: Terms) -> tuple[Charge | None, dict[str, Any]]:
    """Return what the price list says, and which model answered if it was another."""
    request, sheet = terms.request, terms.sheet
    served = served_as(answer, terms)
    if answer.parts:
        return _charge_of_parts(answer, usage, terms)
    found, said = sheet, dict[str, Any]()
    if answer.model and answer.model != request.model:
        found = terms.prices.answered(request.model, answer.model, request.provider)
        said = _answered_by(answer, request.model)
        if not said and found is not None and not _same(found, sheet, usage, terms):
            said = {"answered_by": answer.model}
    if found is None:
        return None, said
    if served:
        said["served"] = list(served)
    return found.under(served).charge(usage, terms.at), said


def served_as(answer: Answer, terms: Terms) -> tuple[str, ...]:
    """Return how a call was served: as the response states, else as the request asked.

    A region that the request's address fixes stays, since few responses name theirs.
    """
    if answer.served is None:
        return terms.served
    if any(is_region(name) for name in answer.served):
        return answer.served
    return (*answer.served, *(name for name in terms.served if is_region(name)))


def is_region(name: str) -> bool:
    """Return whether what a call was served as is where, and not how."""
    return name.startswith("region")


def _same(found: Sheet, sheet: Sheet | None, usage: Usage, terms: Terms) -> bool:
    if found is sheet:
        return True
    return sheet is not None and sheet.cost(usage, terms.at) == found.cost(usage, terms.at)


def _charge_of_parts(
    answer: Answer, usage: Usage, terms: Terms
) -> tuple[Charge | None, dict[str, Any]]:
    """Return the sum of what each model's own part costs; None if there is no price for one.

    What is billed beside all parts is priced by the model that answered, else by one of them.
    """
    request, prices = terms.request, terms.prices
    served = served_as(answer, terms)
    own = prices.answered(request.model, answer.model or request.model, request.provider)
    sheets = []
    for model, _ in answer.parts:
        if model in ("", answer.model):
            sheets.append(own)
        elif model == request.model:
            sheets.append(terms.sheet)
        else:
            sheets.append(prices.sheet(model, request.provider) or own)
    models = dict.fromkeys(model or answer.model or request.model for model, _ in answer.parts)
    said = {"parts": list(models), **_answered_by(answer, request.model)}
    parts = [part for _, part in answer.parts]
    fees = {name: count for name, count in usage.units.items() if not _in_parts(name, answer)}
    if fees:
        sheets.append(own or next(filter(None, sheets), None))
        parts.append(Usage(0, 0, units=fees))
    total, unpriced = 0, list[str]()
    for found, part in zip(sheets, parts, strict=True):
        if found is None:
            return None, said
        charge = found.under(served).charge(part, terms.at)
        total += charge.cost
        unpriced += charge.unpriced
    return Charge(total, tuple(dict.fromkeys(unpriced))), said


def _answered_by(answer: Answer, asked: str) -> dict[str, Any]:
    """Return what the event says of the model that answered, nothing where it is the one asked."""
    return {"answered_by": answer.model} if is_another(asked, answer.model) else {}


def _in_parts(unit: str, answer: Answer) -> bool:
    return any(unit in part.units for _, part in answer.parts)


def charge_of_usage(usage: Usage, terms: Terms, floor: int = 0) -> Price:
    """Return the price of a usage that the program states itself."""
    sheet = terms.sheet
    if sheet is None:
        return Price(None, _units(usage))
    charge = sheet.under(terms.served).charge(usage, terms.at)
    cost, said = charge.cost, _units(usage)
    if charge.unpriced:
        said["marks"] = sorted(f"unpriced:{name}" for name in charge.unpriced)
        if cost < floor:
            said["priced_part"], cost = cost, floor
    if terms.served:
        said["served"] = list(terms.served)
    return Price(cost, said)


def _units(usage: Usage) -> dict[str, Any]:
    return {"units": dict(usage.units)} if usage.units else {}


def _pico(dollars: Decimal | None) -> int | None:
    try:
        return None if dollars is None else to_pico(dollars, what="cost", round_up=True)
    except MoneyError:  # more than an account holds: not a cost that could be meant
        return None
