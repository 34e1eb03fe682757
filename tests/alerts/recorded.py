"""Real traces as a load: recorded sessions happen again, with their own timing, only faster.

They are imported from files and written into another store event by event, when their time comes.
No source knows a customer, so sessions are dealt out to three.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from spendtree.account import session_account
from spendtree.config import load_config
from spendtree.event import Event
from spendtree.ingest import import_files
from spendtree.pricing import PriceBook
from spendtree.store import open_store
from spendtree.store.memory import MemoryStore

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"

FILES = ("chatdev_spans", "small_spans", "openai_agents_sdk_spans")

PRICES = {
    # The list prices of the time at which ChatDev was run.
    "gpt-3.5-turbo": {"input_usd_per_mtok": "1.5", "output_usd_per_mtok": 2},
    "gpt-3.5-turbo-16k": {"input_usd_per_mtok": 3, "output_usd_per_mtok": 4},
    "gpt-4": {"input_usd_per_mtok": 30, "output_usd_per_mtok": 60},
}

CUSTOMERS = ("acme", "globex", "initech")

AT_ONCE = 24
LONGEST_PAUSE_US = 300 * 1_000_000
"""Some developers went to lunch, or home: longer pauses in a session are cut to five minutes."""


class Moment(NamedTuple):
    """When an event happens, in microseconds from the beginning, and what it is then."""

    at: int
    event: Event


def moments(divisor: int) -> list[Moment]:
    """Return every recorded event, in the order in which they happen again."""
    sessions: dict[str, list[Event]] = defaultdict(list)
    for name in FILES:
        store = MemoryStore()
        prices = PriceBook(load_config({"prices": PRICES}).prices)
        report = import_files(store, [DATA / f"{name}.jsonl.gz"], prices=prices, team=name)
        assert report.calls
        for event in store.events():
            sessions[event.context.session].append(event)
    free = [0] * AT_ONCE
    found: list[Moment] = []
    for number, events in enumerate(sessions.values()):
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        place = free.index(min(free))
        # Stable: events of one microsecond stay in the order of the log.
        told = list(_told(sorted(events, key=lambda event: event.at), customer, divisor))
        found += [Moment(free[place] + at, event) for at, event in told]
        free[place] += told[-1].at
    return sorted(found, key=lambda moment: moment.at)


def _told(events: list[Event], customer: str, divisor: int) -> Iterator[Moment]:
    """Yield a session's events with the time since its first one, pauses cut and all divided."""
    at, before = 0, events[0].at
    for event in events:
        at += min(event.at - before, LONGEST_PAUSE_US)
        before = event.at
        context = event.context._replace(customer=customer)
        yield Moment(at // divisor, event._replace(context=context))


class Replay(threading.Thread):
    """Writes moments into a store when their time comes."""

    def __init__(self, store: str, happening: list[Moment]) -> None:
        super().__init__()
        self._store = store
        self._moments = happening
        self._end = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Tell everything, or until it is stopped."""
        try:
            with closing(open_store(self._store)) as store:
                begin = time.time_ns() // 1_000
                for at, event in self._moments:
                    wait = begin + at - time.time_ns() // 1_000
                    if wait > 0 and self._end.wait(wait / 1e6):
                        return
                    now = time.time_ns() // 1_000
                    lasted = event.at - event.started if event.started else 0
                    happened = event._replace(at=now, started=now - lasted if lasted else 0)
                    context = event.context
                    account = session_account(context.session, context.customer, context.team)
                    store.load([account] if context.session else [], [happened])
        except BaseException as error:  # told by finish(), in the test's own thread
            self.error = error

    def stop(self) -> None:
        """End early."""
        self._end.set()
        self.join()

    def finish(self) -> None:
        """Wait for the end; raise what ended it before."""
        self.join()
        if self.error is not None:
            raise self.error
