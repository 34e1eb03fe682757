"""The command line put together: commands, `--version`, and errors as one line; no command here."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import spendtree
from spendtree.cli import (
    backup,
    checking,
    demo,
    explain,
    importing,
    output,
    pruning,
    rules,
    sessions,
    tree,
)
from spendtree.cli.doctor import doctor
from spendtree.errors import SpendtreeError

EPILOG = "The store is --store, else SPENDTREE_STORE, else sqlite:///spendtree.db here."


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name and return its exit code."""
    _open_closed()
    _replace_unprintable()
    command = typer.main.get_command(create_app())
    given = None if arguments is None else list(arguments)
    try:
        command.main(args=given, prog_name="spendtree")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (SpendtreeError, OSError) as error:
        output.warn(f"spendtree: {error}")
        return 1
    return 0


def create_app() -> typer.Typer:
    """Return the application with all its commands."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_spendtree)
    app.command("demo")(demo.demo)
    app.command("import")(importing.import_traces)
    app.command("sessions")(sessions.sessions)
    app.command("tree")(tree.tree)
    app.command("explain")(explain.explain)
    app.command("check")(checking.check)
    app.command("doctor")(doctor)
    app.command("prune")(pruning.prune)
    app.command("backup")(backup.backup)
    app.command("rules")(rules.rules)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        print(f"spendtree {spendtree.__version__}")
        raise typer.Exit


def _spendtree(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which version."),
    ] = False,
) -> None:
    """Who spends what in a multi-agent LLM system: read it from a store, or bring traces in."""


def _open_closed() -> None:
    """Let what goes to a closed stream (`>&-`) be lost: the command does its work without it."""
    # Before anything else is opened, which would be given the free number of the stream.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _replace_unprintable() -> None:
    """Let a terminal without Unicode show `?` instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
