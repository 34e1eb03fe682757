"""One measured figure and how it compares with its target. A value; nothing here measures."""

from typing import NamedTuple


class Figure(NamedTuple):
    """`value` in `unit`, and the `target` it has to reach (None: there is none).

    A rate (a unit that ends in "/s") or a gain ("x" times) is to be at least its target, anything
    else at most. `ratio` compares with something else measured in the same run (another library, an
    empty file); without one it is value / target.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    ratio: float | None = None

    @property
    def reached(self) -> bool | None:
        """Return whether the target is reached, None without a target."""
        if self.target is None:
            return None
        more_is_better = self.unit == "x" or self.unit.endswith("/s")
        return self.value >= self.target if more_is_better else self.value <= self.target

    @property
    def compared(self) -> float | None:
        """Return the figure's own ratio, else value / target, else None."""
        if self.ratio is not None or not self.target:
            return self.ratio
        return self.value / self.target
