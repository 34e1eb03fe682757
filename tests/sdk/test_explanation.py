"""How a call's cost came about, as a value, for programs and on the screen."""

import json
from pathlib import Path
from typing import Any

import pytest

from spendtree import ScopeError, Spendtree, Usage
from spendtree.cli import main
from spendtree.event import Event, Kind, Request
from spendtree.explanation import Explanation, explain
from spendtree.money import to_pico
from spendtree.pricing import PriceBook
from spendtree.store.rollups import rolled_up

OWN = {"prices": {"m": {"input_usd_per_mtok": "3", "output_usd_per_mtok": "15", "flex": "0.5"}}}
BOOK = PriceBook()
AT = 1_796_000_000_000_000
BOUND: Any = {"input_tokens": 1000, "max_output_tokens": 1000}
ID = bytes(range(16))


def event(model: str = "gpt-5", provider: str = "openai", **fields: Any) -> Event:
    base = Event(0, Kind.CALL, AT, ID, request=Request(provider, model), status="ok", started=AT)
    return base._replace(**fields)


def lines(found: Explanation) -> list[tuple[str, int, int | None]]:
    return [(line.what, line.count, line.price) for line in found.lines]


def test_each_bucket_unit_and_fee_is_a_line_and_they_add_up() -> None:
    found = explain(
        event(
            input_tokens=600,
            cache_read_tokens=400,
            output_tokens=100,
            reasoning_tokens=40,
            cost=to_pico("0.0218"),
            data={"units": {"web_search": 2}},
        ),
        BOOK,
    )

    assert lines(found) == [
        ("input tokens", 600, 1_250_000),
        ("input tokens read from a cache", 400, 125_000),
        ("output tokens", 60, 10_000_000),
        ("output tokens of reasoning", 40, 10_000_000),
        ("web searches", 2, 10_000_000_000),
    ]
    assert found.listed == found.cost == to_pico("0.0218")
    assert found.notes == ()
    assert found.source.startswith("genai-prices ")


def test_a_tier_is_in_the_prices_and_its_factor_is_named_with_source_and_date() -> None:
    data = {"served": ["flex"], "answered_by": "gpt-5-2025-08-07"}
    found = explain(event(input_tokens=1000, cost=to_pico("0.000625"), data=data), BOOK)

    assert lines(found) == [("input tokens", 1000, 625_000)]
    assert "; flex: × 1/2 (openai.com/api/pricing" in found.source
    assert "20" in found.source.rpartition(", ")[2]
    assert (found.asked, found.answered) == ("gpt-5", "gpt-5-2025-08-07")


NOTES = [
    (
        {"cost": to_pico(2), "input_tokens": 1, "data": {"cost_source": "provider"}},
        "The provider stated a cost of $2.00, which holds.",
    ),
    (
        {
            "cost": to_pico(2),
            "input_tokens": 1,
            "data": {"cost_source": "provider", "stated_difference": -to_pico("0.5")},
        },
        "The provider stated a cost of $2.00, which holds; that is $0.50 less than the price list "
        "said then.",
    ),
    (
        {"cost": to_pico(1), "input_tokens": 1},
        "The recorded cost is $1.00: the price was another one when the call was made, or the "
        "user's own then.",
    ),
    (
        {
            "cost": to_pico("0.01"),
            "held": to_pico("0.01"),
            "input_tokens": 1,
            "data": {"priced_part": to_pico("0.001"), "marks": ["unpriced:scale"]},
        },
        "The priced parts cost $0.001. As a part has no price, the call is counted at what was "
        "held for it, $0.01.",
    ),
    (
        {"cost": 1_250_000, "input_tokens": 1, "data": {"marks": ["unpriced:scale"]}},
        "No price is known for being served as scale; the lines have the everyday price.",
    ),
    (
        {
            "cost": 10_000_000,
            "data": {"marks": ["unpriced:output_audio"], "units": {"output_audio": 1}},
        },
        "No price is known for output_audio; it counts as text, the least that it can cost.",
    ),
    (
        {"cost": 0, "data": {"marks": ["unpriced:classification"], "units": {"classification": 1}}},
        "No price is known for classification; it counts as nothing, and may have cost more.",
    ),
    (
        {
            "cost": 1_250_000,
            "input_tokens": 1,
            "data": {"marks": ["unread"], "unread": {"usage.new_tokens": 9}},
        },
        "The response states more than was understood: usage.new_tokens.",
    ),
    (
        {"cost": 9_250_000, "input_tokens": 1, "data": {"parts": ["gpt-4o", "o3"]}},
        "Several models worked together (gpt-4o, o3), each at its own price; the lines have the "
        "price of the one that answered.",
    ),
    (
        {"cost": 1_250_000, "input_tokens": 1, "held": to_pico("0.5")},
        "Held before it was sent: $0.50.",
    ),
    (
        {"cost": to_pico("0.0125"), "input_tokens": 10_000, "held": to_pico("0.01")},
        "It cost $0.0025 more than the $0.01 held for it.",
    ),
    (
        {"cost": 0, "status": "failed", "data": {"reason": "HTTP 429"}},
        "Nothing was billed (HTTP 429).",
    ),
    (
        {"kind": Kind.LAPSE, "cost": 0, "held": to_pico(1), "data": {"reason": "it was left"}},
        "How it ended is not known (it was left): its hold of $1.00 is presumed spent until the "
        "truth is known.",
    ),
    (
        {
            "kind": Kind.TOOL,
            "request": Request(),
            "cost": to_pico("0.1"),
            "data": {"name": "search"},
        },
        "A charge of $0.10 that the program stated.",
    ),
]


@pytest.mark.parametrize(("fields", "note"), NOTES, ids=[note[:40] for _, note in NOTES])
def test_what_the_lines_do_not_say_is_a_note(fields: dict[str, Any], note: str) -> None:
    assert note in explain(event(**fields), BOOK).notes


def test_what_has_no_price_at_all_is_unpriced_and_not_free() -> None:
    found = explain(event("nobody-knows", "", input_tokens=5, cost=None), BOOK)

    assert lines(found) == [("input tokens", 5, None)]
    assert (found.listed, found.cost) == (None, None)
    assert "unpriced, not free" in found.notes[0]


def test_a_sum_of_pruned_calls_says_that_it_is_one() -> None:
    one = event(input_tokens=10, cost=12_500_000)
    found = explain(rolled_up([one, one._replace(id=ID[::-1])]), BOOK)

    assert lines(found) == [("input tokens", 20, 1_250_000)]
    assert "A sum of 2 calls that were pruned." in found.notes[0]


def test_a_call_explains_itself_once_it_has_ended() -> None:
    tracker = Spendtree("memory:", OWN)
    with tracker.session() as session, session.call("m", served=["flex"], **BOUND) as call:
        with pytest.raises(ScopeError, match="has not ended"):
            call.explain()
        call.record(Usage(1000, 100))

    found = call.explain()
    assert found.listed == found.cost == to_pico("0.00225")
    assert found.source == "your own prices; flex: × 1/2"
    assert found.to_dict()["cost_usd"] == "0.00225"


# The command.


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("SPENDTREE_CONFIG", raising=False)
    return f"sqlite:///{tmp_path / 'spend.db'}"


def made(store: str) -> dict[str, str]:
    """Make calls of several kinds; return their ids."""
    tracker = Spendtree(store, OWN)
    with tracker.session("s-1", ceiling=1) as session:
        with (
            session.agent("writer") as agent,
            agent.call("gpt-5", provider="openai", served=["priority"], **BOUND) as priced,
        ):
            priced.record(Usage(1000, 100, units={"web_search": 1, "output_audio": 5}))
        with session.call("m", **BOUND) as lapsed:
            lapsed.lapse("the stream was closed")
        with session.tool("search", cost="0.25") as tool:
            pass
        with session.call("m", **BOUND) as own:
            own.record(Usage(1000, 100))
    tracker.close()
    calls = {"priced": priced, "lapsed": lapsed, "tool": tool, "own": own}
    return {name: call.id for name, call in calls.items()}


Capture = pytest.CaptureFixture[str]


def shown(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(["explain", *arguments]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_the_screen_has_a_line_for_each_part_and_fits_80_columns(
    store: str, capsys: Capture
) -> None:
    text = shown(capsys, made(store)["priced"], "--store", store)

    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "openai gpt-5, served as priority" in rows
    assert "input tokens 1,000 $2.5/MTok $0.0025" in rows
    assert "web search 1 $0.01 $0.01" in rows
    assert "Cost $0.0225" in rows
    assert "audio output tokens 5 ≥ $20/MTok $0.0001" in rows
    long = [line for line in text.splitlines() if len(line) > 80]
    assert all(line.startswith(("Prices: ", "The priced", "No price is")) for line in long)


def test_json_is_for_programs(store: str, capsys: Capture) -> None:
    found = json.loads(shown(capsys, made(store)["priced"], "--json", "--store", store))

    assert found["served"] == ["priority"]
    assert found["lines"][0] == {
        "what": "input tokens",
        "count": 1000,
        "unit_price_usd": "0.0000025",
        "price_known": True,
        "cost_usd": "0.0025",
    }
    assert [line["price_known"] for line in found["lines"]].count(False) == 1


def test_the_beginning_or_the_end_of_an_id_is_enough_if_it_is_the_only_one(
    store: str, capsys: Capture
) -> None:
    ids = made(store)

    assert ids["own"] in shown(capsys, ids["own"][-8:], "--store", store)
    tool = shown(capsys, ids["tool"].upper(), "--store", store)
    assert ids["tool"] in tool
    assert "\ntool search\n" in tool
    assert "part of the ids of 4 calls" in shown(capsys, ids["own"][:6], "--store", store, code=1)
    assert "six" not in shown(capsys, "abc", "--store", store, code=1)
    assert "is not the id" in shown(capsys, "no-id-at-all", "--store", store, code=1)
    assert "no call" in shown(capsys, "f" * 32, "--store", store, code=1)


def test_own_prices_come_from_the_configuration(
    store: str, capsys: Capture, tmp_path: Path
) -> None:
    ids = made(store)
    config = tmp_path / "spendtree.yaml"
    config.write_text(json.dumps(OWN))

    with_it = shown(capsys, ids["own"], "--store", store, "--config", str(config))
    without = shown(capsys, ids["own"], "--store", store)
    assert "Prices: your own prices" in with_it
    assert "unknown" in without
    assert "own price of it is given with --config" in without


def test_a_lapse_is_explained_until_it_is_corrected(store: str, capsys: Capture) -> None:
    id = made(store)["lapsed"]
    before = shown(capsys, id, "--store", store)
    tracker = Spendtree(store, OWN)
    lapse = tracker.store.find(bytes.fromhex(id), Kind.LAPSE)
    assert lapse is not None
    truth = lapse._replace(kind=Kind.ADJUSTMENT, input_tokens=10, status="ok", data=None)
    tracker.store.adjust(lapse.id, 30_000_000, truth)
    tracker.close()

    assert "How it ended is not known (the stream was closed)" in before
    after = shown(capsys, id[-10:], "--store", store)
    assert "How it ended" not in after
    assert "$0.00003" in after
