"""`spendtree backup`: a whole copy of a store, while everything runs."""

from pathlib import Path
from typing import Annotated

import typer

from spendtree.cli import output
from spendtree.errors import StoreError
from spendtree.store.backup import back_up
from spendtree.store.sqlite import read_url


def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to make.")],
    store: output.StoreOption = output.DEFAULT_STORE,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that stands there.")
    ] = False,
    as_json: output.JsonOption = False,
) -> None:
    """Copy a store as it is now, while programs go on spending.

    The copy is checked, and appears under its name only when it is whole. Copying the file by other
    means is no backup: it lacks what is still in the log. To restore, end every process that uses
    the store, move its three files away (spend.db, -wal, -shm), and put the copy in their place.
    """
    if not store.startswith("sqlite:///"):
        raise StoreError(f"store {store!r}: only a file can be backed up, sqlite:///file.db")
    done = back_up(read_url(store)[0], str(target), force=force)
    if as_json:
        output.write_json({"target": str(target), **done._asdict()})
        return
    holds = f", {output.plural(done.open_holds, 'open hold')}" if done.open_holds else ""
    typer.echo(
        f"{output.plural(done.events, 'event')}{holds} of store {done.id} copied to {target} "
        f"({output.size(done.size_bytes)}), and found sound"
    )
