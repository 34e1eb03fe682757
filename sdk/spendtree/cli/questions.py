"""Questions: what the demo's users ask, and what happens while it is answered.

Everything follows from a session's number, so that two runs of one seed tell the same story.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a user asks: who pays, who owns the spend, and the tasks that it falls into."""

    customer: str
    team: str
    text: str
    tasks: tuple[str, ...]


QUESTIONS = (
    Question(
        customer="acme",
        team="search",
        text="what do heat pumps cost in old buildings?",
        tasks=(
            "prices",
            "subsidies",
            "noise limits",
            "installers",
            "running costs",
            "case studies",
        ),
    ),
    Question(
        customer="globex",
        team="research",
        text="which ports ship the most grain?",
        tasks=("statistics", "sources"),
    ),
    Question(
        customer="initech",
        team="support",
        text="why does the printer say PC LOAD LETTER?",
        tasks=("manuals",),
    ),
    Question(
        customer="acme",
        team="legal",
        text="what changed in the packaging law?",
        tasks=("the law", "comments", "rulings"),
    ),
    Question(
        customer="globex",
        team="search",
        text="how do rivals price storage?",
        tasks=("price lists", "reviews"),
    ),
    Question(
        customer="umbrella",
        team="research",
        text="which trials of the new vaccine have ended?",
        tasks=("registers", "papers", "press", "side effects"),
    ),
    Question(
        customer="acme",
        team="search",
        text="where do freight rates go next year?",
        tasks=("indices", "forecasts", "contracts"),
    ),
    Question(
        customer="hooli",
        team="support",
        text="how is a phone set back that nobody can unlock?",
        tasks=("manuals", "forums"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What happens in a session: most of it in few of them, as in life.

    `failing_cycles` is how often a source cannot be read, and the coordinator has to route again.
    A `tight` session runs into its ceiling, a `crowded` one has its readers wait for each other's
    money, a `small_envelope` denies the extractor a call. `moves_money` lets the coordinator give
    what the researchers left to the checker, `translates` has an agent ask a model without a price,
    and an `outage` of the provider ends the session without an answer.
    """

    failing_cycles: int
    tight: bool
    crowded: bool
    small_envelope: bool
    moves_money: bool
    translates: bool
    outage: bool


def plot(number: int) -> Plot:
    """Return what happens in the session of that number; the first one shows the most."""
    failing = (1 if number % 5 == 0 else 0) + (1 if number % 15 == 10 else 0)
    return Plot(
        failing_cycles=failing,
        tight=number % 9 == 2,
        crowded=number % 9 == 4,
        small_envelope=number % 10 == 0,
        moves_money=number % 3 == 1,
        translates=number % 8 == 6,
        outage=number % 29 == 12,
    )
