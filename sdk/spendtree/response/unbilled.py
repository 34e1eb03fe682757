"""Responses that nothing is billed for, of the few kinds that are known to be free. Pure.

A usage of zeros says nothing by itself: free is only what is listed here.
"""

from collections.abc import Collection
from typing import Any

from spendtree.response.fields import Fields, fields_of
from spendtree.response.guardrails import is_blocked
from spendtree.response.numbers import number
from spendtree.response.walk import Walk

POLICIES = ("contentPolicyUnits", "topicPolicyUnits", "wordPolicyUnits")
"""What the usage of Bedrock's ApplyGuardrail always states."""

_VERDICT = ("flagged", "categories", "category_scores")


def is_unanswered(walk: Walk) -> bool:
    """Return whether a guardrail blocked the prompt, so that no model ran."""
    return bool(walk.traces) and is_blocked(walk.traces) and not any(map(_has_counts, walk.metrics))


def is_free(walk: Walk, events: Collection[Any], model: str) -> bool:
    """Return whether a response without counts is one that nothing is billed for.

    That is a guardrail that only had to do what is free, and OpenAI's moderation.
    """
    if walk.usages:
        stated = [fields_of(usage, POLICIES) or {} for usage, _, _ in walk.usages]
        if any(all(key in usage for key in POLICIES) for usage in stated):
            return True
    elif "moderation" in model and any(map(is_moderation, events)):
        return True
    return is_unanswered(walk)


def is_moderation(event: Any) -> bool:
    """Return whether a body is one of OpenAI's endpoint for moderations.

    It states no usage: each result says whether it was flagged, and for what.
    """
    fields = fields_of(event, ("results", "usage")) or {}
    results = fields.get("results")
    if fields.get("usage") is not None or not isinstance(results, (list, tuple)) or not results:
        return False
    verdicts = [fields_of(each, _VERDICT) or {} for each in results]
    return all(each.get(key) is not None for each in verdicts for key in _VERDICT)


def _has_counts(metrics: Fields) -> bool:
    return any(number(value) for value in metrics.values())
