"""The output limit of a call: what it assumes where it was given none, and how to set one."""

from typing import TYPE_CHECKING

from spendtree.errors import GIVEN
from spendtree.pricing.limits import OutputLimit

if TYPE_CHECKING:
    from spendtree.call.asking import Asking
    from spendtree.pricing import Sheet


def assume(call: "Asking", sheet: "Sheet") -> OutputLimit | None:
    """Return the output limit of a call that names none, None if nothing bounds it.

    The agent's, else the session's; else the model's: an own one, the table's, the context window.
    A default that is above what its model can write is the model's: a provider refuses more.
    """
    prices, model, provider = call.tracker.prices, call.model, call.provider
    default = _default(call) if call.takes_defaults else None
    if default is None or sheet.max_output_tokens is not None or not prices.is_own(model, provider):
        most = prices.output_limit(model, provider)
        if default is None or (most is not None and most.tokens < default.tokens):
            # What somebody has limited is sent limited, also where the model's limit is disputed.
            limit = most if default is None or most is None else most._replace(is_sent=True)
            return limit or _window(sheet)
    return default


def told(call: "Asking") -> tuple[int, str] | None:
    """Return a call's output limit and where it comes from, None if there is none."""
    if call._sheet is None or call.max_output_tokens is None:
        return None
    limit = call.output_limit
    source = GIVEN if limit is None else limit.source
    if limit is not None and call.choices > 1:
        source = f"{call.choices} times {limit.tokens}: {source}"
    return call.max_output_tokens, source


def ways(model: str) -> str:
    """Return the three ways to set an output limit."""
    return (
        "give max_output_tokens in the request, or set it for its agent or session "
        "(`agents.NAME.max_output_tokens`, `session.max_output_tokens`) or for the model "
        f"(`prices.{model}.max_output_tokens`)"
    )


def _default(call: "Asking") -> OutputLimit | None:
    run = call._run
    if run is not None and run.max_output_tokens is not None:
        return OutputLimit(run.max_output_tokens, "agent", f"of agent {run.name!r}")
    tokens = call.tracker.config.session.max_output_tokens
    if tokens is not None and call._scope is not None:
        return OutputLimit(tokens, "session", "`session.max_output_tokens`")
    return None


def _window(sheet: "Sheet") -> OutputLimit | None:
    if sheet.context_window is None:
        return None
    source = "the context window, since no smaller output limit is known"
    return OutputLimit(sheet.context_window, "window", source, is_sent=False)
