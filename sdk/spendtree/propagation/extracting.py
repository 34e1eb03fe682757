"""From headers to a scope to go on with: what they say, or the session whose trace they name."""

import logging
from typing import TYPE_CHECKING

from spendtree.errors import StoreError
from spendtree.event import RECEIVED, Event, Kind, derived_id
from spendtree.propagation.carrier import Headers, read
from spendtree.propagation.identifiers import Identifiers
from spendtree.propagation.inbound import Inbound

if TYPE_CHECKING:
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")


def extract(tracker: "Spendtree", headers: Headers) -> Inbound:
    """Return what headers or environment variables say, to be entered."""
    told, trace = read(headers)
    if told is None and trace:
        told = _known(tracker, trace)
    return Inbound(tracker, told)


def _known(tracker: "Spendtree", trace: str) -> Identifiers | None:
    """Return the session whose trace this is, if the store has it: baggage may be taken off.

    A trace that is no session of ours is a tracer's own, and none of our business.
    """
    try:
        for id in (derived_id("session", trace), bytes.fromhex(trace)):
            event: Event | None = tracker.store.find(id, Kind.SESSION_OPENED)
            if event is not None and not event.context.session.startswith(RECEIVED):
                return Identifiers(session=event.context.session)
    except StoreError as error:
        log.warning("the session of a trace could not be looked up: %s", error)
    return None
