"""How a session or a run ended, from the exception that left it. Pure."""

from typing import Any

from spendtree.errors import BudgetExceededError


def budget_errors(error: BaseException | None) -> list[BudgetExceededError]:
    """Return the budget errors that an exception is, or a group consists of; [] if of others."""
    if isinstance(error, BudgetExceededError):
        return [error]
    if isinstance(error, BaseExceptionGroup):
        found = [budget_errors(each) for each in error.exceptions]
        return [each for some in found for each in some] if all(found) else []
    return []


def session_status(error: BaseException | None, failure: str) -> str:
    """Return succeeded, failed or budget_exceeded."""
    if budget_errors(error):
        return "budget_exceeded"
    return "failed" if failure or _is_failure(error) else "succeeded"


def run_status(error: BaseException | None, failure: str) -> str:
    """Return succeeded, failed or exhausted."""
    if budget_errors(error):
        return "exhausted"
    return "failed" if failure or _is_failure(error) else "succeeded"


def reason(error: BaseException | None, failure: str) -> dict[str, Any] | None:
    """Return what the closing event says about the end."""
    if failure:
        return {"reason": failure}
    return {"reason": type(error).__name__} if error is not None and _is_failure(error) else None


def _is_failure(error: BaseException | None) -> bool:
    # A generator that its consumer has left did nothing wrong.
    return error is not None and not isinstance(error, GeneratorExit)
