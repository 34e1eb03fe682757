"""Tables that fit a screen: texts give way and columns are left out, but no figure is ever cut.

rich alone would shorten `$0.4745` to `$0.4…` where the screen is narrow.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

NARROWEST = 8
"""Characters of a text without which it says nothing."""


class Column(NamedTuple):
    """One column: its title and a text per row.

    With `spare` it is left out where the screen is too narrow, the greatest first; 0 always
    stays. With `least` it gives way before that, down to so many characters, and further only
    when nothing is left to leave out; without, it is never cut.
    """

    title: str
    texts: Sequence[Text]
    number: bool = False
    least: int | None = None
    spare: int = 0

    @property
    def full_width(self) -> int:
        """Return the width that cuts nothing."""
        return max(cell_len(self.title), *(text.cell_len for text in self.texts), 0)

    @property
    def least_width(self) -> int:
        """Return the width below which it cannot go."""
        return self.full_width if self.least is None else min(self.least, self.full_width)


def grid(columns: Sequence[Column], width: int, *, gap: int = 2) -> Table:
    """Return a table of the columns that fit `width`, those that may shrink cut by an ellipsis.

    Spare columns without any text are left out on every screen.
    """
    kept = [column for column in columns if not column.spare or any(column.texts)]
    while True:
        room = width - gap * (len(kept) - 1)
        spare = max(kept, key=lambda column: column.spare)
        if sum(column.least_width for column in kept) <= room or not spare.spare:
            break
        kept.remove(spare)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for column, fitting in zip(kept, _widths(kept, room), strict=True):
        side: JustifyMethod = "right" if column.number else "left"
        table.add_column(
            column.title, width=fitting, justify=side, no_wrap=True, overflow="ellipsis"
        )
    for row in zip(*(column.texts for column in kept), strict=True):
        table.add_row(*row)
    return table


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """Return each column's width: the widest of those that may shrink gives way first."""
    widths = [column.full_width for column in columns]
    leasts = [column.least_width for column in columns]
    if sum(leasts) > room:
        leasts = [
            least if column.least is None else min(least, NARROWEST)
            for column, least in zip(columns, leasts, strict=True)
        ]
    for _ in range(sum(widths) - room):
        widest = max(range(len(widths)), key=lambda n: (widths[n] > leasts[n], widths[n]))
        widths[widest] -= widths[widest] > leasts[widest]
    return widths
