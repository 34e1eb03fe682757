"""Streams that nobody reads: the garbage collector ends them, wherever it happens to run."""

import gc
from typing import Any

import openai

from spendtree import Spendtree, Usage, instrument, uninstrument
from spendtree.event import Kind
from spendtree.testing import LoopbackProvider, assert_books_balance

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10", "context_window": 9000}}
STREAMS = 60


def test_dropped_streams_never_stop_the_program() -> None:
    """Often enough that a collection falls into a verb of the store, which used to hang there."""
    tracker = Spendtree("memory:", {"prices": PRICES})
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    before = gc.get_threshold()
    instrument("openai")
    try:
        with LoopbackProvider() as provider, tracker.session("s", ceiling="9"):
            client = openai.OpenAI(base_url=provider.url, api_key="k", max_retries=0)
            gc.set_threshold(20, 2, 2)
            for _ in range(STREAMS):
                client.chat.completions.create(**asked, stream=True)
                for _ in range(20):
                    with tracker.call("m", input_tokens=5, max_output_tokens=5) as call:
                        call.record(Usage(1, 1))
            gc.set_threshold(*before)
            gc.collect()
    finally:
        gc.set_threshold(*before)
        uninstrument("openai")
    assert len(list(tracker.store.events(kinds=(Kind.LAPSE,)))) == STREAMS
    assert_books_balance(tracker)
