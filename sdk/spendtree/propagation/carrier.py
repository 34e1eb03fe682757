"""Headers and environment variables: writing the current scope into them, and reading it back.

Nothing in here raises over what it reads, and nothing touches a carrier that no scope is put into.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from spendtree.errors import StoreUnavailableError
from spendtree.propagation import baggage, traceparent
from spendtree.propagation.identifiers import PREFIX, Identifiers
from spendtree.scope.session import in_cycle

if TYPE_CHECKING:
    from spendtree.scope import Scope

log = logging.getLogger("spendtree")

BAGGAGE = "baggage"
TRACEPARENT = "traceparent"

Headers = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""Names and values as text or bytes: a mapping, or pairs as ASGI has them."""


def write(
    scope: "Scope", carrier: MutableMapping[str, str], *, environment: bool = False
) -> MutableMapping[str, str]:
    """Put a scope's identifiers into headers, or into environment variables, and return them."""
    told = identifiers_of(scope)
    key = _key(carrier, BAGGAGE, environment)
    merged = baggage.merged(carrier.get(key, ""), told.members(), PREFIX)
    if merged is None:
        log.warning("the baggage is full: the session is not passed on, and will not be continued")
        return carrier
    carrier[key] = merged
    trace = _key(carrier, TRACEPARENT, environment)
    if trace not in carrier:  # a tracer's own says more
        carrier[trace] = traceparent.text(told.session, told.run)
    if scope.run is not None:
        scope.run.handed_out()
    return carrier


def erase(carrier: MutableMapping[str, str]) -> None:
    """Take our identifiers out of headers, where they may have come by a redirect or a copy."""
    key = _key(carrier, BAGGAGE, environment=False)
    header = carrier.get(key, "")
    if PREFIX not in header:
        return
    told = Identifiers.read(baggage.parse(header))
    others = baggage.others(header, PREFIX)
    if others:
        carrier[key] = ",".join(others)
    else:
        del carrier[key]
    trace = _key(carrier, TRACEPARENT, environment=False)
    if told and carrier.get(trace) == traceparent.text(told.session, told.run):
        del carrier[trace]


def read(carrier: Headers) -> tuple[Identifiers | None, str]:
    """Return what a carrier says, and the trace that it names ("" is none)."""
    lines: dict[str, list[str]] = {BAGGAGE: [], TRACEPARENT: []}
    pairs = carrier.items() if isinstance(carrier, Mapping) else carrier
    for name, value in pairs:
        kept = lines.get(_decoded(name).lower())
        if kept is not None:
            kept.append(_decoded(value))
    # Several header lines are one list (RFC 9110, 5.3); two parents contradict each other.
    told = Identifiers.read(baggage.parse(",".join(lines[BAGGAGE])))
    traces = lines[TRACEPARENT]
    return told, traceparent.parse(traces[0]) if len(traces) == 1 else ""


def identifiers_of(scope: "Scope") -> Identifiers:
    """Return what another process needs to go on in a scope."""
    try:
        context = scope.context_now(scope.tracker.moment())
    except StoreUnavailableError:
        context = scope.context  # the budget's period does not matter here
    return Identifiers(
        session=context.session,
        run=context.run,
        cycle=context.cycle if context.run or in_cycle(scope) else 0,
        customer=context.customer,
        team=context.team,
        agent=context.agent,
        parent=context.parent,
        level=context.level,
        task=context.task_id,
    )


def _key(carrier: Mapping[str, str], name: str, environment: bool) -> str:
    """Return the name under which a carrier has a header, else the usual one."""
    usual = name.upper() if environment else name
    if usual in carrier:
        return usual
    return next((key for key in carrier if key.lower() == name), usual)


def _decoded(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
