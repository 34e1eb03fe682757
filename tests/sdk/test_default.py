"""The module-level doors: the scope's Spendtree, else one made on first use."""

# ruff: noqa: PT012 - how scopes, calls and refusals nest is what is tested

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import spendtree
from spendtree import Spendtree, Usage, default
from spendtree.event import Kind

CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}


@pytest.fixture(autouse=True)
def _no_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give every test a process that has made no default yet, in an empty directory."""
    monkeypatch.setattr(default, "_default", None)
    for name in ("SPENDTREE_STORE", "SPENDTREE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    if default._default is not None:
        default._default.close()


def spend() -> None:
    with spendtree.call("m", input_tokens=1000, max_output_tokens=1000) as call:
        call.record(Usage(1000, 1000))


def agents(tracker: Spendtree) -> list[str]:
    return [row.context.agent for row in tracker.store.totals()]


def test_without_configure_the_store_is_a_file_in_the_working_directory(tmp_path: Path) -> None:
    made = default.default()
    assert made.store.url == "sqlite:///spendtree.db"
    assert (tmp_path / "spendtree.db").is_file()
    assert default.default() is made


def test_the_environment_names_store_and_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("mode: warn\n", encoding="utf-8")
    monkeypatch.setenv("SPENDTREE_STORE", "memory:")
    monkeypatch.setenv("SPENDTREE_CONFIG", str(tmp_path / "own.yaml"))
    made = default.default()
    assert (made.store.url, made.config.mode) == ("memory:", "warn")
    assert not (tmp_path / "spendtree.db").exists()


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDTREE_STORE", "sqlite:////no/such/directory/x.db")
    monkeypatch.setenv("SPENDTREE_CONFIG", "/no/such/file.yaml")
    made = spendtree.configure("memory:", {"mode": "record"})
    assert (made.store.url, made.config.mode) == ("memory:", "record")


def test_the_module_level_functions_use_the_configured_spendtree() -> None:
    made = spendtree.configure("memory:", CONFIG)
    with spendtree.session("s", ceiling="1"), spendtree.cycle(), spendtree.cycle():
        run = spendtree.agent("a").open()
        with spendtree.purpose("plan"):
            run.bind(spend)()
    (event,) = made.store.events(kinds=[Kind.CALL])
    assert (event.context.agent, event.context.cycle, event.request.purpose) == ("a", 1, "plan")


def test_configuring_another_store_serves_new_sessions_and_open_ones_keep_theirs(
    tmp_path: Path,
) -> None:
    first = spendtree.configure("memory:", CONFIG)
    with spendtree.session():
        second = spendtree.configure(f"sqlite:///{tmp_path}/s.db", CONFIG)
        with spendtree.agent("kept"), spendtree.cycle():
            spend()
        with spendtree.session(), spendtree.agent("new"):
            spend()
        spend()
    spend()
    assert agents(first) == ["kept", ""]
    assert agents(second) == ["new", ""]


@pytest.mark.parametrize("store", ["memory:", "sqlite:///s.db", None])
def test_configuring_the_same_store_again_reconfigures_what_is_open(store: str | None) -> None:
    made = spendtree.configure(store, {**CONFIG, "mode": "record"})
    with spendtree.session(ceiling="0.01"):
        spend()
        assert spendtree.configure(store, CONFIG) is made
        with pytest.raises(spendtree.BudgetExceededError):
            spend()
        assert spendtree.configure(config={**CONFIG, "mode": "record"}) is made
        spend()
    assert len(list(made.store.events(kinds=[Kind.CALL]))) == 2


def test_a_configuration_that_is_refused_leaves_the_one_before() -> None:
    made = spendtree.configure("memory:", {**CONFIG, "mode": "record"})
    with pytest.raises(spendtree.ConfigurationError):
        spendtree.configure("memory:", {"mode": "sometimes"})
    assert default.default() is made
    assert made.config.mode == "record"


def test_configuring_again_reads_the_named_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.yaml"
    monkeypatch.setenv("SPENDTREE_CONFIG", str(file))
    file.write_text("mode: warn\n", encoding="utf-8")
    made = spendtree.configure("memory:")
    file.write_text("mode: record\n", encoding="utf-8")
    spendtree.configure()
    assert made.config.mode == "record"


def test_a_relative_store_in_another_directory_is_another_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spendtree.configure("sqlite:///s.db")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    second = spendtree.configure("sqlite:///s.db")
    assert second is not first
    assert second.store.id != first.store.id
    first.close()


def test_a_spendtree_inside_the_scope_of_another_keeps_its_own_books() -> None:
    outer, inner = Spendtree("memory:", CONFIG), Spendtree("memory:", CONFIG)
    with outer.session("outer", ceiling="1"), outer.agent("a"):
        with inner.call("m", input_tokens=1000, max_output_tokens=1000) as call:
            call.record(Usage(1000, 1000))
        with inner.agent("alone"):
            spend()
            with pytest.raises(spendtree.ScopeError, match="belongs to a session"):
                outer_less = Spendtree("memory:", CONFIG)
                outer_less.cycle().open()
            with outer.agent("b"):
                spend()
        with inner.session("inner"), outer.agent("c"), inner.agent("d"):
            spend()
        spend()
    assert agents(inner) == ["", "alone", "d"]
    assert agents(outer) == ["b", "a"]
    (b, *_) = [row.context for row in outer.store.totals() if row.context.agent == "b"]
    assert (b.session, b.level) == ("outer", 2)
    (d, *_) = [row.context for row in inner.store.totals() if row.context.agent == "d"]
    assert (d.session, d.level) == ("inner", 1)


def test_a_session_of_another_spendtree_is_used_by_the_functions_inside_it() -> None:
    spendtree.configure("memory:", CONFIG)
    own = Spendtree("memory:", CONFIG)
    with own.session(), spendtree.agent("a"):
        spend()
    assert agents(own) == ["a"]


def test_many_threads_that_need_the_default_first_make_one() -> None:
    start, made = threading.Barrier(8), []

    def first() -> None:
        start.wait()
        made.append(default.default())

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in made}) == 1


def test_gather_returns_results_and_errors_and_cancels_no_sibling() -> None:
    spendtree.configure("memory:", CONFIG)

    async def branch(number: int) -> int:
        async with spendtree.agent(f"a{number}", envelope="0.01" if number == 0 else None):
            for _ in range(3):
                await asyncio.sleep(0)
            async with spendtree.call("m", input_tokens=1000, max_output_tokens=1000) as call:
                call.record(Usage(1, 1))
            return number

    async def main() -> None:
        async with spendtree.session():
            found = await spendtree.gather(*(branch(number) for number in range(3)))
            assert type(found[0]) is spendtree.EnvelopeExhaustedError
            assert found[1:] == [1, 2]

    asyncio.run(main())


def test_cancelling_who_gathers_cancels_its_branches() -> None:
    cancelled: list[int] = []

    async def branch(number: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def main() -> None:
        task = asyncio.ensure_future(spendtree.gather(branch(1), branch(2)))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cancelled == [1, 2]


def test_importing_opens_no_file_and_reads_no_environment(tmp_path: Path) -> None:
    code = "import spendtree, os; print(os.listdir('.'))"
    environment = {"SPENDTREE_STORE": "nonsense", "SPENDTREE_CONFIG": "/no/such/file"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
