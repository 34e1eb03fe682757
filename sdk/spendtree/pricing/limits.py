"""Output limits of models: the most tokens that one answer can have, as the table beside this says.

Facts only, of other projects (NOTICE names them); `make facts` writes the table. `book` imports
this module, and the table is read, when a call is first made that names no output limit.

A row's model is one name of a model, or with "*" behind it an entry of the price catalogue and so
every name that is found there. Tokens are the largest that any source states. "~" behind the
sources says that they, or the names of an entry, state different numbers. Where they do not, the
limit is sent to the provider, too, so that the bound is real. What a source states is left out
where it is the context window or more, since it says nothing then.
"""

from typing import Literal, NamedTuple

TABLE = "largest_outputs.tsv"

DISPUTED = "~"

MAKERS = frozenset({"openai", "anthropic"})
"""Sellers whose models nobody else runs under the same names.

A client of an unknown base URL may talk to a server of its own, where a model of open weights has
whatever limit its operator gave it; only names of these tell enough to send a limit there.
"""


class Row(NamedTuple):
    """The most output tokens of a model, the letters of the sources, and whether they differ."""

    tokens: int
    sources: str
    disputed: bool


class Identity(NamedTuple):
    """Which model a name means: its seller, and the names to look for, the narrowest first.

    `is_told` says that the seller was named; else it was recognised by the model's name.
    """

    seller: str
    names: tuple[str, ...]
    is_told: bool


Kind = Literal["request", "agent", "session", "prices", "table", "window"]


class OutputLimit(NamedTuple):
    """The most output tokens of a call (of each choice), and where that comes from.

    `source` tells a person, `kind` the code. `is_sent` says that a provider can be given it as the
    call's limit, where the request names none.
    """

    tokens: int
    kind: Kind
    source: str
    is_sent: bool = True


class LimitTable:
    """The rows by seller and model, and where they come from."""

    def __init__(self, text: str) -> None:
        self.sources: dict[str, str] = {}
        """By letter, what a source is: "LiteLLM 1.110.2 of 2026-12-01"."""
        self.rows: dict[tuple[str, str], Row] = {}
        for line in text.splitlines():
            if line.startswith("# "):
                letter, _, source = line[2:].partition(" = ")
                if source:
                    self.sources[letter] = source
            elif line:
                seller, model, tokens, sources = line.split("\t")
                letters = sources.removesuffix(DISPUTED)
                self.rows[seller, model] = Row(int(tokens), letters, letters != sources)

    def find(self, identity: Identity) -> OutputLimit | None:
        """Return a model's limit; None if no source knows it."""
        for name in identity.names:
            row = self.rows.get((identity.seller, name))
            if row is not None:
                is_sent = not row.disputed and (identity.is_told or identity.seller in MAKERS)
                return OutputLimit(row.tokens, "table", self._source(row.sources), is_sent)
        return None

    def _source(self, letters: str) -> str:
        told = (self.sources.get(letter, letter).partition(" in ")[0] for letter in letters)
        return f"the largest output by {' and '.join(told)}"


def load_table() -> LimitTable:
    """Read the table that the package has."""
    import pkgutil  # noqa: PLC0415 - most programs never need it

    data = pkgutil.get_data("spendtree.pricing", TABLE)
    return LimitTable("" if data is None else data.decode("utf-8"))


def names_of(model: str, short: str, entry: str) -> tuple[str, ...]:
    """Return the names to look for: as it was given, without its prefix, and its entry."""
    return tuple(dict.fromkeys((model.lower(), short.lower(), f"{entry}*")))
