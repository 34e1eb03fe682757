"""Going on with a scope of another process: what `extract` returns, and how it is entered.

What was read, and how, is not known here.
"""

from collections.abc import Awaitable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from spendtree.exit_guard import guarded
from spendtree.waiting import DONE

if TYPE_CHECKING:
    from spendtree.propagation.identifiers import Identifiers
    from spendtree.scope import Scope
    from spendtree.tracker import Spendtree


class Inbound:
    """What another process said of its scope; enter it, once, to go on there.

    False if it said nothing that can be gone on with: entering then changes nothing and gives None,
    so that `with spendtree.extract(headers):` serves every request, and
    `with spendtree.extract(headers) or spendtree.session():` opens a session where none came.
    Entering never raises over what was said, nor because money is out: each call asks for its own.
    """

    def __init__(self, tracker: "Spendtree", told: "Identifiers | None") -> None:
        self._tracker = tracker
        self._told = told
        self._stack = ExitStack()
        self._stage = 0
        self._guard: Any = None

    def __bool__(self) -> bool:
        return self._told is not None

    @property
    def session(self) -> str:
        """Return the id of the session, "" if none was named."""
        return self._told.session if self._told else ""

    @property
    def customer(self) -> str:
        """Return the customer as the caller names it; a session that is known keeps its own."""
        return self._told.customer if self._told else ""

    @property
    def team(self) -> str:
        """Return the team as the caller names it; a session that is known keeps its own."""
        return self._told.team if self._told else ""

    @property
    def agent(self) -> str:
        """Return the agent that the caller stood in, "" if it stood in none."""
        return self._told.agent if self._told else ""

    def __enter__(self) -> "Scope | None":
        told = self._told
        if told is None:
            return None
        # Only who goes on with a scope pays for it, and not `import spendtree`.
        from spendtree.scope.remote import RemoteCycle, RemoteRun, RemoteSession  # noqa: PLC0415

        self._stage = 1
        with ExitStack() as stack:
            scope: Scope = stack.enter_context(RemoteSession.of(self._tracker, told))
            if told.run:
                run = RemoteRun.of(self._tracker, scope.session, told)
                scope = scope if run is None else stack.enter_context(run)
            elif told.cycle:
                scope = stack.enter_context(RemoteCycle(self._tracker, scope, told.cycle))
            self._stack = stack.pop_all()
        return scope

    @guarded
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
        self._guard = None

    async def __aenter__(self) -> "Scope | None":
        return self.__enter__()

    @guarded
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[None]:
        self._stack.__exit__(kind, error, traceback)
        self._guard = None
        return DONE

    def _was_left(self, guard: object = None) -> None:
        """Leave what an exception kept from being left."""
        self._stack.close()
        self._guard = None
