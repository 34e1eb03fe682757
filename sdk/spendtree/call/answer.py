"""What a response says of a call: its usage, the model that answered, what it was charged."""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

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
    free: bool = False
    """Nothing is billed for it, whatever the price list says."""

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
        said.free,
    )
