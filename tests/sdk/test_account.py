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
    Denial,
    Grant,
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


@given(balances, balances, st.integers(min_value=-3, max_value=8))
def test_a_transfer_conserves_the_caps_and_takes_only_free_money(
    source: Balance, target: Balance, amount: int
) -> None:
    """Rule 8."""
    moved = rules.transfer(source, target, amount)
    takes_free = source.free is not None and 0 <= amount <= source.free
    if not takes_free or target.cap is None:
        assert isinstance(moved, str)
        assert moved
        return
    assert isinstance(moved, tuple)
    giver, taker = moved
    assert source.cap is not None
    assert (giver.cap, taker.cap) == (source.cap - amount, target.cap + amount)
    assert giver[1:] == source[1:]
    assert taker[1:] == target[1:]
    assert giver.free is not None
    assert giver.free >= 0


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
