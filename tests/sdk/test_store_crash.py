"""A writer killed with SIGKILL at random moments: what it acknowledged is there, others go on."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from spendtree.account import Balance, envelope_account, session_account
from spendtree.event import Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.store import Store, open_store

KILLS = 100
CAP = 10**15
ACCOUNTS = (session_account("s"), envelope_account("s", "writer"))
WHO = Context("s", agent="writer", level=1, path=tuple(account.id for account in ACCOUNTS))
WHAT = Request("openai", "gpt-4o")
ACKNOWLEDGMENT = 17
"""Bytes of one: the call's id and how it ended, as its kind's number."""
OPENING = 0
"""What stands for that kind before the writer opens the file."""

WRITER = """
import sys
sys.path[:] = {path!r}
from tests.sdk.test_store_crash import write
write(sys.argv[1])
"""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL (POSIX)")


def write(url: str) -> None:
    """Hold and end calls without end; say each one's end on stdout only when it is booked."""
    acknowledge(b"\0" * 16, OPENING)
    store = open_store(url)
    lapsed = store.lapse_abandoned(now=5, idle=10**18)
    assert lapsed <= 2, "only the dead predecessor's last two holds were open"
    store.open(
        [(account, CAP) for account in ACCOUNTS],
        Event(0, Kind.SESSION_OPENED, 1, b"s" * 16, WHO),
    )
    last, turn = new_id(), 0
    hold(store, last)
    while True:
        turn += 1
        id = new_id()
        hold(store, id)
        # Each ends after the next has begun, so that there is always something to abandon.
        acknowledge(last, end(store, last, turn))
        last = id


def hold(store: Store, id: bytes) -> None:
    store.hold(id, WHO.path, 10, context=WHO, request=WHAT, at=1)


def end(store: Store, id: bytes, turn: int) -> int:
    event = Event(0, Kind.CALL, 2, id, WHO, WHAT, turn % 9, 10, status="ok", started=1)
    if turn % 3 == 0:
        return store.lapse(id, event._replace(status="lapsed")).kind
    return store.settle(id, turn % 9, event).kind


def acknowledge(id: bytes, kind: int) -> None:
    os.write(1, id + bytes([kind]))


def killed(url: str, chance: random.Random) -> list[tuple[bytes, int]]:
    """Run a writer, kill it at a random moment and return what it had acknowledged."""
    program = WRITER.format(path=sys.path)
    command = [sys.executable, "-c", program, url]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, bufsize=0) as writer:
        assert writer.stdout is not None
        said = b""
        # Wait for a random number of acknowledgments, then spin for about as long as the opening
        # or a call takes: the kill falls anywhere within.
        count = chance.choice((1, 2, 3, 30))
        for _ in range(count):
            said += writer.stdout.read(ACKNOWLEDGMENT) or b""
        for _ in range(chance.randrange(200_000 if count == 1 else 3_000)):
            pass
        writer.kill()
        said += writer.stdout.read() or b""
        assert writer.wait(30) == -signal.SIGKILL, "it ended by itself"
    whole = len(said) // ACKNOWLEDGMENT * ACKNOWLEDGMENT
    chunks = [said[at : at + ACKNOWLEDGMENT] for at in range(0, whole, ACKNOWLEDGMENT)]
    return [(chunk[:16], chunk[16]) for chunk in chunks if chunk[16] != OPENING]


def check(path: Path, acknowledged: list[tuple[bytes, int]]) -> int:
    """Compare the file with what was acknowledged and with itself; answer how many are open."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        held = connection.execute("SELECT coalesce(sum(amount), 0), count(*) FROM hold").fetchone()
        ids = connection.execute("SELECT id FROM hold").fetchall()
    with closing(open_store(f"sqlite:///{path}")) as store:
        log = list(store.events(kinds=[Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT]))
        spent = sum(event.cost or 0 for event in log)
        presumed = Counter({event.kind: 0 for event in log})
        for event in log:
            presumed[event.kind] += event.held
        balance = Balance(CAP, spent, presumed[Kind.LAPSE] - presumed[Kind.ADJUSTMENT], held[0])
        for account in WHO.path:
            assert store.balance(account) == balance
    ended = Counter((event.id, event.kind) for event in log)
    assert set(acknowledged) <= set(ended), "an acknowledged end is lost"
    assert max(ended.values()) == 1
    assert held[1] <= 2, "only the last writer's holds were not lapsed by a successor"
    assert not {id for (id,) in ids} & {event.id for event in log}, "ended, and open still"
    return int(held[1])


def test_a_writer_killed_at_random_moments_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path, chance = tmp_path / "spend.db", random.Random(7)
    url = f"sqlite:///{path}"
    acknowledged: list[tuple[bytes, int]] = []
    abandoned = 0
    for kill in range(1, KILLS + 1):
        acknowledged += killed(url, chance)
        if kill % 10 == 0:
            abandoned += check(path, acknowledged)
    assert len(acknowledged) > 5 * KILLS
    assert len({id for id, _ in acknowledged}) > 5 * KILLS
    assert abandoned > 0, "else no kill fell between a hold and its end"
    with closing(open_store(url)) as store:
        left = store.open_holds()
        assert store.lapse_abandoned(now=9, idle=10**18) == left
        assert store.open_holds() == 0
    assert check(path, acknowledged) == 0
