"""`spendtree explain`: how the cost of one call came about, as JSON or on the screen."""

from contextlib import closing
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from spendtree.cli import output
from spendtree.config import load_config
from spendtree.event import Event, Kind
from spendtree.explanation import Explanation, Line
from spendtree.explanation import explain as explain_event
from spendtree.money import to_usd
from spendtree.pricing import PriceBook
from spendtree.store import Store, open_store

ENDS = (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL)
ID_DIGITS = 32
LEAST_DIGITS = 6


def explain(
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL", help="The call's id (call.id), or its beginning or end, six digits up."
        ),
    ],
    store: output.StoreOption = output.DEFAULT_STORE,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", envvar="SPENDTREE_CONFIG", metavar="FILE", help="For your own prices."
        ),
    ] = None,
    as_json: output.JsonOption = False,
) -> None:
    """Show how a call's cost came about.

    What was used, at which price, and from which source. Tiers, fees, the cost that the provider
    states, and what was held beside it are named. A call that lapsed and was corrected later is
    explained as it stands now.
    """
    prices = PriceBook(load_config(config).prices)
    with closing(open_store(store, create=False)) as opened:
        found = explain_event(_find(opened, call.strip().lower(), store), prices)
    if as_json:
        output.write_json(found.to_dict())
    else:
        _show(found)


def _find(store: Store, id: str, url: str) -> Event:
    if len(id) == ID_DIGITS and _is_hexadecimal(id):
        ended = [store.find(bytes.fromhex(id), kind) for kind in ENDS]
        known = [event for event in ended if event is not None]
        if known:
            return known[-1] if known[-1].kind == Kind.ADJUSTMENT else known[0]
        raise output.failure(f"no call {id} in {url}, or it has not ended yet")
    if len(id) < LEAST_DIGITS or not _is_hexadecimal(id):
        raise output.failure(f"{id!r} is not the id of a call: give 32 hexadecimal digits")
    found: dict[bytes, Event] = {}
    for event in store.events(kinds=ENDS):
        digits = event.id.hex()
        if digits.startswith(id) or digits.endswith(id):
            found[event.id] = event  # an adjustment comes after its lapse, and holds
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = "".join(f"\n  {event.id.hex()}" for event in list(found.values())[:10])
        raise output.failure(f"{id!r} is part of the ids of {len(found)} calls in {url}:{names}")
    raise output.failure(f"no call {id!r} in {url}")


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and all(digit in "0123456789abcdef" for digit in text)


def _show(found: Explanation) -> None:
    console = output.console()
    who = " · ".join(part for part in (found.session, found.agent) if part)
    console.print(Text(output.clean(f"{found.id} · {output.moment(found.at)} UTC"), style="bold"))
    if who:
        console.print(Text(output.clean(who)))
    console.print(Text(output.clean(_model(found))))
    if found.source:
        console.print(Text(output.clean(f"Prices: {found.source}"), style="dim"), soft_wrap=True)
    console.print()
    console.print(_table(found))
    for note in found.notes:
        console.print(Text(output.clean(note)), soft_wrap=True)


def _model(found: Explanation) -> str:
    parts = [f"{found.provider} {found.asked}".strip()]
    if found.answered and found.answered != found.asked:
        parts.append(f"answered by {found.answered}")
    parts += [f"served as {name}" for name in found.served]
    return ", ".join(parts)


def _table(found: Explanation) -> Table:
    has_lines = bool(found.lines)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=has_lines, header_style="bold")
    table.add_column("What")
    for name in ("Count", "Price", "Cost"):
        table.add_column(name, justify="right")
    for line in found.lines:
        table.add_row(Text(line.what), f"{line.count:,}", _price(line), _amount(line.cost))
    table.add_row(Text("Cost", style="bold"), "", "", Text(_amount(found.cost), style="bold"))
    return table


def _price(line: Line) -> str:
    if line.price is None:
        return "unknown"
    least = "" if line.is_known else "≥ "
    if "token" in line.what:
        return f"{least}${to_usd(line.price * 10**6).normalize():f}/MTok"
    return f"{least}${to_usd(line.price).normalize():f}"


def _amount(pico: int | None) -> str:
    """Return an exact amount, since the lines must add up; at least its cents."""
    if pico is None:
        return "unknown"
    dollars = to_usd(pico).normalize()
    return f"${dollars:.{max(2, -int(dollars.as_tuple().exponent))}f}"
