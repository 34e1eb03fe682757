"""The ledger's rules as pure functions over balances: no I/O, no clock, no randomness.

The memory engine runs these; every other engine is tested against them. Amounts are pico-dollars.
A path is a sequence of (account id, balance), outermost account first, no account twice.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

Reason = Literal["exhausted", "busy"]


class Account(NamedTuple):
    """What an account is; its money is a `Balance`.

    `kind` is session, envelope, run, customer or team; `period` names the UTC period of a customer
    or team account ("2026-11"). Fields that do not apply are "".
    """

    id: str
    kind: str
    session: str = ""
    agent: str = ""
    customer: str = ""
    team: str = ""
    period: str = ""


def session_account(session: str, customer: str = "", team: str = "") -> Account:
    """Return the account whose cap is the session's ceiling."""
    return Account(f"session/{session}", "session", session, "", customer, team)


def envelope_account(session: str, agent: str, customer: str = "", team: str = "") -> Account:
    """Return the account of what one agent role itself spends in one session."""
    return Account(f"envelope/{session}/{agent}", "envelope", session, agent, customer, team)


def run_account(session: str, agent: str, run: str, customer: str = "", team: str = "") -> Account:
    """Return the account of one run and everything it spawns (its cap is `max_cost`)."""
    return Account(f"run/{run}", "run", session, agent, customer, team)


class Balance(NamedTuple):
    """One account's money: `cap` (None is no cap), `spent` (true costs), `presumed`, `held`."""

    cap: int | None = None
    spent: int = 0
    presumed: int = 0
    held: int = 0

    @property
    def free(self) -> int | None:
        """Return what a new hold may take; negative after an overrun, None without a cap."""
        return None if self.cap is None else self.cap - self.spent - self.presumed - self.held


class Grant(NamedTuple):
    """A hold was made, of `amount`; `over` are the unenforced accounts that would have refused."""

    amount: int
    over: tuple[str, ...] = ()


class Denial(NamedTuple):
    """A hold was refused and nothing changed.

    `reason` is "exhausted" if no settlement of open holds can make it fit, else "busy"; `account`
    is the outermost account that says so, `balance` its money, `requested` the least that was
    asked for (the floor where there was one).
    """

    account: str
    reason: Reason
    requested: int
    balance: Balance


def admit(
    path: Sequence[tuple[str, Balance]],
    amount: int,
    floor: int | None = None,
    lenient: Collection[str] = (),
) -> Grant | Denial:
    """Decide about a hold: all accounts of the path or none (rules 1 and 5).

    Grants `amount` where it is free everywhere; else, with a `floor`, as much as is free
    everywhere if that is at least the floor. Accounts in `lenient` never refuse.
    """
    for _, (cap, spent, presumed, held) in path:
        if cap is not None and amount > cap - spent - presumed - held:
            return _in_part(path, amount, floor, lenient)
    return Grant(amount)


def _in_part(
    path: Sequence[tuple[str, Balance]], amount: int, floor: int | None, lenient: Collection[str]
) -> Grant | Denial:
    """Decide where some account has less than the whole amount free."""
    over: list[str] = []
    fits = amount
    for name, balance in path:
        free = balance.free
        if free is None or amount <= free:
            continue
        if name in lenient:
            over.append(name)
        elif free < fits:
            fits = free
    least = amount if floor is None else min(floor, amount)
    if fits >= least:
        return Grant(fits, tuple(over))
    return _denial(path, least, lenient)


def _denial(path: Sequence[tuple[str, Balance]], least: int, lenient: Collection[str]) -> Denial:
    busy: Denial | None = None
    for name, balance in path:
        cap, spent, presumed, _ = balance
        if cap is None or name in lenient:
            continue
        if least > cap - spent - presumed:
            return Denial(name, "exhausted", least, balance)
        free = balance.free
        if busy is None and free is not None and least > free:
            busy = Denial(name, "busy", least, balance)
    assert busy is not None, "a denial needs an account that denies"
    return busy


def hold(balance: Balance, amount: int) -> Balance:
    """Reserve a granted amount."""
    cap, spent, presumed, held = balance
    return Balance(cap, spent, presumed, held + amount)


def settle(balance: Balance, held: int, cost: int) -> Balance:
    """End a hold with its true cost, which posts even above the hold (rule 2). `void` is cost 0."""
    cap, spent, presumed, all_held = balance
    return Balance(cap, spent + cost, presumed, all_held - held)


def lapse(balance: Balance, held: int) -> Balance:
    """End a hold whose ending is unclear: its money is presumed spent (rule 3)."""
    cap, spent, presumed, all_held = balance
    return Balance(cap, spent, presumed + held, all_held - held)


def adjust(balance: Balance, presumed: int, cost: int) -> Balance:
    """Late truth about a lapsed hold: the true cost comes in, the presumption goes (rule 3)."""
    cap, spent, all_presumed, held = balance
    return Balance(cap, spent + cost, all_presumed - presumed, held)


def transfer(source: Balance, target: Balance, amount: int) -> tuple[Balance, Balance] | str:
    """Move cap from source to target; a str says why not. Conserves the sum of caps (rule 8)."""
    if amount < 0:
        return f"{amount} pico-dollars cannot be moved: swap the source and the target"
    if source.cap is None or target.cap is None:
        return f"the {'source' if source.cap is None else 'target'} has no cap to move"
    free = source.free
    assert free is not None
    if amount > free:
        return f"only {max(free, 0)} of the source's {source.cap} pico-dollars are free"
    return source._replace(cap=source.cap - amount), target._replace(cap=target.cap + amount)
