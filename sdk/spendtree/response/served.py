"""How a call was served, and what it was stated to cost: words and amounts, normalised. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from spendtree.response.fields import Fields, fields_of
from spendtree.response.numbers import dollars

EVERYDAY = frozenset(
    (
        *("", "default", "auto", "standard", "standard_only", "on_demand", "not_available"),
        *("global", "none", "null", "traffic_type_unspecified", "unspecified", "normal"),
        "shared",
    )
)
"""Words for the everyday way of being served, which is what price lists are about."""

SPELLINGS = {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "provisioned_throughput": "provisioned",
    "reserved": "provisioned",
    "dedicated": "provisioned",
    "optimized": "fast",
    "fast_mode": "fast",
    "1": "",
    "2": "provisioned",
    "0": "",
}
"""Other spellings of one word: Vertex AI's `trafficType` (by name and by number), Bedrock's
`serviceTier` and its latency `optimized`."""

PLACES = ("service_tier", "serviceTier", "speed", "trafficType", "traffic_type")
WORD_MAX = 40


def word(value: Any) -> str:
    """Return a modifier as it is compared and shown, "" for the everyday way."""
    if fields := fields_of(value, ("type", "latency")):
        value = fields.get("type") or fields.get("latency")
    value = getattr(value, "value", value)
    if value is None or isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    text = str(value).strip().lower().replace(" ", "_").replace("-", "_")[:WORD_MAX]
    text = text.removeprefix("service_tier_")  # Gemini's enumeration
    text = SPELLINGS.get(text, text)
    return "" if text in EVERYDAY else text


def modifiers(objects: Iterable[Fields], batch: bool) -> tuple[str, ...] | None:
    """Return how a call was served, as its response and its usage say; None if they do not.

    () is the everyday way.
    """
    found: dict[str, None] = {}
    is_stated = batch
    for fields in objects:
        for place in PLACES:
            value = fields.get(place)
            if value is not None:
                is_stated = True
                if text := word(value):
                    found[text] = None
        config = fields.get("performanceConfig")
        if config is not None and (text := word(config)):
            found[text] = None
        region = fields.get("inference_geo")
        if region is not None and (text := word(region)):
            found[f"region:{text}"] = None
    if batch:
        found["batch"] = None
    return tuple(sorted(found)) if is_stated or found else None


COSTS = (
    ("cost", 0),
    ("total_cost", 0),
    ("cost_in_usd_ticks", -10),
    ("estimated_cost", 0),
)
"""Where a usage object states what was charged, and in which power of ten dollars: OpenRouter and
Perplexity (an object with `total_cost`), xAI ("cost tracking"), DeepInfra."""

TOP_COSTS = ("total_cost_usd", "response_cost", "total_cost")
"""Where a result does: the Claude Agent SDK, LiteLLM, OpenRouter's record of a generation."""

_TOTALS = ("total_cost", "total", "request_cost")


def stated_in_usage(usage: Mapping[str, Any]) -> Iterable[Decimal | None]:
    """Yield the dollars that a usage object states, None for a statement that cannot be read."""
    for key, exponent in COSTS:
        value = usage.get(key)
        if value is None:
            continue
        yield _cost(usage, _total_of(value), exponent)


def stated_in_result(fields: Fields) -> Iterable[Decimal | None]:
    """Yield the dollars that a result states beside its usage."""
    for key in TOP_COSTS:
        value = fields.get(key)
        if value is not None:
            yield dollars(_total_of(value))


def _total_of(value: Any) -> Any:
    fields = fields_of(value, _TOTALS)
    if fields is None:
        return value
    return next((fields[key] for key in _TOTALS if fields.get(key) is not None), None)


def _cost(usage: Mapping[str, Any], value: Any, exponent: int) -> Decimal | None:
    cost = dollars(value)
    if cost is None:
        return None
    try:
        cost = cost.scaleb(exponent)
    except ArithmeticError:  # no number of dollars has so many digits
        return None
    if usage.get("is_byok") is not True:
        return cost
    # With a key of one's own the provider behind OpenRouter sends a bill, too.
    details = fields_of(usage.get("cost_details"), ("upstream_inference_cost",)) or {}
    upstream = dollars(details.get("upstream_inference_cost"))
    return None if upstream is None else cost + upstream
