"""A cost tree drawn on a console: a few lines about the session, then a row per run. No store."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from spendtree.cli import output
from spendtree.money import format_usd
from spendtree.tree import CycleCost, GroupNode, ModelCost, Node, SessionTree, Sums, fold

INDENT_MAX = 24
"""Columns of branches before a name; deeper ones are cut, so that the name stays visible."""

BAR = 10
"""Columns of a bar that stands for the whole session."""


class Branches(NamedTuple):
    """The pieces that a tree is drawn with."""

    last: str
    other: str
    through: str
    nothing: str


UNICODE = Branches("└─ ", "├─ ", "│  ", "   ")
ASCII = Branches("`- ", "|- ", "|  ", "   ")


class Mark(NamedTuple):
    """What went wrong: in few letters for a narrow screen, in words for a wide one."""

    sign: str
    words: str
    style: str


class Line(NamedTuple):
    """One row: the branches before it, who it is, what it spent itself and with all below."""

    indent: str
    name: str
    style: str
    marks: tuple["Mark", ...]
    task: str
    reason: str
    cycle: int
    models: Sequence[ModelCost]
    own: Sums
    subtree: Sums


def draw(console: Console, tree: SessionTree, *, folded: bool) -> None:
    """Print a session's tree; `folded` shows many runs of one agent as one row."""
    for text in _heading(tree):
        console.print(text, soft_wrap=True)
    console.print()
    pieces = UNICODE if console.encoding.startswith("utf") else ASCII
    console.print(_table(tree, list(_lines(tree, pieces, folded=folded)), console.width))
    for caveat in output.caveats(tree.totals):
        console.print(Text(caveat, style="yellow"), soft_wrap=True)


def _heading(tree: SessionTree) -> Iterator[Text]:
    title = "Session " if tree.session else "Calls outside any session"
    yield Text.assemble(
        (title, "bold"),
        (output.clean(tree.session), "bold"),
        ("  " if tree.session else ""),
        (tree.status.replace("_", " ") if tree.session else "", _style(tree.status)),
    )
    who = [output.clean(name) for name in (tree.customer, tree.team) if name]
    when = [f"{output.moment(tree.started)} UTC", output.duration(tree.started, tree.ended)]
    yield Text(" · ".join(who + [part for part in when if "–" not in part]), style="dim")
    yield Text(" · ".join((_spent(tree), _calls(tree.totals), _tokens(tree.totals))))
    if len(tree.cycles) > 1:
        yield Text(_cycles(tree.cycles, tree.totals.cost))


def _spent(tree: SessionTree) -> str:
    spent = format_usd(tree.totals.cost)
    if tree.ceiling_usd is None:
        return spent
    ceiling = int(tree.ceiling_usd.scaleb(12))
    return f"{spent} of {format_usd(ceiling)} ({output.share(tree.totals.cost, ceiling)})"


def _calls(sums: Sums) -> str:
    return ", ".join([output.plural(sums.calls, "call"), *_oddities(sums)])


def _oddities(sums: Sums) -> list[str]:
    counted = (
        (sums.failed_calls, "failed"),
        (sums.lapsed_calls, "lapsed"),
        (sums.denied_calls, "denied"),
        (sums.unpriced_calls, "unpriced"),
    )
    return [f"{count} {word}" for count, word in counted if count]


def _tokens(sums: Sums) -> str:
    counted = (
        (sums.input_tokens, "input"),
        (sums.cache_read_tokens, "cached"),
        (sums.cache_write_tokens, "cache writes"),
        (sums.output_tokens, "output"),
    )
    return ", ".join(f"{output.tokens(count)} {word}" for count, word in counted if count)


def _cycles(cycles: Sequence[CycleCost], cost: int) -> str:
    each = ", ".join(f"{cycle.cycle} {format_usd(cycle.cost)}" for cycle in cycles)
    first = cycles[0].cost
    return f"Routing cycles: {each}" + (f" (amplification {cost / first:.1f}×)" if first else "")


def _lines(tree: SessionTree, pieces: Branches, *, folded: bool) -> Iterator[Line]:
    if tree.own.calls or tree.own.denied_calls or tree.own.cost:
        yield Line(
            indent=pieces.other if tree.roots else pieces.last,
            name="(outside any agent)",
            style="dim",
            marks=_call_marks(tree.own),
            task="",
            reason="",
            cycle=0,
            models=tree.models,
            own=tree.own,
            subtree=tree.own,
        )
    yield from _below(tree.roots, "", pieces, folded=folded)


def _below(
    siblings: Sequence[Node], indent: str, pieces: Branches, *, folded: bool
) -> Iterator[Line]:
    rows = fold(siblings) if folded else list(siblings)
    for row in rows:
        last = row is rows[-1]
        own_indent = indent + (pieces.last if last else pieces.other)
        yield _group(row, own_indent) if isinstance(row, GroupNode) else _run(row, own_indent)
        below = indent + (pieces.nothing if last else pieces.through)
        yield from _below(row.children, below, pieces, folded=folded)


def _run(node: Node, indent: str) -> Line:
    sign, style = _SIGNS.get(node.status, ""), _style(node.status)
    ended_badly = node.status in ("failed", "exhausted")
    return Line(
        indent=indent,
        name=node.agent or "(no name)",
        style=style if ended_badly else "bold",
        marks=((Mark(sign, f"{sign} {node.status}", style),) if sign else ())
        + _call_marks(node.own),
        task=": ".join(part for part in (node.task_id, node.task) if part),
        reason=node.reason,
        cycle=node.cycle,
        models=node.models,
        own=node.own,
        subtree=node.subtree,
    )


def _group(group: GroupNode, indent: str) -> Line:
    """Return the row of many runs; those that ended badly stay visible as counts."""
    counts = [(status, group.having(status)) for status in _SIGNS]
    marks = tuple(
        Mark(f"{_SIGNS[status]}{count}", f"{_SIGNS[status]} {count} {status}", _style(status))
        for status, count in counts
        if count
    )
    return Line(
        indent=indent,
        name=f"{group.agent or '(no name)'} ×{group.count}",
        style="bold",
        marks=marks + _call_marks(group.own),
        task=", ".join(dict.fromkeys(run.task or run.task_id for run in group.runs)),
        reason=", ".join(dict.fromkeys(run.reason for run in group.runs if run.reason)),
        cycle=group.cycle,
        models=group.models,
        own=group.own,
        subtree=group.subtree,
    )


_SIGNS = {"failed": "✗", "exhausted": "⊘", "open": "…"}


def _call_marks(sums: Sums) -> tuple[Mark, ...]:
    counted = (
        (sums.failed_calls, "call failed", "calls failed"),
        (sums.lapsed_calls, "call lapsed", "calls lapsed"),
        (sums.denied_calls, "call denied", "calls denied"),
    )
    return tuple(
        Mark("", output.plural(count, one, many), "yellow") for count, one, many in counted if count
    )


def _style(status: str) -> str:
    return output.STATUS_STYLES.get(status, "")


class _View(NamedTuple):
    """A row and how the table around it shows things."""

    line: Line
    dollars: output.Dollars
    session_cost: int


class _Column(NamedTuple):
    """A column: its cell, whether it is a number, on which screens, whether it gives way."""

    title: str
    cell: Callable[[_View], Text | str]
    number: bool = True
    narrow: bool = True
    wide: bool = True
    gives_way: bool = False
    most: int | None = None


def _table(tree: SessionTree, lines: list[Line], width: int) -> Table:
    wide = width >= output.WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="dim")
    columns = [column for column in _COLUMNS if (column.wide if wide else column.narrow)]
    for column in columns:
        side: JustifyMethod = "right" if column.number else "left"
        rigid = not column.gives_way
        table.add_column(column.title, justify=side, no_wrap=rigid, max_width=column.most)
    dollars = output.Dollars.fitting([tree.totals.cost])
    for line in lines:
        view = _View(line, dollars, tree.totals.cost)
        table.add_row(*(column.cell(view) for column in columns))
    return table


def _agent(view: _View) -> Text:
    text = _name(view.line)
    for mark in view.line.marks:
        text.append("  ").append(mark.words, mark.style)
    return text


def _agent_and_task(view: _View) -> Text:
    text = _name(view.line)
    for mark in view.line.marks:
        if mark.sign:
            text.append(" ").append(mark.sign, mark.style)
    return text.append(" ").append(output.clean(view.line.task), "dim")


def _name(line: Line) -> Text:
    indent = line.indent
    if len(indent) > INDENT_MAX:
        indent = "…" + indent[-INDENT_MAX + 1 :]
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(indent, "dim").append(output.clean(line.name), line.style)


def _task(view: _View) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if view.line.reason:
        text.append(output.clean(view.line.reason), "red")
        text.append(" · " if view.line.task else "", "dim")
    return text.append(output.clean(view.line.task), "dim")


def _model(view: _View) -> Text:
    models = view.line.models
    if not models:
        return Text("–", style="dim")
    more = f" +{len(models) - 1}" if len(models) > 1 else ""
    name = output.clean(models[0].model) or "(unknown)"
    return Text(name + more, no_wrap=True, overflow="ellipsis")


def _bar(view: _View) -> Text:
    whole = view.session_cost
    eighths = round(8 * BAR * view.line.own.cost / whole) if whole > 0 else 0
    full, rest = divmod(max(eighths, 0), 8)
    return Text("█" * full + " ▏▎▍▌▋▊▉"[rest].strip(), style="blue")


def _all_tokens(view: _View) -> str:
    own = view.line.own
    return output.tokens(
        own.input_tokens + own.cache_read_tokens + own.cache_write_tokens + own.output_tokens
    )


_COLUMNS = (
    _Column("Agent", _agent, number=False, narrow=False, most=48),
    _Column("Agent, task", _agent_and_task, number=False, wide=False, gives_way=True),
    _Column("Task", _task, number=False, narrow=False, gives_way=True),
    _Column("Cycle", lambda view: str(view.line.cycle or "")),
    _Column("Model", _model, number=False, most=20),
    _Column("Calls", lambda view: str(view.line.own.calls), narrow=False),
    _Column("Input", lambda view: output.tokens(view.line.own.input_tokens), narrow=False),
    _Column("Cached", lambda view: output.tokens(view.line.own.cache_read_tokens), narrow=False),
    _Column("Output", lambda view: output.tokens(view.line.own.output_tokens), narrow=False),
    _Column("Tokens", _all_tokens, wide=False),
    _Column("Subtree", lambda view: view.dollars.text(view.line.subtree.cost), narrow=False),
    _Column("Own cost", lambda view: view.dollars.text(view.line.own.cost)),
    _Column("Share", lambda view: output.share(view.line.own.cost, view.session_cost)),
    _Column("", _bar, number=False, narrow=False),
)
