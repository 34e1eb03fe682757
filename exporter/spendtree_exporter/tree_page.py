"""Tree page: one session with its sums, cycles, agents and the tree of its runs.

A function of values; HTML without scripts. Every text from outside (ids, labels, tasks, reasons)
is escaped where it is put in, and links quote what is part of a path.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import quote

from spendtree.money import format_usd, to_pico
from spendtree.tree import GroupNode, Node, SessionTree, fold
from spendtree_exporter.cells import (
    badge,
    cut,
    dollars,
    duration,
    head,
    money,
    session_url,
    time,
    tokens,
)
from spendtree_exporter.layout import bar, navigation, page

ROWS_MAX = 2_000
"""Runs shown of one tree: a browser draws so many at once. The API has them all."""


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
<h1>{escape(name)} {badge(tree.status)}</h1>
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
    titles = head(
        "Agent", "Status", "Cycle>", "Calls>", "Tokens>", "Own cost>", "With what it spawned"
    )
    body = "\n".join(lines)
    return (
        "<h2>Agent runs</h2>"
        f'<div class="scroll"><table>{titles}<tbody>\n{body}\n</tbody></table></div>'
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
        f'<td class="n">{node.own.calls:,}</td><td class="n">{tokens(node.own):,}</td>'
        f'<td class="n">{money(node.own)}</td>'
        f'<td class="cost">{money(node.subtree)}{below}</td>'
        "</tr>"
    )


def _outside_row(tree: SessionTree, whole: int) -> str:
    own = tree.own
    return (
        '<tr><th class="name" scope="row"><span class="soft">outside any agent</span></th>'
        f'<td></td><td></td><td class="n">{own.calls:,}</td><td class="n">{tokens(own):,}</td>'
        f'<td class="n">{money(own)}</td>'
        f'<td class="cost">{money(own)}{bar(own.cost, whole, own.cost)}</td></tr>'
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
    return f'<br><span class="soft">{escape(cut(text))}</span>' if text else ""


def _state(node: Node | GroupNode) -> str:
    if isinstance(node, Node):
        return badge(node.status)
    statuses = {run.status: node.having(run.status) for run in node.runs}
    return " ".join(badge(status, f"{count:,} ") for status, count in statuses.items())


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
    facts += [(f"{totals.calls:,}", "calls"), (f"{tokens(totals):,}", "tokens")]
    counts = {
        "failed calls": totals.failed_calls,
        "denied calls": totals.denied_calls,
        "calls of unknown price": totals.unpriced_calls,
        "calls priced in part": totals.partly_unpriced_calls,
        "calls with unread usage": totals.unread_calls,
    }
    facts += [(f"{count:,}", name) for name, count in counts.items() if count]
    if tree.started is not None and tree.ended is not None:
        facts.append((duration(tree.ended - tree.started), "from start to end"))
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
        f'<td class="cost">{dollars(cost)}{bar(cost, most)}</td></tr>'
        for name, (calls, cost) in lines.items()
    )
    titles = head(title.removesuffix("s"), "Calls>", "Cost")
    return (
        f'<section><h2>{title}</h2><div class="scroll"><table>{titles}<tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def _who(tree: SessionTree) -> str:
    told = [
        f"customer {tree.customer}" if tree.customer else "",
        f"team {tree.team}" * bool(tree.team),
    ]
    told.append(f"started {time(tree.started)}")
    told.append(cut(tree.reason))
    return " · ".join(each for each in told if each)
