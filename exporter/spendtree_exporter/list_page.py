"""List page: sessions with their sums, filters and a way to the next ones, as a function of values.

HTML without scripts. Every text from outside (ids, labels) is escaped where it is put in.
"""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import urlencode

from spendtree.tree import SessionSummary
from spendtree_exporter.cells import badge, head, money, session_url, time, tokens
from spendtree_exporter.layout import bar, navigation, page
from spendtree_exporter.queries import SORTS, STATUSES

_SORTED = {"-started": "latest", "started": "earliest", "-cost": "dearest", "cost": "cheapest"}


def session_list(
    rows: Sequence[SessionSummary], asked: Mapping[str, str], next: str | None, problem: str = ""
) -> str:
    """Return the page `/sessions`: rows, the filters they were asked for with, a way on.

    `asked` are the query's parameters, `next` the cursor of the next page; `problem` is what is
    wrong with the question.
    """
    most = max((row.sums.cost for row in rows), default=0)
    lines = "\n".join(_session_row(row, most) for row in rows)
    empty = "" if problem else "<p>No session was found.</p>"
    notice = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    titles = head("Session", "Customer", "Team", "Status", "Started", "Calls>", "Tokens>", "Cost")
    table = f'<div class="scroll"><table>{titles}<tbody>\n{lines}\n</tbody></table></div>'
    return page(
        "Sessions",
        f"""{navigation({"/": "Exporter"})}
<h1>Sessions</h1>
<p>Each is one user request; its cost is that of all calls made for it.</p>
{_filters(asked)}
{notice}{table if rows else empty}
{_onwards(asked, next)}""",
        wide=True,
    )


def _session_row(row: SessionSummary, most: int) -> str:
    return (
        f'<tr><th class="id" scope="row">'
        f'<a href="{escape(session_url(row.session))}">{escape(row.session)}</a>{_origin(row)}</th>'
        f'<td class="who">{escape(row.customer)}</td><td class="who">{escape(row.team)}</td>'
        f'<td>{badge(row.status)}</td><td class="t">{time(row.started)}</td>'
        f'<td class="n">{row.sums.calls:,}</td><td class="n">{tokens(row.sums):,}</td>'
        f'<td class="cost">{money(row.sums)}{bar(row.sums.cost, most)}</td></tr>'
    )


def _origin(row: SessionSummary) -> str:
    return f' <span class="soft">{escape(row.origin)}</span>' if row.origin else ""


def _filters(asked: Mapping[str, str]) -> str:
    fields = [
        f'<label>{name.title()}<input name="{name}" value="{escape(asked.get(name, ""))}"></label>'
        for name in ("customer", "team", "agent")
    ]
    every = {"": "any", **{status: status.replace("_", " ") for status in STATUSES}}
    fields.append(_select("status", every, asked.get("status", "")))
    orders = {sort: f"{_SORTED[sort]} first" for sort in SORTS}
    fields.append(_select("sort", orders, asked.get("sort", "")))
    times = "".join(
        f'<input type="hidden" name="{name}" value="{escape(asked[name])}">'
        for name in ("from", "to", "limit")
        if asked.get(name)
    )
    inner = "".join([*fields, times, "<button>Show</button>"])
    return f'<form action="/sessions" role="search">{inner}</form>'


def _select(name: str, options: Mapping[str, str], chosen: str) -> str:
    lines = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{text}</option>'
        for value, text in options.items()
    )
    return f'<label>{name.title()}<select name="{name}">{lines}</select></label>'


def _onwards(asked: Mapping[str, str], next: str | None) -> str:
    links = {}
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    if asked.get("after"):
        links[f"/sessions?{urlencode(kept)}"] = "First page"
    if next:
        links[f"/sessions?{urlencode({**kept, 'after': next})}"] = "Next page"
    return f"<br>{navigation(links)}" if links else ""
