"""The demo's application: a research system of agents on a provider that only pretends.

It uses the public API as any application would, and nothing else. Everything is drawn from a seed
per session and task, so that the same seed spends the same whatever the order of its tasks.
"""

import asyncio
from dataclasses import dataclass
from random import Random

import spendtree
from spendtree.testing import ProviderError

PROVIDERS = {
    "claude-haiku-4-5": "anthropic",
    "claude-sonnet-4-5": "anthropic",
    "gpt-4o": "openai",
    "gpt-4o-mini": "openai",
}

CEILING = "1.00"
TIGHT_CEILING = "0.06"
"""Not enough for a whole answer: what a session looks like that ran into its ceiling."""

MOST_TRIES = 3

NOTES_TOKENS = 600
EXTRACT_TOKENS = 300
"""What researchers and readers hand up: the next call of who reads it pays for it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks: who pays, who owns the spend, and the tasks that it falls into."""

    customer: str
    team: str
    text: str
    tasks: tuple[str, ...]


QUESTIONS = (
    Question(
        "acme",
        "search",
        "what do heat pumps cost in old buildings?",
        ("prices", "subsidies", "noise limits", "installers", "running costs", "case studies"),
    ),
    Question("globex", "research", "which ports ship the most grain?", ("statistics", "sources")),
    Question("initech", "support", "why does the printer say PC LOAD LETTER?", ("manuals",)),
    Question(
        "acme", "legal", "what changed in the packaging law?", ("the law", "comments", "rulings")
    ),
    Question("globex", "search", "how do rivals price storage?", ("price lists", "reviews")),
)


class SourceError(Exception):
    """A source that cannot be read: the failure that makes a coordinator route again."""


class Session:
    """One question answered: routing cycles of a coordinator with researchers below it."""

    def __init__(self, tracker: spendtree.Spendtree, *, seed: int, number: int) -> None:
        self._tracker = tracker
        self._seed = f"{seed}/{number}"
        self._question = QUESTIONS[number % len(QUESTIONS)]
        # The first session shows everything: a failed researcher, a denied call, a second cycle.
        self._eventful = number % 5 == 0
        self._tight = number % 5 == 2
        self._ids = 0

    async def run(self) -> str:
        """Answer the question and return the session's id."""
        question = self._question
        session = self._tracker.session(
            customer=question.customer,
            team=question.team,
            ceiling=TIGHT_CEILING if self._tight else CEILING,
            expected_usd="0.15",
        )
        try:
            async with session:
                await self._answer(session)
        except spendtree.BudgetExceededError:
            pass  # The session is closed as budget_exceeded; its user gets no answer.
        return session.id

    async def _answer(self, session: spendtree.Session) -> None:
        await self._ask(self._random("router"), "gpt-4o-mini", (300, 500), (5, 15), purpose="route")
        tasks = self._question.tasks
        async with session.cycle():
            failed = await self._attempt(tasks, fails=tasks[1] if self._eventful else "")
        if failed:
            async with session.cycle():
                await self._attempt(failed)

    async def _attempt(self, tasks: tuple[str, ...], *, fails: str = "") -> tuple[str, ...]:
        """Let the coordinator route once; return the tasks that have to be routed again."""
        random = self._random("coordinator", *tasks)
        text = self._question.text
        async with spendtree.agent("coordinator", task=text, envelope="0.30"):
            await self._ask(random, "claude-sonnet-4-5", (900, 1600), (200, 400), purpose="plan")
            branches = [self._research(task, fails=task == fails) for task in tasks]
            results = await spendtree.gather(*branches, self._extract(tasks))
            found = dict(zip(tasks, results, strict=False))
            failed = tuple(task for task in tasks if isinstance(found[task], SourceError))
            with spendtree.purpose("evaluate"):
                size = 600 * len(tasks)
                await self._ask(
                    random, "claude-sonnet-4-5", (size, size + 500), (60, 150), cached=1400
                )
            if not failed:
                await self._check(tasks)
                await self._ask(
                    random, "claude-sonnet-4-5", (800, 1500), (500, 900), 4200, "synthesize"
                )
        return failed

    async def _research(self, task: str, *, fails: bool) -> str:
        random = self._random("researcher", task)
        async with spendtree.agent(
            "researcher", task_id=self._task_id(), task=f"find {task}", max_cost="0.20"
        ) as run:
            await self._ask(random, "gpt-4o", (1200, 2400), (120, 300))
            pages = random.randint(1, 3)
            readers = (self._read(f"{task}, page {page}") for page in range(1, pages + 1))
            await spendtree.gather(*readers)
            if fails:
                raise SourceError(f"{task}: the archive is behind a login")
            context = 2000
            for _ in range(random.randint(1, 2)):
                await self._ask(random, "gpt-4o", (500, 1100), (150, 450), cached=context)
                context += 1024
            return run.deliver(f"notes on {task}", tokens=NOTES_TOKENS)

    async def _read(self, page: str) -> None:
        random = self._random("reader", page)
        async with spendtree.agent(
            "reader", task_id=self._task_id(), task=f"read {page}", max_cost="0.02"
        ) as run:
            await self._ask(random, "gpt-4o-mini", (3000, 9000), (150, 400), trouble=0.12)
            run.deliver(f"extracts of {page}", tokens=EXTRACT_TOKENS)

    async def _extract(self, tasks: tuple[str, ...]) -> None:
        """Pull figures out of the notes; in an eventful session its envelope is too small."""
        random = self._random("extractor", *tasks)
        envelope = "0.02" if self._eventful else "0.10"
        async with spendtree.agent("extractor", task="pull out the figures", envelope=envelope):
            for _ in range(2):
                await self._ask(random, "gpt-4o", (3000, 4000), (250, 500))

    async def _check(self, tasks: tuple[str, ...]) -> None:
        random = self._random("quality-checker", *tasks)
        async with spendtree.agent("quality-checker", task="check the claims", max_cost="0.10"):
            await self._ask(random, "claude-haiku-4-5", (2500, 5000), (100, 300), cached=3000)

    async def _ask(
        self,
        random: Random,
        model: str,
        fresh: tuple[int, int],
        output: tuple[int, int],
        cached: int = 0,
        purpose: str | None = None,
        trouble: float = 0.0,
    ) -> None:
        """Make a call, and make it again where the provider was overloaded or hung up."""
        for tried in range(1, MOST_TRIES + 1):
            usage = spendtree.Usage(
                random.randint(*fresh), random.randint(*output), cache_read_tokens=cached
            )
            failure = _failure(random) if tried < MOST_TRIES and random.random() < trouble else None
            try:
                async with spendtree.call(
                    model,
                    provider=PROVIDERS[model],
                    input_tokens=fresh[1] + cached,
                    max_output_tokens=output[1],
                    purpose=purpose,
                ) as call:
                    call.record(await _pretend(usage, random.uniform(0.002, 0.015), failure))
            except ProviderError:
                continue  # A retry is a call of its own, with a hold of its own.
            return

    def _random(self, *what: str) -> Random:
        return Random("/".join((self._seed, *what)))

    def _task_id(self) -> str:
        self._ids += 1
        return f"t-{self._ids}"


async def stray_call(tracker: spendtree.Spendtree, *, seed: int) -> None:
    """Make a call outside any session, as a forgotten script does: recorded as unattributed."""
    random = Random(f"{seed}/stray")
    async with tracker.call(
        "gpt-4o-mini", provider="openai", input_tokens=900, max_output_tokens=40
    ) as call:
        usage = spendtree.Usage(random.randint(500, 900), random.randint(10, 40))
        call.record(await _pretend(usage, 0.002, None))


async def _pretend(
    usage: spendtree.Usage, seconds: float, failure: ProviderError | None
) -> spendtree.Usage:
    """Answer like a provider, a thousand times faster and for nothing."""
    await asyncio.sleep(seconds)
    if failure is not None:
        raise failure
    return usage


def _failure(random: Random) -> ProviderError:
    """Return a refusal (surely not billed) or, more rarely, a cut stream (who knows)."""
    if random.random() < 0.7:
        return ProviderError(429, "too many requests")
    return ProviderError(502, "the stream was cut")
