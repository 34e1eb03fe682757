"""What applications spend in the end-to-end test: a healthy load, and one in trouble.

They use the public API, with a provider that answers at once. A token costs a tenth of a cent.
"""

import threading
from contextlib import closing, suppress
from typing import Any

import spendtree

PRICES = {"model": {"input_usd_per_mtok": 1000, "output_usd_per_mtok": 1000}}

BUDGET = {"acme": {"budgets_usd": {"month": 1}}}
"""What acme may spend in the load that is in trouble, and does."""

LARGE_BUDGET = {"acme": {"budgets_usd": {"month": 10_000}}}

RUNAWAYS = ("runaway-1", "runaway-2", "runaway-3")

PAUSE_SECONDS = 0.4


class SourceError(Exception):
    """The failure that makes a coordinator route again."""


def config(customers: dict[str, Any]) -> dict[str, Any]:
    """Return the spendtree.yaml of an application, which its exporter reads as well."""
    return {"prices": PRICES, "customers": customers}


def ask(scope: spendtree.Session | spendtree.Agent, tokens: int) -> None:
    """Make a call of so many tokens, a tenth of a cent each."""
    with scope.call("model", input_tokens=tokens, max_output_tokens=0) as call:
        call.record(spendtree.Usage(tokens, 0))


def work(tracker: spendtree.Spendtree, customer: str, team: str, *, failures: int = 0) -> None:
    """Answer a request of a coordinator and a researcher that fails so many times."""
    with tracker.session(customer=customer, team=team) as session:
        for attempt in range(failures + 1):
            with session.cycle() as cycle, cycle.agent("coordinator") as head:
                ask(head, 1)
                with suppress(SourceError), head.agent("researcher") as researcher:
                    ask(researcher, 5)
                    if attempt < failures:
                        raise SourceError


def extract(tracker: spendtree.Spendtree, *, envelope: str) -> None:
    """Answer a request whose extractor makes two calls of 0.4 cents."""
    with (
        tracker.session(customer="initech", team="research") as session,
        session.agent("coordinator") as head,
    ):
        ask(head, 1)
        with (
            suppress(spendtree.EnvelopeExhaustedError),
            head.agent("extractor", envelope=envelope) as extractor,
        ):
            ask(extractor, 4)
            ask(extractor, 4)


def run_away(tracker: spendtree.Spendtree, name: str) -> None:
    """Route again and again in one session, at 6 cents each time."""
    with tracker.session(id=name, customer="globex", team="search", ceiling=1000) as session:
        for _ in range(5):
            with session.cycle() as cycle, cycle.agent("coordinator") as head:
                ask(head, 60)


def spend_budget(tracker: spendtree.Spendtree) -> int:
    """Spend acme's budget in two calls; return how many more requests were refused."""
    with tracker.session(customer="acme") as session:
        ask(session, 500)
        ask(session, 500)
    refused = 0
    for _ in range(3):
        try:
            with tracker.session(customer="acme") as session:
                ask(session, 500)
        except spendtree.BudgetExceededError:
            refused += 1
    return refused


def raise_budget(store: str) -> None:
    """Do what the message about a budget says, and serve acme again."""
    raised = {**config(LARGE_BUDGET), "version": 2}  # newer than what stands
    with (
        closing(spendtree.Spendtree(store, config=raised)) as tracker,
        tracker.session(customer="acme") as session,
    ):
        ask(session, 1)


class Load(threading.Thread):
    """A load that runs beside the test until it is stopped, or fails."""

    def __init__(self, store: str, customers: dict[str, Any]) -> None:
        super().__init__()
        self._tracker = spendtree.Spendtree(store, config=config(customers))
        self._end = threading.Event()
        self.error: BaseException | None = None
        self.rounds = 0

    def run(self) -> None:
        """Make one round after another."""
        try:
            with closing(self._tracker) as tracker:
                self.begin(tracker)
                while not self._end.wait(PAUSE_SECONDS):
                    self.round(tracker)
                    self.rounds += 1
        except BaseException as error:  # told by stop(), in the test's own thread
            self.error = error

    def begin(self, tracker: spendtree.Spendtree) -> None:
        """Do what is done once."""

    def round(self, tracker: spendtree.Spendtree) -> None:
        """Serve some requests."""

    def stop(self) -> None:
        """End after the round under way; raise what ended it before."""
        self._end.set()
        self.join()
        if self.error is not None:
            raise self.error


class Troubled(Load):
    """Sessions that run away, an envelope too small, third routing cycles, a budget too small."""

    def begin(self, tracker: spendtree.Spendtree) -> None:
        """Let three sessions of one customer run away, and acme spend its budget."""
        for name in RUNAWAYS:
            run_away(tracker, name)
        assert spend_budget(tracker) == 3

    def round(self, tracker: spendtree.Spendtree) -> None:
        """Serve six requests."""
        for _ in range(3):
            work(tracker, "umbrella", "support", failures=2)
            extract(tracker, envelope="0.006")


class Healthy(Load):
    """The same customers, agents and amounts, with what goes wrong every day."""

    def begin(self, tracker: spendtree.Spendtree) -> None:
        """Serve each customer once."""
        self.round(tracker)

    def round(self, tracker: spendtree.Spendtree) -> None:
        """Serve eight requests; of twenty, one routes again and one runs out of its envelope."""
        unlucky = self.rounds % 10 == 1
        for number in range(2):
            failures = 1 if unlucky and number == 0 else 0
            work(tracker, "umbrella", "support", failures=failures)
            extract(tracker, envelope="0.006" if failures else "0.02")
            work(tracker, "globex", "search")
            work(tracker, "acme", "search")
