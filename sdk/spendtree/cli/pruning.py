"""`spendtree prune`: old events become sums, and their space comes back."""

import re
import time
from contextlib import closing
from typing import Annotated, Any

import typer

from spendtree.cli import output
from spendtree.store import open_store
from spendtree.store.protocol import Pruned
from spendtree.tree import iso

UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
"""Seconds by the letter that a duration ends in."""

OLDEST = 100 * 365 * 24 * 3600


def prune(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Hours, days or weeks: 12h, 90d, 26w. An hour is the least.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is to prune.")
    ] = False,
    store: output.StoreOption = output.DEFAULT_STORE,
    as_json: output.JsonOption = False,
) -> None:
    """Roll up what is old, and give its space back.

    Of closed sessions without an event since, and of calls outside any session, only sums stay:
    per run, model and day. Every counter, tree, bill and list of sessions stays as it is; programs
    go on spending meanwhile. What is older can be neither imported nor corrected any more.
    """
    before = time.time_ns() // 1000 - _seconds(older_than) * 1_000_000
    with closing(open_store(store, create=False)) as opened:
        done = opened.prune(before, dry_run=dry_run)
    if as_json:
        output.write_json(_fields(done, before, dry_run))
    else:
        _say(done, before, dry_run, store)


def _seconds(text: str) -> int:
    """Return a duration in seconds; typer.BadParameter for what is none, or too short."""
    match = re.fullmatch(r"(\d{1,9})([a-z])", text.strip().lower())
    unit = UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise typer.BadParameter(
            f"{text!r} is no age like 12h, 90d or 26w", param_hint="--older-than"
        )
    seconds = int(match[1]) * unit
    if not UNITS["h"] <= seconds <= OLDEST:
        raise typer.BadParameter(
            f"{text!r}: give an hour or more, and less than 100 years", param_hint="--older-than"
        )
    return seconds


def _fields(done: Pruned, before: int, dry_run: bool) -> dict[str, Any]:
    fields = {"before": iso(before), "dry_run": dry_run, **done._asdict()}
    stall = fields.pop("longest_stall_us")
    fields["longest_stall_seconds"] = stall / 1e6
    if dry_run:  # not known before it is done
        for name in ("accounts", "freed_bytes", "longest_stall_seconds"):
            fields[name] = None
    return fields


def _say(done: Pruned, before: int, dry_run: bool, store: str) -> None:
    plural = output.plural
    would = "would be " if dry_run else ""
    typer.echo(
        f"{plural(done.events, 'event')} {would}rolled up into {plural(done.rollups, 'sum')}, of "
        f"{plural(done.sessions, 'session')} and calls of none before "
        f"{output.moment(before)} UTC, in {store}"
    )
    if not dry_run:
        typer.echo(
            f"{output.size(done.freed_bytes)} given back; no writer was kept waiting for more than "
            f"{done.longest_stall_us / 1000:.1f} ms"
        )
