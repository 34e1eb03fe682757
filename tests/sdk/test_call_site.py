"""A call that is left without a word is told of, once for each place, and named by the doctor."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spendtree import Call, Spendtree, Usage
from spendtree.call_site import LENGTH_MAX, call_site
from spendtree.cli import main
from spendtree.event import Event, Kind
from spendtree.store.health import examine

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}

Log = pytest.LogCaptureFixture


@pytest.fixture
def tracker(tmp_path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{tmp_path}/spend.db", {"prices": PRICES})


def open_call(tracker: Spendtree) -> Call:
    return tracker.call("m", input_tokens=50, max_output_tokens=50)


def forgets(tracker: Spendtree) -> int:
    """Leave a call without a word; return the line where."""
    with open_call(tracker):
        pass
    return forgets.__code__.co_firstlineno + 2


def ends(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.CALL, Kind.LAPSE]))


def warnings(caplog: Log) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_a_call_left_without_a_word_is_told_of_once_for_each_place(
    tracker: Spendtree, caplog: Log
) -> None:
    with tracker.session():
        lines = {forgets(tracker) for _ in range(3)}
        with open_call(tracker):
            pass

    first, second = warnings(caplog)
    assert f"at {__file__}:{lines.pop()} a call of m was left without call.record" in first
    assert "$0.001, is presumed spent" in first
    assert "call.void(reason)" in first
    assert f"at {__file__}:" in second
    assert [event.status for event in ends(tracker)] == ["unmetered"] * 4
    assert {(event.data or {})["reason"] for event in ends(tracker)} == {"nothing was recorded"}


def test_an_async_call_is_told_of_where_it_is_left(tracker: Spendtree, caplog: Log) -> None:
    import asyncio  # noqa: PLC0415

    async def forget() -> None:
        async with open_call(tracker):
            await asyncio.sleep(0)

    asyncio.run(forget())
    (warning,) = warnings(caplog)
    assert f"at {__file__}:{forget.__code__.co_firstlineno + 1} " in warning


def raises(call: Call) -> None:
    raise ValueError


SAID: dict[str, Callable[[Call], object]] = {
    "record": lambda call: call.record(Usage(1, 1)),
    "void": lambda call: call.void("nothing was sent"),
    "lapse": lambda call: call.lapse("timed out"),
    "error": raises,
    "a response without usage": lambda call: call.record({"id": "x", "choices": []}),
}


@pytest.mark.parametrize("word", SAID)
def test_of_a_call_that_ends_with_a_word_nothing_is_added(
    tracker: Spendtree, caplog: Log, word: str
) -> None:
    try:
        with open_call(tracker) as call:
            SAID[word](call)
    except ValueError:
        pass
    with tracker.tool("search", cost="0.01"):
        pass

    assert [each for each in warnings(caplog) if "was left without" in each] == []
    assert all("place" not in (event.data or {}) for event in ends(tracker))


def test_the_doctor_names_how_many_there_are_of_each_model_and_place(
    tracker: Spendtree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracker.session() as session:
        for _ in range(3):
            line = forgets(tracker)
        with session.call("gpt-4o", input_tokens=1, max_output_tokens=1):
            pass
    place = f"{__file__}:{line}"

    (most, other) = examine(str(tmp_path / "spend.db")).unrecorded
    assert main(["doctor", "--json", "--store", f"sqlite:///{tmp_path}/spend.db"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["log"]

    assert most == ("m", place, 3)
    assert (other.model, other.calls) == ("gpt-4o", 1)
    assert found["unrecorded"][0] == {"model": "m", "place": place, "calls": 3}
    (told, *_) = [each for each in found["findings"] if place in each["text"]]
    assert told["text"].startswith("3 calls of m were left without a recorded response")
    assert "call.void(reason)" in told["fix"]


def test_the_doctor_still_names_them_when_they_were_pruned(
    tracker: Spendtree, tmp_path: Path
) -> None:
    with tracker.session():
        for _ in range(3):
            forgets(tracker)
    before = examine(str(tmp_path / "spend.db")).unrecorded

    assert tracker.store.prune(2**62).rollups == 1
    assert examine(str(tmp_path / "spend.db")).unrecorded == before


def test_more_places_than_can_be_shown_are_counted(
    tracker: Spendtree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        source = f"def leave(call):\n{chr(10) * number}    with call: pass\n"
        names: dict[str, Any] = {"__name__": "program"}
        exec(compile(source, "program.py", "exec"), names)
        names["leave"](open_call(tracker))
    main(["doctor", "--store", f"sqlite:///{tmp_path}/spend.db"])
    out = " ".join(capsys.readouterr().out.split())
    assert "2 calls more were left without a recorded response, at 2 other places" in out


def test_a_place_is_the_programs_own_line_and_the_end_of_a_long_path() -> None:
    assert call_site() == f"{__file__}:{call_site_line()}"
    names: dict[str, Any] = {"__name__": "program", "call_site": call_site}
    exec(compile("place = call_site()", "x" * 500 + ".py", "exec"), names)
    assert len(names["place"]) == LENGTH_MAX
    assert names["place"].endswith("x.py:1")


def call_site_line() -> int:
    code = test_a_place_is_the_programs_own_line_and_the_end_of_a_long_path.__code__
    return code.co_firstlineno + 1


def test_where_there_is_no_line_of_a_program_there_is_no_place() -> None:
    code = (
        "import concurrent.futures, spendtree.call_site as s\n"
        "pool = concurrent.futures.ThreadPoolExecutor(1)\n"
        "print(repr(pool.submit(s.call_site).result()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "''\n"
