"""What stands around a store: its exporter, the price list, the configuration."""

import time
from collections.abc import Sequence
from pathlib import Path

from spendtree.cli import output
from spendtree.cli.budgets import disagreements
from spendtree.cli.doctor.finding import Section
from spendtree.config import Config, locate_config
from spendtree.config.review import default_limit, held_window, review
from spendtree.config.thresholds import THRESHOLDS
from spendtree.errors import ConfigurationError
from spendtree.pricing import PriceBook
from spendtree.store.health import Called, Health
from spendtree.tree import iso

DAY_SECONDS = 86_400

MODELS_SHOWN = 5


def exporter(store: str) -> Section:
    """Look whether an exporter writes for the store."""
    # Of the extra's package it needs the one module that has no library of the extra.
    from spendtree_exporter.lock import holder  # noqa: PLC0415

    section = Section(name="exporter", title="Exporter")
    process = holder(store)
    section.facts = {"writer": process}
    if process is None:
        section.note(
            "no exporter is running on this store",
            f"spendtree-exporter --store {store}, if you want metrics; it also closes what was "
            "abandoned",
        )
    else:
        section.ok(f"the exporter of {process} closes what was abandoned")
    return section


def prices(file: Path | None, health: Health | None) -> Section:
    """Look at the price list's age, and at models whose calls hold their whole context window."""
    section = Section(name="prices", title="Prices")
    _age(section)
    _limits(section, _readable(file), () if health is None else health.called)
    return section


def _age(section: Section) -> None:
    timestamp = PriceBook().catalogue_timestamp
    section.facts = {"timestamp": None, "age_days": None}
    if timestamp is None:
        section.note("nobody knows how old the price list is", "pip install -U genai-prices")
        return
    age = max(time.time() - timestamp, 0)
    days = int(age // DAY_SECONDS)
    section.facts = {"timestamp": iso(timestamp * 1_000_000), "age_days": days}
    date = output.moment(timestamp * 1_000_000)[:10]
    text = f"the price list is of {date}, {output.plural(days, 'day')} old"
    if age > THRESHOLDS["price_catalogue_age_seconds"].default:
        section.warn(text, "pip install -U genai-prices")
    else:
        section.ok(text)


def _limits(section: Section, config: Config, called: Sequence[Called]) -> None:
    """Name the models that were called and hold their whole window where no limit is given."""
    windows = {} if default_limit(config) is not None else _windows(config, called)
    section.facts["held_at_window"] = [
        {"provider": each.provider, "model": each.model, "context_window": window}
        for each, window in windows.items()
    ]
    if windows:
        told = [f"{each.model} ({window:,} tokens)" for each, window in windows.items()]
        more = len(told) - MODELS_SHOWN
        names = ", ".join(told[:MODELS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        section.note(
            f"held at the whole context window where a call names no output limit: {names}",
            "give max_output_tokens in the request, session.max_output_tokens, or "
            "prices.NAME.max_output_tokens",
        )


def configuration(file: Path | None, health: Health | None = None) -> Section:
    """Look at the configuration, as `spendtree check` does, and at the budgets that stand."""
    section = Section(name="configuration", title="Configuration")
    section.facts = {"file": None if file is None else str(file), "warnings": []}
    if file is None:
        section.note("none: the defaults hold", "give --config, or set SPENDTREE_CONFIG")
        return section
    try:
        config, place = locate_config(file)
    except (ConfigurationError, OSError) as error:
        section.fail(str(error), "mend the line that it names")
        return section
    remarks = [place.below(remark.path).tell(remark.text) for remark in review(config)]
    section.facts["warnings"] = remarks
    section.ok(f"{file} is valid, mode {config.mode}")
    for remark in remarks:
        section.warn(remark, f"see `spendtree check {file}`")
    outvoted = (
        [] if health is None else disagreements(config, health.budgets, time.time_ns() // 1000)
    )
    section.facts["outvoted"] = outvoted
    for text in outvoted:
        section.warn(text, f"raise `version` in {file} if its amount is the one to hold")
    return section


def _windows(config: Config, called: Sequence[Called]) -> dict[Called, int]:
    book = PriceBook(config.prices)
    found = {each: held_window(book, each.model, each.provider) for each in called}
    return {each: window for each, window in found.items() if window is not None}


def _readable(file: Path | None) -> Config:
    """Return the configuration, the defaults where it cannot be read: `configuration` says so."""
    try:
        return Config() if file is None else locate_config(file)[0]
    except (ConfigurationError, OSError):
        return Config()
