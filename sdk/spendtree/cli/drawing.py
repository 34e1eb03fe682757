"""A cost tree drawn on a console: a few lines about the session, then a row per run. No store."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spendtree.cli import output
from spendtree.cli.grid import Column, grid
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
    """How runs ended that did not succeed: in few letters for a narrow screen, or in words."""

    sign: str
    words: str
    style: str


class Line(NamedTuple):
    """One row: the branches before it, who it is, what it spent itself and with all below."""

    indent: str
    name: str
    style: str
    marks: tuple[Mark, ...]
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
    lines = list(_lines(tree, pieces, folded=folded))
    console.print(_table(tree, lines, console.width))
    if console.width < output.WIDE:
        _explain_signs(console, lines)
    for caveat in output.caveats(tree.totals):
        console.print(Text(caveat, style="yellow"), soft_wrap=True)


def _explain_signs(console: Console, lines: list[Line]) -> None:
    seen = {mark.sign[:1] for line in lines for mark in line.marks}
    words = [f"{sign} {status}" for status, sign in _SIGNS.items() if sign in seen]
    if words:
        console.print(Text("  ".join(words), style="dim"))


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
    yield Text(" · ".join(filter(None, (_spent(tree), _calls(tree.totals), _tokens(tree.totals)))))
    if len(tree.cycles) > 1:
        yield Text(_cycles(tree.cycles, tree.totals.cost))


def _spent(tree: SessionTree) -> str:
    spent, presumed = format_usd(tree.totals.cost), tree.totals.presumed
    beside = f", {format_usd(presumed)} presumed" if presumed else ""
    if tree.ceiling_usd is None:
        return spent + beside
    ceiling = int(tree.ceiling_usd.scaleb(12))
    return f"{spent} of {format_usd(ceiling)} ({output.share(tree.totals.cost, ceiling)}){beside}"


def _calls(sums: Sums) -> str:
    odd = [f"{count} {word}" for word, count in _odd(sums).items()]
    return ", ".join([output.plural(sums.calls, "call"), *odd])


def _oddities(sums: Sums) -> list[str]:
    odd = _odd(sums).items()
    return [output.plural(count, f"call {word}", f"calls {word}") for word, count in odd]


def _odd(sums: Sums) -> dict[str, int]:
    counted = {
        "failed": sums.failed_calls,
        "lapsed": sums.lapsed_calls,
        "denied": sums.denied_calls,
        "unpriced": sums.unpriced_calls,
        "priced in part": sums.partly_unpriced_calls,
        "with unread usage": sums.unread_calls,
    }
    return {word: count for word, count in counted.items() if count}


def _tokens(sums: Sums) -> str:
    counted = (
        (sums.input_tokens, "input"),
        (sums.cache_read_tokens, "cached"),
        (sums.cache_write_tokens, "cache writes"),
        (sums.output_tokens, "output"),
        *((count, unit.replace("_", " ")) for unit, count in sorted(sums.units.items())),
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
            marks=(),
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
        marks=(Mark(sign, f"{sign} {node.status}", style),) if sign else (),
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
        marks=marks,
        task=", ".join(dict.fromkeys(run.task or run.task_id for run in group.runs)),
        reason=", ".join(dict.fromkeys(run.reason for run in group.runs if run.reason)),
        cycle=group.cycle,
        models=group.models,
        own=group.own,
        subtree=group.subtree,
    )


_SIGNS = {"failed": "✗", "exhausted": "⊘", "open": "…"}


def _style(status: str) -> str:
    return output.STATUS_STYLES.get(status, "")


def _table(tree: SessionTree, lines: list[Line], width: int) -> Table:
    cost = tree.totals.cost
    dollars = output.Dollars.fitting([cost])
    wide = width >= output.WIDE

    def texts(cell: Callable[[Line], str]) -> list[Text]:
        return [Text(cell(line)) for line in lines]

    def tokens(count: Callable[[Sums], int]) -> list[Text]:
        return [Text(output.tokens(count(line.own))) for line in lines]

    who = (
        (
            Column("Agent", [_agent(line) for line in lines], least=44),
            Column("Task", [_task(line) for line in lines], least=22),
        )
        if wide
        else (Column("Agent, task", [_agent_and_task(line) for line in lines], least=34),)
    )
    columns = (
        *who,
        Column("Cycle", texts(lambda line: str(line.cycle or "")), number=True, spare=3),
        Column("Model", [_model(line) for line in lines], least=17, spare=2),
        Column("Calls", texts(lambda line: str(line.own.calls)), number=True, spare=4),
        *(
            (
                Column("Input", tokens(lambda own: own.all_input_tokens), number=True, spare=5),
                Column("Cached", tokens(lambda own: own.all_cached_tokens), number=True, spare=6),
                Column("Output", tokens(lambda own: own.all_output_tokens), number=True, spare=5),
            )
            if wide
            else (Column("Tokens", tokens(_all_tokens), number=True, spare=1),)
        ),
        Column(
            "Subtree", texts(lambda line: dollars.text(line.subtree.cost)), number=True, spare=7
        ),
        Column("Own cost", texts(lambda line: dollars.text(line.own.cost)), number=True),
        Column("Share", texts(lambda line: output.share(line.own.cost, cost)), number=True),
        Column("", [_bar(line, cost) for line in lines], spare=9),
    )
    return grid(columns, width, gap=2 if wide else 1)


def _agent(line: Line) -> Text:
    text = _name(line)
    for mark in line.marks:
        text.append("  ").append(mark.words, mark.style)
    return text


def _agent_and_task(line: Line) -> Text:
    text = _name(line)
    for mark in line.marks:
        text.append(" ").append(mark.sign, mark.style)
    return text.append(" ").append(output.clean(line.task), "dim")


def _name(line: Line) -> Text:
    indent = line.indent
    if len(indent) > INDENT_MAX:
        indent = "…" + indent[-INDENT_MAX + 1 :]
    return Text().append(indent, "dim").append(output.clean(line.name), line.style)


def _task(line: Line) -> Text:
    """Return what the run was asked to do, after what went wrong with it."""
    parts = [(line.reason, "red"), (", ".join(_oddities(line.own)), "yellow"), (line.task, "dim")]
    shown = [Text(output.clean(text), style) for text, style in parts if text]
    return Text(" · ").join(shown)


def _model(line: Line) -> Text:
    if not line.models:
        return Text("–", style="dim")
    more = f" +{len(line.models) - 1}" if len(line.models) > 1 else ""
    return Text((output.clean(line.models[0].model) or "(unknown)") + more)


def _bar(line: Line, whole: int) -> Text:
    eighths = round(8 * BAR * line.own.cost / whole) if whole > 0 else 0
    full, rest = divmod(max(eighths, 0), 8)
    return Text("█" * full + " ▏▎▍▌▋▊▉"[rest].strip(), style="blue")


def _all_tokens(own: Sums) -> int:
    return own.tokens
