"""`spendtree sessions`: the list of sessions with what each cost."""

from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from spendtree.cli import output
from spendtree.cli.grid import Column, grid
from spendtree.event import Kind
from spendtree.money import to_usd
from spendtree.store import Store, open_store
from spendtree.tree import SessionSummary, Sums, summaries

TABLE_ROWS = 50
"""Rows of a table unless --limit says otherwise; JSON has all, so that it adds up."""


class Order(StrEnum):
    """What the list is sorted by, greatest first."""

    started = "started"
    cost = "cost"


def sessions(
    store: output.StoreOption = output.DEFAULT_STORE,
    as_json: output.JsonOption = False,
    customer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only sessions of this customer.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help=f"At most N rows, 0 is all  [default: {TABLE_ROWS}, JSON all]"
        ),
    ] = None,
    sort: Annotated[Order, typer.Option(help="Newest or dearest first.")] = Order.started,
) -> None:
    """List the sessions of a store and what each cost.

    Calls made outside any session are one row of status "unattributed", so the rows add up to
    everything that was recorded. A table shows the newest 50 sessions, --json shows all.
    """
    with closing(open_store(store, read_only=True)) as opened:
        rows = read_summaries(opened)
    found = [row for row in rows if customer is None or row.customer == customer]
    found.sort(key=_SORT_KEYS[sort], reverse=True)
    if as_json:
        output.write_json([row.to_dict() for row in found[: limit or None]])
    elif not found:
        _say_nothing_found(store, customer, rows)
    else:
        _show(found, found[: TABLE_ROWS if limit is None else limit or None])


def read_summaries(store: Store) -> list[SessionSummary]:
    """Return a row for each session of a store."""
    session_events = store.events(kinds=(Kind.SESSION_OPENED, Kind.SESSION_CLOSED))
    return summaries(store.totals(), session_events)


_SORT_KEYS = {
    Order.started: lambda row: (row.started or 0, row.session),
    Order.cost: lambda row: (row.sums.cost, row.started or 0, row.session),
}


def _say_nothing_found(store: str, customer: str | None, rows: list[SessionSummary]) -> None:
    if customer is not None and rows:
        names = ", ".join(sorted({row.customer for row in rows if row.customer})) or "none"
        output.warn(f"no session of customer {customer!r} in {store}; customers are: {names}")
    else:
        output.warn(f"no session in {store} yet; `spendtree demo` makes some to look at")


def _show(rows: list[SessionSummary], shown: list[SessionSummary]) -> None:
    console = output.console()
    wide = console.width >= output.WIDE
    prefixes = output.unique_prefixes(row.session for row in rows)
    dollars = output.Dollars.fitting(row.sums.cost for row in shown)

    def texts(cell: Callable[[SessionSummary], str]) -> list[Text]:
        return [Text(output.clean(cell(row))) for row in shown]

    def tokens(count: Callable[[Sums], int]) -> list[Text]:
        return [Text(output.tokens(count(row.sums))) for row in shown]

    def session(row: SessionSummary) -> str:
        return (row.session if wide else prefixes[row.session]) or "(no session)"

    columns = (
        Column("Session", texts(session), least=12),
        Column("Customer", texts(lambda row: row.customer), least=8, spare=1),
        Column("Team", texts(lambda row: row.team), least=8, spare=8),
        Column("Status", [_status(row) for row in shown]),
        Column("Started", texts(lambda row: output.moment(row.started, full=wide)), spare=2),
        Column("Took", texts(_took), number=True, spare=9),
        Column("Calls", texts(lambda row: str(row.sums.calls)), number=True, spare=5),
        Column("Input", tokens(lambda sums: sums.all_input_tokens), number=True, spare=4),
        Column("Cached", tokens(lambda sums: sums.all_cached_tokens), number=True, spare=7),
        Column("Output", tokens(lambda sums: sums.all_output_tokens), number=True, spare=3),
        Column("Cost", texts(lambda row: dollars.text(row.sums.cost)), number=True),
    )
    console.print(grid(columns, console.width, gap=2 if wide else 1))
    _sum_up(console, rows, len(shown))


def _status(row: SessionSummary) -> Text:
    return Text(row.status.replace("_", " "), style=output.STATUS_STYLES.get(row.status, ""))


def _took(row: SessionSummary) -> str:
    return output.duration(row.started, row.ended)


def _sum_up(console: Console, rows: list[SessionSummary], shown: int) -> None:
    sums = Sums()
    for row in rows:
        sums = sums.plus(row.sums)
    counted = output.plural(sum(bool(row.session) for row in rows), "session")
    hidden = f" ({shown} shown, --limit 0 shows all)" if shown < len(rows) else ""
    calls = output.plural(sums.calls, "call")
    console.print()
    console.print(Text(f"{counted}{hidden}: ${to_usd(sums.cost):f} in {calls}"), soft_wrap=True)
    for caveat in output.caveats(sums):
        console.print(Text(caveat, style="yellow"), soft_wrap=True)
