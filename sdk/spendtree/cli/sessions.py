"""`spendtree sessions`: the list of sessions with what each cost."""

from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from spendtree.cli import output
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
    with closing(open_store(store, create=False)) as opened:
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
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="dim")
    columns = [column for column in _COLUMNS if wide or column.narrow]
    for column in columns:
        side: JustifyMethod = "right" if column.number else "left"
        table.add_column(column.title, justify=side, no_wrap=True, overflow="ellipsis")
    for row in shown:
        view = _View(row, prefixes[row.session], dollars, wide)
        table.add_row(*(column.cell(view) for column in columns))
    console.print(table)
    _sum_up(console, rows, len(shown))


def _sum_up(console: Console, rows: list[SessionSummary], shown: int) -> None:
    sums = Sums()
    for row in rows:
        sums = sums.plus(row.sums)
    counted = output.plural(len(rows), "session")
    hidden = f" ({shown} shown, --limit 0 shows all)" if shown < len(rows) else ""
    calls = output.plural(sums.calls, "call")
    console.print()
    console.print(f"{counted}{hidden}: ${to_usd(sums.cost):f} in {calls}", markup=False)
    for note in output.caveats(sums):
        console.print(note, style="yellow", markup=False)


class _View(NamedTuple):
    """A row and how the table around it shows things."""

    row: SessionSummary
    prefix: str
    dollars: output.Dollars
    wide: bool


class _Column(NamedTuple):
    title: str
    cell: Callable[[_View], Text]
    number: bool = False
    narrow: bool = True


def _session(view: _View) -> Text:
    if not view.row.session:
        return Text("(no session)", style="dim")
    return Text(output.clean(view.row.session if view.wide else view.prefix))


def _status(view: _View) -> Text:
    status = view.row.status
    return Text(status.replace("_", " "), style=output.STATUS_STYLES.get(status, ""))


_COLUMNS = (
    _Column("Session", _session),
    _Column("Customer", lambda view: Text(output.clean(view.row.customer))),
    _Column("Team", lambda view: Text(output.clean(view.row.team)), narrow=False),
    _Column("Status", _status),
    _Column("Started", lambda view: Text(output.moment(view.row.started, full=view.wide))),
    _Column(
        "Took",
        lambda view: Text(output.duration(view.row.started, view.row.ended)),
        number=True,
        narrow=False,
    ),
    _Column("Calls", lambda view: Text(str(view.row.sums.calls)), number=True),
    _Column("Input", lambda view: Text(output.tokens(view.row.sums.input_tokens)), number=True),
    _Column(
        "Cached",
        lambda view: Text(output.tokens(view.row.sums.cache_read_tokens)),
        number=True,
        narrow=False,
    ),
    _Column("Output", lambda view: Text(output.tokens(view.row.sums.output_tokens)), number=True),
    _Column("Cost", lambda view: Text(view.dollars.text(view.row.sums.cost)), number=True),
)
