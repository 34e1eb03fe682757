"""The demo's application: a research system of agents on a provider that only pretends.

It uses the public API as any application would, and nothing else; how it asks is `asking`'s.
Everything is drawn from a seed per session and task, so that the same seed spends the same whatever
the order of its tasks and the way it asks.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import spendtree
from spendtree.cli.asking import Answer, Asking, Direct, Failure, Prompt
from spendtree.cli.questions import QUESTIONS, plot
from spendtree.testing import ProviderError

CONFIG = Path(__file__).with_name("demo.yaml")
"""Budgets, plans and contracts: for the application, and for an exporter beside it."""

CEILING = "0.50"
TIGHT_CEILING = "0.06"
"""Not enough for a whole answer: what a session looks like that ran into its ceiling."""

READERS_ENVELOPE = "0.05"
CROWDED_ENVELOPE = "0.0065"
"""Room for three or four readers at a time: the others wait for what these leave."""

MOST_TRIES = 3

SILENT = 0.04
"""How many of a troubled agent's answers come without usage."""

NOTES_TOKENS = (350, 860)
EXTRACT_TOKENS = 300
FIGURES_TOKENS = 180
VERDICT_TOKENS = (30, 200)
"""What agents hand up: the next call of who reads it pays for it. Some notes are longer, and some
verdicts shorter, than their contract allows."""


@contextmanager
def quiet_troubles() -> Iterator[None]:
    """Keep the warnings of what this application does wrong on purpose to the metrics it shows."""
    log = logging.getLogger("spendtree")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


class SourceError(Exception):
    """A source that cannot be read: the failure that makes a coordinator route again."""


class Session:
    """One question answered: routing cycles of a coordinator with researchers below it.

    `pace` is how many times slower than at once the provider answers: with 1 in milliseconds.
    Without `asking` it asks directly.
    """

    def __init__(
        self,
        tracker: spendtree.Spendtree,
        *,
        seed: int,
        number: int,
        pace: float = 1.0,
        asking: Asking | None = None,
    ) -> None:
        self._tracker = tracker
        self._asking = asking or Direct()
        self._seed = f"{seed}/{number}"
        self._pace = pace
        self._question = QUESTIONS[number % len(QUESTIONS)]
        self._plot = plot(number)
        self._ids = 0

    async def run(self) -> str:
        """Answer the question and return the session's id."""
        question = self._question
        session = self._tracker.session(
            customer=question.customer,
            team=question.team,
            ceiling=TIGHT_CEILING if self._plot.tight else CEILING,
            expected_usd="0.15",
        )
        try:
            async with session:
                await self._answer(session)
        except (spendtree.BudgetExceededError, ProviderError):
            pass  # The session is closed as what it is; its user gets no answer.
        return session.id

    async def _answer(self, session: spendtree.Session) -> None:
        await self._ask(self._random("router"), "gpt-4o-mini", (300, 500), (5, 15), purpose="route")
        tasks = self._question.tasks
        for cycle in range(self._plot.failing_cycles + 1):
            fails = tasks[min(1, len(tasks) - 1)] if cycle < self._plot.failing_cycles else ""
            async with session.cycle():
                tasks = await self._attempt(session, cycle, tasks, fails)

    async def _attempt(
        self, session: spendtree.Session, cycle: int, tasks: tuple[str, ...], fails: str
    ) -> tuple[str, ...]:
        """Let the coordinator route once; return the tasks that have to be routed again."""
        random = self._random("coordinator", f"{cycle}", *tasks)
        text = self._question.text
        async with spendtree.agent("coordinator", task=text, envelope="0.30"):
            await self._ask(random, "claude-sonnet-4-5", (900, 1600), (200, 400), purpose="plan")
            branches = [self._research(task, cycle, fails=task == fails) for task in tasks]
            results = await spendtree.gather(*branches, self._extract(tasks))
            found = dict(zip(tasks, results, strict=False))
            failed = tuple(task for task in tasks if isinstance(found[task], SourceError))
            with spendtree.purpose("evaluate"):
                size = 600 * len(tasks)
                await self._ask(
                    random, "claude-sonnet-4-5", (size, size + 500), (60, 150), cached=1400
                )
            if not failed:
                await self._finish(session, random, tasks)
        return failed

    async def _finish(
        self, session: spendtree.Session, random: Random, tasks: tuple[str, ...]
    ) -> None:
        """Check what was found, and write the answer."""
        if self._plot.translates:
            await self._translate(random)
        await self._check(tasks, session if self._plot.moves_money else None)
        if self._plot.outage:
            raise ProviderError(503, "the provider is down")
        await self._ask(
            random, "claude-sonnet-4-5", (800, 1500), (500, 900), 4200, "synthesize", overrun=0.06
        )

    async def _research(self, task: str, cycle: int, *, fails: bool) -> str:
        random = self._random("researcher", f"{cycle}", task)
        async with spendtree.agent(
            "researcher",
            task_id=self._task_id(),
            task=f"find {task}",
            envelope="0.50",
            max_cost="0.20",
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
            return run.deliver(f"notes on {task}", tokens=random.randint(*NOTES_TOKENS))

    async def _read(self, page: str) -> None:
        random = self._random("reader", page)
        async with spendtree.agent(
            "reader",
            task_id=self._task_id(),
            task=f"read {page}",
            envelope=CROWDED_ENVELOPE if self._plot.crowded else READERS_ENVELOPE,
            max_cost="0.02",
        ) as run:
            await self._ask(random, "gpt-4o-mini", (3000, 9000), (150, 400), trouble=0.12)
            run.deliver(f"extracts of {page}", tokens=EXTRACT_TOKENS)

    async def _extract(self, tasks: tuple[str, ...]) -> None:
        """Pull figures out of the notes; now and then its envelope is too small."""
        random = self._random("extractor", *tasks)
        envelope = "0.02" if self._plot.small_envelope else "0.06"
        async with spendtree.agent(
            "extractor", task="pull out the figures", envelope=envelope
        ) as run:
            for _ in range(2):
                await self._ask(random, "gpt-4o", (3000, 4000), (250, 500))
            run.deliver("figures", tokens=FIGURES_TOKENS)

    async def _translate(self, random: Random) -> None:
        """Ask a model that has no price, which a ceiling refuses, and then one that has."""
        async with spendtree.agent("translator", task="translate the notes", envelope="0.02"):
            with suppress(spendtree.UnknownPriceError):
                await self._ask(random, "madlad-400", (900, 1500), (300, 600))
            await self._ask(random, "gemini-2.5-flash", (900, 1500), (300, 600))

    async def _check(self, tasks: tuple[str, ...], giver: spendtree.Session | None) -> None:
        """Check the claims, with money that the researchers left if a giver is named."""
        random = self._random("quality-checker", *tasks)
        async with spendtree.agent(
            "quality-checker", task="check the claims", envelope="0.05", max_cost="0.10"
        ) as run:
            if giver is not None:
                with suppress(spendtree.TransferError):  # some have nothing left to give
                    giver.transfer("researcher", "quality-checker", "0.02", "a second look")
                    giver.transfer("extractor", "coordinator", "0.01", "the answer is long")
            for _ in range(1 if giver is None else 2):
                await self._ask(random, "claude-haiku-4-5", (2500, 5000), (100, 300), cached=3000)
            run.deliver("verdict", tokens=random.randint(*VERDICT_TOKENS))

    async def _ask(
        self,
        random: Random,
        model: str,
        fresh: tuple[int, int],
        output: tuple[int, int],
        cached: int = 0,
        purpose: str | None = None,
        *,
        trouble: float = 0.0,
        overrun: float = 0.0,
    ) -> None:
        """Make a call, and make it again where the provider was overloaded or hung up.

        `trouble` is how likely that is, `overrun` how likely it writes more than it may.
        """
        for tried in range(1, MOST_TRIES + 1):
            output_tokens = random.randint(*output)
            if overrun and random.random() < overrun:
                output_tokens += 3 * output[1]
            usage = spendtree.Usage(random.randint(*fresh), output_tokens, cache_read_tokens=cached)
            fails = tried < MOST_TRIES and random.random() < trouble
            prompt = Prompt(
                model=model,
                input_tokens=fresh[1] + cached,
                max_output_tokens=output[1],
                answer=self._answer_of(random, usage, fails=fails, troubled=bool(trouble)),
                purpose=purpose,
                # A cut, and an answer without usage, are what happens to streams.
                streams=bool(trouble or overrun),
            )
            try:
                await self._asking.ask(prompt)
            except ProviderError:
                continue  # A retry is a call of its own, with a hold of its own.
            return

    def _answer_of(
        self, random: Random, usage: spendtree.Usage, *, fails: bool, troubled: bool
    ) -> Answer:
        """Draw what the provider will do, as much slower as the pace says."""
        failure = _failure(random) if fails else ""
        return Answer(
            usage=usage,
            seconds=random.uniform(0.002, 0.015) * self._pace,
            failure=failure,
            silent=troubled and not failure and random.random() < SILENT,
        )

    def _random(self, *what: str) -> Random:
        return Random("/".join((self._seed, *what)))

    def _task_id(self) -> str:
        self._ids += 1
        return f"t-{self._ids}"


def stray_call(tracker: spendtree.Spendtree, *, seed: int) -> None:
    """Make a call outside any session, as a forgotten script does: recorded as unattributed.

    Not with a wrapped client: that charges the default Spendtree there, which the demo's is not.
    """
    random = Random(f"{seed}/stray")
    with tracker.call(
        "gpt-4o-mini", provider="openai", input_tokens=900, max_output_tokens=40
    ) as call:
        call.record(spendtree.Usage(random.randint(500, 900), random.randint(10, 40)))


def unpriced_call(tracker: spendtree.Spendtree) -> None:
    """Ask a model that nobody knows a price of, outside any cap: recorded as unpriced."""
    with tracker.call(
        "madlad-400", provider="self-hosted", input_tokens=700, max_output_tokens=200
    ) as call:
        call.record(spendtree.Usage(640, 130))


def lost_call(tracker: spendtree.Spendtree, *, seed: int) -> None:
    """Make a stray call from a plain thread while a session is open: who asked is lost."""
    thread = threading.Thread(target=stray_call, args=(tracker,), kwargs={"seed": seed})
    thread.start()
    thread.join()


def _failure(random: Random) -> Failure:
    """Return a refusal (surely not billed) or, more rarely, a cut stream (who knows)."""
    return "refused" if random.random() < 0.7 else "cut"
