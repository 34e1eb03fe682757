"""Reads a response, or the events of its stream, in one walk: usage, model, cost, fees. Pure.

What a key means stands in `aliases`, where things stand in `places`; no provider is known here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from spendtree.errors import UsageError
from spendtree.response.buckets import Built, Facts, bounded, build
from spendtree.response.fees import fees_of
from spendtree.response.fields import Fields
from spendtree.response.guardrails import checked, originals
from spendtree.response.parts import added, lines_of_a_batch, with_parts
from spendtree.response.plain import plain
from spendtree.response.served import modifiers, stated_in_usage
from spendtree.response.statements import bare, bare_facts, is_images, merged
from spendtree.response.unbilled import is_free, is_unanswered
from spendtree.response.walk import Walk
from spendtree.usage import Usage

_RAW = (str, bytes, bytearray, memoryview)
_SEVERAL = (*_RAW, Collection)

NOTHING_UNREAD: Mapping[str, Any] = MappingProxyType({})
"""What is left where all of a usage was understood."""


class Reading(NamedTuple):
    """What a response says of itself."""

    usage: Usage | None
    """None where it states none, or not all of it, or nothing but zeros."""
    model: str = ""
    cost: Decimal | None = None
    """The dollars that it is stated to have cost."""
    parts: Sequence[tuple[str, Usage]] = ()
    """The tokens of each model, where several answered together; fees are in `usage` alone."""
    served: tuple[str, ...] | None = None
    """How it was served (`flex`, `region:us`), () in the everyday way, None if it does not say."""
    unread: Mapping[str, Any] = NOTHING_UNREAD
    floor: Usage | None = None
    """The most that was understood of a usage that is not whole."""
    problem: str = ""
    """Why there is no usage."""
    error: UsageError | None = None
    """Why its counts cannot be."""
    free: bool = False
    """Nothing is billed for it, so that a usage of nothing but zeros is all there is."""


_NOTHING = Built(None, None, {})
NOTHING_USED = Usage(0, 0)
INPUT_MODELS = ("embed", "rerank", "moderation")
"""Parts of the names of models that bill no output."""


def read(response: Any, asked: str = "") -> Reading:
    """Return what a response says of itself. Raises UsageError if its counts cannot be.

    `response` is a parsed body, a client's object, a framework's result, a usage object, the text
    or bytes of a body or a stream, or a collection of a stream's events (parsed, objects) or of its
    pieces (lines, chunks, frames). `asked` is the model that was asked. Counts of a stream are
    cumulative: the largest stated of each is taken, but for Gemini, whose last one holds. A stream
    that was cut off before its last event states no usage. A live stream is not read, since that
    would take its events away.
    """
    everyday = plain(response)
    if everyday is not None:
        usage, model, served, cost = everyday
        return Reading(usage, model, cost, (), served)
    return walked(response, asked)


def walked(response: Any, asked: str = "") -> Reading:
    """Return what a response says, by the walk: the same as `read`, whatever it is."""
    found = Reading(None, problem="states no usage")
    for events in _readings(response):
        walk = Walk()
        for event in events:
            walk.take(event)
        if walk.batch and len(lines := lines_of_a_batch(events)) > 1:
            return _together([read(line, asked) for line in lines])
        found = _reading(walk, events, asked)
        if found.usage is not None:
            return found
    return found


def _together(readings: Sequence[Reading]) -> Reading:
    """Return the sum of several lines of a batch; None if one of them cannot be read."""
    known = [each for each in readings if each.usage is not None]
    if len(known) < len(readings):
        return Reading(None, problem=f"states no usage in {len(readings) - len(known)} lines")
    usages = [each.usage for each in known if each.usage is not None]
    parts = [
        part
        for each, usage in zip(known, usages, strict=True)
        for part in each.parts or [(each.model, usage)]
    ]
    costs = [each.cost for each in known if each.cost is not None]
    return known[0]._replace(
        usage=added(usages),
        parts=parts if len({model for model, _ in parts}) > 1 else (),
        cost=sum(costs[1:], costs[0]) if len(costs) == len(known) else None,
        free=all(each.free for each in known),
        served=tuple(sorted({word for each in known for word in each.served or ()})),
        unread={path: value for each in known for path, value in each.unread.items()},
    )


def usage_of(response: Any) -> Usage | None:
    """Return what a response says it used; None if it does not say all of it.

    Raises UsageError if its counts contradict each other.
    """
    found = read(response)
    if found.error is not None:
        raise found.error
    return found.usage


def model_of(response: Any) -> str:
    """Return the model that a response, or the events of its stream, names; "" if none."""
    return read(response).model


def reported_cost(response: Any) -> Decimal | None:
    """Return the dollars that a response says it cost, None if it does not."""
    return read(response).cost


def _reading(walk: Walk, events: Collection[Any], asked: str) -> Reading:
    model = walk.model
    statements, built = _whole(walk, events, model or asked)
    fees = fees_of(walk.bodies, model or asked) if walk.bodies else {}
    if walk.traces:
        fees |= checked(walk.traces)
        if is_unanswered(walk):
            built = Built(NOTHING_USED, None, {})
    usage = built.usage
    parts: Sequence[tuple[str, Usage]] = ()
    if usage is not None:
        usage, parts = with_parts(usage, walk, statements, model, built.unread)
    if fees:
        usage = usage and _with(usage, fees)
        built = built._replace(floor=built.floor and _with(built.floor, fees))
    free = (usage is None or usage.is_nothing) and is_free(walk, events, model or asked)
    if free:
        usage = NOTHING_USED
    costs = walk.costs + [cost for each in statements for cost in stated_in_usage(each)]
    return Reading(
        usage if free or (usage is not None and not usage.is_nothing) else None,
        model,
        costs[-1] if costs else None,
        parts,
        modifiers([*walk.tiers, *statements], walk.batch),
        bounded(built.unread) if built.unread else NOTHING_UNREAD,
        None if free else built.floor,
        "" if free else _problem(built._replace(usage=usage)),
        built.error,
        free,
    )


def _with(usage: Usage, fees: Mapping[str, int]) -> Usage:
    """Return a usage with fees, each of which it may state itself."""
    units = usage.units
    for name, count in fees.items():
        if count > units.get(name, 0):
            units = {**units, name: count}
    return usage if units is usage.units else replace(usage, units=units)


def _problem(built: Built) -> str:
    if built.error is not None:
        return f"contradicts itself ({built.error})"
    if built.usage is None:
        return "states no usage" if built.floor is None else "does not state all of its usage"
    return "states a usage of nothing but zeros" if built.usage.is_nothing else ""


def _whole(walk: Walk, events: Collection[Any], model: str) -> tuple[list[Fields], Built]:
    """Return the usage objects that state the usage, and what it comes to."""
    facts = Facts(
        input_only=(walk.input_only and not walk.output) or any(w in model for w in INPUT_MODELS),
        makes=walk.makes or ("image" if is_images(events, model) else ""),
        annotated=walk.annotated,
    )
    statements: list[Fields] = []
    best = _NOTHING
    if walk.usages:
        together, statements = merged(walk.usages)
        best = build(together, facts)
    if best.usage is not None and not best.usage.is_nothing:
        return statements, best
    if best.usage is None and walk.traces:
        # A guardrail changed the answer, and may have left out a part of its usage.
        walk.second += [usage for each in originals(walk.traces) if (usage := each.get("usage"))]
    for group in (walk.second, [] if walk.usages else bare(events), walk.metrics):
        if not group:
            continue
        together, more = merged([(each, False, False) for each in group])
        other = build(together, bare_facts(facts, together, walk.output))
        if other.usage is not None and (best.usage is None or not other.usage.is_nothing):
            return [*statements, *more], other
        if best is _NOTHING and group is not walk.second:
            best = Built(None, None, {}, other.error)  # counts at the top may mean anything
    return statements, best


def _readings(response: Any) -> Iterator[Collection[Any]]:
    """Yield what to read: the response itself, then, if it is a collection, its events."""
    if (
        type(response) is dict
        or not isinstance(response, _SEVERAL)
        or isinstance(response, Mapping)
        or hasattr(response, "_fields")
    ):
        yield (response,)
        return
    # Not at the top: most programs record bodies and objects, and never pay for it.
    from spendtree.response.wire import events_of  # noqa: PLC0415

    if not isinstance(response, _RAW):
        yield (response,)
    yield events_of(response)
