"""What every store engine does: the ledger's verbs (one transaction each) and reading.

Verbs are idempotent by the caller's id: a replay returns the first answer and changes nothing, a
replay with another payload raises LedgerConflictError. All amounts are pico-dollars.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, NewType, Protocol

from spendtree.account import Account, Balance, Crossing, Denial, Grant
from spendtree.event import Context, Event, Request
from spendtree.store.owner import Owner
from spendtree.usage import Units

Cursor = NewType("Cursor", str)
"""A place in the log; opaque to the reader. "" is the beginning."""

START = Cursor("")


Marks = tuple[int, ...]
"""Warning marks in millionths of the cap, ascending."""

NO_MARKS: Mapping[str, Marks] = MappingProxyType({})


class Reservation(NamedTuple):
    """An envelope that keeps its free money from everybody else in its session (account ids)."""

    session: str
    envelope: str


class Page(NamedTuple):
    """Events in log order and the cursor to read on from; `more` if the log held more."""

    events: list[Event]
    cursor: Cursor
    more: bool


class Opened(NamedTuple):
    """What `open` answers: the event as first recorded, and whether it was recorded just now.

    With `denial` nothing was opened or recorded: what was to be reserved is not free.
    """

    event: Event
    fresh: bool
    denial: Denial | None = None


class Settlement(NamedTuple):
    """How a hold ended: as `kind` CALL, LAPSE or ADJUSTMENT; `cost` booked, `held` given back.

    `warned` tells that an account of the path has just reached a warning mark.
    """

    kind: int
    cost: int | None
    held: int
    warned: bool = False


class Totals(NamedTuple):
    """Sums of one context's calls: counts, tokens, pico-dollars, microseconds since 1970 UTC.

    `calls` are finished calls (CALL and LAPSE events), of which `failed`, `lapsed` (unmetered
    included) and `unpriced`; `presumed` is what lapses presume and no adjustment has resolved.
    `partly_unpriced` calls have a part without a price, `unread` ones a usage that was not
    understood as a whole; `units` are counts by the names of `spendtree.usage.UNITS`.
    """

    context: Context
    calls: int
    failed: int
    lapsed: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: int
    presumed: int
    partly_unpriced: int
    unread: int
    units: Units
    first_at: int
    last_at: int


class Pruned(NamedTuple):
    """What pruning did: `events` went, since `rollups` stand for them, of so many `sessions`.

    `accounts` of runs went with them, `freed_bytes` were given back to the file system. No writer
    had to wait longer than `longest_stall_us` microseconds.
    """

    sessions: int = 0
    events: int = 0
    rollups: int = 0
    accounts: int = 0
    freed_bytes: int = 0
    longest_stall_us: int = 0


class Standing(NamedTuple):
    """The cap of an account that is open, and the order of the configuration that set it."""

    cap: int | None
    version: int | None


class Store(Protocol):
    """A place for accounts, holds and events, safe for many threads."""

    @property
    def id(self) -> str:
        """Return the short id made when the store was: the `store` label of every series."""

    @property
    def url(self) -> str:
        """Return the URL that opens this store."""

    # Verbs.

    def open(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        event: Event,
        *,
        marks: Mapping[str, Marks] = NO_MARKS,
        reserve: Reservation | None = None,
    ) -> Opened:
        """Open accounts with their caps and record the event that opens them.

        A known account keeps its cap and money. If an event of that id and kind is known, the
        first one is answered whatever the payload: opening a known session continues it. `marks`
        are the warning marks of new accounts by id, `reserve` an envelope to carve out of its
        session until `release`.
        """

    def open_accounts(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        marks: Mapping[str, Marks] = NO_MARKS,
        *,
        version: int | None = None,
    ) -> None:
        """Open accounts that no event opens: the budgets of a new period.

        `version` is the order of the configuration that says their caps, None if it has none.
        """

    def release(self, reservation: Reservation, event: Event) -> bool:
        """Record the end of a run (the event's id) and give back what it reserved."""

    def hold(
        self,
        id: bytes,
        path: Sequence[str],
        amount: int,
        floor: int | None = None,
        *,
        context: Context,
        request: Request,
        at: int,
        lenient: Collection[str] = (),
    ) -> Grant | Denial:
        """Reserve `amount` (at least `floor`) at every account of the path, or nothing.

        `context` and `request` are what the event says if somebody else must lapse the hold; `at`
        is now, in microseconds. `lenient` accounts are booked but never refuse.
        """

    def settle(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """End a hold with its true cost (None: unpriced) and record the event.

        The event is of the hold's context; it is recorded with the kind (a tool charge stays one),
        cost and hold that were booked. A hold that lapsed meanwhile is adjusted instead: late
        truth.
        """

    def void(self, id: bytes, event: Event) -> Settlement:
        """End a hold as surely not billed."""

    def lapse(self, id: bytes, event: Event) -> Settlement:
        """End a hold as unknown: its money is presumed spent."""

    def adjust(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """Book the late truth of a lapsed hold: the true cost in, the presumption out."""

    def transfer(self, id: bytes, source: str, target: str, amount: int, event: Event) -> str:
        """Move free money between the caps of two accounts; "" or the reason why not."""

    def set_cap(self, id: bytes, account: str, cap: int | None, event: Event) -> Balance:
        """Change an account's cap, also below what is spent; answer its balance."""

    def set_budget(self, account: str, cap: int, version: int, event: Event) -> bool:
        """Change the cap of a budget, and record the event, if a newer configuration says so.

        That is where the account's cap was set by an older `version`, or by one without any. Tell
        whether the cap was changed; where it was the same, the account is of this version from now
        on.
        """

    def take_warnings(self, session: str, accounts: Collection[str]) -> list[Crossing]:
        """Answer the warnings that nobody took before: each is told once.

        Those that calls of the session caused, and those of the accounts, whoever caused them.
        """

    def append(self, event: Event) -> bool:
        """Record an event that moves no money; False if it was known."""

    def load(self, accounts: Sequence[Account], events: Sequence[Event]) -> int:
        """Book finished calls without holds (imports, tool charges), in one transaction.

        Opens the accounts without a cap where they are not known, adds each event's cost (a
        LAPSE's `held` as presumed) to the accounts of its context's path, skips events whose id
        and kind are known, and answers how many were new. Raises PrunedError for a new event that
        is older than what was pruned; then nothing is booked.
        """

    def lapse_abandoned(self, *, now: int, idle: int) -> int:
        """Lapse holds of processes that have ended, and give back what their runs reserved.

        Of a process that nobody can judge (see `is_dead`), those that are older than `idle`
        microseconds.
        """

    def owner(self) -> Owner:
        """Return this process, in the form in which others can ask whether it lives."""

    def is_dead(self, owner: Owner) -> bool | None:
        """Tell whether a process has ended, None if that cannot be known from here.

        Never by the pid of another PID namespace, kernel or host.
        """

    def prune(self, before: int, *, dry_run: bool = False) -> Pruned:
        """Roll up what is older than `before` (microseconds); every figure stays the same.

        That is the events of closed sessions whose last event is older, and calls of no session
        that are; in many short transactions, so that writers hardly wait. `dry_run` only counts.
        Open sessions stay, and those with a hold that has not ended.
        """

    # Reading.

    def pruned_before(self) -> int:
        """Return up to which time (microseconds) there was pruning; 0: there was none.

        Nothing older can be imported any more: nobody could tell whether it was here before.
        """

    def balance(self, account: str) -> Balance | None:
        """Return an account's money, None if it is not known."""

    def accounts(self, kind: str | None = None) -> Iterator[tuple[Account, Balance]]:
        """Iterate over the accounts."""

    def accounts_named(self, ids: Collection[str]) -> list[tuple[Account, Balance]]:
        """Return the accounts of these ids, in no order; ids that are not known are left out."""

    def standing(self, ids: Collection[str]) -> dict[str, Standing]:
        """Return those of a few accounts that are open, whoever opened them, by id."""

    def newest_budget(self) -> int:
        """Return a number that grows with each account of a customer or team; 0: there is none.

        A quick look: it tells a process whether others have opened budgets that it does not know.
        """

    def open_holds(self) -> int:
        """Count the holds that have not ended."""

    def oldest_hold(self) -> int | None:
        """Return when the oldest hold that has not ended was made, in microseconds, or None."""

    def read(self, cursor: Cursor = START, limit: int = 10_000) -> Page:
        """Return events after the cursor, only those below which nothing can still commit.

        Raises PrunedError where pruning has moved figures from behind the cursor to before it:
        whoever follows the log must begin again at START, with nothing counted.
        """

    def events(
        self, *, session: str | None = None, kinds: Collection[int] | None = None
    ) -> Iterator[Event]:
        """Iterate over events in log order, of one session or some kinds, in pages."""

    def find(self, id: bytes, kind: int) -> Event | None:
        """Return the event of that id and kind."""

    def totals(self, session: str | None = None) -> list[Totals]:
        """Return the sums of calls by context, of one session or of all."""

    def close(self) -> None:
        """Give back files and connections; the store must not be used afterwards."""
