"""What belongs to no session: why, and what is done about it. It is recorded, told or refused.

A thread starts in an empty context, so that what it does inside a session of its program is not
known to belong there. Nobody can say for certain which session was meant: what a lost thread spends
is charged to none of those that are open, but recorded as lost.
"""

import logging
import threading
from typing import TYPE_CHECKING

from spendtree.call_site import call_site
from spendtree.errors import SessionRequiredError
from spendtree.event import LOST_THREAD, NO_SCOPE
from spendtree.scope.current import is_bare
from spendtree.waiting import in_event_loop

if TYPE_CHECKING:
    from spendtree.scope import Session
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

POOLS = ("concurrent.futures.thread", "multiprocessing.pool")
"""Whose threads do what was submitted: an event loop in one of them is a job, and no server."""

WAY_OUT = {
    NO_SCOPE: "open one around it: `with spendtree.session():`",
    LOST_THREAD: (
        "hand the session over with scope.bind(function), spendtree.ThreadPoolExecutor or "
        "asyncio.to_thread"
    ),
}

WHERE = {NO_SCOPE: "outside any session", LOST_THREAD: "in a thread that lost its session"}


def unattributed(tracker: "Spendtree", what: str, otherwise: str) -> str:
    """Return why `what` is done outside any session: no_scope, or lost_thread, which is logged.

    `otherwise` says what becomes of it. Raises SessionRequiredError where the configuration
    requires a session and enforces ceilings.
    """
    reason = why(tracker)
    config = tracker.config
    if config.session.required:
        refusal = (
            f"{what} is made {WHERE[reason]}, and the configuration has session.required: "
            f"{WAY_OUT[reason]}"
        )
        if config.mode_for("session") == "enforce":
            raise SessionRequiredError(f"{refusal}; nothing was sent", reason=reason)
        place = call_site() or _nowhere(what)
        if tracker.places.is_new("required", place):
            log.warning("%s (at %s; logged once for each place)", refusal, place)
    elif reason == LOST_THREAD:
        place = call_site() or _nowhere(what)
        if tracker.places.is_new(reason, place):
            log.warning(
                "%s is made %s, at %s: %s; %s (logged once for each place)",
                *(what, WHERE[reason], place, otherwise, WAY_OUT[reason]),
            )
    return reason


def why(tracker: "Spendtree") -> str:
    """Return why nothing done here has a scope: none was opened, or a thread lost it.

    A thread has lost it where sessions are open and it never had one itself: neither its own,
    nor one that came with its context, as in tasks and our pools.
    """
    thread = threading.current_thread()
    if thread is threading.main_thread() or not is_bare():
        return NO_SCOPE
    if in_event_loop() and not _is_of_pool(thread):
        return NO_SCOPE
    lost = any(session.can_be_lost for session in _open_sessions(tracker))
    return LOST_THREAD if lost else NO_SCOPE


def _nowhere(what: str) -> str:
    """Return the place of what a pool called directly: a decorated function, a bound method."""
    return f"no line of the program ({what})"


def _is_of_pool(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)  # of CPython's Thread, while it runs
    return getattr(target, "__module__", "") in POOLS


def _open_sessions(tracker: "Spendtree") -> "list[Session]":
    while True:
        try:
            return list(tracker._sessions)
        except RuntimeError:  # another thread opened one just now
            continue
