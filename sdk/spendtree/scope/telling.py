"""Telling a session's program of warnings: each at most once, by a process that has a handler.

The store records every crossing; whoever has a handler takes it from there. A crossing made by
another process is found at one of the next calls.
"""

import inspect
import logging
import sys
import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import TYPE_CHECKING

from spendtree.account import Crossing, kind_of
from spendtree.errors import StoreError
from spendtree.money import to_usd
from spendtree.scope.options import OnWarning, Warning
from spendtree.store.event_loop import in_trio
from spendtree.store.locks import EnteredError

if TYPE_CHECKING:
    import asyncio

    from spendtree.scope.session import Session

log = logging.getLogger("spendtree")

LOOK_SECONDS = 0.25
"""Between two looks for crossings that other processes have made."""

TOLD_SECONDS = 10.0
"""How long the end of a session waits for its async handlers."""


class Telling:
    """One session's handler, and what it is told."""

    def __init__(self, session: "Session", handler: OnWarning | None) -> None:
        self._session = session
        self._handler = handler
        self.active = handler is not None
        self._looked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def after(self, warned: bool) -> None:
        """Look for warnings after a verb, at once if it said so."""
        if self._handler is not None and (warned or time.monotonic() - self._looked > LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Take what nobody was told of yet, and tell it."""
        if self._handler is None:
            return
        self._looked = time.monotonic()
        session = self._session
        try:
            crossings = session.tracker.store.take_warnings(session.id, session.context.path)
        except EnteredError:
            return  # the next call looks again
        except StoreError as error:
            log.warning("warnings could not be looked up: %s", error)
            return
        for crossing in crossings:
            self._tell(crossing)

    def _tell(self, crossing: Crossing) -> None:
        assert self._handler is not None
        account, mark, cap, used = crossing
        warning = Warning(
            account,
            kind_of(account),
            self._session.tracker.name_of(account, self._session.context),
            Decimal(mark) / 1_000_000,
            to_usd(cap),
            to_usd(used),
        )
        try:
            answer = self._handler(warning)
            if inspect.isawaitable(answer):
                self._await(answer)
        except Exception:
            log.exception("on_warning failed on %s", account)

    async def told(self) -> None:
        """Wait until async handlers have run: the end of the loop would cancel them."""
        if self._tasks:
            import asyncio  # noqa: PLC0415 - loaded already by whoever runs the loop

            await asyncio.wait(self._tasks, timeout=TOLD_SECONDS)

    def _await(self, answer: Awaitable[None]) -> None:
        """Run an async handler: beside the running loop's tasks, else here and now."""
        import asyncio  # noqa: PLC0415 - loaded already by whoever made the coroutine

        async def told() -> None:
            try:
                await answer
            except Exception:
                log.exception("on_warning failed")

        running = sys.modules["asyncio"]._get_running_loop()
        if in_trio():
            sys.modules["trio"].lowlevel.spawn_system_task(told)
        elif running is None:
            asyncio.run(told())
        else:
            task = running.create_task(told())
            self._tasks.add(task)  # the loop itself keeps tasks only weakly
            task.add_done_callback(self._tasks.discard)
