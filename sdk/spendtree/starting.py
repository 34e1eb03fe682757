"""The start of sessions and runs: refused where nothing is left to pay a call with (rule 5)."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spendtree.account import Account, Balance, Denial, kind_of, rooms
from spendtree.denial import budget_error
from spendtree.errors import BudgetExceededError, SkippedError
from spendtree.event import Event, Kind
from spendtree.ids import new_id
from spendtree.store.protocol import Reservation

if TYPE_CHECKING:
    from spendtree.scope import Agent, Scope
    from spendtree.tracker import Spendtree

NOTHING: Mapping[str, int | None] = {}


def open_run(
    tracker: "Spendtree",
    run: "Agent",
    accounts: Sequence[tuple[Account, int | None]],
    at: int,
    data: dict[str, Any] | None,
    marks: Mapping[str, tuple[int, ...]],
    reservation: Reservation | None,
) -> Reservation | None:
    """Record a run's start and open its accounts, unless nothing is left to start it with.

    Returns what it reserves: nothing where there is not enough and the mode refuses nothing.
    """
    skipped = _is_left_out(tracker, run)
    caps = {account.id: cap for account, cap in accounts}
    check_money_left(tracker, run, caps, least=run.min_cost or 0, skipped=skipped)
    event = Event(0, Kind.RUN_OPENED, at, bytes.fromhex(run.id), run.context, started=at, data=data)
    denial = tracker.store.open(accounts, event, marks=marks, reserve=reservation).denial
    if denial is not None and _is_swept(tracker, denial):
        denial = tracker.store.open(accounts, event, marks=marks, reserve=reservation).denial
    if denial is None:
        return reservation
    if tracker.mode_of(denial.account, run.context) == "enforce":
        advice = "the session has not that much free to reserve"
        if denial.reason == "busy":
            advice += ": start this agent again once open holds have settled"
        raise _refused(tracker, run, denial, advice, skipped=skipped)
    tracker.store.open(accounts, event, marks=marks)
    return None


def close_run(tracker: "Spendtree", event: Event, reservation: Reservation | None) -> None:
    """Record a run's end and give back what it reserved; a store that fails is logged."""
    if reservation is None:
        tracker.record(event)
        return

    def release() -> None:
        tracker.store.release(reservation, event)
        if tracker.lines:
            tracker.lines.wake(reservation)

    tracker.do_now_or_later(release, "a reserved envelope could not be released: %s")


def undo_run(tracker: "Spendtree", event: Event, reservation: Reservation | None) -> None:
    """Close a run whose start was interrupted, if it was recorded at all."""

    def undo() -> None:
        if tracker.store.find(event.id, Kind.RUN_OPENED) is not None:
            close_run(tracker, event, reservation)

    tracker.do_now_or_later(undo, "a run that was interrupted could not be closed: %s")


def check_money_left(
    tracker: "Spendtree",
    scope: "Scope",
    caps: Mapping[str, int | None] = NOTHING,
    *,
    least: int = 0,
    skipped: bool = False,
) -> None:
    """Raise the budget's error if an account of the scope has nothing left, or not `least`.

    `caps` are those that accounts not open yet will be opened with; the error of what is `skipped`
    says so.
    """
    if not scope.capped:
        return
    context = scope.context
    enforced = [name for name in context.path if tracker.mode_of(name, context) == "enforce"]
    if not enforced:
        return
    denial = _denial(tracker, context.path, enforced, caps, least)
    if denial is not None and _is_swept(tracker, denial):
        denial = _denial(tracker, context.path, enforced, caps, least)
    if denial is not None:
        advice = "nothing is left to start with"
        raise _refused(tracker, scope, denial, advice, skipped=skipped)


def _denial(
    tracker: "Spendtree",
    names: Sequence[str],
    enforced: Collection[str],
    caps: Mapping[str, int | None],
    least: int,
) -> Denial | None:
    """Return the refusal of the first account with nothing left, or not `least`."""
    balance_of = tracker.store.balance
    path = [(name, balance_of(name) or Balance(caps.get(name))) for name in names]
    for name, balance, free in rooms(path):
        if name in enforced and free + balance.held < max(least, 1):
            return Denial(name, "exhausted", least, balance)
    return None


def _is_swept(tracker: "Spendtree", denial: Denial) -> bool:
    """Tell whether to ask again: what is reserved may have been so by a process that is dead."""
    if not denial.balance.terms.reserved:
        return False
    tracker.lapse_abandoned()
    return True


def _is_left_out(tracker: "Spendtree", run: "Agent") -> bool:
    """Tell whether a run that cannot start is to be left out: an optional one, by its policy."""
    return run.optional and any(step.name == "skip" for step in tracker.config.policy_for(run.name))


def _refused(
    tracker: "Spendtree", scope: "Scope", denial: Denial, advice: str, *, skipped: bool
) -> BudgetExceededError:
    """Record that a session or a run was refused its start, and return the error to raise."""
    at = tracker.moment()
    account, reason, requested, balance = denial
    data = {"account": account, "kind": kind_of(account), "spawn": True}
    tracker.record(
        Event(
            0,
            Kind.DENIED,
            at,
            new_id(),
            scope.context,
            held=requested,
            status=reason,
            started=at,
            data=data,
        )
    )
    return budget_error(
        account,
        reason,
        requested,
        balance,
        name=tracker.name_of(account, scope.context),
        advice=advice,
        make=SkippedError if skipped else None,
    )
