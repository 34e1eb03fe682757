"""`python -m tests.soak.load URL SEED`: spends from many sessions at once until stdin is closed.

Sessions are short and long, succeed, fail and run out of money; names are of all kinds.
"""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from spendtree import BudgetExceededError, Spendtree, Usage

PRICED = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")
ANY = (*PRICED, "a model without a price")
ROLES = ("coordinator", "researcher", "extractor", 'a "quoted"\\ role\n')
CUSTOMERS = [f"customer-{number}" for number in range(60)] + ["naïve ☃", "x" * 200]
PAUSE_SECONDS = 0.02
THREADS = 4


def main(url: str, seed: str) -> None:
    tracker = Spendtree(url, {"mode": "enforce"})
    stop = threading.Event()
    with ThreadPoolExecutor(THREADS) as pool:
        spending = [
            pool.submit(spend, tracker, random.Random(f"{seed}-{number}"), stop)
            for number in range(THREADS)
        ]
        print("spending", flush=True)
        sys.stdin.read()
        stop.set()
        for each in spending:
            each.result()


def spend(tracker: Spendtree, chance: random.Random, stop: threading.Event) -> None:
    """Run one session after the other."""
    while not stop.is_set():
        ceiling = chance.choice(["0.01", "0.05", None])
        session = tracker.session(customer=chance.choice(CUSTOMERS), team="t", ceiling=ceiling)
        try:
            with session:
                for _ in range(chance.randint(1, 6)):
                    with session.cycle(), session.agent(chance.choice(ROLES)) as agent:
                        work(tracker, chance, stop, PRICED if ceiling else ANY)
                        agent.deliver("a result")
        except (BudgetExceededError, ConnectionError):
            pass  # the session's own end, recorded as such


def work(
    tracker: Spendtree, chance: random.Random, stop: threading.Event, models: tuple[str, ...]
) -> None:
    """Make some calls, one in fifty of which fails."""
    for _ in range(chance.randint(1, 8)):
        tokens = chance.randint(10, 2_000)
        model = chance.choice(models)
        with tracker.call(model, input_tokens=tokens, max_output_tokens=300) as call:
            if chance.random() < 0.02:
                raise ConnectionError("refused")
            call.record(Usage(tokens, chance.randint(1, 300)))
        stop.wait(PAUSE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
