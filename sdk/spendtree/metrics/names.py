"""Names: what may stand in a label, and who keeps a name of its own. Pure.

Labels come from outside: any text, any length, any number of them. Here they become text that
every scraper takes, and so few different ones that the number of series is bounded.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from spendtree.event import Context, Request

OTHER = "_other"
"""The name of everything that came after a label was full."""

OVERFLOW = "_overflow"
"""The session of all spend whose session has no series of its own."""

LABEL_MAX = 256
"""Characters of the longest label."""

BOUNDED = ("customer", "team", "agent", "provider", "model")
"""The labels whose names come from outside; sessions have bounds of their own."""

RARE = ("key", "part")
"""Labels of rare calls whose names come from responses."""

RARE_MAX = 100
"""Names of each of those."""

_NOBODY: frozenset[str] = frozenset()

# Control characters cut lines in some scrapers, and lone surrogates are no UTF-8.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many series there may be: in all, with a session, and names per label.

    Standing series (without a session) may be `series - session_series`. `kept_customers` and
    `kept_teams` always have their own names, whoever else there is, and take no other's place.
    """

    series: int = 100_000
    session_series: int = 20_000
    customers: int = 200
    teams: int = 200
    agents: int = 200
    providers: int = 50
    models: int = 100
    kept_customers: frozenset[str] = frozenset()
    kept_teams: frozenset[str] = frozenset()

    @property
    def standing_series(self) -> int:
        """Return how many series without a session there may be."""
        return self.series - self.session_series


def label_text(text: str) -> str:
    """Return a text as a label shows it: at most 256 characters, none of them unsafe.

    What had to be changed ends in a digest of the whole, so different texts stay different.
    """
    if len(text) <= LABEL_MAX and _UNSAFE.search(text) is None:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return _UNSAFE.sub("\ufffd", text[: LABEL_MAX - 13]) + "~" + digest


def level_label(level: int) -> str:
    """Return a depth as 0 … 4, 5+."""
    return str(level) if level < 5 else "5+"


def cycle_label(cycle: int) -> str:
    """Return a routing cycle as 1 … 9, 10+."""
    return str(cycle) if cycle < 10 else "10+"


class Who(NamedTuple):
    """Who spends, as labels: admitted names, and level and routing cycle as they are shown."""

    customer: str
    team: str
    agent: str
    level: str
    routing_cycle: str


_WHO_MAX = 4_000
"""Payers' labels kept at hand (some 300 bytes each); more are worked out again."""


class Names:
    """The names admitted per label: those that are kept, and others first come, first served.

    Who has a name has it for good, also under other limits.
    """

    def __init__(self, limits: Limits) -> None:
        # "" is no name at all and takes no place.
        self._known: dict[str, dict[str, str]] = {label: {"": ""} for label in (*BOUNDED, *RARE)}
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Admit by these limits from now on."""
        self._who: dict[tuple[str, str, str, int, int], Who] = {}
        self._kept = {"customer": limits.kept_customers, "team": limits.kept_teams}
        places = {
            "customer": limits.customers,
            "team": limits.teams,
            "agent": limits.agents,
            "provider": limits.providers,
            "model": limits.models,
            **dict.fromkeys(RARE, RARE_MAX),
        }
        self._room = {
            label: places[label] - len(known.keys() - self._kept.get(label, _NOBODY) - {""})
            for label, known in self._known.items()
        }

    def admit(self, label: str, text: str) -> str:
        """Return the name that a text is shown under: its own, or `_other`."""
        known = self._known[label]
        name = known.get(text)
        if name is not None:
            return name
        name = label_text(text)
        kept = text in self._kept.get(label, _NOBODY)
        if name == OTHER or not (kept or self._room[label] > 0):
            return OTHER
        self._room[label] -= not kept
        known[text] = name
        return name

    def known(self) -> dict[str, dict[str, str]]:
        """Return who has a name: by label, what each text is shown as."""
        return self._known

    def take_up(self, known: dict[str, dict[str, str]]) -> None:
        """Take over what another one knew, before any other use."""
        # An older one knew no names of rare labels.
        self._known = {label: known.get(label, {"": ""}) for label in (*BOUNDED, *RARE)}

    def shown(self, label: str, text: str) -> str:
        """Return the name that a text is shown under as things stand; nobody is admitted."""
        return self._known[label].get(text, OTHER)

    def who(self, context: Context) -> Who:
        """Return who spends, as labels."""
        key = (context.customer, context.team, context.agent, context.level, context.cycle)
        who = self._who.get(key)
        if who is None:
            if len(self._who) >= _WHO_MAX:
                self._who.clear()
            who = self._who[key] = self._new_who(context)
        return who

    def _new_who(self, context: Context) -> Who:
        return Who(
            self.admit("customer", context.customer),
            self.admit("team", context.team),
            self.admit("agent", context.agent),
            level_label(context.level),
            cycle_label(context.cycle),
        )

    def labels(self, who: Who, request: Request, status: str) -> dict[str, str]:
        """Return every label that a call's context, request and ending give."""
        return {
            **who._asdict(),
            "provider": self.admit("provider", request.provider),
            "model": self.admit("model", request.model),
            "status": label_text(status),
        }
