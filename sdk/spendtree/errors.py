"""Every error that Spendtree raises; values only, nothing here imports anything of ours.

The axis is who must act::

    SpendtreeError
    ├── the caller
    │   ├── MoneyError (ValueError)           an amount that is no amount of dollars
    │   ├── UsageError (ValueError)           token counts that contradict each other
    │   ├── ConfigurationError (ValueError)   spendtree.yaml or an argument
    │   ├── ClockError (ValueError)           a clock outside the years that can be recorded
    │   ├── ScopeError (RuntimeError)         a session, agent or call used the wrong way
    │   │   └── SessionRequiredError          work outside any session, where one is required
    │   ├── TransferError (ValueError)        money that cannot be moved; the message says why
    │   ├── ContractError (ValueError)        a result that its agent's output contract refuses
    │   └── ImportFormatError (ValueError)    a trace file that cannot be read
    ├── the budget
    │   ├── BudgetExceededError               session, customer or team is exhausted: stop
    │   │   └── EnvelopeExhaustedError        this agent or run is: the coordinator may go on
    │   │       └── SkippedError              work marked optional was left out for lack of money
    │   └── UnknownPriceError                 a capped call whose price nobody knows
    └── the store
        └── StoreError                        the store is not usable as it stands
            ├── StoreUnavailableError         it may be again later: disk full, locked, unreachable
            ├── LedgerConflictError           one id used for two different operations
            └── PrunedError                   what is asked for was pruned: only sums are left
"""

from decimal import Decimal
from typing import Any

__all__ = [
    "BudgetExceededError",
    "ClockError",
    "ConfigurationError",
    "ContractError",
    "EnvelopeExhaustedError",
    "ImportFormatError",
    "LedgerConflictError",
    "MoneyError",
    "PrunedError",
    "ScopeError",
    "SessionRequiredError",
    "SkippedError",
    "SpendtreeError",
    "StoreError",
    "StoreUnavailableError",
    "TransferError",
    "UnknownPriceError",
    "UsageError",
]


class SpendtreeError(Exception):
    """Base of all errors of this library."""


class MoneyError(SpendtreeError, ValueError):
    """An amount that is no amount of dollars: NaN, infinite, negative, too fine or too large."""


class UsageError(SpendtreeError, ValueError):
    """Token counts that contradict each other, or that are no counts."""


class ConfigurationError(SpendtreeError, ValueError):
    """A setting that cannot be meant; the message names where it stands and what is allowed."""


class ClockError(SpendtreeError, ValueError):
    """A clock that is outside the years 1970 to 9999; nothing was sent to the provider."""


class ScopeError(SpendtreeError, RuntimeError):
    """A session, agent or call was used in a way that cannot be booked rightly."""


class SessionRequiredError(ScopeError):
    """A call, tool or agent outside any session was refused, as the configuration says.

    `reason` is "no_scope" where no session was opened, "lost_thread" where a thread lost the one
    that it was started in. Nothing was sent to the provider.
    """

    def __init__(self, message: str, *, reason: str = "no_scope") -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        given = {"message": str(self), "reason": self.reason}
        return _rebuild, (type(self), given), vars(self)


class TransferError(SpendtreeError, ValueError):
    """Money that cannot be moved between accounts; nothing was changed."""


class ContractError(SpendtreeError, ValueError):
    """A result that its agent's output contract refuses: too long or too short, in tokens."""


class ImportFormatError(SpendtreeError, ValueError):
    """A trace file, or a part of it, that cannot be read."""


GIVEN = "given in the request"
"""Where an output limit comes from that nobody had to assume: the message does not repeat it."""


class BudgetExceededError(SpendtreeError):
    """A session, customer or team has no money for this call; nothing was sent to the provider.

    Attributes: `account` (id), `kind` (session, envelope, run, customer, team), `name` (the role,
    customer or session meant), `reason` ("exhausted", or "busy" when the wait for open holds timed
    out), and in `Decimal` dollars `requested`, `free`, `cap`, `spent` (true and presumed), `held`,
    `reserved` (what other agents' reserved envelopes keep of a session).
    `affordable_output_tokens` is what would still fit with the same input, when it is known;
    `output_limit` the output tokens that were asked for, and `output_limit_source` where that limit
    comes from: the request, an agent, the session, a price, the table of models, or the context
    window.
    """

    def __init__(
        self,
        *,
        account: str,
        kind: str,
        name: str,
        reason: str,
        requested: Decimal,
        free: Decimal,
        cap: Decimal,
        spent: Decimal,
        held: Decimal,
        reserved: Decimal = Decimal(0),
        affordable_output_tokens: int | None = None,
        output_limit: int | None = None,
        output_limit_source: str = "",
        advice: str = "",
    ) -> None:
        self.account = account
        self.kind = kind
        self.name = name
        self.reason = reason
        self.requested = requested
        self.free = free
        self.cap = cap
        self.spent = spent
        self.held = held
        self.reserved = reserved
        self.affordable_output_tokens = affordable_output_tokens
        self.output_limit = output_limit
        self.output_limit_source = output_limit_source
        self.advice = advice
        super().__init__(self._message())

    def _message(self) -> str:
        reserved = f", reserved by others {_usd(self.reserved)}" if self.reserved else ""
        text = (
            f"{self.kind} {self.name!r} is {self.reason}: requested {_usd(self.requested)}, "
            f"free {_usd(self.free)} of {_usd(self.cap)} "
            f"(spent {_usd(self.spent)}, held {_usd(self.held)}{reserved})"
        )
        if self.output_limit is not None and self.output_limit_source != GIVEN:
            text += f"; output limit {self.output_limit} tokens ({self.output_limit_source})"
        if self.affordable_output_tokens is not None:
            text += f"; {self.affordable_output_tokens} output tokens would fit"
        return f"{text}; {self.advice}" if self.advice else text

    def __reduce__(self) -> tuple[Any, ...]:
        given = {name: value for name, value in vars(self).items() if name != "__notes__"}
        return _rebuild, (type(self), given), vars(self)


class EnvelopeExhaustedError(BudgetExceededError):
    """One agent's envelope or one run's max_cost has no money; the coordinator may go on."""


class SkippedError(EnvelopeExhaustedError):
    """Work marked optional was left out for lack of money, as the agent's policy says."""


class UnknownPriceError(SpendtreeError):
    """A call on a capped path whose model has no known price: it could cost anything."""

    def __init__(self, *, model: str, provider: str) -> None:
        self.model = model
        self.provider = provider
        where = f"model {model!r}" + (f" of provider {provider!r}" if provider else "")
        super().__init__(
            f"no price is known for {where}, and a cap is enforced on this call; "
            "add it under `prices:` in spendtree.yaml"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        given = {"model": self.model, "provider": self.provider}
        return _rebuild, (type(self), given), vars(self)


class StoreError(SpendtreeError):
    """The store is not usable as it stands: no database, too new, unreadable, wrong URL."""


class StoreUnavailableError(StoreError):
    """The store may be usable again later: locked for too long, disk full, out of reach."""


class LedgerConflictError(StoreError):
    """One id was used for two different operations; nothing was changed."""


class PrunedError(StoreError):
    """What is asked for was pruned, and only its sums are left; nothing was changed.

    A place in the log to read on from: read from the start. A call's late truth, or an import that
    is older than what was pruned: too late.
    """


def _usd(dollars: Decimal) -> str:
    """Return an exact amount with at least its cents."""
    places = max(2, -int(dollars.as_tuple().exponent))
    return f"{'-' if dollars < 0 else ''}${abs(dollars):.{places}f}"


def _rebuild(kind: type[SpendtreeError], attributes: dict[str, Any]) -> SpendtreeError:
    """Unpickle an error whose constructor takes keyword arguments only."""
    return kind(**attributes)
