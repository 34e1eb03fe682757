"""The demo asks with the client of OpenAI, over HTTP, and spends what it spends without."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import spendtree
from spendtree.cli import demo, main, workload
from spendtree.cli.asking import Answer, Asking, Direct, Prompt
from spendtree.cli.clients import Clients
from spendtree.cli.stream import stream
from spendtree.event import Event, Kind
from spendtree.store import Store, open_store
from spendtree.testing import LoopbackProvider, Received, Reply, assert_books_balance
from spendtree.testing.reply import error_reply

openai = pytest.importorskip("openai", reason="pip install 'spendtree[openai]'")

STORY = (0, 1, 5, 6, 12)
"""Sessions that route again, move money, meet trouble, an outage and a model without a price.

Not those near a ceiling, nor the crowded one: there it counts who comes first.
"""


def run(tracker: spendtree.Spendtree, asking: Asking) -> None:
    async def sessions() -> None:
        for number in STORY:
            await workload.Session(tracker, seed=1, number=number, asking=asking).run()

    asyncio.run(sessions())


async def sessions_with_clients(tracker: spendtree.Spendtree) -> None:
    async with Clients() as clients:
        for number in STORY:
            await workload.Session(tracker, seed=1, number=number, asking=clients).run()
        assert not clients.provider.received, "a stream of days would fill the memory"


class Bill:
    """What reached the pretend provider, and what it answered."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.usages: list[tuple[str, dict[str, Any]]] = []

    def note(self, received: Received, reply: Reply) -> None:
        self.requests.append(received)
        usage = {} if reply.status != 200 or reply.fault else stated(reply)
        if usage:
            self.usages.append((received.body["model"], usage))

    def tokens(self) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for model, usage in self.usages:
            total[model, "input"] += usage["prompt_tokens"]
            total[model, "output"] += usage["completion_tokens"]
        return total


def stated(reply: Reply) -> dict[str, Any]:
    """Return the usage that a reply states: of its body, or of its stream's last event with one."""
    lines = b"".join(reply.pieces).decode().split("\n")
    bodies = [line.removeprefix("data: ") for line in lines if line[:1] in ("d", "{")]
    usages = [json.loads(body).get("usage") for body in bodies if body != "[DONE]"]
    return next((usage for usage in reversed(usages) if usage), {})


@contextmanager
def noted() -> Iterator[Bill]:
    """Keep the bill of every loopback provider meanwhile."""
    bill, original = Bill(), LoopbackProvider.reply_to

    def noting(provider: LoopbackProvider, received: Received) -> Reply:
        reply = original(provider, received)
        bill.note(received, reply)
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoopbackProvider, "reply_to", noting)
        yield bill


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bill, Store]]:
    """Yield the bill and the store of some sessions that asked with the client."""
    url = f"sqlite:///{tmp_path_factory.mktemp('clients')}/spend.db"
    with closing(spendtree.Spendtree(url, workload.CONFIG)) as tracker:
        with noted() as bill:
            asyncio.run(sessions_with_clients(tracker))
        yield bill, tracker.store


def ends(store: Store) -> list[Event]:
    return list(store.events(kinds=(Kind.CALL, Kind.LAPSE)))


def test_every_call_is_a_request_of_the_real_client(asked: tuple[Bill, Store]) -> None:
    bill, store = asked
    paths = {received.path for received in bill.requests}
    agents = {received.headers["user-agent"].partition(" ")[0] for received in bill.requests}
    models = Counter(received.body["model"] for received in bill.requests)

    assert paths == {"/v1/chat/completions"}
    assert agents == {"AsyncOpenAI/Python"}
    assert models == Counter(event.request.model for event in ends(store))
    assert {received.body.get("stream") for received in bill.requests} == {None, True}


def test_the_providers_own_bill_is_what_the_store_recorded(asked: tuple[Bill, Store]) -> None:
    bill, store = asked
    recorded: Counter[tuple[str, str]] = Counter()
    for event in ends(store):
        read = event.cache_read_tokens or 0
        recorded[event.request.model, "input"] += (event.input_tokens or 0) + read
        recorded[event.request.model, "output"] += event.output_tokens or 0

    assert recorded == bill.tokens()
    assert len(bill.usages) < len(bill.requests), "some failed, and some told no usage"
    assert_books_balance(store)


def test_calls_are_recorded_under_the_models_own_provider(asked: tuple[Bill, Store]) -> None:
    assert {event.request.provider for event in ends(asked[1])} == {
        *("anthropic", "openai", "google")
    }


def test_the_direct_way_holds_and_spends_the_same(
    asked: tuple[Bill, Store], tmp_path: Path
) -> None:
    """Call by call: who, which model, how it ended, and the amounts to the last digit."""
    with closing(spendtree.Spendtree(f"sqlite:///{tmp_path}/d.db", workload.CONFIG)) as tracker:
        run(tracker, Direct())
        direct = what_happened(tracker.store)

    assert what_happened(asked[1]) == direct


def what_happened(store: Store) -> Counter[tuple[Any, ...]]:
    kinds = (Kind.CALL, Kind.LAPSE, Kind.DENIED)
    return Counter(
        (
            *(event.kind, event.status, event.context.customer, event.context.agent),
            *(event.request.model, event.request.purpose, event.held, event.cost),
        )
        for event in store.events(kinds=kinds)
    )


def test_the_command_asks_that_way(tmp_path: Path) -> None:
    """All its calls are requests but the stray one."""
    url = f"sqlite:///{tmp_path}/demo.db"

    with noted() as bill:
        assert main(["demo", "--sessions", "2", "--json", "--store", url]) == 0

    with closing(open_store(url, create=False)) as store:
        assert len(bill.requests) == len(ends(store)) - 1 > 20


def test_a_failure_that_nobody_drew_is_told() -> None:
    """A mistake of the demo's must not pass for one of the provider's that its story has."""
    prompt = Prompt(
        model="gpt-4o",
        input_tokens=500,
        max_output_tokens=40,
        answer=Answer(usage=spendtree.Usage(400, 30), seconds=0),
    )

    async def ask(tracker: spendtree.Spendtree) -> None:
        async with Clients() as clients, tracker.session(customer="acme"):
            clients.provider.play(error_reply(500))
            await clients.ask(prompt)

    with closing(spendtree.Spendtree("memory:")) as tracker, pytest.raises(openai.APIError):
        asyncio.run(ask(tracker))


def test_a_stream_asks_with_it_and_can_be_interrupted(tmp_path: Path) -> None:
    told: list[str] = []

    async def live(tracker: spendtree.Spendtree) -> None:
        ended = asyncio.Event()

        def end(session: str) -> None:
            told.append(session)
            ended.set()

        async with Clients() as clients:
            await stream(
                tracker,
                seed=1,
                ended=ended,
                told=end,
                gap_seconds=0.05,
                pace=30.0,
                asking=clients,
            )

    with closing(spendtree.Spendtree(f"sqlite:///{tmp_path}/s.db", workload.CONFIG)) as tracker:
        asyncio.run(live(tracker))
        opened = list(tracker.store.events(kinds=(Kind.SESSION_OPENED,)))
        closed = list(tracker.store.events(kinds=(Kind.SESSION_CLOSED,)))
        assert len(opened) == len(closed) > len(told)
        assert_books_balance(tracker)


def test_without_openai_one_line_says_so_and_the_demo_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    url = f"sqlite:///{tmp_path}/demo.db"

    assert main(["demo", "--sessions", "1", "--store", url]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == demo.WITHOUT_CLIENT
    assert "pip install 'spendtree[openai]'" in lines[0]
    assert sum("pip install" in line for line in lines) == 1
    assert lines[1].startswith("session ")
    with closing(open_store(url, create=False)) as store:
        assert sum(row.cost for row in store.totals()) > 0
