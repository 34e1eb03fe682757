"""The ledger's rules as pure functions over balances: no I/O, no clock, no randomness.

The memory engine runs these; every other engine is tested against them. Amounts are pico-dollars.
A path is a sequence of (account id, balance), outermost account first, no account twice. The
verbs change each account by itself; `conclude` then says what follows for the path as a whole.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from spendtree.money import PICO_MAX, format_usd

Reason = Literal["exhausted", "busy"]


_new = tuple.__new__
"""Makes a NamedTuple in half the time of its constructor: for what every call makes."""


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
    """Return the account of what one agent role itself spends in one session.

    Slashes of the session's id are escaped: both parts may have some, and two sessions never share
    an envelope.
    """
    place = session.replace("%", "%25").replace("/", "%2F")
    return Account(f"envelope/{place}/{agent}", "envelope", session, agent, customer, team)


def run_account(session: str, agent: str, run: str, customer: str = "", team: str = "") -> Account:
    """Return the account of one run and everything it spawns (its cap is `max_cost`)."""
    return Account(f"run/{run}", "run", session, agent, customer, team)


def payer_account(kind: str, name: str, period: str) -> Account:
    """Return the account of a customer's or team's budget for one UTC period."""
    id = f"{kind}/{period}/{name}"
    return Account(id, kind, period=period, **{kind: name})


class Terms(NamedTuple):
    """What is special about an account; nearly all have PLAIN ones.

    `reserved` is money of a session that standing reserved envelopes keep from everybody else;
    `standing` counts the runs that reserve this envelope now. `marks` are the warning marks, in
    millionths of the cap and ascending, of which `passed` have been reached; `due` is the spent
    and presumed money at which the next one is (None: there is none).
    """

    reserved: int = 0
    standing: int = 0
    marks: tuple[int, ...] = ()
    passed: int = 0
    due: int | None = None


PLAIN = Terms()


class Balance(NamedTuple):
    """One account's money: `cap` (None is no cap), `spent` (true costs), `presumed`, `held`."""

    cap: int | None = None
    spent: int = 0
    presumed: int = 0
    held: int = 0
    terms: Terms = PLAIN

    @property
    def free(self) -> int | None:
        """Return what a new hold may take; negative after an overrun, None without a cap."""
        if self.cap is None:
            return None
        return self.cap - self.spent - self.presumed - self.held - self.terms.reserved


Path = Sequence[tuple[str, Balance]]
"""Accounts as (id, balance), outermost first, none twice."""


class Crossing(NamedTuple):
    """An account has reached a warning mark (millionths of `cap`): `used` is spent and presumed."""

    account: str
    mark: int
    cap: int
    used: int


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


def kind_of(account: str) -> str:
    """Return what an account id names: session, envelope, run, customer or team."""
    return account.partition("/")[0]


# Admission (rules 1 and 5).


def admit(
    path: Path, amount: int, floor: int | None = None, lenient: Collection[str] = ()
) -> Grant | Denial:
    """Decide about a hold: all accounts of the path or none.

    Grants `amount` where it is free everywhere; else, with a `floor`, as much as is free
    everywhere if that is at least the floor. Accounts in `lenient` never refuse. What an envelope
    of the path has reserved is free to this path.
    """
    for _, (cap, spent, presumed, held, terms) in path:
        if cap is not None and amount > cap - spent - presumed - held - terms[0]:
            return _in_part(path, amount, floor, lenient)
    return _new(Grant, (amount, ()))


def _in_part(
    path: Path, amount: int, floor: int | None, lenient: Collection[str]
) -> Grant | Denial:
    """Decide where some account has less than the whole amount free."""
    own = carved(path)
    frees = [(name, free) for name, b in path if (free := _open_to(name, b, own)) is not None]
    fits = min([amount, *(free for name, free in frees if name not in lenient)])
    least = amount if floor is None else min(floor, amount)
    if fits >= least:
        return Grant(fits, tuple([name for name, free in frees if fits > free]))
    return _denial(path, least, lenient, own)


def _denial(path: Path, least: int, lenient: Collection[str], own: int) -> Denial:
    busy: Denial | None = None
    for name, balance in path:
        free = _open_to(name, balance, own)
        if free is None or name in lenient:
            continue
        if least > free + balance.held:
            return Denial(name, "exhausted", least, balance)
        if busy is None and least > free:
            busy = Denial(name, "busy", least, balance)
    assert busy is not None, "a denial needs an account that denies"
    return busy


def rooms(path: Path) -> Iterator[tuple[str, Balance, int]]:
    """Iterate over the accounts with a cap, and what is free there to this path.

    Added to it, `held` is what would be free if all open holds turned out to cost nothing.
    """
    own = carved(path)
    for name, balance in path:
        free = _open_to(name, balance, own)
        if free is not None:
            yield name, balance, free


def _open_to(name: str, balance: Balance, own: int) -> int | None:
    """Return what is free to a path whose envelope has reserved `own` of its session."""
    free = balance.free
    return free + own if free is not None and kind_of(name) == "session" else free


# What the verbs do to one account (rules 2 and 3).


def hold(balance: Balance, amount: int) -> Balance:
    """Reserve a granted amount."""
    cap, spent, presumed, held, terms = balance
    return _new(Balance, (cap, spent, presumed, held + amount, terms))


def settle(balance: Balance, held: int, cost: int) -> Balance:
    """End a hold with its true cost, which posts even above the hold. `void` is cost 0."""
    cap, spent, presumed, all_held, terms = balance
    return _new(Balance, (cap, spent + cost, presumed, all_held - held, terms))


def lapse(balance: Balance, held: int) -> Balance:
    """End a hold whose ending is unclear: its money is presumed spent."""
    cap, spent, presumed, all_held, terms = balance
    return Balance(cap, spent, presumed + held, all_held - held, terms)


def adjust(balance: Balance, presumed: int, cost: int) -> Balance:
    """Late truth about a lapsed hold: the true cost comes in, the presumption goes."""
    cap, spent, all_presumed, held, terms = balance
    return Balance(cap, spent + cost, all_presumed - presumed, held, terms)


def book(balance: Balance, cost: int, presumed: int) -> Balance:
    """Book a call that was made without a hold."""
    cap, spent, all_presumed, held, terms = balance
    return Balance(cap, spent + cost, all_presumed + presumed, held, terms)


def transfer(source: Balance, target: Balance, amount: int) -> tuple[Balance, Balance] | str:
    """Move cap from source to target; a str says why not. Conserves the sum of caps (rule 8)."""
    if amount < 0:
        return "a negative amount cannot be moved: swap the source and the target"
    if source.cap is None or target.cap is None:
        return f"the {'source' if source.cap is None else 'target'} has no cap to move"
    free = source.free
    assert free is not None
    if amount > free:
        whole = format_usd(source.cap)
        return f"only {format_usd(max(free, 0))} of the {whole} that the source may spend is free"
    if amount > PICO_MAX - target.cap:
        return f"the target would have more than an account holds ({format_usd(PICO_MAX)})"
    return source._replace(cap=source.cap - amount), target._replace(cap=target.cap + amount)


def spendable(path: Path, cost: int) -> int:
    """Return how much of a cost every account of a path can still take: it holds an int64."""
    return min([cost, *(PICO_MAX - balance.spent for _, balance in path)])


def presumable(path: Path, held: int) -> int:
    """Return how much of a hold every account of a path can still take as presumed."""
    return min([held, *(PICO_MAX - balance.presumed for _, balance in path)])


# What follows for the path as a whole: reservations and warnings.


def carved(path: Path) -> int:
    """Return what the path's reserved envelope keeps of its session: all that is free in it."""
    return sum(max(balance.free or 0, 0) for _, balance in path if balance.terms.standing)


def conclude(before: Path, after: Sequence[Balance]) -> tuple[list[Balance], tuple[Crossing, ...]]:
    """Return balances with their terms brought up to date, and the warning marks just reached.

    A reserved envelope keeps what is free in it, so what a call spends there leaves its session's
    reservation by as much. Each crossing of a mark is told once (rule 9); where the cap changed, a
    mark that is now above is one to cross again.
    """
    balances = list(after)
    moved = carved([(name, new) for (name, _), new in zip(before, after, strict=True)])
    moved -= carved(before)
    crossings: list[Crossing] = []
    for index, ((name, old), balance) in enumerate(zip(before, after, strict=True)):
        terms = balance.terms
        if terms is PLAIN and not moved:
            continue
        if moved and kind_of(name) == "session":
            terms = terms._replace(reserved=terms.reserved + moved)
        passed = _passed(balance)
        if passed > terms.passed and balance.cap is not None:
            used = min(balance.spent + balance.presumed, PICO_MAX)
            new = terms.marks[terms.passed : passed]
            crossings += [Crossing(name, mark, balance.cap, used) for mark in new]
        if passed > terms.passed or balance.cap != old.cap:
            terms = terms._replace(passed=passed, due=due(balance.cap, terms.marks, passed))
        balances[index] = balance._replace(terms=terms)
    return balances, tuple(crossings)


def _passed(balance: Balance) -> int:
    cap, spent, presumed, _, terms = balance
    if not cap:
        return 0
    return sum((spent + presumed) * 1_000_000 >= cap * mark for mark in terms.marks)


def due(cap: int | None, marks: tuple[int, ...], passed: int) -> int | None:
    """Return the spent and presumed money at which the next mark is, None if there is none."""
    return -(-cap * marks[passed] // 1_000_000) if cap and passed < len(marks) else None


def warning(cap: int | None, marks: tuple[int, ...]) -> Terms:
    """Return the terms of a new account with warning marks."""
    return Terms(marks=marks, due=due(cap, marks, 0)) if marks else PLAIN


def is_plain(balance: Balance) -> bool:
    """Tell whether nothing follows from what was just done to an account."""
    _, spent, presumed, _, terms = balance
    if terms is PLAIN:
        return True
    _, standing, _, _, due = terms
    return not standing and (due is None or spent + presumed < due)


def reserve(
    session: tuple[str, Balance], envelope: tuple[str, Balance]
) -> tuple[Balance, Balance] | Denial:
    """Let one more run reserve an envelope: carve what is free in it out of its session's."""
    terms = envelope[1].terms
    standing = envelope[1]._replace(terms=terms._replace(standing=terms.standing + 1))
    carve = max(standing.free or 0, 0)
    if not terms.standing:
        answer = admit([session], carve)
        if isinstance(answer, Denial):
            return answer
    return _restated(session, envelope, standing)


def release(session: tuple[str, Balance], envelope: tuple[str, Balance]) -> tuple[Balance, Balance]:
    """Let one run less reserve an envelope; with the last the money is anybody's again."""
    terms = envelope[1].terms
    left = max(terms.standing - 1, 0)
    return _restated(session, envelope, envelope[1]._replace(terms=terms._replace(standing=left)))


def _restated(
    session: tuple[str, Balance], envelope: tuple[str, Balance], standing: Balance
) -> tuple[Balance, Balance]:
    balances, _ = conclude([session, envelope], [session[1], standing])
    return balances[0], balances[1]
