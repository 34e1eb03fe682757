"""Readers of what only one section has: policies, output contracts, own prices, metric limits.

Tables where there is one; the general readers are in `readers`.
"""

from collections.abc import Mapping
from typing import Any, get_args

from spendtree.config.place import Place
from spendtree.config.readers import (
    Reader,
    count,
    dollars,
    mapping,
    number,
    one_of,
    seconds,
    section,
    text,
    tokens,
)
from spendtree.config.settings import (
    AlertSettings,
    ContractMode,
    ContractSettings,
    MetricsSettings,
    PlanSettings,
)
from spendtree.config.steps import ENDS, STEP_NAMES, Step, StepName
from spendtree.config.thresholds import THRESHOLDS
from spendtree.errors import ConfigurationError
from spendtree.pricing import PriceBook

STEPS: dict[StepName, dict[str, Reader]] = {
    "wait": {"seconds": seconds},
    "clamp": {"floor": tokens},
    "fallback": {"model": text("the name of a model"), "provider": text("the name of a provider")},
    "reallocate": {},
    "skip": {},
    "refuse": {},
}
"""What each step may say about itself."""

NEEDED: dict[str, str] = {"fallback": "model"}
"""What a step cannot do without."""

OUTPUT_TOKENS: dict[str, Reader] = {"min": count("tokens", 0), "max": tokens}

CONTRACT: dict[str, Reader] = {
    "output_tokens": section(OUTPUT_TOKENS),
    "mode": one_of(get_args(ContractMode)),
}

METRICS: dict[str, Reader] = {
    "max_series": count("series", 1),
    "max_session_series": count("series", 0),
    "max_customers": count("names", 0),
    "max_teams": count("names", 0),
    "max_agents": count("names", 0),
    "max_providers": count("names", 0),
    "max_models": count("names", 0),
    "linger_seconds": seconds,
    "birth_hold_seconds": seconds,
}


PLAN: dict[str, Reader] = {"price_usd": dollars}

ALERTS: dict[str, Reader] = {"thresholds": section(dict.fromkeys(THRESHOLDS, number))}


def steps(place: Place, value: Any) -> tuple[Step, ...]:
    """Read a policy: a list of steps, of which only the last may end the trying."""
    if not isinstance(value, (list, tuple)):
        hint = f"; for one step write [{value}]" if value in STEP_NAMES else ""
        raise place.error(f"{value!r} is no list of steps{hint}")
    if not value:
        raise place.error(f"has no step; give at least one of {', '.join(STEP_NAMES)}")
    found = tuple(_step(place.at(index), each) for index, each in enumerate(value))
    for index, step in enumerate(found[:-1]):
        if step.name in ENDS:
            raise place.at(index + 1).error(
                f"nothing may follow {step.name!r}, which ends the policy; put it last"
            )
    return found


def policy(place: Place, value: Any) -> str | tuple[Step, ...]:
    """Read the name of a policy, or its steps. If the name is one, `loading` checks."""
    return value if isinstance(value, str) else steps(place, value)


def _step(place: Place, value: Any) -> Step:
    """Read a bare word, or a mapping of one word to what is said about it."""
    allowed = f"a step is one of {', '.join(STEP_NAMES)}, alone or as `word: {{key: value}}`"
    entries = {value: None} if isinstance(value, str) else value
    if not isinstance(entries, Mapping) or len(entries) != 1:
        raise place.error(f"{value!r} is no step; {allowed}")
    ((name, options),) = entries.items()
    if name not in STEPS:
        raise place.error(f"{name!r} is no step; {allowed}")
    spot = place.at(name) if isinstance(value, Mapping) else place
    if options and not STEPS[name]:
        raise spot.error(f"{options!r} is too much; {name!r} stands alone")
    given = section(STEPS[name])(spot, options)
    needed = NEEDED.get(name)
    if needed and needed not in given:
        raise spot.error(f"{name!r} needs a {needed}: write `{name}: {{{needed}: NAME}}`")
    return Step(name, **given)


def contract(place: Place, value: Any) -> ContractSettings:
    """Read how long a delivered result may be, and what happens to one that is not."""
    given = section(CONTRACT)(place, value)
    bounds = given.get("output_tokens", {})
    least, most = bounds.get("min"), bounds.get("max")
    if least is not None and most is not None and least > most:
        raise place.at("output_tokens").error(f"min {least} is more than max {most}")
    mode = given.get("mode", "record")
    if mode == "truncate" and most is None:
        raise place.at("mode").error("'truncate' needs output_tokens.max, to know where to cut")
    return ContractSettings(min_output_tokens=least, max_output_tokens=most, mode=mode)


def metrics(place: Place, value: Any) -> MetricsSettings:
    """Read the limits of the metrics, which must fit each other."""
    found: MetricsSettings = section(METRICS, MetricsSettings)(place, value)
    if found.max_session_series > found.max_series:
        raise place.error(
            f"max_session_series {found.max_session_series} is more than "
            f"max_series {found.max_series}, of which it is a part"
        )
    return found


def plan(place: Place, value: Any) -> PlanSettings:
    """Read what a plan costs."""
    given = section(PLAN)(place, value)
    if "price_usd" not in given:
        raise place.error("a plan needs its price_usd, the dollars a month that a customer pays")
    return PlanSettings(**given)


_DIGITS_MAX = 1000

alerts = section(ALERTS, AlertSettings)


def prices(place: Place, value: Any) -> dict[str, dict[str, Any]]:
    """Read own prices: model -> what PriceBook takes, which it checks."""
    found = {}
    for model, entry in mapping(place, value, "of models").items():
        spot = place.at(model)
        found[model] = mapping(spot, entry, "of prices")
        _check_digits(spot, found[model])
        try:
            PriceBook({model: entry})
        except ConfigurationError as error:
            raise _price_error(spot, str(error)) from None
    return found


def _check_digits(model: Place, price: Mapping[str, Any]) -> None:
    """Refuse counts of more digits than Python turns into a number, which the book would do."""
    for key in ("context_window", "max_output_tokens", "above"):
        value = price.get(key)
        if isinstance(value, str) and len(value) > _DIGITS_MAX:
            raise model.at(key).error(f"{value!r} is no token count; it is {len(value)} long")
    for key, value in price.items():
        inner = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, each in inner:
            if isinstance(each, Mapping):
                spot = model.at(key)
                _check_digits(spot if index is None else spot.at(index), each)


def _price_error(model: Place, text: str) -> ConfigurationError:
    """Say where the price book's complaint stands: it knows the key, the file knows the line."""
    key, _, problem = text.removeprefix(f"prices.{model.path[-1]}").partition(": ")
    spot = model
    for part in key.split(".")[1:]:
        spot = spot.at(int(part) if part.isdecimal() else part)
    return spot.error(problem)
