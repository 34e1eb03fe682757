"""What each model used, where several answered together. Pure.

Anthropic's advisor and fallbacks answer within one message, Claude Code states its models one by
one, OpenAI's tool for images runs a model of its own, Groq's compound systems run several: each has
its own price.
"""

from collections.abc import Collection, MutableMapping, Sequence
from typing import Any

from spendtree.response import places
from spendtree.response.buckets import Facts, build
from spendtree.response.fields import Fields, fields_of, flat
from spendtree.response.walk import Walk
from spendtree.usage import UNITS, Usage

Parts = Sequence[tuple[str, Usage]]

IMAGE_MODEL = "gpt-image-1"
"""What OpenAI's tool for images runs, where nothing says otherwise."""


def with_parts(
    usage: Usage,
    walk: Walk,
    statements: list[Fields],
    model: str,
    unread: MutableMapping[str, Any],
) -> tuple[Usage, Parts]:
    """Return the whole of a usage, and its parts by model if there are several.

    What of them is not understood is put into `unread`.
    """
    if walk.makers:
        made = [(IMAGE_MODEL, each) for each in _made(walk.makers)]
        return added([usage, *(part for _, part in made)]), [(model, _bare(usage)), *made]
    if walk.by_model is not None:
        parts = _by_model(walk.by_model)
        if parts:
            whole = added([part for _, part in parts])
            return whole, [(name, _bare(part)) for name, part in parts] if len(parts) > 1 else ()
    if walk.breakdown is not None:
        return _broken_down(usage, walk.breakdown, model, unread)
    for stated in reversed(statements):
        if "iterations" in stated:
            return _iterated(usage, stated["iterations"], model)
    return usage, ()


def _iterated(usage: Usage, iterations: Any, model: str) -> tuple[Usage, Parts]:
    """Return the sum of each time a model ran: the counts beside them leave some out.

    Not of parts that cannot all be read: half of a bill is none.
    """
    if not isinstance(iterations, (list, tuple)) or not iterations:
        return usage, ()
    known: list[tuple[str, Usage]] = []
    for each in iterations:
        built = build(flat(each), Facts())
        if built.usage is None:
            return usage, ()
        name = (fields_of(each, ("model",)) or {}).get("model")
        known.append((name if isinstance(name, str) else "", built.usage))
    whole = added([part for _, part in known])
    whole = _changed(whole, usage.units, min(usage.reasoning_tokens, whole.output_tokens))
    several = {name for name, _ in known if name} - {model}
    return whole, known if several else ()


def _broken_down(
    usage: Usage, breakdown: Any, model: str, unread: MutableMapping[str, Any]
) -> tuple[Usage, Parts]:
    """Return a usage with the reasoning that only its parts state, and the parts by model.

    Parts that do not add up to the whole are reported instead.
    """
    models = (fields_of(breakdown, ("models",)) or {}).get("models")
    found: dict[str, list[Usage]] = {}
    for each in models if isinstance(models, (list, tuple)) else ():
        fields = fields_of(each, ("model", "usage")) or {}
        built = build(flat(fields.get("usage")), Facts())
        if built.usage is None:
            unread["usage_breakdown"] = "a part without a usage"
            return usage, ()
        found.setdefault(str(fields.get("model") or ""), []).append(_bare(built.usage))
    if not found:
        return usage, ()
    parts = [(name, added(usages)) for name, usages in found.items()]
    whole = added([part for _, part in parts])
    if (whole.total_tokens, whole.output_tokens) != (usage.total_tokens, usage.output_tokens):
        unread["usage_breakdown"] = whole.total_tokens
        return usage, ()
    reasoning = max(usage.reasoning_tokens, whole.reasoning_tokens)
    usage = _changed(usage, usage.units, min(reasoning, usage.output_tokens))
    return usage, parts if found.keys() - {"", model} else ()


def _by_model(stated: Any) -> list[tuple[str, Usage]]:
    models = fields_of(stated) or {}
    parts = []
    for name, usage in models.items():
        built = build(flat(usage), Facts())
        if built.usage is None:
            return []
        if not built.usage.is_nothing:
            parts.append((str(name), built.usage))
    return parts


def _made(makers: Sequence[Fields]) -> list[Usage]:
    built = [build(flat(each), Facts(makes="image")) for each in makers[-1:]]
    return [each.usage for each in built if each.usage is not None]


def added(usages: Sequence[Usage]) -> Usage:
    """Return the sum of some usages."""
    units: dict[str, int] = {}
    for usage in usages:
        for name, count in usage.units.items():
            units[name] = units.get(name, 0) + count
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.cache_read_tokens for usage in usages),
        sum(usage.cache_write_tokens for usage in usages),
        sum(usage.cache_write_1h_tokens for usage in usages),
        sum(usage.reasoning_tokens for usage in usages),
        units,
    )


def _bare(usage: Usage) -> Usage:
    """Return a usage without fees, which are beside all parts."""
    tokens = {name: n for name, n in usage.units.items() if UNITS[name].family == "tokens"}
    return _changed(usage, tokens, usage.reasoning_tokens) if usage.units else usage


def _changed(usage: Usage, units: Any, reasoning: int) -> Usage:
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        reasoning,
        units,
    )


def lines_of_a_batch(events: Collection[Any]) -> list[Any]:
    """Return those events that are lines of a batch, each a call of its own."""
    return [
        event
        for event in events
        if any(key in (fields_of(event, places.BATCHES) or ()) for key in places.BATCHES)
    ]
