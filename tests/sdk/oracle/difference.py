"""One difference between the oracle and Spendtree, and the reasons that several have."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Verdict = Literal["wrong", "safe", "named", "lists", "data"]
"""* wrong: Spendtree says less, or something else, than the documentation does
* safe: Spendtree charges or presumes more, never less
* named: Spendtree says that it does not know, and the call is unpriced
* lists: the price lists disagree, and no page of the provider could be had
* data: the recording contradicts itself (it was edited, or the provider's counts overlap)"""


class Difference(NamedTuple):
    """What differs of one recording for one reason."""

    file: str
    aspects: Mapping[str, tuple[str, str]]
    """What the oracle says and what Spendtree says, by aspect."""
    verdict: Verdict
    why: str


RETIRED = "the price list has no longer a price for a retired model; the call is unpriced"
PARTIAL = (
    "the response states output and thoughts but no prompt: it is presumed to have cost its hold, "
    "which is never less"
)
