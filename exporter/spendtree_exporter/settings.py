"""Settings: what a configuration means to the exporter, and how two of them differ.

A configuration that is wrong changes nothing. No state is lost by other settings: the fold goes on.
"""

from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from spendtree.config import load_config
from spendtree.config.figures import Figures, configured_figures
from spendtree.config.limits import LIMITS, FoldSettings, fold_settings
from spendtree.metrics import family
from spendtree_exporter.follow import Follower

TIMES = {"linger_seconds": "linger_us", "birth_hold_seconds": "birth_hold_us"}
"""Keys of the section `metrics`, and the settings that they are, in microseconds."""

KEPT = {"kept_customers": "customer", "kept_teams": "team"}
"""Limits that are sets of names, and whose names they are."""

_NAMED_MAX = 5
"""Names that one message tells one by one."""


class Settings(NamedTuple):
    """What the exporter takes from a configuration: for its fold, and to be shown as it is."""

    fold: FoldSettings = FoldSettings()
    figures: Figures = MappingProxyType({})


def read_settings(file: Path | None) -> Settings:
    """Return the settings in a file, the defaults without one. Raises ConfigurationError."""
    config = load_config(file)
    return Settings(fold_settings(config), configured_figures(config))


def put_in_force(settings: Settings, follower: Follower) -> None:
    """Have a follower go on under other settings."""
    limits, linger_us, birth_hold_us = settings.fold
    follower.limit(limits, linger_us=linger_us, birth_hold_us=birth_hold_us)
    follower.configured = {**follower.configured, **settings.figures}


def changes(old: Settings, new: Settings) -> list[str]:
    """Return what is different in the new settings, each as a phrase for the log."""
    return [*_fold_changes(old.fold, new.fold), *_figure_changes(old.figures, new.figures)]


def _fold_changes(old: FoldSettings, new: FoldSettings) -> list[str]:
    found = []
    for key, field in LIMITS.items():
        before, after = getattr(old.limits, field), getattr(new.limits, field)
        if before != after:
            found.append(f"metrics.{key} is {after} (was {before})")
    for key, field in TIMES.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            found.append(f"metrics.{key} is {after / 1e6:g} (was {before / 1e6:g})")
    for field, kind in KEPT.items():
        names, others = getattr(new.limits, field), getattr(old.limits, field)
        found += _named(f"{kind} names always shown", sorted(names - others))
        found += _named(f"{kind} names shown while there is room", sorted(others - names))
    return found


def _figure_changes(old: Figures, new: Figures) -> list[str]:
    found = []
    for name in dict.fromkeys([*old, *new]):
        before, after = dict(old.get(name, ())), dict(new.get(name, ()))
        told = [
            f"{'/'.join(labels)} is {_plain(name, value)}"
            for labels, value in after.items()
            if before.get(labels) != value
        ]
        told += [f"{'/'.join(labels)} is no more" for labels in before if labels not in after]
        found += _named(name, told)
    return found


def _plain(name: str, value: int) -> str:
    return f"{Decimal(value).scaleb(-family(name).decimals).normalize():f}"


def _named(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    told = ", ".join(repr(name) for name in names[:_NAMED_MAX])
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return [f"{what}: {told}{more}"]
