"""The ledger's rules on values: admission, endings, late truth, transfers, small cases in full."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spendtree import account as rules
from spendtree.account import (
    PLAIN,
    Balance,
    Crossing,
    Denial,
    Grant,
    Terms,
    admit,
    envelope_account,
    run_account,
    session_account,
)

small = st.integers(min_value=0, max_value=6)
balances = st.builds(Balance, st.none() | small, small, small, small, st.just(PLAIN))
paths = st.lists(balances, max_size=4).map(
    lambda found: [(f"account-{number}", balance) for number, balance in enumerate(found)]
)


def test_free_is_the_cap_less_everything_spent_presumed_and_held() -> None:
    assert Balance(10, 1, 2, 3).free == 4
    assert Balance(10, 11).free == -1
    assert Balance(None, 11).free is None


def test_an_account_id_names_its_kind_and_what_it_belongs_to() -> None:
    assert session_account("s", "acme", "search") == (
        "session/s", "session", "s", "", "acme", "search", ""
    )  # fmt: skip
    assert envelope_account("s", "a").id == "envelope/s/a"
    assert run_account("s", "a", "ff").id == "run/ff"


@pytest.mark.parametrize("path_length", [1, 2])
def test_a_hold_is_granted_if_and_only_if_it_is_free_everywhere(path_length: int) -> None:
    """Rules 1 and 5, by trying every balance of small numbers."""
    every = [Balance(c, s, p, h) for c, s, p, h in product((None, 2), range(3), (0, 1), range(3))]
    for found, amount in product(product(every, repeat=path_length), range(4)):
        path = [(f"account-{number}", balance) for number, balance in enumerate(found)]
        frees = [b.free for b in found if b.free is not None]
        answer = admit(path, amount)
        if all(amount <= free for free in frees):
            assert answer == Grant(amount)
        else:
            _assert_denied_rightly(answer, path, amount)


def _assert_denied_rightly(answer: object, path: list[tuple[str, Balance]], least: int) -> None:
    assert isinstance(answer, Denial)
    assert answer.requested == least
    exhausted = [n for n, b in path if b.cap is not None and least > b.cap - b.spent - b.presumed]
    busy = [n for n, b in path if b.free is not None and least > b.free]
    if exhausted:
        assert (answer.reason, answer.account) == ("exhausted", exhausted[0])
    else:
        assert (answer.reason, answer.account) == ("busy", busy[0])
    assert answer.balance == dict(path)[answer.account]


@given(paths, small, small)
def test_a_floor_grants_as_much_as_is_free_and_never_less_than_the_floor(
    path: list[tuple[str, Balance]], amount: int, floor: int
) -> None:
    answer = admit(path, amount, floor)
    least = min(floor, amount)
    room = min([amount, *(b.free for _, b in path if b.free is not None)])
    if room >= least:
        assert answer == Grant(room)
    else:
        _assert_denied_rightly(answer, path, least)


@given(paths, small, st.sets(st.sampled_from([f"account-{number}" for number in range(4)])))
def test_a_lenient_account_never_refuses_and_says_so(
    path: list[tuple[str, Balance]], amount: int, lenient: set[str]
) -> None:
    answer = admit(path, amount, lenient=lenient)
    strict = admit([(name, b) for name, b in path if name not in lenient], amount)
    if isinstance(strict, Denial):
        assert answer == strict
        return
    over = [n for n, b in path if n in lenient and b.free is not None and amount > b.free]
    assert answer == Grant(amount, tuple(over))


def test_a_hold_without_accounts_is_granted() -> None:
    assert admit([], 10**18) == Grant(10**18)


def test_an_exhausted_account_further_in_outweighs_a_busy_one_further_out() -> None:
    path = [("session", Balance(10, 0, 0, 10)), ("envelope", Balance(1, 1))]
    assert admit(path, 1) == Denial("envelope", "exhausted", 1, Balance(1, 1))


def test_an_overrun_account_refuses_even_a_hold_of_nothing() -> None:
    answer = admit([("session", Balance(5, 6))], 0)
    assert isinstance(answer, Denial)
    assert answer.reason == "exhausted"


@pytest.mark.parametrize("amount", range(-1, 8))
def test_a_transfer_conserves_the_caps_and_takes_only_free_money(amount: int) -> None:
    """Rule 8, by trying every balance of small numbers."""
    sources = [
        Balance(cap, spent, presumed, held, Terms(reserved=reserved))
        for cap, (spent, presumed, held, reserved) in product(
            (None, 0, 3, 7), product(range(3), (0, 2), range(3), (0, 1))
        )
    ]
    done = 0
    for source, target in product(sources, (Balance(), Balance(0), Balance(3, 5, 1, 1))):
        moved = rules.transfer(source, target, amount)
        if source.free is None or not 0 <= amount <= source.free or target.cap is None:
            assert isinstance(moved, str)
            assert moved
            continue
        assert isinstance(moved, tuple)
        _assert_moved(source, target, amount, moved)
        done += 1
    assert (done > 0) == (0 <= amount <= 7)


def _assert_moved(
    source: Balance, target: Balance, amount: int, moved: tuple[Balance, Balance]
) -> None:
    giver, taker = moved
    assert source.cap is not None
    assert target.cap is not None
    assert (giver.cap, taker.cap) == (source.cap - amount, target.cap + amount)
    assert giver[1:] == source[1:]
    assert taker[1:] == target[1:]
    assert giver.free is not None
    assert giver.free >= 0


SESSION, ENVELOPE = "session/s", "envelope/s/a"


def test_a_reserved_envelope_keeps_what_is_free_in_it_until_it_is_released() -> None:
    session, envelope = Balance(100, 10), Balance(60, 5, held=15)
    first = rules.reserve((SESSION, session), (ENVELOPE, envelope))
    assert not isinstance(first, Denial)
    assert (first[0].free, first[0].terms.reserved, first[1].terms.standing) == (50, 40, 1)
    second = rules.reserve((SESSION, first[0]), (ENVELOPE, first[1]))
    assert not isinstance(second, Denial)
    assert (second[0], second[1].terms.standing) == (first[0], 2)
    once = rules.release((SESSION, second[0]), (ENVELOPE, second[1]))
    assert once == first
    assert rules.release((SESSION, once[0]), (ENVELOPE, once[1])) == (session, envelope)


def test_a_reservation_is_refused_like_a_hold_of_all_that_is_free_in_the_envelope() -> None:
    for session, reason in ((Balance(100, 41), "exhausted"), (Balance(100, held=41), "busy")):
        refused = rules.reserve((SESSION, session), (ENVELOPE, Balance(60)))
        assert refused == Denial(SESSION, reason, 60, session)  # type: ignore[arg-type]
    overrun = rules.reserve((SESSION, Balance(100, 100)), (ENVELOPE, Balance(60, 70)))
    assert not isinstance(overrun, Denial), "an envelope without money reserves none"


def test_a_lenient_account_that_has_what_is_granted_in_part_refused_nothing() -> None:
    path = [("session/s", Balance(4)), ("run/r", Balance(6)), ("envelope/s/a", Balance(3))]
    answer = admit(path, 10, 2, lenient=("run/r", "envelope/s/a"))
    assert answer == Grant(4, ("envelope/s/a",))


@given(st.integers(1, 50), st.lists(st.integers(0, 20), max_size=8), st.sets(st.integers(1, 10)))
def test_each_mark_is_crossed_once_whatever_the_steps(
    cap: int, costs: list[int], tenths: set[int]
) -> None:
    """Rule 9: after the same money the same marks are crossed, by few steps or by many."""
    marks = tuple(sorted(tenth * 100_000 for tenth in tenths))
    balance = Balance(cap, terms=rules.warning(cap, marks))
    crossed: list[Crossing] = []
    for cost in costs:
        before = balance
        (balance,), found = rules.conclude([("session/s", before)], [rules.book(before, cost, 0)])
        assert rules.is_plain(rules.book(before, cost, 0)) == (not found)
        assert all(crossing.used == balance.spent for crossing in found)
        crossed += found
    reached = [mark for mark in marks if sum(costs) * 1_000_000 >= cap * mark]
    assert [crossing.mark for crossing in crossed] == reached


class OneAccount(RuleBasedStateMachine):
    """Holds come and end in any order; the balance is kept beside lists of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance(20)
        self.held: list[int] = []
        self.presumed: list[int] = []
        self.costs: list[int] = []

    @rule(amount=small)
    def hold(self, amount: int) -> None:
        free = self.balance.free
        assert free is not None
        answer = admit([("it", self.balance)], amount)
        assert isinstance(answer, Grant) == (amount <= free)
        if isinstance(answer, Grant):
            self.balance = rules.hold(self.balance, answer.amount)
            self.held.append(answer.amount)

    @precondition(lambda self: self.held)
    @rule(cost=st.integers(min_value=0, max_value=9))
    def settle(self, cost: int) -> None:
        """Rule 2: the truth posts, also above the hold."""
        spent = self.balance.spent
        self.balance = rules.settle(self.balance, self.held.pop(), cost)
        self.costs.append(cost)
        assert self.balance.spent == spent + cost

    @precondition(lambda self: self.held)
    @rule()
    def lapse(self) -> None:
        """Rule 3: nothing expires for free, so what is free stays as it was."""
        free = self.balance.free
        amount = self.held.pop()
        self.balance = rules.lapse(self.balance, amount)
        self.presumed.append(amount)
        assert self.balance.free == free

    @precondition(lambda self: self.presumed)
    @rule(cost=small)
    def adjust(self, cost: int) -> None:
        """Rule 3: late truth brings the true cost in and takes the presumption away."""
        self.balance = rules.adjust(self.balance, self.presumed.pop(0), cost)
        self.costs.append(cost)

    @invariant()
    def is_the_sum_of_what_happened(self) -> None:
        """Rule 7."""
        assert self.balance == Balance(20, sum(self.costs), sum(self.presumed), sum(self.held))


TestOneAccount = OneAccount.TestCase
