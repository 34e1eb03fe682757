"""`spendtree tree`: which session is meant, and its cost tree as JSON or on the screen."""

from contextlib import closing
from typing import Annotated

import typer

from spendtree.cli import drawing, output
from spendtree.cli.sessions import read_summaries
from spendtree.event import Event, Kind, derived_id
from spendtree.store import Store, open_store
from spendtree.tree import SessionSummary, build

NAMED = 10
"""Sessions named where none or several were meant."""

NO_SESSION = "unattributed"
"""What to write for the calls that were made outside any session."""


def tree(
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="SESSION",
            help="A session's id or its beginning, as far as it is the only one; "
            f"{NO_SESSION!r} for calls of no session  [default: the latest session]",
        ),
    ] = None,
    store: output.StoreOption = output.DEFAULT_STORE,
    as_json: output.JsonOption = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show each run, also where one agent has many.")
    ] = False,
) -> None:
    """Show who spent what in one session.

    A row per agent run: its task, routing cycle, model, tokens, what it spent itself ("own cost")
    and which share of the session that is; "subtree" adds all that it spawned. Several runs of one
    agent are one row unless --all is given. --json always has every run, with exact amounts.
    """
    with closing(open_store(store, read_only=True)) as opened:
        events = _events(opened, session, store)
    shown = build(events)
    if as_json:
        output.write_json(shown.to_dict())
    else:
        drawing.draw(output.console(), shown, folded=not everything)


def _events(store: Store, session: str | None, url: str) -> list[Event]:
    if session and store.find(derived_id("session", session), Kind.SESSION_OPENED):
        return list(store.events(session=session))
    return list(store.events(session=_meant(read_summaries(store), session, url)))


def _meant(rows: list[SessionSummary], given: str | None, url: str) -> str:
    """Return the one session that is meant, or end the command saying what there is."""
    latest_first = sorted(rows, key=lambda row: row.started or 0, reverse=True)
    names = [row.session for row in latest_first if row.session]
    if given == NO_SESSION and len(names) < len(rows):
        return ""
    if not names:
        raise output.failure(f"no session in {url} yet; `spendtree demo` makes some to look at")
    if given is None or given in names:
        return given or names[0]
    found = [name for name in names if name.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise output.failure(
            f"{given!r} is the beginning of several sessions in {url}:{_listed(found)}"
        )
    raise output.failure(f"no session {given!r} in {url}; the latest are:{_listed(names)}")


def _listed(names: list[str]) -> str:
    lines = [output.clean(name) for name in names[:NAMED]]
    if len(names) > NAMED:
        lines.append(f"and {len(names) - NAMED} more")
    return "".join(f"\n  {line}" for line in lines)
