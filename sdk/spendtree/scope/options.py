"""What scopes may be opened with, for every door to them; and the texts they accept."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypedDict

from spendtree.errors import ScopeError
from spendtree.event import RECEIVED
from spendtree.money import Money
from spendtree.store.text import storable

MAX_TEXT = 200
"""Characters of a session id, agent, customer, team or task id; more is a mistake, or an attack."""


class Warning(NamedTuple):
    """An account has reached a warning mark: `spent` (true and presumed) is `mark` of `cap`.

    `account` is its id, `kind` session, envelope, run, customer or team, `name` what a person
    calls it; `mark` is a fraction, the amounts are dollars.
    """

    account: str
    kind: str
    name: str
    mark: Decimal
    cap: Decimal
    spent: Decimal


OnWarning = Callable[[Warning], Awaitable[None] | None]
"""A sync or async callback; what it raises is logged and changes nothing."""


class SessionOptions(TypedDict, total=False):
    """What a session may be opened with; see `Spendtree.session`."""

    customer: str | None
    team: str | None
    ceiling: Money | None
    expected_usd: Money | None
    cycles: str
    warn_at: Sequence[Money] | None
    on_warning: OnWarning | None


class AgentOptions(TypedDict, total=False):
    """What an agent run may be opened with; see `Spendtree.agent`."""

    task_id: str
    task: str
    envelope: Money | None
    max_cost: Money | None
    reserved: bool | None
    min_cost: Money | None
    max_output_tokens: int | None
    on_exhausted: str | None
    optional: bool


def text(what: str, value: str) -> str:
    """Return a name as it is stored; ScopeError if it cannot be one."""
    if not isinstance(value, str):
        raise ScopeError(f"{what}: {value!r} is no text; give a str")
    if not value and what == "session id":
        raise ScopeError("session id: it is empty; give a text, or leave it out for a new session")
    if what == "session id" and value.startswith(RECEIVED):
        raise ScopeError(
            f"session id: {value[:80]!r} begins with {RECEIVED!r}, as only the ids of sessions do "
            "that the exporter makes of received spans; give another one"
        )
    if len(value) > MAX_TEXT:
        raise ScopeError(f"{what}: {len(value)} characters are more than {MAX_TEXT}")
    return storable(value)
