"""Scopes of another process, as they are gone on with here: charged to, but not begun or ended.

What is told of them comes from outside; what the store knows of a session or a run goes before it.
Nothing here asks whether money is left: a request may come to spend nothing.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self

from spendtree.account import envelope_account, kind_of
from spendtree.errors import ScopeError, StoreUnavailableError
from spendtree.event import Context, Event, Kind
from spendtree.scope.agent import Agent
from spendtree.scope.base import Scope
from spendtree.scope.session import Cycle, Session

if TYPE_CHECKING:
    from spendtree.tracker import Spendtree


class Told(Protocol):
    """What another process says of its scope; texts are "" and numbers 0 where it says nothing."""

    @property
    def session(self) -> str: ...  # noqa: D102
    @property
    def customer(self) -> str: ...  # noqa: D102
    @property
    def team(self) -> str: ...  # noqa: D102
    @property
    def agent(self) -> str: ...  # noqa: D102
    @property
    def run(self) -> str: ...  # noqa: D102
    @property
    def parent(self) -> str: ...  # noqa: D102
    @property
    def level(self) -> int: ...  # noqa: D102
    @property
    def cycle(self) -> int: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102


class RemoteSession(Session):
    """A session that another process has opened; where the store is another one, a new one of it.

    It keeps the customer and team that it was opened with, whatever is told now.
    """

    @classmethod
    def of(cls, tracker: "Spendtree", told: Told) -> Self:
        """Return the session that is told of, to enter."""
        session = cls(tracker, told.session, customer=told.customer or None, team=told.team or None)
        session._told_cycle = told.cycle
        return session

    _told_cycle = 0

    def _count_cycles(self) -> None:
        """Count them only where none is fixed: that reads all that the session has spent."""
        if not self._told_cycle:
            super()._count_cycles()

    def _check_payers(self, known: Context) -> None:
        """Nothing is checked: the store knows better."""

    def _check_start(self) -> None:
        """Nothing is asked for: it has started already."""


class RemoteRun(Agent):
    """A run of another process: what is called here is its own, what is spawned is below it."""

    @classmethod
    def of(cls, tracker: "Spendtree", session: Session, told: Told) -> Self | None:
        """Return the run that is told of, to enter; None if there is no such run in the session.

        A store that does not know it has nothing but what is told.
        """
        opening: Event | None = None
        with suppress(StoreUnavailableError):  # a call finds out whether that matters
            opening = tracker.store.find(bytes.fromhex(told.run), Kind.RUN_OPENED)
        if opening is not None:
            known = opening.context if opening.context.session == session.id else None
        else:
            known = _as_told(session, told) if told.agent else None
        if known is None:
            return None
        try:
            run = cls(tracker, session, known.agent, task_id=known.task_id)
        except ScopeError:  # a name that no agent can have
            return None
        run._continues = known._replace(cycle=told.cycle or known.cycle)
        return run

    _continues: Context
    fixes_cycle = True

    def _again(self) -> Agent:
        raise ScopeError("a run of another process is gone on with once; extract it again")

    def _open(self) -> None:
        session = self.session
        self._session, self._run, self._era = session, self, session.era
        self._id = bytes.fromhex(self._continues.run)
        self.context = session.charged_now(self._continues)
        kinds = {kind_of(account) for account in self.context.path}
        self._passes_caps = "run" in kinds
        self._has_caps = self._passes_caps or "envelope" in kinds

    def _close(self, error: BaseException | None) -> None:
        """Nothing is recorded: the process that began the run says how it ended."""


class RemoteCycle(Cycle):
    """The routing cycle of another process: explicit ones below it are attempts within it."""

    def __init__(self, tracker: "Spendtree", parent: Scope, number: int) -> None:
        super().__init__(tracker, parent)
        self._number = number

    def _open(self) -> None:
        parent = self.parent
        assert parent is not None
        self._session, self._run, self._era = parent.session, parent.run, parent._era
        self._has_caps, self._passes_caps = parent._has_caps, parent._passes_caps
        self.context = parent.context._replace(cycle=self._number)


def _as_told(session: Session, told: Told) -> Context:
    """Return the context of a run that this store knows nothing of."""
    envelope = envelope_account(session.id, told.agent).id
    own = (envelope,) if session.has_envelope(envelope) else ()
    return session.context._replace(
        agent=told.agent,
        run=told.run,
        parent=told.parent,
        level=max(told.level, 1),
        task_id=told.task,
        path=session.context.path + own,
    )
