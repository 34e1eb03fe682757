"""Events: the immutable rows of the log that every figure is a fold over. Values only.

One flat row serves all kinds, since the log is read far more often than it is written; the table
says which fields a kind fills. A field that a kind does not fill keeps its default.

| kind | id | cost | held | status | data |
|---|---|---|---|---|---|
| SESSION_OPENED | session id hash | - | - | - | ceiling, expected (pico), cycles |
| SESSION_CLOSED | session id hash | calls sum | - | succeeded, failed, budget_exceeded … | reason |
| RUN_OPENED | run (hex in context) | - | - | - | task, envelope, max_cost (pico) |
| RUN_CLOSED | run (hex in context) | calls sum | - | succeeded, failed, exhausted | reason |
| CALL | call | true cost, None = unpriced | hold it settled | ok, failed | error, reason … |
| LAPSE | call | presumed | hold it ended | lapsed, unmetered | reason, place |
| ADJUSTMENT | call | true cost, None = unpriced | presumption taken away | ok, failed | |
| DENIED | call | - | requested | exhausted, busy, unknown_price, store | account, kind, free |
| TOOL | charge | true cost | hold it settled, 0: none | ok, failed | name |

Also in the data: `clock_us`, what a clock said that went back, and `uncapped_usd`, the true amount
where an account holds no more than what was recorded.

An event may stand for several that were pruned: its cost, held and tokens are their sums, `at` is
the last one's, `started` the earliest, and data["rollup"] says what sums do not (see `Event`).

What few calls have stands in the data of CALL, TOOL and ADJUSTMENT:

| key | what it is |
|---|---|
| units | counts by the names of `spendtree.usage.UNITS`: other modalities, and fees |
| marks | sorted short words on how sure the cost is, see below |
| served | how it was served where that is not the everyday way: tier, speed, region |
| answered_by | the model that answered, where it is another one or has another price |
| parts | the models that worked together on one call, each priced on its own |
| cost_source | `provider` where the cost is what the provider stated, `source` an import's tool |
| stated_difference | the stated cost less what the price list says, in pico-dollars |
| priced_part | what the priced parts cost, where the call counts at its hold instead |
| unread | what of the response's usage was not understood: values by the path of their key |

| mark | meaning |
|---|---|
| `unpriced:NAME` | a part of it has no price and is not in the cost: a unit, or a tier or region |
| `unread` | the usage says more than was understood, or contradicts itself (see `unread`) |
| `stated_cost` | the cost is what the provider, or the source of an import, stated |
"""

from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

from spendtree.usage import NO_UNITS, Units, Usage


class Kind(IntEnum):
    """What happened. The numbers are stored: never reuse one."""

    SESSION_OPENED = 1
    SESSION_CLOSED = 2
    RUN_OPENED = 3
    RUN_CLOSED = 4
    CALL = 5
    LAPSE = 6
    ADJUSTMENT = 7
    DENIED = 8
    TOOL = 9
    WARNED = 10
    TRANSFER = 11
    CAP_CHANGED = 12
    MESSAGE = 13


UNPRICED = "unpriced:"
"""The beginning of a mark that names a part without a price."""

UNREAD = "unread"
"""The mark of a usage that was not understood as a whole."""

STATUSES = (
    "",
    "ok",
    "failed",
    "unmetered",
    "lapsed",
    "succeeded",
    "exhausted",
    "budget_exceeded",
    "abandoned",
    "busy",
    "unknown_price",
    "store",
)
"""Every status, in the order of the numbers that are stored: append, never reorder."""


SETTLED = (Kind.CALL, Kind.TOOL)
"""What a hold ends as, if its cost is known; a charge stays one."""

NO_SCOPE, LOST_THREAD = "no_scope", "lost_thread"
"""Why a live call belongs to no session (data["unattributed"]): there was none, or a thread has
lost it. A call in the session of an agent that has lost another one says so, too."""

RECEIVED = "otlp:"
"""What the ids of sessions begin with that only spans tell of which anybody may have sent. No
session of an application may: these have whatever customer the spans name, and no account."""

_TRUE = (Kind.CALL, Kind.ADJUSTMENT, Kind.TOOL)


class Context(NamedTuple):
    """Who spends: the labels of an event, and the accounts its scope is charged to.

    `session` "" means no session (unattributed); `run` and `parent` are ids of agent runs ("" is
    none); `level` is 0 outside any agent, 1 for the coordinator. `path` names the accounts,
    outermost first. `origin` is "" for a live call, "import" for an imported one that counts like
    a live one, "history" for one that stays out of counters.
    """

    session: str = ""
    customer: str = ""
    team: str = ""
    agent: str = ""
    run: str = ""
    parent: str = ""
    level: int = 0
    cycle: int = 1
    task_id: str = ""
    path: tuple[str, ...] = ()
    origin: str = ""


class Request(NamedTuple):
    """What a call asks for: provider ("" is unknown), model as the caller named it, purpose."""

    provider: str = ""
    model: str = ""
    purpose: str = "work"


NO_CONTEXT = Context()
NO_REQUEST = Request(purpose="")


class Event(NamedTuple):
    """One row of the log; the module's table says what each kind fills.

    `seq` is its place in the log (0 until stored), `at` when it was recorded and `started` when
    the call began, both microseconds since 1970 UTC; `id` is 16 bytes; `cost` and `held` are
    pico-dollars, `cost` None where it is not known. Token fields are those of `Usage`.
    """

    seq: int
    kind: int
    at: int
    id: bytes
    context: Context = NO_CONTEXT
    request: Request = NO_REQUEST
    cost: int | None = 0
    held: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    status: str = ""
    started: int = 0
    data: dict[str, Any] | None = None

    @property
    def usage(self) -> Usage:
        """Return what was used: the token fields, and the units in the data."""
        return Usage(*self[8:14], self.units)

    @property
    def units(self) -> Units:
        """Return the counts beside text tokens, by the names of `spendtree.usage.UNITS`."""
        data = self.data
        return NO_UNITS if data is None or "units" not in data else Units(data["units"])

    @property
    def marks(self) -> tuple[str, ...]:
        """Return the marks on how sure the cost is, sorted; the module's table lists them."""
        data = self.data
        return () if data is None else tuple(data.get("marks", ()))

    @property
    def is_partly_unpriced(self) -> bool:
        """Return whether a part of it has no price, and is not in its cost."""
        return self.cost is not None and any(mark.startswith(UNPRICED) for mark in self.marks)

    @property
    def unread(self) -> dict[str, int]:
        """Return the paths of the keys that were not understood, and in how many calls each."""
        rollup = self._rollup
        if rollup:
            return dict(rollup.get("unread", ()))
        return {} if self.data is None else dict.fromkeys(self.data.get("unread", ()), 1)

    @property
    def stated_difference(self) -> int:
        """Return what the stated cost is above the price list's, in pico-dollars; 0 if unknown."""
        data = self.data
        return 0 if data is None else int(data.get("stated_difference", 0))

    @property
    def times(self) -> int:
        """Return how many events this one stands for."""
        rollup = self._rollup
        return int(rollup["count"]) if rollup else 1

    @property
    def first_at(self) -> int:
        """Return when the first event was recorded that this one stands for."""
        rollup = self._rollup
        return int(rollup["first_at"]) if rollup else self.at

    @property
    def overrun(self) -> int:
        """Return by how much true costs were above their holds, where there were some."""
        rollup = self._rollup
        if rollup:
            return int(rollup.get("overrun", 0))
        cost = self.cost or 0
        return cost - self.held if cost > self.held > 0 and self.kind in _TRUE else 0

    @property
    def waits(self) -> list[tuple[str, int]]:
        """Return how long calls waited for money: the kind of account, and microseconds."""
        rollup = self._rollup
        if rollup:
            return [(kind, waited) for kind, waited in rollup.get("waits", ())]
        data = self.data
        if data is None or "waited_us" not in data:
            return []
        return [(str(data.get("waited_at", "")), int(data["waited_us"]))]

    @property
    def _rollup(self) -> dict[str, Any] | None:
        return None if self.data is None else self.data.get("rollup")

    @property
    def payload(self) -> tuple[Any, ...]:
        """Return what a repetition of this event must say again."""
        return self.context, self.cost, self.held, self.status, self.data or None

    def ended(self, kind: int, cost: int | None, held: int) -> "Event":
        """Return this event saying how its hold ended: what is booked is what the log says."""
        if self.kind == kind and self.cost == cost and self.held == held:
            return self
        return self._replace(kind=kind, cost=cost, held=held)


def derived_id(*parts: str) -> bytes:
    """Return the 16-byte id that follows from `parts` alone, for events that must be found again.

    The session event's id is `derived_id("session", session)`; imported spans derive theirs from
    trace and span id, which is why importing twice changes nothing.
    """
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
