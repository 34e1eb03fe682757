"""The ledger's rules in every order: a small tree of accounts, searched until nothing is new.

A ledger of values is built here from the functions of `account` alone, in the sequence that the
engines use: change each account, then conclude for the path. Every state that any order of verbs
reaches is visited, and rules 1 to 9 are checked there against what happened, told in other words.
Random walks through the same states are then made on the engines, each verb twice.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spendtree import account as rules
from spendtree.account import (
    Account,
    Balance,
    Crossing,
    Denial,
    Grant,
    Reason,
    envelope_account,
    payer_account,
    run_account,
    session_account,
)
from spendtree.event import Context, Event, Kind, Request
from spendtree.store import Store, open_store
from spendtree.store.changes import recapped, transferred
from spendtree.store.protocol import Reservation, Settlement

CUSTOMER, SESSION, WRITER, HELPER = range(4)
ACCOUNTS: tuple[Account, ...] = (
    payer_account("customer", "acme", "2026-11"),
    session_account("s", "acme"),
    envelope_account("s", "writer", "acme"),
    run_account("s", "helper", "ff", "acme"),
)
NAMES = tuple(account.id for account in ACCOUNTS)
CAPS = (8, 6, 3, 4)
"""Over-committed: the writer and the helper may spend 7 together, their session only 6."""
MARKS = ((), (500_000, 1_000_000), (800_000,), ())


class Ask(NamedTuple):
    """A call that may be held once: the accounts it is charged to, its amount, its floor."""

    path: tuple[int, ...]
    amount: int
    floor: int | None = None


class Small(NamedTuple):
    """How much may happen: calls, runs that reserve the writer's envelope, moved and new caps."""

    asks: tuple[Ask, ...]
    runs: int
    transfers: tuple[tuple[int, int, int], ...]
    caps: tuple[tuple[int, int], ...]


BY_WRITER, BY_HELPER, BY_SESSION = (0, 1, 2), (0, 1, 3), (0, 1)
WORLD = Small(
    (Ask(BY_WRITER, 2), Ask(BY_HELPER, 4, 1), Ask(BY_SESSION, 5), Ask(BY_WRITER, 1)),
    1,
    ((WRITER, HELPER, 1),),
    ((SESSION, 9),),
)
LITTLE_WORLD = Small(
    (Ask(BY_WRITER, 3, 1), Ask(BY_HELPER, 4)),
    2,
    ((HELPER, WRITER, 2),),
    ((SESSION, 5), (WRITER, 4)),
)

UNUSED, OPEN, CALLED, LAPSED, ADJUSTED = range(5)


class Call(NamedTuple):
    """What became of one Ask: how it stands, what was granted and what it cost in truth."""

    stands: int = UNUSED
    granted: int = 0
    cost: int = 0


class State(NamedTuple):
    """The ledger, and beside it what happened; `told` are the marks that were told, by account."""

    balances: tuple[Balance, ...]
    calls: tuple[Call, ...]
    runs: tuple[int, ...]
    done: tuple[bool, ...]
    told: tuple[frozenset[int], ...]


class Move(NamedTuple):
    """One verb and what it is about: a call, a run, a transfer or a new cap; settled with cost."""

    verb: str
    number: int
    cost: int = 0


class Step(NamedTuple):
    """What a move led to: the next state, the answer, and the marks that were told."""

    state: State
    answer: object
    crossings: tuple[Crossing, ...] = ()


def first(world: Small) -> State:
    return State(
        tuple(
            Balance(cap, terms=rules.warning(cap, marks))
            for cap, marks in zip(CAPS, MARKS, strict=True)
        ),
        (Call(),) * len(world.asks),
        (UNUSED,) * world.runs,
        (False,) * (len(world.transfers) + len(world.caps)),
        (frozenset(),) * len(ACCOUNTS),
    )


def moves(world: Small, state: State) -> Iterator[Move]:
    """Yield everything that can be done next."""
    for number, call in enumerate(state.calls):
        if call.stands == UNUSED:
            yield Move("hold", number)
        elif call.stands == OPEN:
            yield Move("settle", number, 0)
            yield Move("settle", number, max(call.granted - 1, 1))
            yield Move("settle", number, call.granted + 2)
            yield Move("lapse", number)
        elif call.stands == LAPSED:
            yield Move("adjust", number, 0)
            yield Move("adjust", number, call.granted + 1)
    for number, stands in enumerate(state.runs):
        if stands != CALLED:
            yield Move("reserve" if stands == UNUSED else "release", number)
    for number, done in enumerate(state.done):
        if not done and number < len(world.transfers):
            yield Move("transfer", number)
        elif not done:
            yield Move("set_cap", number)


# The ledger: what the engines do, on values.


def perform(world: Small, state: State, move: Move) -> Step:
    return VERBS[move.verb](world, state, move)


def pathed(state: State, path: tuple[int, ...]) -> list[tuple[str, Balance]]:
    return [(NAMES[index], state.balances[index]) for index in path]


def concluded(
    state: State, path: tuple[int, ...], after: list[Balance]
) -> tuple[State, tuple[Crossing, ...]]:
    """Return the state with the balances of a path changed, and the marks just told."""
    changed, crossings = rules.conclude(pathed(state, path), after)
    balances = list(state.balances)
    for index, balance in zip(path, changed, strict=True):
        balances[index] = balance
    told = state.told
    if crossings:
        told = tuple(
            marks | {c.mark for c in crossings if c.account == name}
            for name, marks in zip(NAMES, told, strict=True)
        )
    return state._replace(balances=tuple(balances), told=told), crossings


def replaced(values: tuple[Any, ...], index: int, value: object) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def hold(world: Small, state: State, move: Move) -> Step:
    ask = world.asks[move.number]
    answer = rules.admit(pathed(state, ask.path), ask.amount, ask.floor)
    if isinstance(answer, Denial):
        return Step(state, answer)
    held = [rules.hold(state.balances[index], answer.amount) for index in ask.path]
    state, crossings = concluded(state, ask.path, held)
    calls = replaced(state.calls, move.number, Call(OPEN, answer.amount))
    return Step(state._replace(calls=calls), answer, crossings)


def ending(stands: int, change: Callable[[Balance, int, int], Balance]) -> Callable[..., Step]:
    def end(world: Small, state: State, move: Move) -> Step:
        path, granted = world.asks[move.number].path, state.calls[move.number].granted
        after = [change(state.balances[index], granted, move.cost) for index in path]
        state, crossings = concluded(state, path, after)
        calls = replaced(state.calls, move.number, Call(stands, granted, move.cost))
        return Step(state._replace(calls=calls), granted, crossings)

    return end


def reserve(world: Small, state: State, move: Move) -> Step:
    answer = rules.reserve(*pathed(state, (SESSION, WRITER)))
    if isinstance(answer, Denial):
        return Step(state, answer)
    return Step(_restated(state, answer, replaced(state.runs, move.number, OPEN)), None)


def release(world: Small, state: State, move: Move) -> Step:
    answer = rules.release(*pathed(state, (SESSION, WRITER)))
    return Step(_restated(state, answer, replaced(state.runs, move.number, CALLED)), None)


def _restated(state: State, two: tuple[Balance, Balance], runs: tuple[int, ...]) -> State:
    customer, _, _, helper = state.balances
    return state._replace(balances=(customer, *two, helper), runs=runs)


def transfer(world: Small, state: State, move: Move) -> Step:
    source, target, amount = world.transfers[move.number]
    path = (SESSION, source, target)
    after = transferred(pathed(state, path), NAMES[source], NAMES[target], amount)
    if isinstance(after, str):
        return Step(state, after)
    return _recapped(state, path, after, move.number)


def set_cap(world: Small, state: State, move: Move) -> Step:
    index, cap = world.caps[move.number - len(world.transfers)]
    path = (SESSION,) if index == SESSION else (SESSION, index)
    after = recapped(pathed(state, path), NAMES[index], cap)
    return _recapped(state, path, after, move.number)


def _recapped(state: State, path: tuple[int, ...], after: list[Balance], number: int) -> Step:
    """A mark that the new cap puts above what is used will be told again."""
    told = list(state.told)
    for index, balance in zip(path, after, strict=True):
        if balance.cap != state.balances[index].cap:
            told[index] = told[index] & reached(balance, MARKS[index])
    state, crossings = concluded(state._replace(told=tuple(told)), path, after)
    return Step(state._replace(done=replaced(state.done, number, True)), "", crossings)


VERBS: dict[str, Callable[[Small, State, Move], Step]] = {
    "hold": hold,
    "settle": ending(CALLED, rules.settle),
    "lapse": ending(LAPSED, lambda balance, held, cost: rules.lapse(balance, held)),
    "adjust": ending(ADJUSTED, rules.adjust),
    "reserve": reserve,
    "release": release,
    "transfer": transfer,
    "set_cap": set_cap,
}


# The rules, in other words than those of `account`.


def reached(balance: Balance, marks: tuple[int, ...]) -> frozenset[int]:
    """Return the marks that spent and presumed money has reached."""
    cap, spent, presumed = balance[:3]
    return frozenset(m for m in marks if cap and (spent + presumed) / cap >= m / 1_000_000)


def sums(world: Small, state: State, index: int) -> tuple[int, int, int, int]:
    """Return spent, presumed, held and overrun of an account as its calls say."""
    spent = presumed = held = over = 0
    for ask, (stands, granted, cost) in zip(world.asks, state.calls, strict=True):
        if index not in ask.path:
            continue
        held += granted if stands == OPEN else 0
        presumed += granted if stands == LAPSED else 0
        if stands in (CALLED, ADJUSTED):
            spent += cost
            over += max(cost - granted, 0)
    return spent, presumed, held, over


def caps_given(world: Small, state: State, index: int) -> list[int]:
    """Return the new caps that an account has been given."""
    done = state.done[len(world.transfers) :]
    return [to for (of, to), given in zip(world.caps, done, strict=True) if given and of == index]


def kept(state: State, path: tuple[int, ...]) -> int:
    """Return what the writer's envelope keeps of the session from calls of that path."""
    free = state.balances[WRITER].free
    assert free is not None
    return max(free, 0) if OPEN in state.runs and WRITER not in path else 0


def room(state: State, path: tuple[int, ...], index: int) -> tuple[int, int]:
    """Return what is free to a path at an account: now, and if nothing were held."""
    cap, spent, presumed, held, _ = state.balances[index]
    assert cap is not None
    later = cap - spent - presumed - (kept(state, path) if index == SESSION else 0)
    return later - held, later


def check_state(world: Small, state: State) -> None:
    """Check what must be true whatever led here."""
    for index, (balance, told) in enumerate(zip(state.balances, state.told, strict=True)):
        cap, spent, presumed, held, terms = balance
        assert cap is not None
        *of_calls, over = sums(world, state, index)
        assert [spent, presumed, held] == of_calls, "rule 7"
        caps = [CAPS[index], *caps_given(world, state, index)]
        over += max(caps) - min(caps)
        assert spent + presumed + held <= cap + over, "only overruns and lower caps exceed a cap"
        assert terms.passed == len(told), "rule 9: what is passed was told, and nothing else"
        assert terms.standing == (state.runs.count(OPEN) if index == WRITER else 0)
        assert terms.reserved == (kept(state, ()) if index == SESSION else 0)


def check_step(world: Small, state: State, move: Move, step: Step) -> None:
    """Check what must be true of every move, and of this verb."""
    new = step.state
    refused = isinstance(step.answer, Denial) or (move.verb == "transfer" and step.answer != "")
    if refused:
        assert new == state, "rule 6: what is refused changes nothing"
    CHECKS[move.verb](world, state, move, step)
    for index, (old, balance) in enumerate(zip(state.balances, new.balances, strict=True)):
        assert balance.spent >= old.spent, "rule 2: true costs never fall"
        assert balance.cap == old.cap or move.verb in ("transfer", "set_cap"), "rule 8"
        due = reached(balance, MARKS[index])
        before = state.told[index] if balance.cap == old.cap else state.told[index] & due
        fresh = [c for c in step.crossings if c.account == NAMES[index]]
        used = balance.spent + balance.presumed
        assert fresh == [
            Crossing(NAMES[index], mark, balance.cap or 0, used) for mark in sorted(due - before)
        ], "rule 9: each crossing once, none missed"


def check_hold(world: Small, state: State, move: Move, step: Step) -> None:
    """Rules 1 and 5: granted if and only if it is free at every account, else rightly named."""
    path, amount, floor = world.asks[move.number]
    least = amount if floor is None else min(floor, amount)
    rooms = [room(state, path, index) for index in path]
    fits = min(amount, *(now for now, _ in rooms))
    if fits >= least:
        assert step.answer == Grant(fits)
        _assert_moved(state, step.state, path, held=fits)
        spare = room(state, (), SESSION)[0], room(step.state, (), SESSION)[0]
        assert spare[1] >= min(spare[0], 0), "nobody takes what an envelope has reserved"
        return
    exhausted = [index for index, (_, later) in zip(path, rooms, strict=True) if least > later]
    busy = [index for index, (now, _) in zip(path, rooms, strict=True) if least > now]
    name = (exhausted or busy)[0]
    reason: Reason = "exhausted" if exhausted else "busy"
    assert step.answer == Denial(NAMES[name], reason, least, state.balances[name])
    _assert_waiting_helps(world, state, move, reason)


def _assert_waiting_helps(world: Small, state: State, move: Move, reason: Reason) -> None:
    """Busy is what would fit if every open hold settled for nothing, exhausted what would not."""
    after = state
    for number, call in enumerate(state.calls):
        if call.stands == OPEN:
            after = perform(world, after, Move("settle", number, 0)).state
    path = world.asks[move.number].path
    if kept(after, path) == kept(state, path):  # else settling gives back to the reservation
        answer = perform(world, after, move).answer
        assert isinstance(answer, Grant) == (reason == "busy"), "rule 5"


def check_settle(world: Small, state: State, move: Move, step: Step) -> None:
    """Rule 2: the truth always posts, also above the hold."""
    granted = state.calls[move.number].granted
    path = world.asks[move.number].path
    _assert_moved(state, step.state, path, spent=move.cost, held=-granted)


def check_lapse(world: Small, state: State, move: Move, step: Step) -> None:
    """Rule 3: nothing expires for free."""
    granted = state.calls[move.number].granted
    _assert_moved(state, step.state, world.asks[move.number].path, presumed=granted, held=-granted)
    assert [b.free for b in step.state.balances] == [b.free for b in state.balances]


def check_adjust(world: Small, state: State, move: Move, step: Step) -> None:
    """Rule 3: late truth brings the true cost in and takes the presumption away."""
    granted = state.calls[move.number].granted
    path = world.asks[move.number].path
    _assert_moved(state, step.state, path, spent=move.cost, presumed=-granted)


def check_reserve(world: Small, state: State, move: Move, step: Step) -> None:
    """A first run reserves what is free in the envelope if the session has it free."""
    if OPEN in state.runs:
        assert step.state == state._replace(runs=step.state.runs, balances=step.state.balances)
        assert step.state.balances[SESSION] == state.balances[SESSION], "reserved already"
        return
    least = max(state.balances[WRITER].free or 0, 0)
    now, later = room(state, (), SESSION)
    if least <= now:
        assert step.answer is None
        assert room(step.state, (), SESSION)[0] == now - least
    else:
        reason: Reason = "exhausted" if least > later else "busy"
        assert step.answer == Denial(NAMES[SESSION], reason, least, state.balances[SESSION])


def check_release(world: Small, state: State, move: Move, step: Step) -> None:
    """With the last run what it reserved is anybody's again."""
    gained = kept(state, ()) - kept(step.state, ())
    assert (gained == 0) or OPEN not in step.state.runs
    free, before = step.state.balances[SESSION].free, state.balances[SESSION].free
    assert free is not None
    assert before is not None
    assert free == before + gained


def check_transfer(world: Small, state: State, move: Move, step: Step) -> None:
    """Rule 8: the sum of caps stays, and only free money moves."""
    source, target, amount = world.transfers[move.number]
    frees = [balance.free or 0 for balance in state.balances]
    more = max(frees[target] + amount, 0) - max(frees[target], 0)
    to_reserve = more if target == WRITER and OPEN in state.runs else 0
    session = frees[SESSION]
    possible = amount <= frees[source] and session - to_reserve >= min(session, 0)
    assert (step.answer == "") == possible
    moved = {source: -amount, target: amount} if possible else {}
    for index, (old, new) in enumerate(zip(state.balances, step.state.balances, strict=True)):
        assert (new.cap or 0) == (old.cap or 0) + moved.get(index, 0)
    _assert_moved(state, step.state, ())


def check_set_cap(world: Small, state: State, move: Move, step: Step) -> None:
    """A new cap moves no money."""
    changed, cap = world.caps[move.number - len(world.transfers)]
    for index, (old, new) in enumerate(zip(state.balances, step.state.balances, strict=True)):
        assert new.cap == (cap if index == changed else old.cap)
    _assert_moved(state, step.state, ())


def _assert_moved(
    state: State,
    new: State,
    path: tuple[int, ...],
    *,
    spent: int = 0,
    presumed: int = 0,
    held: int = 0,
) -> None:
    """Every account of the path has moved by that much, and no other one at all."""
    for index, (old, balance) in enumerate(zip(state.balances, new.balances, strict=True)):
        by = (spent, presumed, held) if index in path else (0, 0, 0)
        assert balance[1:4] == (old.spent + by[0], old.presumed + by[1], old.held + by[2])


CHECKS: dict[str, Callable[[Small, State, Move, Step], None]] = {
    "hold": check_hold,
    "settle": check_settle,
    "lapse": check_lapse,
    "adjust": check_adjust,
    "reserve": check_reserve,
    "release": check_release,
    "transfer": check_transfer,
    "set_cap": check_set_cap,
}


def search(world: Small) -> tuple[int, int]:
    """Visit every state; return how many there are, and how many steps lead through them."""
    start = first(world)
    seen, waiting, steps = {start}, deque([start]), 0
    while waiting:
        state = waiting.popleft()
        for move in moves(world, state):
            step = perform(world, state, move)
            check_step(world, state, move, step)
            steps += 1
            if step.state not in seen:
                check_state(world, step.state)
                seen.add(step.state)
                waiting.append(step.state)
    return len(seen), steps


def test_the_rules_hold_in_every_state_of_a_little_world() -> None:
    states, _ = search(LITTLE_WORLD)
    assert states > 5_000


@pytest.mark.slow
def test_the_rules_hold_in_every_state_of_a_larger_world(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At least 100,000 states."""
    states, steps = search(WORLD)
    with capsys.disabled():
        print(f"\nrules 1 to 9 hold in {states:,} states, through {steps:,} steps")
    assert states >= 100_000


# The same on the engines.

WHAT = Request("openai", "gpt-4o")


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], str]:
    """Return the URLs of fresh stores of each engine, by number."""
    if request.param == "memory":
        return lambda number: "memory:"
    return lambda number: f"sqlite:///{tmp_path}/{number}.db"


@pytest.mark.parametrize("world", [WORLD, LITTLE_WORLD], ids=["large", "little"])
def test_the_engines_go_every_way_that_the_rules_go(
    place: Callable[[int], str], world: Small
) -> None:
    """Random walks: the same answers, accounts and warnings, and nothing by repeats."""
    told = 0
    for number in range(30):
        with closing(open_store(place(number))) as store:
            told += _walk(store, world, random.Random(number))
    assert told > 10


def _walk(store: Store, world: Small, choice: random.Random) -> int:
    """Walk, and return how many warnings were told."""
    state = first(world)
    told: list[Crossing] = []
    marks = {name: marks for name, marks in zip(NAMES, MARKS, strict=True) if marks}
    accounts = list(zip(ACCOUNTS, CAPS, strict=True))
    store.open(accounts, event(1, Kind.SESSION_OPENED), marks=marks)
    for _ in range(40):
        possible = list(moves(world, state))
        if not possible:
            break
        move = choice.choice(possible)
        step = perform(world, state, move)
        for _ in range(2):
            answer = booked(store, world, move)
            assert (answer.held if isinstance(answer, Settlement) else answer) == step.answer
            assert [store.balance(name) for name in NAMES] == list(step.state.balances)
        told += step.crossings
        state = step.state
    assert store.take_warnings("s", NAMES) == told
    assert store.take_warnings("s", NAMES) == []
    warned = [e.data["account"] for e in store.events(kinds=[Kind.WARNED]) if e.data]
    assert warned == [crossing.account for crossing in told]
    return len(told)


def booked(store: Store, world: Small, move: Move) -> object:
    """Do on an engine what `perform` does on values."""
    verb, number, cost = move
    if verb in ("hold", "settle", "lapse", "adjust"):
        ask, id = world.asks[number], number.to_bytes(16, "big")
        context = Context("s", "acme", path=tuple(NAMES[index] for index in ask.path))
        if verb == "hold":
            return store.hold(
                id, context.path, ask.amount, ask.floor, context=context, request=WHAT, at=950
            )
        ended = event(number, Kind.CALL, context, cost=cost)
        return store.lapse(id, ended) if verb == "lapse" else store.settle(id, cost, ended)
    if verb in ("reserve", "release"):
        asked = Reservation(NAMES[SESSION], NAMES[WRITER])
        if verb == "reserve":
            return store.open([], event(100 + number, Kind.RUN_OPENED), reserve=asked).denial
        store.release(asked, event(100 + number, Kind.RUN_CLOSED))
        return None
    if verb == "transfer":
        source, target, amount = world.transfers[number]
        made = event(200 + number, Kind.TRANSFER)
        return store.transfer(made.id, NAMES[source], NAMES[target], amount, made)
    index, cap = world.caps[number - len(world.transfers)]
    made = event(200 + number, Kind.CAP_CHANGED)
    store.set_cap(made.id, NAMES[index], cap, made)
    return ""


def event(number: int, kind: Kind, context: Context | None = None, cost: int = 0) -> Event:
    id = number.to_bytes(16, "big")
    return Event(0, kind, 1_000, id, context or Context("s", "acme"), WHAT, cost=cost, status="ok")
