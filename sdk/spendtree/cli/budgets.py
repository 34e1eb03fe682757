"""What a configuration says of budgets beside what stands in a store. Pure."""

from collections.abc import Sequence
from typing import Literal

from spendtree.config import Config
from spendtree.config.version import is_newer
from spendtree.money import format_usd, to_pico
from spendtree.period import period
from spendtree.store.health import Budget


def disagreements(config: Config, budgets: Sequence[Budget], at: int) -> list[str]:
    """Return what is to say of present budgets that stand with another amount than configured.

    Those that this configuration changes as soon as a process uses it are left out.
    """
    texts = []
    for each in budgets:
        kind: Literal["customer", "team"] = "team" if each.kind == "team" else "customer"
        for name, usd in config.budgets(kind, each.name).items():
            cap = to_pico(usd, what="budget")
            present = period(name, at).name == each.period
            if present and cap != each.cap and not is_newer(config.order, each.version):
                stands = "no limit" if each.cap is None else format_usd(each.cap)
                texts.append(
                    f"the budget of {kind} {each.name!r} for {each.period} is {stands}, set by a "
                    f"configuration that is newer or of the same version; the "
                    f"{format_usd(cap)} of this file does not hold"
                )
    return texts
