"""Cells: the small pieces that tables of several pages are made of. Text in, escaped HTML out."""

from html import escape
from urllib.parse import quote

from spendtree.money import format_usd, to_usd
from spendtree.tree import Sums, iso

_BADGES = {
    "succeeded": "good",
    "open": "live",
    "failed": "bad",
    "exhausted": "bad",
    "budget_exceeded": "bad",
    "abandoned": "bad",
}


def session_url(session: str) -> str:
    """Return the path of a session's page."""
    return f"/sessions/{quote(session, safe='', errors='replace')}"


def head(*names: str) -> str:
    """Return a table's head; a name that ends with ">" stands at the right."""
    cells = "".join(
        f'<th scope="col"{" class=n" if name.endswith(">") else ""}>{name.removesuffix(">")}</th>'
        for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"


def badge(status: str, count: str = "") -> str:
    """Return a status as a mark, with a count before it."""
    text = status.replace("_", " ")
    return f'<span class="badge {_BADGES.get(status, "")}">{count}{escape(text)}</span>'


def money(sums: Sums) -> str:
    """Return true cost, and what is presumed beside it."""
    presumed = f" + {format_usd(sums.presumed)} presumed" if sums.presumed else ""
    told = f'<span class="soft">{presumed}</span>' if presumed else ""
    return f"{dollars(sums.cost)}{told}"


def dollars(pico: int) -> str:
    """Return an amount for a person; its exact value shows on hovering."""
    return f'<span title="${to_usd(pico):f}">{format_usd(pico)}</span>'


def tokens(sums: Sums) -> int:
    """Return tokens of all kinds."""
    return sums.tokens


def time(at: int | None) -> str:
    """Return microseconds since 1970 UTC to the second, "" for what is not known."""
    told = iso(at)
    return "" if told is None else f"{told[:19].replace('T', ' ')} UTC"


def duration(us: int) -> str:
    """Return microseconds in the unit that suits them."""
    seconds = max(us, 0) / 1e6
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def cut(text: str) -> str:
    """Return as much of a text as a table has room for."""
    return text if len(text) <= 300 else text[:299] + "…"
