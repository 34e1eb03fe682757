"""Colours: what each means, on every dashboard, in light and dark. Names of Grafana's palette.

What is named here has its own colour. Names that users chose (customers, agents, models) get theirs
in the order of the alphabet, in which Prometheus answers: so graphs of the same agents agree. Bars
are labelled anyway and have one colour, since their order is another one. (Grafana's palette by
name would be stricter, but draws every third name in a yellow that is not seen on white.)
"""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    MatcherConfig,
    Threshold,
    ThresholdsMode,
)

GOOD, NEAR, OVER = "green", "orange", "red"
QUIET = "text"
"""Of figures that are neither good nor bad."""

SPENT, PRESUMED, HELD, FREE, LIMIT, PROJECTED = (
    "blue",
    "orange",
    "light-blue",
    "green",
    "red",
    "purple",
)

MEANT: Mapping[str, str] = {
    "spent": SPENT,
    "presumed": PRESUMED,
    "held": HELD,
    "free": FREE,
    "limit": LIMIT,
    "projected": PROJECTED,
    # How things end.
    "succeeded": GOOD,
    "ok": GOOD,
    "failed": OVER,
    "exhausted": NEAR,
    "budget_exceeded": NEAR,
    "abandoned": "semi-dark-purple",
    "lapsed": "purple",
    "unmetered": "yellow",
    "busy": "blue",
    "unknown_price": "purple",
    "store": OVER,
    # Tokens.
    "input": "blue",
    "cache_read": "green",
    "cache_write": "yellow",
    "output": "purple",
    # Who in the tree.
    "coordinator": "purple",
    "worker": "blue",
}
"""Colours of names that are ours. Series are called by these names."""

CYCLES: Sequence[str] = ("blue", "orange", "red")
"""Of the first, the second and every later routing cycle."""


def by_alphabet() -> FieldColor:
    """Return the colours of names that users chose."""
    return FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)


def fixed(colour: str) -> FieldColor:
    """Return one colour for all of a panel."""
    return FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)


def by_threshold() -> FieldColor:
    """Return the colour of the threshold that a value has passed."""
    return FieldColor().mode(FieldColorModeId.THRESHOLDS)


def steps(near: float | None = None, over: float | None = None) -> ThresholdsConfig:
    """Return good, near and over; a level that is None is not there."""
    found = [Threshold(value=None, color=GOOD)]
    if near is not None:
        found.append(Threshold(value=near, color=NEAR))
    if over is not None:
        found.append(Threshold(value=over, color=OVER))
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def falling(over: float, near: float) -> ThresholdsConfig:
    """Return steps for what is good when it is high."""
    found = [
        Threshold(value=None, color=OVER),
        Threshold(value=over, color=NEAR),
        Threshold(value=near, color=GOOD),
    ]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def meant(*names: str) -> list[tuple[MatcherConfig, list[DynamicConfigValue]]]:
    """Return overrides that give series of these names the colours that they have everywhere."""
    return [(named(name), [colour(MEANT[name])]) for name in names]


def cycles() -> list[tuple[MatcherConfig, list[DynamicConfigValue]]]:
    """Return overrides for series called `cycle 1`, `cycle 2` and so on."""
    first, second, later = CYCLES
    patterns = {"/^cycle 1$/": first, "/^cycle 2$/": second, "/^cycle ([3-9]|10\\+)$/": later}
    return [(like(pattern), [colour(chosen)]) for pattern, chosen in patterns.items()]


def named(name: str) -> MatcherConfig:
    """Return the matcher of one field."""
    return MatcherConfig(id_val="byName", options=name)


def like(pattern: str) -> MatcherConfig:
    """Return the matcher of fields by a regular expression."""
    return MatcherConfig(id_val="byRegexp", options=pattern)


def colour(chosen: str) -> DynamicConfigValue:
    """Return the property that gives a field one colour."""
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": chosen})
