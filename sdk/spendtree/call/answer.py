"""What a response says of a call: its usage, the model that answered, what it was charged.

Prices and the response's own statements meet here, and nowhere else.
"""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from spendtree.errors import MoneyError
from spendtree.event import Request
from spendtree.money import to_pico
from spendtree.pricing import PriceBook, Sheet
from spendtree.response import NOTHING_UNREAD
from spendtree.response import read as response_read
from spendtree.usage import Usage

log = logging.getLogger("spendtree")


class Answer(NamedTuple):
    """What was read from a response."""

    usage: Usage | None
    """None where it states none, or nothing but zeros; `problem` says so."""
    model: str = ""
    """The model that answered, "" where the response does not name it."""
    cost: Decimal | None = None
    """The dollars that the provider says it charged."""
    problem: str = ""
    parts: Sequence[tuple[str, Usage]] = ()
    """What each model used, where several answered together."""
    served: tuple[str, ...] | None = None
    """How it was served, where that is not the everyday way: `flex`, `priority`, `batch`, `fast`,
    `scale`, `provisioned`, `region:us`, or any other word that the provider states; () in the
    everyday way, None where the response does not say."""
    unread: Mapping[str, Any] = NOTHING_UNREAD
    """What of the usage was not understood: values by the path of their key."""
    floor: Usage | None = None
    """The most that was understood of a usage that is not whole; it cost that at least."""

    @property
    def searches(self) -> int:
        """Return how many web searches were made, which are priced beside the tokens."""
        return 0 if self.usage is None else self.usage.units.get("web_search", 0)


def read(response: Any, asked: str = "") -> Answer:
    """Return what a provider's response says. Never raises: it was paid for, and goes on."""
    try:
        said = response_read(response, asked)
    except Exception as error:
        log.exception("a response could not be read: please report")
        return Answer(None, problem=f"cannot be read ({type(error).__name__}: {error})")
    return Answer(
        said.usage,
        said.model,
        said.cost,
        said.problem,
        said.parts,
        said.served,
        said.unread,
        said.floor,
    )


class Price(NamedTuple):
    """What a call cost, in pico-dollars (None: nobody knows), and what its event tells of it."""

    cost: int | None
    told: dict[str, str]


def price(
    answer: Answer, usage: Usage, request: Request, sheet: Sheet | None, prices: PriceBook, at: int
) -> Price:
    """Return the price of a usage: what the provider says it charged, else the answering model's.

    `sheet` is that of the model that was asked. A model that answers under another name (a date,
    a deployment's model) is priced by its own list, unless the user priced what was asked.
    """
    reported = _pico(answer.cost)
    if reported is not None:
        return Price(reported, {"cost_source": "provider"})
    if answer.parts:
        return _price_of_parts(answer, request, sheet, prices, at)
    if not answer.model or answer.model == request.model:
        return Price(None if sheet is None else _cost(sheet, usage, answer, at), {})
    found = prices.answered(request.model, answer.model, request.provider)
    if found is None:
        return Price(None, {})
    cost = _cost(found, usage, answer, at)
    same = found is sheet or (sheet is not None and _cost(sheet, usage, answer, at) == cost)
    return Price(cost, {} if same else {"answered_by": answer.model})


def _price_of_parts(
    answer: Answer, request: Request, sheet: Sheet | None, prices: PriceBook, at: int
) -> Price:
    """Return the sum of what each model's own part costs; None if there is no price for one."""
    own = prices.answered(request.model, answer.model or request.model, request.provider)
    total = 0 if own is None else answer.searches * own.search
    for model, usage in answer.parts:
        if model in ("", answer.model):
            found = own
        elif model == request.model:
            found = sheet
        else:
            found = prices.sheet(model, request.provider) or own
        if found is None:
            return Price(None, {})
        total += found.cost(usage, at)
    models = dict.fromkeys(model for model, _ in answer.parts if model)
    return Price(total, {"answered_by": ", ".join(models)})


def _cost(sheet: Sheet, usage: Usage, answer: Answer, at: int) -> int:
    return sheet.cost(usage, at) + answer.searches * sheet.search


def _pico(dollars: Decimal | None) -> int | None:
    try:
        return None if dollars is None else to_pico(dollars, what="cost", round_up=True)
    except MoneyError:  # more than an account holds: no cost that could be meant
        return None
