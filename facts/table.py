"""From statements to the table: which are dropped, which is held, and whether all agree. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from facts.statements import Statement
from spendtree.pricing.limits import DISPUTED, Identity, Row

HEADER = """\
# Largest outputs of models: seller, model, tokens, sources. Made by `make facts`; not to be edited.
"""

Found = tuple[Identity, int | None]
"""Which model a name means to the price catalogue, and its context window there."""

Find = Callable[[str, str], Found | None]
"""Looks a model (its name, who sells it) up in the price catalogue."""

_Stated = dict[str, dict[str, set[int]]]
"""By name, by source, the tokens that are stated."""


def rows(statements: Iterable[Statement], find: Find) -> dict[tuple[str, str], Row]:
    """Return the rows by seller and model.

    What equals the context window, or exceeds it, is no statement. All names that the catalogue
    has under one entry share a row, the largest; where they differ, a name has one of its own if
    that says more: another number, or one that is not disputed.
    """
    entries: dict[tuple[str, str], _Stated] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(set))
    )
    for statement in statements:
        found = find(statement.model, statement.provider)
        if found is None:
            continue
        identity, window = found
        *names, entry = identity.names
        windows = [each for each in (statement.window, window) if each]
        if all(statement.tokens < each for each in windows):
            entries[identity.seller, entry][names[-1]][statement.source].add(statement.tokens)
    table = {}
    for (seller, entry), stated in entries.items():
        whole = table[seller, entry] = _row(stated.values())
        if whole.disputed:
            for name, sources in stated.items():
                own = _row([sources])
                if not own.disputed or own.tokens != whole.tokens:
                    table[seller, name] = own
    return table


def _row(stated: Iterable[Mapping[str, set[int]]]) -> Row:
    told = [(source, tokens) for each in stated for source, tokens in each.items()]
    values = {number for _, tokens in told for number in tokens}
    sources = "".join(sorted({source for source, _ in told}))
    return Row(max(values), sources, disputed=len(values) > 1)


def text(table: Mapping[tuple[str, str], Row], sources: Mapping[str, str]) -> str:
    """Return the file: its header, a line for each source, the rows in order."""
    told = "".join(f"# {letter} = {source}\n" for letter, source in sorted(sources.items()))
    lines = (
        f"{seller}\t{model}\t{row.tokens}\t{row.sources}{DISPUTED if row.disputed else ''}\n"
        for (seller, model), row in sorted(table.items())
    )
    return HEADER + told + "".join(lines)
