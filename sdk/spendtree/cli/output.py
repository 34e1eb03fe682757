"""How values look on a terminal, and the options that commands share. Formats; decides nothing."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

import typer
from rich.console import Console

from spendtree.money import format_usd, to_usd
from spendtree.store import DEFAULT_URL
from spendtree.tree import Sums, iso

PIPE_WIDTH = 140
"""Columns where nobody looks: a pipe cuts nothing that fits a wide terminal."""

WIDE = 110
"""From this many columns on, tables show everything."""

STATUS_STYLES = {
    "succeeded": "green",
    "open": "cyan",
    "failed": "bold red",
    "budget_exceeded": "bold red",
    "exhausted": "bold yellow",
    "abandoned": "yellow",
    "unattributed": "yellow",
}

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="SPENDTREE_STORE",
        metavar="URL",
        help="Where the spans are: sqlite:///file.db, or sqlite:////full/path.db.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON on stdout, nothing else.")]

DEFAULT_STORE = DEFAULT_URL


def console() -> Console:
    """Return a console for stdout: coloured on a terminal, plain in a pipe or under NO_COLOR."""
    seen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if seen else PIPE_WIDTH, highlight=False, soft_wrap=False)


def write_json(value: Any) -> None:
    """Write a value as indented ASCII JSON, which no terminal and no encoding can break."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def warn(line: str) -> None:
    """Write one line for a person to stderr, out of the way of what is piped."""
    print(clean(line), file=sys.stderr)


def failure(reason: str) -> typer.Exit:
    """Say on stderr why the command cannot be done; to be raised, it ends it with code 1."""
    # Line by line: lists of sessions have lines of their own. What came from outside is cleaned.
    print("\n".join(map(clean, f"spendtree: {reason}".split("\n"))), file=sys.stderr)
    return typer.Exit(1)


def clean(text: str) -> str:
    """Return text from outside with control characters blanked: no escape reaches a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass(frozen=True, slots=True)
class Dollars:
    """Amounts of one column, all with the same number of decimals so that they line up."""

    places: int

    @classmethod
    def fitting(cls, amounts: Iterable[int]) -> "Dollars":
        """Return the decimals that show the largest amount (pico-dollars) in four digits."""
        largest = max((abs(amount) for amount in amounts), default=0)
        return cls(min(max(3 - to_usd(largest).adjusted(), 2), 9) if largest else 2)

    def text(self, pico: int) -> str:
        """Return an amount; what is more than nothing never looks like nothing."""
        least = 10 ** (12 - self.places)
        if 0 < pico * 2 < least:
            return f"<${to_usd(least):f}"
        sign = "-" if pico < 0 else ""
        return f"{sign}${abs(to_usd(pico)):,.{self.places}f}"


def tokens(count: int) -> str:
    """Return a token count in at most five characters, exact below ten thousand."""
    if count < 10_000:
        return str(count)
    for unit in ("k", "M", "G", "T"):
        count_in_unit = count / 1000
        if count_in_unit < 999.5:
            return f"{count_in_unit:.{1 if count_in_unit < 99.95 else 0}f}{unit}"
        count //= 1000
    return f"{count}T"


def size(count: int) -> str:
    """Return a number of bytes, in kB, MB or GB."""
    for limit, unit in ((1e9, "GB"), (1e5, "MB")):
        if count >= limit:
            return f"{count / (1e9 if unit == 'GB' else 1e6):,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"


def usd(pico: int) -> str:
    """Return an amount as programs read it: plain decimal dollars."""
    return f"{to_usd(pico):f}"


def share(part: int, whole: int) -> str:
    """Return a part of the whole in per cent, "" where there is no whole."""
    if whole <= 0:
        return ""
    per_cent = 100 * part / whole
    return "<1%" if 0 < per_cent < 1 else f"{per_cent:.0f}%"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return a count with its noun: 1 call, 2 calls."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def moment(at: int | None, *, full: bool = True) -> str:
    """Return a time (microseconds since 1970) in UTC: to the second, or short to the minute."""
    if iso(at) is None or at is None:
        return "–"
    time = datetime.fromtimestamp(at // 1_000_000, UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}" if full else f"{time:%m-%d %H:%M}"


def duration(started: int | None, ended: int | None) -> str:
    """Return the time between two moments in microseconds, "–" where one is not known."""
    if started is None or ended is None or ended < started:
        return "–"
    seconds = (ended - started) / 1_000_000
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def caveats(sums: Sums) -> list[str]:
    """Return what the cost does not contain, each as a sentence."""
    found = []
    if sums.unpriced_calls:
        calls = plural(sums.unpriced_calls, "call")
        found.append(f"{calls} of unknown price cost extra; add the models under `prices:`")
    if sums.presumed:
        calls = plural(sums.lapsed_calls, "call")
        found.append(f"{format_usd(sums.presumed)} are presumed: {calls} ended without a usage")
    if sums.partly_unpriced_calls:
        calls = plural(sums.partly_unpriced_calls, "call")
        found.append(f"{calls} may have cost more: a part has no price; add it under `prices:`")
    if sums.unread_calls:
        calls = plural(sums.unread_calls, "call")
        found.append(f"{calls} may have cost more: not all of the usage was understood")
    return found


def unique_prefixes(names: Iterable[str], *, least: int = 12) -> dict[str, str]:
    """Return for each name the shortest prefix, of at least `least` letters, that is its alone."""
    ordered = sorted(set(names))
    shared = [0, *(_common(a, b) for a, b in pairwise(ordered)), 0]
    return {
        name: name[: max(least, shared[n] + 1, shared[n + 1] + 1)] for n, name in enumerate(ordered)
    }


def _common(one: str, other: str) -> int:
    """Return how many letters two names share at their beginning."""
    differing = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))
