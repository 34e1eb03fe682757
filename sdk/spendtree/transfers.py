"""Moving unused money between the envelopes and runs of one session, by hand or by policy."""

from typing import TYPE_CHECKING

from spendtree.account import Denial, envelope_account, kind_of
from spendtree.errors import TransferError
from spendtree.event import Context, Event, Kind
from spendtree.ids import new_id
from spendtree.money import Money, format_usd, to_pico, to_usd

if TYPE_CHECKING:
    from spendtree.call import Call
    from spendtree.scope import Agent, Session
    from spendtree.tracker import Spendtree

MOVABLE = ("envelope", "run")


def transfer(
    tracker: "Spendtree",
    session: "Session",
    source: "str | Agent",
    target: "str | Agent",
    amount: Money,
    reason: str,
) -> None:
    """Move free money; TransferError says why it cannot be."""
    pico = to_pico(amount, what="amount")
    giver, taker = _account(tracker, session, source), _account(tracker, session, target)
    names = (_name(source), _name(target))
    refused = _move(tracker, session.context, giver, taker, pico, names, reason or "transfer")
    if refused:
        raise TransferError(
            f"${to_usd(pico)} cannot move from {names[0]!r} to {names[1]!r}: {refused}"
        )
    tracker.money_moved((giver, taker), session)


def reallocate(tracker: "Spendtree", call: "Call", denial: Denial) -> bool:
    """Give the refusing account what finished agents left; True if all of the call fits there.

    All of it, also where a clamp has asked for less before.
    """
    session = call.context.session
    lacking = call.worst_case - (denial.balance.free or 0)
    if kind_of(denial.account) not in MOVABLE or not session:
        return False
    for account, agent in _finished(tracker, session):
        balance = tracker.store.balance(account)
        free = 0 if balance is None else balance.free or 0
        amount = min(free, lacking)
        if account == denial.account or amount <= 0:
            continue
        names = (agent, call.context.agent)
        if not _move(tracker, call.context, account, denial.account, amount, names, "reallocate"):
            lacking -= amount
            call.decide(f"took {format_usd(amount)} that {agent} left")
        if lacking <= 0:
            return True
    return False


def _finished(tracker: "Spendtree", session: str) -> list[tuple[str, str]]:
    """Return (account, agent) of what can give: agents of a session without an open run."""
    kinds = (Kind.RUN_OPENED, Kind.RUN_CLOSED)
    contexts: dict[str, Context] = {}
    running: set[str] = set()
    for event in tracker.store.events(session=session, kinds=kinds):
        contexts[event.context.run] = event.context
        if event.kind == Kind.RUN_OPENED:
            running.add(event.context.run)
        else:
            running.discard(event.context.run)
    busy = {contexts[run].agent for run in running}
    found: dict[str, str] = {}
    for run, context in contexts.items():
        for account in context.path:
            done = run not in running if account == f"run/{run}" else context.agent not in busy
            if done and account in (f"run/{run}", envelope_account(session, context.agent).id):
                found[account] = context.agent
    return list(found.items())


def _move(
    tracker: "Spendtree",
    context: Context,
    source: str,
    target: str,
    amount: int,
    names: tuple[str, str],
    reason: str,
) -> str:
    at = tracker.now()
    id = new_id()
    data = {
        "source": source,
        "target": target,
        "source_agent": names[0],
        "target_agent": names[1],
        "reason": reason,
    }
    event = Event(0, Kind.TRANSFER, at, id, context, cost=amount, started=at, data=data)
    return tracker.store.transfer(id, source, target, amount, event)


def _account(tracker: "Spendtree", session: "Session", party: "str | Agent") -> str:
    """Return the account of a role's envelope, or of a run's max_cost (else its envelope)."""
    if isinstance(party, str):
        account = envelope_account(session.id, party).id
    else:
        if party.session is not session:
            raise TransferError(
                f"run {party.id} of agent {party.name!r} is of another session: money moves "
                "within one"
            )
        own = f"run/{party.id}"
        role = envelope_account(session.id, party.name).id
        account = own if own in party.context.path else role
    if tracker.store.balance(account) is None:
        raise TransferError(
            f"agent {_name(party)!r} has neither an envelope nor a max_cost in session "
            f"{session.id!r}: there is no cap to move money of or to"
        )
    return account


def _name(party: "str | Agent") -> str:
    return party if isinstance(party, str) else party.name
