"""`spendtree tree`: the right session, drawn so that it fits, or whole as JSON."""

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import spendtree
from spendtree.cli import drawing, main
from spendtree.tree import SessionTree, Sums, build
from tests.sdk.cli_store import LONG_TASK, PRICES, TREE_COST, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("tree"))


class Screen:
    """What a command showed: its lines, what it said on stderr, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], width: int, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            self.code = main(["tree", *arguments])
        said = capsys.readouterr()
        self.text, self.errors = said.out, said.err
        self.lines = [line.rstrip() for line in said.out.splitlines()]

    def line(self, beginning: str) -> str:
        """Return the one line whose name begins so, without its branches."""
        found = [line for line in self.lines if line.lstrip("├└─│ ").startswith(beginning)]
        assert len(found) == 1, self.text
        return found[0]


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["tree", "--json", *arguments]) == 0
    tree: dict[str, Any] = json.loads(capsys.readouterr().out)
    return tree


def test_the_tree_tells_agent_task_cycle_model_tokens_cost_and_share(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, 200, "tree-1", "--store", store)
    row = next(line for line in shown.lines if line.startswith("├─ coordinator"))
    told = " ".join(row.split())
    assert told == "├─ coordinator answer 1 fake-model 1 1000 0 1000 $0.0890 $0.0200 15% █▌"


def test_the_heading_tells_who_how_much_of_the_ceiling_and_what_routing_again_cost(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, 100, "tree-1", "--store", store)
    assert shown.lines[0] == "Session tree-1  succeeded"
    assert shown.lines[1].startswith("acme · search · ")
    assert shown.lines[2].startswith("$0.131 of $0.50 (26%) · 11 calls, 1 failed, 1 denied · ")
    assert shown.lines[3] == "Routing cycles: 1 $0.091, 2 $0.04 (amplification 1.4×)"


def test_many_runs_of_one_agent_are_one_row_and_the_failed_stay_visible(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, 200, "tree-1", "--store", store)
    row = shown.line("researcher")
    assert "researcher ×5  ✗ 1 failed  ⊘ 1 exhausted" in row
    assert "ProviderError" in row
    assert "$0.0690" in row


def test_all_shows_each_run_with_how_it_ended(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, 200, "tree-1", "--all", "--store", store)
    rows = [line for line in shown.lines if "researcher" in line]
    assert len(rows) == 5
    assert sum("✗ failed" in row for row in rows) == 1
    assert sum("⊘ exhausted" in row for row in rows) == 1


@pytest.mark.parametrize("width", [60, 80, 110, 140, 200])
def test_the_tree_fits_its_screen_and_cuts_no_figure(
    width: int, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, width, "tree-1", "--store", store)
    table = shown.lines[5:]
    assert max(map(len, table)) <= width
    assert "$0.0690" in shown.line("researcher")
    assert "53%" in shown.line("researcher")


def test_a_narrow_screen_explains_its_signs(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Screen(capsys, 80, "tree-1", "--store", store)
    assert "researcher ×5 ✗1 ⊘1 find out" in shown.line("researcher")
    assert shown.lines[-1] == "✗ failed  ⊘ exhausted"


def test_json_has_every_run_and_adds_up(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree = as_json(capsys, "tree-1", "--store", store)
    assert tree["totals"]["cost_usd"] == str(TREE_COST)
    subtrees = sum(Decimal(root["subtree"]["cost_usd"]) for root in tree["roots"])
    assert subtrees + Decimal(tree["outside_agents"]["cost_usd"]) == TREE_COST
    assert sum(map(Decimal, tree["agents"].values())) == TREE_COST
    researchers = tree["roots"][0]["children"]
    assert sorted(run["status"] for run in researchers) == ["exhausted", "failed"] + 3 * [
        "succeeded"
    ]
    assert {run["task"] for run in researchers} == {LONG_TASK}


def test_a_unique_beginning_of_an_id_is_enough(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_json(capsys, "bud", "--store", store)["session"] == "budget-1"


def test_without_an_id_it_is_the_latest_session(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_json(capsys, "--store", store)["session"] == "budget-1"


def test_calls_of_no_session_have_a_tree_too(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Screen(capsys, 80, "unattributed", "--store", store).lines[0] == (
        "Calls outside any session"
    )
    assert as_json(capsys, "unattributed", "--store", store)["totals"]["calls"] == 1


def test_an_unknown_id_is_told_what_there_is(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Screen(capsys, 80, "nobody", "--store", store)
    assert (shown.code, shown.text) == (1, "")
    assert shown.errors.startswith("spendtree: no session 'nobody' in ")
    assert "\n  budget-1\n  tree-1\n" in shown.errors


def test_a_beginning_of_several_ids_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    tracker = spendtree.Spendtree(url, {})
    for id in ("case-1", "case-2", "case", "other"):
        with tracker.session(id):
            pass
    tracker.close()
    shown = Screen(capsys, 80, "ca", "--store", url)
    assert shown.code == 1
    assert "several sessions" in shown.errors
    assert sorted(shown.errors.split("\n")[1:4]) == ["  case", "  case-1", "  case-2"]
    assert as_json(capsys, "case", "--store", url)["session"] == "case"


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    spendtree.Spendtree(url, {}).close()
    assert Screen(capsys, 80, "--store", url).errors.startswith("spendtree: no session in ")


def test_a_pipe_gets_no_colour_and_a_terminal_does(store: str) -> None:
    tree = tree_of(store, "tree-1")
    assert "\x1b[" not in drawn(tree, force_terminal=False)
    coloured = drawn(tree, force_terminal=True)
    assert "\x1b[1;31m✗ 1 failed" in coloured


def test_no_color_takes_the_colours_away(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in drawn(tree_of(store, "tree-1"), force_terminal=True)


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    tracker = spendtree.Spendtree("memory:", {"prices": PRICES})
    with (
        tracker.session("evil", customer="\x1b[2Jacme"),
        spendtree.agent("\x1b]0;owned\x07agent", task="line\nbreak [red]markup[/red]"),
        spendtree.call("\x1b[31mmodel", input_tokens=1, max_output_tokens=1) as call,
    ):
        call.record(spendtree.Usage(1, 1))
    shown = drawn(tracker.tree("evil"), force_terminal=False)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "line break [red]markup[/red]" in shown


def test_what_the_cost_does_not_contain_is_said_below_the_tree() -> None:
    tracker = spendtree.Spendtree("memory:", {"prices": PRICES})
    with tracker.session("odd"):
        with spendtree.call("no-such-model", input_tokens=1, max_output_tokens=1) as call:
            call.record(spendtree.Usage(1, 1))
        with spendtree.call("fake-model", input_tokens=1000, max_output_tokens=1000):
            pass
    shown = drawn(tracker.tree("odd"), force_terminal=False)
    assert "1 call of unknown price cost extra" in shown
    assert "$0.02 are presumed: 1 call ended without a usage" in shown


def test_a_deep_tree_keeps_its_names_visible() -> None:
    tracker = spendtree.Spendtree("memory:", {"prices": PRICES})

    def nest(levels: int) -> None:
        with spendtree.agent(f"agent-{levels}"):
            if levels:
                nest(levels - 1)

    with tracker.session("deep"):
        nest(30)
    assert "agent-0 " in drawn(tracker.tree("deep"), force_terminal=False, width=80)


def test_a_terminal_without_unicode_gets_plain_branches(store: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace")
    drawing.draw(Console(file=stream, width=100), tree_of(store, "tree-1"), folded=True)
    stream.flush()
    assert "|- coordinator" in raw.getvalue().decode("ascii")


def test_a_session_without_any_call_is_drawn_too() -> None:
    tracker = spendtree.Spendtree("memory:", {})
    with tracker.session("quiet"):
        pass
    assert tracker.tree("quiet").totals == Sums()
    assert "$0.00 · 0 calls" in drawn(tracker.tree("quiet"), force_terminal=False)


def tree_of(store: str, session: str) -> SessionTree:
    opened = spendtree.store.open_store(store, create=False)
    tree = build(opened.events(session=session))
    opened.close()
    return tree


def drawn(tree: SessionTree, *, force_terminal: bool, width: int = 200) -> str:
    """Return what is drawn on a terminal, or into a pipe, of that width."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=force_terminal,
        color_system="standard" if force_terminal else None,
        highlight=False,
    )
    drawing.draw(console, tree, folded=True)
    return stream.getvalue()


def test_a_session_without_tokens_has_no_loose_dot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    tracker = spendtree.Spendtree(url)
    with tracker.session("idle"):
        pass
    tracker.close()

    shown = Screen(capsys, 200, "idle", "--store", url)

    assert [line for line in shown.lines if "0 calls" in line] == ["$0.00 · 0 calls"]
