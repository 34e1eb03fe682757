"""How many runs of one agent become one row. Pure; which rows a screen shows is decided there."""

from collections import defaultdict
from collections.abc import Sequence

from spendtree.tree.values import GroupNode, Node, Sums, models_of, with_children


def fold(siblings: Sequence[Node], *, above: int = 3) -> list[Node | GroupNode]:
    """Return siblings with more than `above` runs of one agent and cycle as one GroupNode.

    A group stands where its first run stood; its children are the children of all its runs, to be
    folded in their turn.
    """
    alike: dict[tuple[str, int], list[Node]] = defaultdict(list)
    for node in siblings:
        alike[node.agent, node.cycle].append(node)
    rows: list[Node | GroupNode] = []
    for node in siblings:
        runs = alike[node.agent, node.cycle]
        if len(runs) <= above:
            rows.append(node)
        elif node is runs[0]:
            rows.append(_group(runs))
    return rows


def _group(runs: list[Node]) -> GroupNode:
    models: dict[str, list[int]] = {}
    for run in runs:
        for model, calls, cost in run.models:
            calls_and_cost = models.setdefault(model, [0, 0])
            calls_and_cost[0] += calls
            calls_and_cost[1] += cost
    own = Sums()
    for run in runs:
        own = own.plus(run.own)
    children = tuple(child for run in runs for child in run.children)
    first = runs[0]
    return GroupNode(
        agent=first.agent,
        level=first.level,
        cycle=first.cycle,
        runs=tuple(runs),
        own=own,
        subtree=with_children(own, children),
        models=models_of(models),
        children=children,
    )
