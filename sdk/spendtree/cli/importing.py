"""`spendtree import`: traces that agents left elsewhere, brought into a store."""

import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spendtree.cli import output
from spendtree.config import load_config
from spendtree.ingest import ImportReport, import_files
from spendtree.pricing import PriceBook
from spendtree.store import open_store

STDIN = Path("/dev/stdin")
"""What the file `-` is read from."""


def import_traces(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Trace files, also gzipped; - is stdin.")
    ],
    store: output.StoreOption = output.DEFAULT_STORE,
    customer: Annotated[
        str, typer.Option(metavar="NAME", help="Who is billed, where the traces name nobody.")
    ] = "",
    team: Annotated[
        str, typer.Option(metavar="NAME", help="Who owns the spend, where the traces name nobody.")
    ] = "",
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--history",
            help="Count the spans like live ones, or keep them out of counters and budgets. "
            "Must be said for a store that already has live spans.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "--prices-file",
            envvar="SPENDTREE_CONFIG",
            metavar="FILE.yaml",
            help="Configuration whose `prices:` win over the catalogue.",
        ),
    ] = None,
    as_json: output.JsonOption = False,
) -> None:
    """Bring in traces that agents left in files.

    Reads OTLP JSON (spans and logs) and dumps of OpenTelemetry's SDKs, exports of Langfuse,
    LangSmith, Phoenix, MLflow, Jaeger, LiteLLM and Helicone, transcripts of Claude Code and Codex,
    and more: docs/import.md lists them. Each LLM call counts once, and importing a file again
    changes nothing. What cannot be read is named on stderr, each cause once with file, position
    and count; the rest is imported, and the exit code is 1.
    """
    prices = PriceBook(load_config(config).prices)
    files = [STDIN if str(file) == "-" else file for file in files]
    # A mistyped name must not leave an empty store behind: the report alone needs none on disk.
    place = store if any(map(_readable, files)) else ""
    with closing(open_store(place or "memory:")) as opened:
        report = import_files(
            opened,
            files,
            prices=prices,
            history=None if live is None else not live,
            customer=customer,
            team=team,
        )
    for found in (*report.problems, *report.notes):
        output.warn(str(found))
    if as_json:
        output.write_json(asdict(report))
    else:
        _say(report, place)
    if report.problems or not (report.calls or report.sessions):
        raise typer.Exit(1)


def _readable(file: Path) -> bool:
    return not file.is_dir() and os.access(file, os.R_OK)


def _say(report: ImportReport, place: str) -> None:
    """Say what was read, and the store it is in, "" for none."""
    plural = output.plural
    read = f"{plural(report.files, 'file')}, {plural(report.spans_read, 'span')} read"
    found = ", ".join(
        plural(count, noun)
        for count, noun in (
            (report.sessions, "session"),
            (report.runs, "agent run"),
            (report.calls, "call"),
        )
    )
    marked = [
        f"{count:,} {word}"
        for count, word in (
            (report.failed_calls, "failed"),
            (report.unpriced, "of unknown price"),
            (report.unmetered, "without a usage"),
            (report.undated, "without a time, dated like what is around them"),
        )
        if count
    ]
    typer.echo(f"{read}: {found}" + (f" ({', '.join(marked)})" if marked else ""))
    known = f", {report.duplicates:,} known before" if report.duplicates else ""
    where = f", in {place}" if place else ""
    typer.echo(f"{plural(report.new_events, 'new event')}{known}{where}")
