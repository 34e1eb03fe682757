"""`spendtree check`: what a configuration comes to, and what in it is likely not meant."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from spendtree.cli import output
from spendtree.cli.budgets import disagreements
from spendtree.config import locate_config
from spendtree.config.describing import describe
from spendtree.config.review import review
from spendtree.store.health import examine
from spendtree.store.sqlite import read_url

ONE_LINE = 56
"""Characters of a group that is drawn on one line instead of one for each of its keys."""


def check(
    file: Annotated[
        Path,
        typer.Argument(
            envvar="SPENDTREE_CONFIG", metavar="FILE", help="The configuration, spendtree.yaml."
        ),
    ],
    store: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Also compare its budgets with those that stand in this store."
        ),
    ] = "",
    as_json: output.JsonOption = False,
) -> None:
    """Check a configuration and show its settings.

    Defaults and what is inherited are shown too. What is allowed but likely not meant is a
    warning; so is, with --store, a budget of which the amount of another configuration holds. The
    exit code is 1 if the file is invalid, with the line that is wrong on stderr.
    """
    config, place = locate_config(file)
    settings = describe(config)
    remarks = [(place.below(remark.path), remark.text) for remark in review(config)]
    remarks.sort(key=lambda remark: remark[0].line)
    warnings = [spot.tell(text) for spot, text in remarks]
    if store:
        budgets = examine(read_url(store)[0]).budgets
        warnings += disagreements(config, budgets, time.time_ns() // 1000)
    if as_json:
        output.write_json({"settings": settings, "warnings": warnings})
    else:
        _show(str(file), settings, warnings)


def _show(file: str, settings: dict[str, Any], warnings: list[str]) -> None:
    console = output.console()
    tree = Tree(Text(output.clean(file), style="bold"), guide_style="dim")
    _grow(tree, settings)
    console.print(tree)
    if warnings:
        console.print()
    for warning in warnings:
        console.print(Text(f"warning: {output.clean(warning)}", style="yellow"), soft_wrap=True)


def _grow(tree: Tree, settings: dict[str, Any]) -> None:
    """Add a branch for each setting; small groups are one line, empty ones are left out."""
    for key, value in settings.items():
        name = output.clean(key)
        line = _line(value)
        if not isinstance(value, dict) or 0 < len(line) <= ONE_LINE:
            tree.add(Text.assemble((name, "cyan"), ": ", output.clean(line) or "none"))
        elif _says_something(value):
            _grow(tree.add(Text(name, style="cyan")), value)


def _says_something(value: Any) -> bool:
    """Tell whether a setting is more than groups that hold nothing."""
    return any(map(_says_something, value.values())) if isinstance(value, dict) else True


def _line(value: Any) -> str:
    """Return a setting on one line, "" for a group of more than plain values."""
    if isinstance(value, dict):
        if any(isinstance(each, (dict, list)) for each in value.values()):
            return ""
        return ", ".join(f"{key} {_line(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_item, value))
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def _item(value: Any) -> str:
    """Return an item of a list: a step that says something about itself has it in brackets.

    So has a tier of a price, which is a mapping of several keys.
    """
    if not isinstance(value, dict):
        return str(value)
    if len(value) > 1:
        return f"({_line(value)})"
    ((name, options),) = value.items()
    return f"{name} ({_line(options)})"
