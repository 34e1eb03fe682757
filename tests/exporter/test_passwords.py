"""Passwords: whoever guesses fills a queue of its own, and who is known waits for nobody."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from spendtree_exporter import passwords as module
from spendtree_exporter.passwords import (
    REMEMBERED_MAX,
    REMEMBERED_SECONDS,
    WAITING_MAX,
    WAITING_PER_PEER,
    BusyError,
    Passwords,
    matches,
    nobody,
    peer_of,
)

PATIENCE_SECONDS = 30.0


class Bcrypt:
    """Stands in for bcrypt: only b"right" is right, and no check ends before `go` is set."""

    def __init__(self) -> None:
        self.checked: list[bytes] = []
        self.go = threading.Event()

    def __call__(self, password: bytes, hashed: str) -> bool:
        self.checked.append(password)
        assert self.go.wait(PATIENCE_SECONDS)
        return password == b"right"


@pytest.fixture
def bcrypt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bcrypt]:
    slow = Bcrypt()
    monkeypatch.setattr(module, "matches", slow)
    yield slow
    slow.go.set()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Asking = Callable[..., "asyncio.Task[bool]"]


def run(scene: Callable[[Passwords, Asking], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        passwords = Passwords(workers=1, **options)

        def ask(password: bytes, peer: str = "attacker", name: str = "prom") -> asyncio.Task[bool]:
            return asyncio.create_task(passwords.is_right(name, password, "hash", peer=peer))

        await asyncio.wait_for(scene(passwords, ask), PATIENCE_SECONDS)

    asyncio.run(main())


async def turns() -> None:
    """Let the tasks that were made run until they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def outcomes(tasks: "list[asyncio.Task[bool]]") -> list[bool | str]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [each if isinstance(each, bool) else type(each).__name__ for each in found]


def test_of_many_guesses_at_once_few_wait_and_the_others_are_refused_at_once(
    bcrypt: Bcrypt,
) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        guesses = [ask(b"%d" % number) for number in range(200)]
        await turns()
        refused = [guess for guess in guesses if guess.done()]
        assert len(refused) == 200 - WAITING_PER_PEER - 1
        assert set(await outcomes(refused)) == {"BusyError"}
        bcrypt.go.set()
        assert (await outcomes(guesses)).count(False) == WAITING_PER_PEER + 1

    run(scene)
    assert len(bcrypt.checked) == WAITING_PER_PEER + 1


def test_a_password_that_was_right_is_known_again_whatever_waits(bcrypt: Bcrypt) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        bcrypt.go.set()
        assert await ask(b"right", "scraper")
        bcrypt.go.clear()
        guesses = [ask(b"%d" % number) for number in range(200)]
        await turns()
        assert await ask(b"right", "scraper"), "no check has ended meanwhile"
        assert await ask(b"right", "attacker"), "whoever it comes from"
        bcrypt.go.set()
        assert True not in await outcomes(guesses)

    run(scene)


def test_one_peer_that_guesses_does_not_keep_another_one_waiting(bcrypt: Bcrypt) -> None:
    """Not even one that was never here before: peers take turns."""

    async def scene(_: Passwords, ask: Asking) -> None:
        guesses = [ask(b"%d" % number) for number in range(200)]
        await turns()
        scrape = ask(b"right", "scraper")
        guesses += [ask(b"more %d" % number) for number in range(200)]
        await turns()
        bcrypt.go.set()
        assert await scrape
        await outcomes(guesses)

    run(scene)
    assert bcrypt.checked.index(b"right") <= 2, "the running one, and one of the attacker's turn"


def test_many_peers_that_guess_give_way_to_a_new_one(bcrypt: Bcrypt) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        peers = WAITING_MAX // WAITING_PER_PEER
        guesses = [ask(b"%d" % n, f"attacker {n % peers}") for n in range(peers * 20)]
        await turns()
        scrape = ask(b"right", "scraper")
        await turns()
        assert not scrape.done(), "it waits"
        bcrypt.go.set()
        assert await scrape
        assert (await outcomes(guesses)).count(False) <= WAITING_MAX + 1

    run(scene)


def test_where_every_peer_has_one_that_waits_the_next_is_refused(bcrypt: Bcrypt) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        guesses = [ask(b"guess", f"attacker {n}", str(n)) for n in range(WAITING_MAX + 1)]
        await turns()
        with pytest.raises(BusyError):
            await ask(b"right", "scraper")
        bcrypt.go.set()
        await outcomes(guesses)

    run(scene)


def test_after_a_burst_the_newest_of_a_peer_is_checked_first(bcrypt: Bcrypt) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        guesses = [ask(b"%d" % number) for number in range(200)]
        await turns()
        scrape = ask(b"right")
        await turns()
        bcrypt.go.set()
        assert await scrape
        await outcomes(guesses)

    run(scene)
    assert bcrypt.checked[1] == b"right"


def test_the_same_question_at_once_is_one_check_and_one_that_goes_away_ends_none(
    bcrypt: Bcrypt,
) -> None:
    async def scene(_: Passwords, ask: Asking) -> None:
        asked = [ask(b"right") for _ in range(20)]
        await turns()
        asked[0].cancel()
        bcrypt.go.set()
        assert await outcomes(asked[1:]) == [True] * 19

    run(scene)
    assert bcrypt.checked == [b"right"]


def test_what_is_known_again_is_bounded_ends_when_unused_and_can_be_forgotten(
    bcrypt: Bcrypt,
) -> None:
    bcrypt.go.set()
    clock = Clock()

    async def scene(passwords: Passwords, ask: Asking) -> None:
        async def checks(name: str = "prom") -> int:
            before = len(bcrypt.checked)
            assert await ask(b"right", name=name)
            return len(bcrypt.checked) - before

        assert await checks() == 1
        for _ in range(3):
            clock.now += REMEMBERED_SECONDS - 1
            assert await checks() == 0, "each use prolongs it"
        clock.now += REMEMBERED_SECONDS
        assert await checks() == 1
        passwords.forget()
        assert await checks() == 1
        for number in range(REMEMBERED_MAX):
            await checks(f"user {number}")
        assert await checks() == 1, "the one that was used longest ago goes"

    run(scene, now=clock)


def test_a_wrong_password_is_never_known(bcrypt: Bcrypt) -> None:
    bcrypt.go.set()

    async def scene(_: Passwords, ask: Asking) -> None:
        assert not await ask(b"wrong")
        assert not await ask(b"wrong")

    run(scene)
    assert bcrypt.checked == [b"wrong", b"wrong"]


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (("127.0.0.1", 1), "127.0.0.1"),
        (("::ffff:10.0.0.7", 1), "10.0.0.7"),
        (("2001:db8:0:1::1", 1), "20010db800000001"),
        (("2001:db8:0:1:ffff::2", 2), "20010db800000001"),
        (("fe80::1%eth0", 1), "fe80000000000000"),
        (("testclient", 1), ""),
        (None, ""),
    ],
)
def test_a_peer_is_an_address_or_a_network_that_one_machine_may_have(
    client: tuple[str, int] | None, peer: str
) -> None:
    assert peer_of(client) == peer


def test_an_unknown_name_costs_as_much_as_the_most_costly_known_one() -> None:
    pytest.importorskip("bcrypt", reason="bcrypt is not installed: pip install bcrypt")
    salt = "7OoZvb7NmDiRNnhFjTfQ.OHjOz.K3k/F2Qzg.r871XTDzw5QZCxgi"

    assert nobody([f"$2y$04${salt}", f"$2b$12${salt}"]).startswith("$2b$12$")
    assert not matches(b"anything", nobody([f"$2y$04${salt}"]))
