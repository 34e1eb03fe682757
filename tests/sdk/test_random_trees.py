"""300 sessions of random trees, by tasks, threads and processes at once, on one file.

Each process keeps its own record of who should have spent what: plain dicts that know nothing of
the library but the ids it gave. Then calls, sessions, accounts, events and series are compared
with the records, to the pico-dollar.
"""

import asyncio
import json
import multiprocessing
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal

import pytest

import spendtree
from spendtree import Agent, BudgetExceededError, Scope, Session, Spendtree, Usage
from spendtree.event import Event, Kind
from spendtree.metrics import Fold, family
from spendtree.store.protocol import START
from spendtree.testing import ProviderError, assert_books_balance
from spendtree.tree import Node, build

SESSIONS = 300
PROCESSES = 4
DEPTH = 5
FAN_OUT = 6
RUNS_MAX = 30
TIGHT_CEILING = "0.02"

PRICES = {
    # model: input, output, cache_read in pico-dollars per token
    "large": (3_000_000, 15_000_000, 300_000),
    "small": (150_000, 600_000, 75_000),
    "odd": (333_333, 1_234_567, 1),
}
CONFIG: dict[str, Any] = {
    "prices": {
        model: {"web_search_usd": "0"}
        | {
            f"{name}_usd_per_mtok": f"{pico // 10**6}.{pico % 10**6:06d}"
            for name, pico in zip(("input", "output", "cache_read"), prices, strict=True)
        }
        for model, prices in PRICES.items()
    }
}

# What is going to happen: plans, made of a seed.


@dataclass(frozen=True)
class PlannedCall:
    """One call: its bound, what it will have used, and how it ends."""

    model: str
    bound: tuple[int, int]
    used: tuple[int, int, int]
    ending: Literal["ok", "refused", "unmetered"]

    @property
    def searches(self) -> int:
        """Return how often it searched the web, which few calls do and which is free here."""
        return max(self.used[1] % 10 - 7, 0) if self.ending == "ok" else 0

    @property
    def cost(self) -> int:
        """Return the true cost by our own arithmetic."""
        used = zip(self.used, PRICES[self.model], strict=True)
        return sum(tokens * price for tokens, price in used) if self.ending == "ok" else 0

    @property
    def presumed(self) -> int:
        """Return what is presumed where nothing tells the usage: the dearest that was possible."""
        if self.ending != "unmetered":
            return 0
        return sum(t * p for t, p in zip(self.bound, PRICES[self.model][:2], strict=True))


@dataclass(frozen=True)
class PlannedRun:
    agent: str
    task_id: str
    max_cost: bool
    fails: bool
    calls: list[PlannedCall]
    children: list["PlannedRun"]


@dataclass(frozen=True)
class PlannedSession:
    """A session: calls and runs outside any cycle, then in each of its cycles."""

    id: str
    customer: str
    team: str
    tight: bool
    attempts: list[tuple[list[PlannedCall], list[PlannedRun]]]


def plan(number: int) -> PlannedSession:
    """Return the plan of one session, the same in whatever process."""
    chance = random.Random(number)
    room = [RUNS_MAX]

    def runs(depth: int) -> list[PlannedRun]:
        count = min(chance.randint(depth == 1, FAN_OUT), room[0]) if depth <= DEPTH else 0
        room[0] -= count
        return [
            PlannedRun(
                agent=f"{'coordinator' if depth == 1 else 'worker'}-{chance.randrange(4)}",
                task_id=chance.choice(["", f"t-{chance.randrange(9)}"]),
                max_cost=chance.random() < 0.2,
                fails=chance.random() < 0.1,
                calls=calls(chance.randrange(4)),
                children=runs(depth + 1),
            )
            for _ in range(count)
        ]

    def calls(count: int) -> list[PlannedCall]:
        return [one_call(chance) for _ in range(count)]

    return PlannedSession(
        id=f"s-{number}",
        customer=f"customer-{number % 5}",
        team=f"team-{number % 3}",
        tight=number % 10 == 0,
        attempts=[
            (calls(chance.randrange(3)), runs(1)) for _ in range(chance.choice([1, 1, 1, 2, 3]))
        ],
    )


def one_call(chance: random.Random) -> PlannedCall:
    bound = (chance.randint(200, 2000), chance.randint(1, 300))
    used_in, used_out = chance.randint(0, bound[0]), chance.randint(0, bound[1])
    cached = chance.randint(0, used_in)
    return PlannedCall(
        chance.choice(list(PRICES)),
        bound,
        (used_in - cached, used_out, cached),
        chance.choices(["ok", "refused", "unmetered"], [20, 1, 1])[0],  # type: ignore[arg-type]
    )


# Doing it, and keeping the record.


@dataclass
class Record:
    """What one process says that it did. Dicts are filled by many threads, a key by one."""

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)

    def add(self, other: dict[str, Any]) -> None:
        assert not self.calls.keys() & other["calls"].keys()
        assert not self.runs.keys() & other["runs"].keys()
        self.calls |= other["calls"]
        self.runs |= other["runs"]
        self.denied += other["denied"]


@dataclass(frozen=True)
class Place:
    """Where in a tree something happens, as the walk itself knows it."""

    session: str
    customer: str
    team: str
    cycle: int
    agent: str = ""
    run: str = ""
    parent: str = ""
    level: int = 0
    task_id: str = ""
    charged: tuple[str, ...] = ()

    def below(self, run: PlannedRun, id: str, envelope: bool) -> "Place":
        """Return the place inside a run that was spawned here."""
        inherited = [name for name in self.charged if not name.startswith("envelope/")]
        if envelope:
            inherited.append(f"envelope/{self.session}/{run.agent}")
        if run.max_cost:
            inherited.append(f"run/{id}")
        return Place(
            session=self.session,
            customer=self.customer,
            team=self.team,
            cycle=self.cycle,
            agent=run.agent,
            run=id,
            parent=self.run,
            level=self.level + 1,
            task_id=run.task_id or self.task_id,
            charged=tuple(inherited),
        )

    def facts(self) -> dict[str, Any]:
        return {**vars(self), "charged": list(self.charged)}


class PlannedFailureError(Exception):
    """A run that fails because the plan says so."""


class Walk:
    """Does what plans say, and records it."""

    def __init__(self, tracker: Spendtree) -> None:
        self.tracker = tracker
        self.record = Record()

    def open_session(self, planned: PlannedSession) -> tuple[Session, Place]:
        ceiling = TIGHT_CEILING if planned.tight else "100" if len(planned.attempts) > 1 else None
        session = self.tracker.session(
            planned.id, customer=planned.customer, team=planned.team, ceiling=ceiling
        )
        charged = (f"session/{planned.id}",)
        return session, Place(planned.id, planned.customer, planned.team, 1, charged=charged)

    def open_run(self, planned: PlannedRun, parent: Scope | None) -> Agent:
        make = self.tracker.agent if parent is None else parent.agent
        return make(
            planned.agent,
            task_id=planned.task_id,
            envelope="50" if _has_envelope(planned.agent) else None,
            max_cost="50" if planned.max_cost else None,
        )

    def opened(self, planned: PlannedRun, run: Agent, above: Place) -> Place:
        place = above.below(planned, run.id, _has_envelope(planned.agent))
        self.record.runs[run.id] = {**place.facts(), "fails": planned.fails}
        return place

    def called(self, planned: PlannedCall, id: str, place: Place) -> None:
        self.record.calls[id] = {
            **place.facts(),
            "model": planned.model,
            "used": planned.used if planned.ending == "ok" else [0, 0, 0],
            "searches": planned.searches,
            "cost": planned.cost,
            "presumed": planned.presumed,
            "ending": planned.ending,
        }

    # By tasks.

    async def session_by_tasks(self, planned: PlannedSession) -> None:
        session, place = self.open_session(planned)
        async with session:
            for number, (calls, runs) in enumerate(planned.attempts, 1):
                if len(planned.attempts) == 1:
                    await self.level_by_tasks(calls, runs, place)
                    continue
                async with session.cycle():
                    await self.level_by_tasks(calls, runs, _in_cycle(place, number))

    async def level_by_tasks(
        self, calls: list[PlannedCall], runs: list[PlannedRun], place: Place
    ) -> None:
        branches = [self.run_by_tasks(run, place) for run in runs]
        own = [self.call_by_task(call, place) for call in calls]
        for result in await spendtree.gather(*branches, *own):
            _expected(result)

    async def run_by_tasks(self, planned: PlannedRun, above: Place) -> None:
        run = self.open_run(planned, None)
        try:
            await run.__aenter__()
        except BudgetExceededError:
            self.record.denied.append(above.session)
            return
        error = PlannedFailureError() if planned.fails else None
        try:
            place = self.opened(planned, run, above)
            await self.level_by_tasks(planned.calls, planned.children, place)
        finally:
            await run.__aexit__(type(error) if error else None, error, None)

    async def call_by_task(self, planned: PlannedCall, place: Place) -> None:
        call = self.tracker.call(
            planned.model, input_tokens=planned.bound[0], max_output_tokens=planned.bound[1]
        )
        try:
            async with call:
                self.called(planned, call.id, place)
                await asyncio.sleep(0)
                _answer(call, planned)
        except BudgetExceededError:
            self.record.denied.append(place.session)
        except ProviderError:
            pass

    # By threads.

    def session_by_threads(self, planned: PlannedSession) -> None:
        session, place = self.open_session(planned)
        with session:
            for number, (calls, runs) in enumerate(planned.attempts, 1):
                if len(planned.attempts) == 1:
                    self.level_by_threads(calls, runs, session, place)
                    continue
                with session.cycle() as cycle:
                    self.level_by_threads(calls, runs, cycle, _in_cycle(place, number))

    def level_by_threads(
        self, calls: list[PlannedCall], runs: list[PlannedRun], scope: Scope, place: Place
    ) -> None:
        errors: list[BaseException] = []

        def branch(run: PlannedRun) -> None:
            try:
                self.run_by_threads(run, place)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=scope.bind(branch), args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for call in calls:
            self.call_by_thread(call, scope, place)
        for thread in threads:
            thread.join()
        for error in errors:
            _expected(error)

    def run_by_threads(self, planned: PlannedRun, above: Place) -> None:
        try:
            with self.open_run(planned, None) as run:
                place = self.opened(planned, run, above)
                self.level_by_threads(planned.calls, planned.children, run, place)
                if planned.fails:
                    raise PlannedFailureError
        except BudgetExceededError:
            self.record.denied.append(above.session)

    def call_by_thread(self, planned: PlannedCall, scope: Scope, place: Place) -> None:
        call = scope.call(
            planned.model, input_tokens=planned.bound[0], max_output_tokens=planned.bound[1]
        )
        try:
            with call:
                self.called(planned, call.id, place)
                _answer(call, planned)
        except BudgetExceededError:
            self.record.denied.append(place.session)
        except ProviderError:
            pass

    def sessions(self, numbers: Iterable[int]) -> None:
        """Run sessions: the even ones by threads, the odd ones by tasks side by side."""
        plans = [plan(number) for number in numbers]

        async def by_tasks() -> None:
            async with asyncio.TaskGroup() as group:
                for planned in plans[1::2]:
                    group.create_task(self.session_by_tasks(planned))

        loop = threading.Thread(target=asyncio.run, args=(by_tasks(),))
        loop.start()
        for planned in plans[::2]:
            self.session_by_threads(planned)
        loop.join()


def _has_envelope(agent: str) -> bool:
    return agent.endswith(("1", "3"))


def _in_cycle(place: Place, number: int) -> Place:
    return Place(place.session, place.customer, place.team, number, charged=place.charged)


def _answer(call: spendtree.Call, planned: PlannedCall) -> None:
    if planned.ending == "refused":
        raise ProviderError(429)
    if planned.ending == "ok":
        fresh, output, cached = planned.used
        call.record(Usage(fresh, output, cached, units={"web_search": planned.searches}))


def _expected(result: Any) -> None:
    if isinstance(result, BaseException) and not isinstance(result, PlannedFailureError):
        raise result


# The processes.


def work(url: str, pipe: Connection, used: Spendtree | None) -> None:
    """Serve shares of sessions until there are no more, by an own tracker or the parent's."""
    walk = Walk(used or Spendtree(url, CONFIG))
    pipe.send("ready")
    for numbers in iter(pipe.recv, []):
        walk.sessions(numbers)
        pipe.send("done")
    pipe.send(vars(walk.record))
    walk.tracker.close()


def run_processes(
    url: str, starts: list[tuple[str, Spendtree | None]], shares: list[list[list[int]]]
) -> Iterator[dict[str, Any]]:
    """Start a process for each share, by spawn or fork, let them work at once, yield records."""
    pipes, running = [], []
    for method, used in starts:
        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(url, theirs, used), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        running.append(process)
    for pipe in pipes:
        assert pipe.recv() == "ready"
    for turn in zip(*shares, strict=True):
        for pipe, numbers in zip(pipes, turn, strict=True):
            pipe.send(numbers)
        for pipe in pipes:
            assert pipe.recv() == "done"
    for pipe, process in zip(pipes, running, strict=True):
        pipe.send([])
        yield pipe.recv()
        process.join(60)
        assert process.exitcode == 0
        pipe.close()


@dataclass
class Ran:
    """What is left when all is done: the store, and what everybody says that they did."""

    tracker: Spendtree
    record: Record
    events: list[Event]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    url = f"sqlite:///{tmp_path_factory.mktemp('trees')}/spend.db"
    tracker = Spendtree(url, CONFIG)
    parent = Walk(tracker)
    numbers = list(range(SESSIONS))
    parent.sessions(numbers[:20])

    # Four processes: two of their own, two forked from this one, which has used the store.
    shares = [[numbers[20 + i : 180 : PROCESSES]] for i in range(PROCESSES)]
    starts: list[tuple[str, Spendtree | None]] = [("spawn", None), ("fork", tracker)] * 2
    for record in run_processes(url, starts, shares):
        parent.record.add(record)

    # A preloaded server: the parent has the store open, its forked workers serve requests.
    served = numbers[180:]
    shares = [[served[i : i + 30][turn::5] for turn in range(5)] for i in range(0, 120, 30)]
    for record in run_processes(url, [("fork", tracker)] * PROCESSES, shares):
        parent.record.add(record)

    yield Ran(tracker, parent.record, list(tracker.store.events()))
    tracker.close()


# What must be true.


def test_the_plans_are_as_wild_as_they_should_be() -> None:
    depths, fans, kinds = Counter[int](), Counter[int](), Counter[str]()

    def look(run: PlannedRun, depth: int) -> None:
        depths[depth] += 1
        fans[len(run.children)] += 1
        kinds.update(call.ending for call in run.calls)
        for child in run.children:
            look(child, depth + 1)

    for number in range(SESSIONS):
        for _, runs in plan(number).attempts:
            for run in runs:
                look(run, 1)
    assert set(depths) == set(range(1, DEPTH + 1))
    assert max(fans) == FAN_OUT
    assert min(kinds.values()) > 100


def test_every_call_is_in_the_log_once_under_the_right_agent_and_at_its_true_cost(
    ran: Ran,
) -> None:
    logged = {e.id.hex(): e for e in ran.events if e.kind in (Kind.CALL, Kind.LAPSE)}
    assert sum(e.kind in (Kind.CALL, Kind.LAPSE) for e in ran.events) == len(logged)
    assert logged.keys() == ran.record.calls.keys()
    assert len(logged) > 3000
    for id, call in ran.record.calls.items():
        event = logged[id]
        context = event.context._asdict()
        path = context.pop("path")
        assert {key: call[key] for key in context if key != "origin"} == {
            key: value for key, value in context.items() if key != "origin"
        }
        assert sorted(path) == sorted(call["charged"])
        fresh, output, cached = call["used"]
        units = {"web_search": call["searches"]}
        assert event.usage == Usage(fresh, output, cached, units=units)
        assert event.marks == ()
        assert (event.request.model, event.cost) == (call["model"], call["cost"])
        status = {"ok": "ok", "refused": "failed", "unmetered": "unmetered"}[call["ending"]]
        assert event.status == status
        assert event.kind != Kind.LAPSE or event.held == call["presumed"]


def test_every_run_is_in_the_log_once_with_its_parent_and_its_own_sum(ran: Ran) -> None:
    opened = [event for event in ran.events if event.kind == Kind.RUN_OPENED]
    closed = {e.context.run: e for e in ran.events if e.kind == Kind.RUN_CLOSED}
    own = sums_by(ran.record, lambda call: call["run"])
    assert len(opened) == len(ran.record.runs)
    assert closed.keys() == ran.record.runs.keys()
    for event in opened:
        run, end = ran.record.runs[event.context.run], closed[event.context.run]
        assert (event.context.parent, event.context.level) == (run["parent"], run["level"])
        assert (event.context.agent, event.context.cycle) == (run["agent"], run["cycle"])
        assert end.cost == own[event.context.run]
        assert end.status == ("failed" if run["fails"] else "succeeded")


def sums_by(record: Record, key: Callable[[dict[str, Any]], Any], what: str = "cost") -> Any:
    sums: defaultdict[Any, int] = defaultdict(int)
    for call in record.calls.values():
        sums[key(call)] += call[what]
    return sums


def test_the_totals_of_the_store_and_the_ends_of_sessions_are_the_sums_of_the_records(
    ran: Ran,
) -> None:
    spent = sums_by(ran.record, lambda call: (call["session"], call["run"], call["cycle"]))
    presumed = sums_by(ran.record, lambda c: (c["session"], c["run"], c["cycle"]), "presumed")
    rows = {
        (row.context.session, row.context.run, row.context.cycle): row
        for row in ran.tracker.store.totals()
    }
    assert {key: row.cost for key, row in rows.items()} == dict(spent)
    assert {key: row.presumed for key, row in rows.items()} == dict(presumed)
    searches = sums_by(ran.record, lambda c: (c["session"], c["run"], c["cycle"]), "searches")
    assert {key: row.units.get("web_search", 0) for key, row in rows.items()} == dict(searches)
    assert sum(searches.values()) > 100
    assert sum(row.calls for row in rows.values()) == len(ran.record.calls)
    by_session = sums_by(ran.record, lambda call: call["session"])
    ends = [event for event in ran.events if event.kind == Kind.SESSION_CLOSED]
    assert len(ends) == SESSIONS
    assert {end.context.session: end.cost for end in ends} == {
        f"s-{number}": by_session[f"s-{number}"] for number in range(SESSIONS)
    }


def test_the_cost_tree_of_every_session_is_the_tree_that_was_walked(ran: Ran) -> None:
    own = sums_by(ran.record, lambda call: call["run"])
    by_session = sums_by(ran.record, lambda call: call["session"])
    seen = set()

    def look(node: Node, parent: str, level: int) -> int:
        if not node.own.calls and node.run not in ran.record.runs:
            return 0  # a run that was refused at its start
        run = ran.record.runs[node.run]
        seen.add(node.run)
        assert (run["parent"], run["level"], run["agent"]) == (parent, level, node.agent)
        assert (run["cycle"], run["task_id"]) == (node.cycle, node.task_id)
        assert node.own.cost == own[node.run]
        below = sum(look(child, node.run, level + 1) for child in node.children)
        assert node.subtree.cost == node.own.cost + below
        return node.subtree.cost

    for number in range(SESSIONS):
        tree = build(ran.tracker.store.events(session=f"s-{number}"))
        spent = tree.own.cost + sum(look(root, "", 1) for root in tree.roots)
        assert tree.totals.cost == spent == by_session[tree.session]
    assert seen == set(ran.record.runs)


def test_every_account_is_the_sum_of_what_was_charged_to_it_and_no_cap_was_passed(
    ran: Ran,
) -> None:
    spent: defaultdict[str, int] = defaultdict(int)
    presumed: defaultdict[str, int] = defaultdict(int)
    for call in ran.record.calls.values():
        for account in call["charged"]:
            spent[account] += call["cost"]
            presumed[account] += call["presumed"]
    kinds = Counter[str]()
    for account, balance in ran.tracker.store.accounts():
        kinds[account.kind] += 1
        assert (balance.spent, balance.presumed, balance.held) == (
            spent.pop(account.id, 0),
            presumed.pop(account.id, 0),
            0,
        )
        assert balance.free is None or balance.free >= 0
    assert not spent
    assert kinds["session"] == SESSIONS
    assert kinds.keys() == {"session", "envelope", "run"}
    assert ran.tracker.store.open_holds() == 0
    assert_books_balance(ran.tracker)


def test_tight_sessions_were_refused_some_and_each_refusal_is_in_the_log_once(ran: Ran) -> None:
    denied = Counter(event.context.session for event in ran.events if event.kind == Kind.DENIED)
    assert denied == Counter(ran.record.denied)
    assert denied.total() > 50
    assert all(plan(int(session.removeprefix("s-"))).tight for session in denied)


def test_the_series_are_the_sums_of_the_records(ran: Ran) -> None:
    fold = Fold(ran.tracker.store.id)
    cursor, more = START, True
    while more:
        page, cursor, more = ran.tracker.store.read(cursor, 1000)
        fold.apply(page)

    def series(name: str, *labels: str) -> dict[Any, int]:
        found: defaultdict[Any, int] = defaultdict(int)
        places = [family(name).labels.index(label) for label in labels]
        for values, one in fold.rows(name).items():
            found[tuple(values[place] for place in places)] += one.value
        return {key: value for key, value in found.items() if value}

    def recorded(what: str, *labels: str) -> dict[Any, int]:
        def key(call: dict[str, Any]) -> tuple[str, ...]:
            named = {**call, "routing_cycle": call["cycle"]}
            named["level"] = min(call["level"], 5) if call["level"] < 5 else "5+"
            return tuple(str(named[label]) for label in labels)

        return {name: sum for name, sum in sums_by(ran.record, key, what).items() if sum}

    for call in ran.record.calls.values():
        call["one"] = 1
        call["tokens"] = sum(call["used"])
    everyone = ("customer", "team", "agent", "level", "model", "routing_cycle")
    assert series("cost_usd_total", *everyone) == recorded("cost", *everyone)
    who = ("session", "agent", "customer", "routing_cycle")
    assert series("session_cost_usd_total", *who) == recorded("cost", *who)
    assert series("session_calls_total", *who) == recorded("one", *who)
    assert series("session_tokens_total", *who) == recorded("tokens", *who)
    callers = ("customer", "agent", "model")
    assert series("calls_total", *callers) == recorded("one", *callers)
    assert series("billed_units_total", *callers) == recorded("searches", *callers)
    assert series("presumed_usd_total", *callers) == recorded("presumed", *callers)
    assert series("sessions_total") == {(): SESSIONS}
    assert series("agent_runs_total") == {(): len(ran.record.runs)}
    in_runs = sum(call["cost"] for call in ran.record.calls.values() if call["run"])
    assert series("agent_run_cost_usd_total") == {(): in_runs}
    assert fold.events == len(ran.events)


def test_the_record_is_plain_data_of_each_process_own() -> None:
    walk = Walk(Spendtree("memory:", CONFIG))
    walk.sessions([1, 2])
    assert json.loads(json.dumps(vars(walk.record)))["calls"].keys() == walk.record.calls.keys()
