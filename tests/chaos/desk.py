"""What tasks and threads of a worker have in common: sending, receiving, and what follows a call.

Nothing here waits, so that both differ only in their outermost lines.
"""

import itertools
import os
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple, TypeVar

import httpx

from spendtree import BudgetExceededError, Session, Spendtree, Warning
from spendtree.account import Grant
from spendtree.call import Call, CallOptions
from spendtree.errors import TransferError
from spendtree.event import Event, Kind, Request
from spendtree.money import to_pico
from spendtree.store.locks import StoreBusyError
from spendtree.testing import ProviderError
from tests.chaos.plan import HAND_ROLES, ROLES, Kill, Order
from tests.chaos.provider import Provider, answer

Result = TypeVar("Result")


class Hiccup(Exception):
    """The program fails by itself, with the answer in its hands."""


FAILURES = (BudgetExceededError, ProviderError, httpx.HTTPError, OSError, Hiccup)
"""What a call may end with, a TimeoutError included; anything else is a finding."""

BEFORE = {
    "refused": ConnectionRefusedError("nobody listens"),
    "connect_timeout": httpx.ConnectTimeout("no connection"),
}
"""Failures of requests that never arrive."""

STATUS = {"400": 400, "429": 429, "529": 529, "500_unbilled": 500, "500_billed": 500}
FREE = frozenset(STATUS) - {"500_billed"}
AFTER = {
    **{fault: ProviderError(status) for fault, status in STATUS.items()},
    "read_timeout": httpx.ReadTimeout("no answer"),
    "cut_off": httpx.RemoteProtocolError("the stream broke off"),
    "too_slow": TimeoutError("no answer in time"),
    "answer_then_fail": Hiccup("could not read the answer"),
}
"""Failures of requests that have arrived."""


class Sent(NamedTuple):
    """A request that has arrived: what it is charged, and the output that it got."""

    id: bytes
    pico: int
    output_tokens: int


class Desk:
    """One worker's shift: its session, its provider, its steps, and what it has to report."""

    def __init__(
        self,
        tracker: Spendtree,
        session: Session,
        provider: Provider,
        worker: int,
        kill: Kill | None,
        tell: Callable[[], None],
    ) -> None:
        self.tracker = tracker
        self.session = session
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []
        self._provider = provider
        self._worker = worker
        self._kill = kill
        self._tell = tell
        self._telling = threading.Lock()
        self._steps = itertools.count(1)

    def step(self) -> None:
        """Pass a point at which the process may be killed, or soon after it by its parent."""
        if self._kill is None:
            return
        if self._kill.by_itself:
            if next(self._steps) == self._kill.step:
                os.kill(os.getpid(), signal.SIGKILL)
        else:
            with self._telling:
                self._tell()

    def refused(self, error: BudgetExceededError) -> None:
        """Note that there was not money enough."""
        self.outcomes[f"{error.reason} at {error.kind}"] += 1

    def failed(self, error: BaseException) -> None:
        """Note how a call failed; what no provider does is a finding."""
        if isinstance(error, BudgetExceededError):
            self.refused(error)
        elif isinstance(error, FAILURES):
            self.outcomes[type(error).__name__] += 1
        else:
            self.problems.append("".join(traceback.format_exception(error)))

    def options(self, order: Order) -> CallOptions:
        """Return what a call is made with."""
        return {
            "input_tokens": order.input_tokens,
            "max_output_tokens": order.max_output_tokens,
            "optional": order.optional,
        }

    def send(self, call: Call, order: Order, role: str) -> Sent:
        """Dispatch a request; raises where it never arrives."""
        self.step()
        error = BEFORE.get(order.fault)
        if error is not None:
            raise error
        limit = call.max_output_tokens
        assert limit is not None
        output = int(limit * order.used)
        tokens = 0 if order.fault in FREE else order.input_tokens + output
        role_number = ROLES.index(role)
        pico = self._provider.arrived(call.id, self._worker, role_number, call.model, tokens)
        self.step()
        return Sent(bytes.fromhex(call.id), pico, output)

    def receive(self, call: Call, order: Order, sent: Sent) -> None:
        """Take the answer, or the failure."""
        self.step()
        if order.fault.startswith("answer") or order.fault == "no_usage":
            stated = None if order.fault == "no_usage" else sent.output_tokens
            call.record(answer(call.model, order.input_tokens, stated))
        error = AFTER.get(order.fault)
        if error is not None:
            raise error
        if order.fault == "answer_twice":
            self._settle_early(call, sent)
        self.step()

    def follow(self, order: Order, sent: Sent | None, chance: float) -> None:
        """Do what follows a call that has ended."""
        self.step()
        if order.later == "transfer":
            self._transfer(chance)
        elif order.later == "stranger":
            found = self._provider.some_request(chance)
            if found is not None:
                self._again(found.id, found.pico)
        elif order.later and sent is not None:
            self._again(sent.id, sent.pico if order.later == "late_truth" else None)

    def _settle_early(self, call: Call, sent: Sent) -> None:
        """Deliver the settlement twice: here, and when the call is left."""
        request = Request(call.provider, call.model)
        at = self.tracker.clock() // 1000
        event = Event(
            0, Kind.CALL, at, sent.id, call.context, request, sent.pico, status="ok", started=at
        )
        settlement = patiently(lambda: self.tracker.store.settle(sent.id, sent.pico, event))
        held = to_pico(call.held, what="held")
        assert (settlement.kind, settlement.held) == (Kind.CALL, held), settlement

    def _again(self, id: bytes, truth: int | None) -> None:
        """Repeat what is on record of a call; `truth` also resolves what it presumes."""
        store = self.tracker.store
        for kind in (Kind.CALL, Kind.LAPSE):
            ended = store.find(id, kind)
            if ended is None:
                continue
            context, request = ended.context, ended.request
            hold = partial(store.hold, context=context, request=request, at=ended.started)
            grant = patiently(partial(hold, id, context.path, ended.held))
            assert grant == Grant(ended.held), grant
            if kind == Kind.CALL:
                settlement = patiently(partial(store.settle, id, ended.cost, ended))
                assert settlement.cost == ended.cost, settlement
            elif truth is None:
                assert patiently(partial(store.lapse, id, ended)).held == ended.held
            else:
                late = ended._replace(kind=Kind.CALL, cost=truth, status="ok")
                settlement = patiently(partial(store.settle, id, truth, late))
                assert settlement.kind == Kind.ADJUSTMENT, settlement
            self.outcomes["repeated"] += 1

    def _transfer(self, chance: float) -> None:
        source, target = HAND_ROLES[int(chance * 4)], HAND_ROLES[int(chance * 16) % 4]
        try:
            amount = f"{chance * 0.05:.4f}"
            patiently(lambda: self.session.transfer(source, target, amount, "chaos"))
        except TransferError:
            self.outcomes["transfer refused"] += 1
        else:
            self.outcomes["transfer"] += 1


def patiently(verb: Callable[[], Result]) -> Result:
    """Run a verb of the store again while others have the file: in a loop it waits for nobody."""
    deadline = monotonic() + 10
    while True:
        try:
            return verb()
        except StoreBusyError:
            if monotonic() > deadline:
                raise


Told = list[tuple[str, str]]


def teller(told: Told) -> Callable[[Warning], None]:
    """Return a handler that writes down the account and the mark of each warning."""
    return lambda warning: told.append((warning.account, str(warning.mark)))
