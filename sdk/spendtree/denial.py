"""From a refusal of the ledger to the error that tells a person what to do. Pure."""

from datetime import UTC, datetime

from spendtree.account import Balance, kind_of
from spendtree.errors import BudgetExceededError, EnvelopeExhaustedError
from spendtree.event import Context
from spendtree.money import to_usd
from spendtree.period import CALENDAR_END, end_of

ERRORS: dict[str, type[BudgetExceededError]] = {
    "envelope": EnvelopeExhaustedError,
    "run": EnvelopeExhaustedError,
}
"""Which error an account's kind raises, where it is not BudgetExceededError."""

PAYERS = ("customer", "team")

NAMED_LAST = (*PAYERS, "envelope")
"""Kinds whose ids end in a name, behind their period or session."""


def budget_error(
    account: str,
    reason: str,
    requested: int,
    balance: Balance,
    *,
    name: str,
    free: int | None = None,
    affordable: int | None = None,
    limit: tuple[int, str] | None = None,
    advice: str = "",
    make: type[BudgetExceededError] | None = None,
) -> BudgetExceededError:
    """Return the error for a refusal: of the agent's own accounts, or of those above it.

    `free` is what the caller may take, where that is more than what anybody may; `limit` the output
    tokens that were asked for, and where that limit comes from.
    """
    kind = kind_of(account)
    unused = (balance.cap or 0) - balance.spent - balance.presumed - balance.held
    if free is None:
        free = balance.free or 0
    output_limit, source = limit or (None, "")
    if reason == "exhausted":
        advice = "; ".join(filter(None, (advice, next_budget(account))))
    return (make or ERRORS.get(kind, BudgetExceededError))(
        account=account,
        kind=kind,
        name=name,
        reason=reason,
        requested=to_usd(requested),
        free=to_usd(free),
        cap=to_usd(balance.cap or 0),
        spent=to_usd(balance.spent + balance.presumed),
        held=to_usd(balance.held),
        reserved=to_usd(max(unused - free, 0)),
        affordable_output_tokens=affordable,
        output_limit=output_limit,
        output_limit_source=source,
        advice=advice,
    )


def account_name(account: str, context: Context) -> str:
    """Return the name that a person knows an account by, seen from a context of its session.

    Of another run than the context's only its id is known here.
    """
    kind, _, rest = account.partition("/")
    if kind == "run":
        return context.agent if rest == context.run else rest
    return rest.partition("/")[2] if kind in NAMED_LAST else rest


def next_budget(account: str) -> str:
    """Return when an exhausted budget's next period begins, "" for accounts without periods."""
    kind, _, rest = account.partition("/")
    if kind not in PAYERS:
        return ""
    end = end_of(rest.partition("/")[0])
    if end >= CALENDAR_END:
        return ""
    begins = datetime.fromtimestamp(end // 1_000_000, UTC)
    return f"its next budget begins {begins:%Y-%m-%d} (UTC)"


def own_accounts(context: Context) -> tuple[str, ...]:
    """Return the accounts of a run's path that are its own: its envelope, and its max_cost."""
    own = f"run/{context.run}"
    return tuple(a for a in context.path if a == own or kind_of(a) == "envelope")
