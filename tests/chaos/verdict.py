"""Compares a seed's books with the provider's bill, and with themselves. Yields what is wrong."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from spendtree import tree
from spendtree.account import Account, Balance
from spendtree.event import Event, Kind
from spendtree.store import Store
from spendtree.testing import assert_books_balance
from tests.chaos.plan import ROLES, SESSION
from tests.chaos.provider import Billed

Told = Sequence[tuple[str, str]]


def of_holds(path: Path, killed: set[int]) -> Iterator[str]:
    """Look at the holds that are left, before anybody lapses them: all of them of the dead."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT hex(hold.id), owner.pid, context.no, request.no FROM hold "
            "LEFT JOIN owner ON owner.no = hold.owner "
            "LEFT JOIN context ON context.no = hold.context "
            "LEFT JOIN request ON request.no = hold.request"
        ).fetchall()
    for id, pid, context, request in rows:
        if None in (pid, context, request):
            yield f"hold {id} has owner {pid}, context {context}, request {request}"
        elif pid not in killed:
            yield f"hold {id} is left by process {pid}, which was not killed"


def of_store(store: Store, path: Path, bill: Sequence[Billed], told: Told) -> Iterator[str]:
    """Look at the books when everything has ended and the holds of the dead are lapsed."""
    accounts = list(store.accounts())
    log = list(store.events())
    yield from of_file(path)
    yield from of_rest(store, accounts)
    yield from of_rule_7(store)
    yield from of_caps(accounts, bill)
    yield from of_calls(log, bill)
    yield from of_levels(accounts, log, bill)
    yield from of_leaves(store, log)
    yield from of_warnings(log, told)


def of_file(path: Path) -> Iterator[str]:
    """The file itself is whole."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            said = connection.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            said = [(str(error),)]
    if said != [("ok",)]:
        yield f"integrity_check says {said}"


def of_rest(store: Store, accounts: Sequence[tuple[Account, Balance]]) -> Iterator[str]:
    """Nothing is held or reserved any longer."""
    if store.open_holds():
        yield f"{store.open_holds()} holds are open although every owner has ended"
    for account, balance in accounts:
        if balance.held or balance.terms.reserved or balance.terms.standing:
            yield f"{account.id} still holds or reserves money: {balance}"


def of_rule_7(store: Store) -> Iterator[str]:
    """Each account is the sum of what was charged to it."""
    try:
        assert_books_balance(store)
    except AssertionError as error:
        yield str(error)


def of_caps(accounts: Sequence[tuple[Account, Balance]], bill: Sequence[Billed]) -> Iterator[str]:
    """No cap was passed: neither by the bill nor by the books."""
    for account, balance in accounts:
        if balance.cap is not None and balance.spent + balance.presumed > balance.cap:
            yield f"{account.id} is over its cap: {balance}"
        if account.kind == "session":
            billed = sum(row.pico for row in bill)
            if balance.cap is None or billed > balance.cap:
                yield f"the bill is {billed}, the ceiling {balance.cap}"


def of_calls(log: Sequence[Event], bill: Sequence[Billed]) -> Iterator[str]:
    """Each request on the bill is booked once: at its price, or presumed at no less."""
    booked: dict[bytes, list[Event]] = defaultdict(list)
    for event in log:
        if event.kind in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT):
            booked[event.id].append(event)
    billed = {row.id: row.pico for row in bill}
    if len(billed) != len(bill):
        yield "a call was dispatched twice"
    for id, pico in billed.items():
        kinds = [event.kind for event in booked[id]]
        if kinds not in ([Kind.CALL], [Kind.LAPSE], [Kind.LAPSE, Kind.ADJUSTMENT]):
            yield f"call {id.hex()} was billed {pico} and booked as {kinds}"
            continue
        last = booked[id][-1]
        if last.kind == Kind.LAPSE:
            if pico > last.held:
                yield f"call {id.hex()} was billed {pico} and is presumed at {last.held}"
        elif last.cost != pico:
            yield f"call {id.hex()} was billed {pico} and booked at {last.cost}"
    for id, events in booked.items():
        if events and id not in billed and sum(event.cost or 0 for event in events):
            yield f"call {id.hex()} cost something and never reached the provider"


def of_levels(
    accounts: Sequence[tuple[Account, Balance]], log: Sequence[Event], bill: Sequence[Billed]
) -> Iterator[str]:
    """At every account, and for every role, the books say at least what the bill says."""
    contexts = {event.id: event.context for event in log if event.kind in (Kind.CALL, Kind.LAPSE)}
    charged: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    for row in bill:
        roles[ROLES[row.role]] += row.pico
        context = contexts.get(row.id)
        charged.update(dict.fromkeys(context.path if context else (), row.pico))
    for account, balance in accounts:
        if balance.spent + balance.presumed < charged[account.id]:
            yield f"{account.id} was billed {charged[account.id]} and says {balance}"
    said: Counter[str] = Counter()
    for event in log:
        spent, presumed = _moved(event)
        said[event.context.agent] += spent + presumed
    for role, pico in roles.items():
        if said[role] < pico:
            yield f"role {role} was billed {pico}, its calls say {said[role]}"


def of_leaves(store: Store, log: Sequence[Event]) -> Iterator[str]:
    """What the agents spent adds up to the session's account, and to what its end states."""
    balance = store.balance(f"session/{SESSION}")
    assert balance is not None
    totals = store.totals(SESSION)
    cost, presumed = sum(row.cost for row in totals), sum(row.presumed for row in totals)
    if (cost, presumed) != (balance.spent, balance.presumed):
        yield f"the calls add up to {cost} and {presumed}, the session says {balance}"
    grown = tree.build(log)
    leaves = sum(node.own.cost for node in grown.nodes()) + grown.own.cost
    if leaves != balance.spent:
        yield f"the tree's leaves add up to {leaves}, the session says {balance}"
    ends = [event.cost for event in log if event.kind == Kind.SESSION_CLOSED]
    if ends != [balance.spent]:
        yield f"the session ended stating {ends}, its account says {balance.spent}"


def of_warnings(log: Sequence[Event], told: Told) -> Iterator[str]:
    """Nobody was told of a warning more often than it was recorded."""
    recorded: Counter[tuple[str, str]] = Counter()
    for event in log:
        if event.kind == Kind.WARNED and event.data is not None:
            recorded[event.data["account"], event.data["mark"]] += 1
    for key, count in Counter(told).items():
        if count > recorded[key]:
            yield f"warning {key} was told {count} times and recorded {recorded[key]} times"


def _moved(event: Event) -> tuple[int, int]:
    """Return what an event adds to what is spent, and to what is presumed."""
    if event.kind == Kind.LAPSE:
        return 0, event.held
    if event.kind == Kind.ADJUSTMENT:
        return event.cost or 0, -event.held
    return (event.cost or 0, 0) if event.kind == Kind.CALL else (0, 0)
