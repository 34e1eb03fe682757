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


GUARDRAIL = (
    "Amazon Bedrock pricing, Guardrails: content filters and denied topics cost $0.15, sensitive "
    "information and contextual grounding $0.10 per 1,000 text units; the trace states the units "
    "(GuardrailUsage), and they are neither counted nor marked"
)
BLOCKED = (
    "How Amazon Bedrock Guardrails works: 'If a guardrail blocks the input prompt, you're charged "
    "for the guardrail evaluation. There are no charges for foundation model inference calls'; the "
    "tokens are charged, the evaluation is not"
)
ANSWERED = (
    "the response names x-ai/grok-4, which the log does not: what answered is lost where it has no "
    "price, or where the provider states the cost"
)
RETIRED = "the price list has no longer a price for a retired model; the call is unpriced"
PARTIAL = (
    "the response states output and thoughts but no prompt: it is presumed to have cost its hold, "
    "which is never less"
)
COMPOUND = (
    "Groq, Compound, Pricing: each use of a built-in tool costs a fee; `executed_tools` lists "
    "them, and they are not counted (the call is unpriced all the same)"
)
