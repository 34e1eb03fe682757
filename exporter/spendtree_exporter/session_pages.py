"""Session pages: the list of sessions and the cost tree of one, as functions of values.

HTML without scripts. Every text from outside (ids, labels, tasks, reasons) is escaped where it is
put in, and links quote what is part of a path.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import quote, urlencode

from spendtree.money import format_usd, to_pico, to_usd
from spendtree.tree import GroupNode, Node, SessionSummary, SessionTree, Sums, fold, iso
from spendtree_exporter.layout import bar, navigation, page
from spendtree_exporter.queries import SORTS, STATUSES

ROWS_MAX = 2_000
"""Runs shown of one tree: a browser draws so many at once. The API has them all."""

_BADGES = {
    "succeeded": "good",
    "open": "live",
    "failed": "bad",
    "exhausted": "bad",
    "budget_exceeded": "bad",
    "abandoned": "bad",
}

_SORTED = {"-started": "latest", "started": "earliest", "-cost": "dearest", "cost": "cheapest"}


def session_url(session: str) -> str:
    """Return the path of a session's page."""
    return f"/sessions/{quote(session, safe='', errors='replace')}"


def session_list(
    rows: Sequence[SessionSummary], asked: Mapping[str, str], next: str | None, problem: str = ""
) -> str:
    """Return the page `/sessions`: rows, the filters they were asked for with, a way on.

    `asked` are the query's parameters, `next` the cursor of the next page; `problem` is what is
    wrong with the question.
    """
    most = max((row.sums.cost for row in rows), default=0)
    lines = "\n".join(_session_row(row, most) for row in rows)
    empty = "" if rows else "<p>No session was found.</p>"
    notice = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    head = _head("Session", "Customer", "Team", "Status", "Started", "Calls>", "Tokens>", "Cost")
    table = f'<div class="scroll"><table>{head}<tbody>\n{lines}\n</tbody></table></div>'
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


def session_tree(tree: SessionTree, *, every_run: bool = False) -> str:
    """Return the page of one session: sums, cycles, agents, and the tree of its runs.

    More than three runs of one agent beside each other are one row, unless `every_run`.
    """
    name = tree.session
    api = f"/api/v1/sessions/{quote(name, safe='', errors='replace')}/tree"
    folded = session_url(name) if every_run else f"{session_url(name)}?runs=every"
    links = {"/sessions": "Sessions", api: "JSON"}
    rows = list(_rows(tree, every_run=every_run))
    if every_run or any(isinstance(row.node, GroupNode) for row in rows):
        links[folded] = "Fold runs" if every_run else "Show every run"
    return page(
        name,
        f"""{navigation(links)}
<h1>{escape(name)} {_badge(tree.status)}</h1>
<p>{escape(_who(tree))}</p>
{_facts(tree)}
<div class="pair">{_cycles(tree)}{_agents(tree)}</div>
{_runs(tree, rows)}""",
        wide=True,
    )


def not_found(session: str) -> str:
    """Return the page for an id that nothing is known of."""
    body = f"<h1>No such session</h1><p>{escape(repr(session))} is not known in this store.</p>"
    return page("No such session", f"{navigation({'/sessions': 'Sessions'})}\n{body}")


# The list.


def _session_row(row: SessionSummary, most: int) -> str:
    return (
        f'<tr><th class="id" scope="row">'
        f'<a href="{escape(session_url(row.session))}">{escape(row.session)}</a>{_origin(row)}</th>'
        f'<td class="who">{escape(row.customer)}</td><td class="who">{escape(row.team)}</td>'
        f'<td>{_badge(row.status)}</td><td class="t">{_time(row.started)}</td>'
        f'<td class="n">{row.sums.calls:,}</td><td class="n">{_tokens(row.sums):,}</td>'
        f'<td class="cost">{_money(row.sums)}{bar(row.sums.cost, most)}</td></tr>'
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


# One session.


class _Row(NamedTuple):
    """A row of the tree: a run or several alike, and how deep it stands."""

    node: Node | GroupNode
    depth: int


def _rows(tree: SessionTree, *, every_run: bool) -> Iterator[_Row]:
    """Return the rows of a tree from the top down."""
    above = ROWS_MAX if every_run else 3
    waiting = [_Row(node, 0) for node in reversed(fold(tree.roots, above=above))]
    while waiting:
        row = waiting.pop()
        yield row
        below = reversed(fold(row.node.children, above=above))
        waiting.extend(_Row(node, row.depth + 1) for node in below)


def _runs(tree: SessionTree, rows: Sequence[_Row]) -> str:
    whole = tree.totals.cost
    lines = [_run_row(row, whole) for row in rows[:ROWS_MAX]]
    if tree.own.calls or tree.own.cost:
        lines.append(_outside_row(tree, whole))
    if len(rows) > ROWS_MAX:
        left = len(rows) - ROWS_MAX
        lines.append(
            f'<tr><td colspan="7" class="soft">and {left:,} more; the JSON has all</td></tr>'
        )
    if not lines:
        return "<h2>Agent runs</h2><p>None yet.</p>"
    head = _head(
        "Agent", "Status", "Cycle>", "Calls>", "Tokens>", "Own cost>", "With what it spawned"
    )
    body = "\n".join(lines)
    return (
        "<h2>Agent runs</h2>"
        f'<div class="scroll"><table>{head}<tbody>\n{body}\n</tbody></table></div>'
    )


def _run_row(row: _Row, whole: int) -> str:
    node = row.node
    bad = " class=bad" if _is_bad(node) else ""
    indent = f"padding-left:{0.8 + 1.4 * min(row.depth, 12):.1f}rem"
    below = bar(node.subtree.cost, whole, node.own.cost)
    name = escape(node.agent) or '<span class="soft">no name</span>'
    return (
        f"<tr{bad}>"
        f'<th class="name" scope="row" style="{indent}">'
        f"{name}{_about(node)}</th>"
        f'<td>{_state(node)}</td><td class="n">{node.cycle}</td>'
        f'<td class="n">{node.own.calls:,}</td><td class="n">{_tokens(node.own):,}</td>'
        f'<td class="n">{_money(node.own)}</td>'
        f'<td class="cost">{_money(node.subtree)}{below}</td>'
        "</tr>"
    )


def _outside_row(tree: SessionTree, whole: int) -> str:
    own = tree.own
    return (
        '<tr><th class="name" scope="row"><span class="soft">outside any agent</span></th>'
        f'<td></td><td></td><td class="n">{own.calls:,}</td><td class="n">{_tokens(own):,}</td>'
        f'<td class="n">{_money(own)}</td>'
        f'<td class="cost">{_money(own)}{bar(own.cost, whole, own.cost)}</td></tr>'
    )


def _about(node: Node | GroupNode) -> str:
    """Return what stands below an agent's name: its task, its models, why it failed."""
    if isinstance(node, GroupNode):
        told = [f"{node.count:,} runs"]
    else:
        told = [text for text in (node.task_id, node.task) if text]
    told += [", ".join(model.model or "unknown model" for model in node.models[:3])]
    if isinstance(node, Node) and node.reason:
        told.append(node.reason)
    if node.own.denied_calls:
        told.append(f"{node.own.denied_calls:,} denied")
    text = " · ".join(each for each in told if each)
    return f'<br><span class="soft">{escape(_cut(text))}</span>' if text else ""


def _state(node: Node | GroupNode) -> str:
    if isinstance(node, Node):
        return _badge(node.status)
    statuses = {run.status: node.having(run.status) for run in node.runs}
    return " ".join(_badge(status, f"{count:,} ") for status, count in statuses.items())


def _is_bad(node: Node | GroupNode) -> bool:
    runs = node.runs if isinstance(node, GroupNode) else (node,)
    return any(run.status in ("failed", "exhausted") for run in runs)


def _facts(tree: SessionTree) -> str:
    totals = tree.totals
    facts = [(format_usd(totals.cost), "cost")]
    if tree.ceiling_usd is not None:
        facts.append((format_usd(to_pico(tree.ceiling_usd)), "ceiling"))
    if totals.presumed:
        facts.append((format_usd(totals.presumed), "presumed, not known"))
    facts += [(f"{totals.calls:,}", "calls"), (f"{_tokens(totals):,}", "tokens")]
    counts = {
        "failed calls": totals.failed_calls,
        "denied calls": totals.denied_calls,
        "calls of unknown price": totals.unpriced_calls,
    }
    facts += [(f"{count:,}", name) for name, count in counts.items() if count]
    if tree.started is not None and tree.ended is not None:
        facts.append((_duration(tree.ended - tree.started), "from start to end"))
    cells = "".join(f"<div><b>{escape(v)}</b><span>{escape(k)}</span></div>" for v, k in facts)
    return f'<div class="facts">{cells}</div>'


def _cycles(tree: SessionTree) -> str:
    most = max((each.cost for each in tree.cycles), default=0)
    lines = {f"cycle {each.cycle}": (each.calls, each.cost) for each in tree.cycles}
    return _shares("Routing cycles", lines, most)


def _agents(tree: SessionTree) -> str:
    costs = tree.by_agent()
    calls: dict[str, int] = {"": tree.own.calls}
    for node in tree.nodes():
        calls[node.agent] = calls.get(node.agent, 0) + node.own.calls
    lines = {
        agent or "outside any agent": (calls.get(agent, 0), cost)
        for agent, cost in list(costs.items())[:20]
    }
    return _shares("Agents", lines, max(costs.values(), default=0))


def _shares(title: str, lines: Mapping[str, tuple[int, int]], most: int) -> str:
    if not lines:
        return ""
    rows = "".join(
        f'<tr><th class="name" scope="row">{escape(name)}</th><td class="n">{calls:,}</td>'
        f'<td class="cost">{_dollars(cost)}{bar(cost, most)}</td></tr>'
        for name, (calls, cost) in lines.items()
    )
    head = _head(title.removesuffix("s"), "Calls>", "Cost")
    return (
        f'<section><h2>{title}</h2><div class="scroll"><table>{head}<tbody>{rows}</tbody></table>'
        "</div></section>"
    )


# Small pieces.


def _head(*names: str) -> str:
    """Return a table's head; a name that ends with ">" stands at the right."""
    cells = "".join(
        f'<th scope="col"{" class=n" if name.endswith(">") else ""}>{name.removesuffix(">")}</th>'
        for name in names
    )
    return f"<thead><tr>{cells}</tr></thead>"


def _badge(status: str, count: str = "") -> str:
    text = status.replace("_", " ")
    return f'<span class="badge {_BADGES.get(status, "")}">{count}{escape(text)}</span>'


def _money(sums: Sums) -> str:
    presumed = f" + {format_usd(sums.presumed)} presumed" if sums.presumed else ""
    told = f'<span class="soft">{presumed}</span>' if presumed else ""
    return f"{_dollars(sums.cost)}{told}"


def _dollars(pico: int) -> str:
    return f'<span title="${to_usd(pico):f}">{format_usd(pico)}</span>'


def _tokens(sums: Sums) -> int:
    return sums.input_tokens + sums.output_tokens + sums.cache_read_tokens + sums.cache_write_tokens


def _who(tree: SessionTree) -> str:
    told = [
        f"customer {tree.customer}" if tree.customer else "",
        f"team {tree.team}" * bool(tree.team),
    ]
    told.append(f"started {_time(tree.started)}")
    told.append(_cut(tree.reason))
    return " · ".join(each for each in told if each)


def _time(at: int | None) -> str:
    told = iso(at)
    return "" if told is None else f"{told[:19].replace('T', ' ')} UTC"


def _duration(us: int) -> str:
    seconds = max(us, 0) / 1e6
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
