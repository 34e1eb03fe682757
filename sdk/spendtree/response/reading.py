"""Walks the table of shapes over a response or over the events of its stream. Knows no provider."""

import functools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from spendtree.response.shapes import (
    COST_PLACES,
    COSTS,
    MODEL_PATHS,
    PARTED,
    PARTS_PLACE,
    SEARCHES,
    SHAPES,
    Shape,
)
from spendtree.usage import TOKENS_MAX, Usage

_Counts = dict[str, int]

DIGITS_MAX = 20
"""Of a count that is a text: far more than any, and far less than Python refuses to convert."""

_RAW = (str, bytes, bytearray, memoryview)
_SEVERAL = (*_RAW, Collection)


def usage_of(response: Any) -> Usage | None:
    """Return what a response says it used, in tokens; None if it does not say all of it.

    `response` is a parsed body, a client's object, the text or bytes of either a body or a stream,
    or a collection of a stream's events (parsed, objects) or of its pieces (lines, chunks, frames).
    Counts of a stream are cumulative, so the last stated of each is taken, and one that was cut off
    before its last event states none. A live stream is not read, since that would take its events
    away. Raises UsageError if the counts contradict each other.
    """
    for events in _readings(response):
        said = _Statements(events)
        for shape in SHAPES:
            counts = _counts(said, shape)
            if not counts.keys().isdisjoint(shape.marker):
                return _summed(said, shape, counts)
    return None


def view_of(response: Any) -> Any:
    """Return a client's object as a dictionary of its fields, its usage to the bottom.

    For who asks several questions of one response: dictionaries answer five times as fast.
    """
    view = _fields(response)
    if view is not response:
        view["usage"] = _deep(view.get("usage"))
    return view


def _deep(thing: Any) -> Any:
    view = _fields(thing)
    if view is not thing:
        for key, value in view.items():
            if value is not None and type(value) is not int:
                view[key] = _deep(value)
    return view


def _fields(thing: Any) -> Any:
    try:
        fields, more = thing.__dict__, thing.__pydantic_extra__
    except AttributeError:
        return thing
    return {**fields, **more} if more else {**fields}


def model_of(response: Any) -> str:
    """Return the model that a response, or the events of its stream, names; "" if it names none."""
    for events in _readings(response):
        for path in MODEL_PATHS:
            for event in events:
                model = _find(event, path)
                if isinstance(model, str) and model:
                    return model
    return ""


def reported_cost(response: Any) -> Decimal | None:
    """Return the dollars that a response says it cost (OpenRouter, xAI), None if it does not.

    With a key of one's own the provider behind OpenRouter sends a bill, too: both are added, and
    the cost is not known where that one is not told.
    """
    stated: list[Decimal | None] = []
    for events in _readings(response):
        said = _Statements(events)
        usages = [usage for place in COST_PLACES for usage in said.at(place)]
        stated += [
            _cost(usage, key, exponent)
            for usage in usages
            for key, exponent in COSTS
            if _find(usage, key) is not None
        ]
    return stated[-1] if stated else None


def searches_of(response: Any) -> int:
    """Return how many web searches a response says the provider made and charges for; 0 if none.

    They are beside the tokens, each at a price of its own. Counts of a stream are cumulative.
    """
    searches = 0
    for events in _readings(response):
        for event in events:
            usage = _find(event, "usage")
            if usage is None:
                continue
            for path in SEARCHES:
                count = _number(_find(usage, path))
                if count is not None and 0 <= count <= TOKENS_MAX:
                    searches = count
    return searches


def parts_of(response: Any) -> list[tuple[str, Usage]]:
    """Return the model and the usage of each time a model ran, where several models did.

    Anthropic's advisor and its fallbacks answer within one message, each at its own price. Empty
    where one model did it all, and where not all parts can be read.
    """
    for events in _readings(response):
        lists = [parts for event in events if (parts := _find(event, PARTS_PLACE)) is not None]
        parts = lists[-1] if lists else None
        if not isinstance(parts, (list, tuple)):
            continue
        models = [_find(part, "model") for part in parts]
        names = {model for model in models if isinstance(model, str) and model}
        usages = [_usage(PARTED, _stated(part, PARTED)) for part in parts]
        if names - {model_of(response)} and None not in usages:
            return [
                (model if isinstance(model, str) else "", usage)
                for model, usage in zip(models, usages, strict=True)
                if usage is not None
            ]
    return []


def _cost(usage: Any, key: str, exponent: int) -> Decimal | None:
    cost = _dollars(_find(usage, key))
    if cost is None:
        return None
    try:
        cost = cost.scaleb(exponent)
    except ArithmeticError:  # no number of dollars has so many digits
        return None
    if _find(usage, "is_byok") is not True:
        return cost
    upstream = _dollars(_find(usage, "cost_details.upstream_inference_cost"))
    return None if upstream is None else cost + upstream


def _dollars(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and dollars >= 0 else None


class _Statements:
    """The usage objects of some events, by the place where they stand; each looked up once."""

    def __init__(self, events: Collection[Any]) -> None:
        self._events = events
        self._at: dict[str, list[Any]] = {}

    def at(self, place: str) -> list[Any]:
        usages = self._at.get(place)
        if usages is None:
            usages = self._at[place] = []
            for event in self._events:
                usage = _find(event, place)
                if usage is not None:
                    usages.append(usage)
        return usages


def _readings(response: Any) -> Iterator[Collection[Any]]:
    """Yield what to read: the response itself, then, if it is a collection, its events."""
    if (
        type(response) is dict
        or not isinstance(response, _SEVERAL)
        or isinstance(response, Mapping)
    ):
        yield (response,)
        return
    # Not at the top: most programs record bodies and objects, and never pay for it.
    from spendtree.response.wire import events_of  # noqa: PLC0415

    if not isinstance(response, _RAW):
        yield (response,)
    yield events_of(response)


def _counts(said: _Statements, shape: Shape) -> _Counts:
    """Return what is stated in a shape, of each bucket the last that is."""
    counts: _Counts = {}
    for place in shape.places:
        for usage in said.at(place):
            counts |= _stated(usage, shape)
        if place == shape.opening:
            counts.pop("output", None)
    return counts


def _stated(usage: Any, shape: Shape) -> _Counts:
    counts: _Counts = {}
    is_dict = type(usage) is dict
    for bucket, paths in _PATHS[shape.name]:
        for path, head in paths:
            if is_dict:  # most paths lead nowhere, most others to an integer at once
                tokens = usage.get(head)
                if tokens is None:
                    continue
                if head != path or type(tokens) is not int:
                    tokens = _count(usage, path)
            else:
                tokens = _count(usage, path)
            if tokens is not None:
                counts[bucket] = tokens
                break
    return counts


_PATHS = {
    shape.name: [
        (bucket, [(path, re.split(r"[.[]", path)[0]) for path in paths])
        for bucket, paths in shape.counts.items()
    ]
    for shape in SHAPES
}
"""By the shape's name: for each bucket its paths, each with the key that it begins with."""


def _summed(said: _Statements, shape: Shape, counts: _Counts) -> Usage | None:
    """Return the usage, from its parts if it states them: the counts beside them leave some out.

    Not from parts that cannot all be read: half of a bill is none.
    """
    usage = _usage(shape, counts)
    if usage is None or not shape.parts:
        return usage
    lists = [_find(stated, shape.parts) for stated in said.at(shape.places[-1])]
    parts = lists[-1] if lists else None
    if not isinstance(parts, (list, tuple)):
        return usage
    usages = [_usage(shape, _stated(part, shape)) for part in parts]
    known = [part for part in usages if part is not None]
    return _total(known, usage.reasoning_tokens) if known and len(known) == len(parts) else usage


def _total(known: Sequence[Usage], reasoning: int) -> Usage:
    outputs = sum(usage.output_tokens for usage in known)
    return Usage(
        sum(usage.input_tokens for usage in known),
        outputs,
        sum(usage.cache_read_tokens for usage in known),
        sum(usage.cache_write_tokens for usage in known),
        sum(usage.cache_write_1h_tokens for usage in known),
        min(reasoning, outputs),
    )


def _usage(shape: Shape, counts: _Counts) -> Usage | None:
    """Return the disjoint buckets; None if input or output is neither stated nor follows."""
    inputs = counts.get("input", 0 if shape.omits_zero_input else None)
    if inputs is None:
        return None
    inputs += counts.get("tool_input", 0)
    read, written = counts.get("cache_read", 0), counts.get("cache_write", 0)
    written_1h = counts.get("cache_write_1h", 0)
    if shape.inclusive:
        if read + written > inputs:
            # OpenRouter counts what was read as written too, for a model that stores it again.
            written = max(written - read, 0)
        inputs -= read + written
    reasoning = counts.get("reasoning", 0)
    outputs = _outputs(shape, counts, inputs + read + written)
    if outputs is None:
        return None
    return Usage(
        inputs,
        outputs,
        read,
        max(written - written_1h, 0),
        written_1h,
        # Some count more reasoning than output (MiniMax: 11 of 10); output is what is billed.
        min(reasoning, outputs),
    )


def _outputs(shape: Shape, counts: _Counts, inputs: int) -> int | None:
    """Return the output: as stated, or what the stated total leaves for it if that is more.

    It is more where reasoning is billed but counted in the total only (xAI, Gemini's chat
    completions), and all there is where a provider leaves a zero out.
    """
    stated = counts.get("output")
    if stated is not None and shape.reasoning_beside:
        stated += counts.get("reasoning", 0)
    if "total" not in counts:
        return stated
    rest = counts["total"] - inputs
    return rest if stated is None else max(stated, rest)


def _count(usage: Any, path: str) -> int | None:
    if "[" not in path:
        return _number(_find(usage, path))
    before, _, rest = path.partition("[")
    condition, _, after = rest.partition("]")
    key, _, wanted = condition.partition("=")
    items = _find(usage, before)
    if not isinstance(items, (list, tuple)):
        return None
    chosen = [item for item in items if not key or _find(item, key) == wanted]
    counts = [_number(_find(item, after.removeprefix("."))) for item in chosen]
    known = [tokens for tokens in counts if tokens is not None]
    return sum(known) if known else None


def _number(value: Any) -> int | None:
    """Return a count: an integer, also as text (headers) or as a float (Titan, Cohere's client)."""
    if type(value) is int:
        return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    is_count = isinstance(value, str) and value.isascii() and value.isdigit()
    return int(value) if is_count and len(value) <= DIGITS_MAX else None


def _find(thing: Any, path: str) -> Any:
    for key in _keys(path):
        if type(thing) is dict or isinstance(thing, Mapping):
            thing = thing.get(key)
        else:
            thing = _attribute(thing, key)
        if thing is None:
            return None
    return thing


def _attribute(thing: Any, key: str) -> Any:
    """Return an attribute, None if it is not there.

    A client's object is asked for its fields: asking pydantic for one that is not there makes an
    error each time, and most of what is looked for is not there.
    """
    try:
        fields, more = thing.__dict__, thing.__pydantic_extra__
    except AttributeError:
        return getattr(thing, key, None)
    value = fields.get(key)
    return value if value is not None or more is None else more.get(key)


@functools.cache
def _keys(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()
