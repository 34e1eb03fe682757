"""The house of ARCHITECTURE.md holds: who imports whom, and what an import loads.

The sources are read, not imported: an import inside a function counts like one at the top.
"""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk" / "spendtree"
EXPORTER = ROOT / "exporter" / "spendtree_exporter"

HOUSE: tuple[tuple[str, ...], ...] = (
    ("errors", "money", "usage", "event", "model_names"),
    ("pricing", "bound", "account", "contract", "response", "ending", "period"),
    ("tree", "metrics", "denial", "charge"),
    ("explanation",),
    ("store",),
    ("config",),
    (
        "ids",
        "attribution",
        "clock",
        "call_site",
        "lifetime",
        "exit_guard",
        "scope",
        "call",
        "policy",
        "waiting",
        "starting",
        "transfers",
        "propagation",
        "tracker",
        "default",
    ),
    ("collector",),
    ("integrations",),
    ("ingest",),
    ("reports",),
    ("testing",),
    ("cli",),
)
"""The lines of the house, top first: a module imports only from lines above its own. A new module
goes into the highest line that still has everything it needs above it."""

NEIGHBOURLY = {"errors", "scope"}
"""A name from each line whose modules may import each other: the values, and the imperative path,
which is one thing in several files. Elsewhere modules of one line are strangers."""

PURE = frozenset(name for line in HOUSE[: HOUSE.index(("store",))] for name in line)
"""Values, rules and folds: no I/O, clock, randomness, threads or environment."""

IMPURE = """
    asyncio concurrent contextvars genai_prices http io logging multiprocessing os pathlib
    prometheus_client random requests sched secrets select selectors shutil signal socket sqlite3
    ssl subprocess sys tempfile threading time urllib uuid yaml
"""
"""Libraries that no pure module imports."""

EXCUSED = {
    ("pricing", "genai_prices"): "the catalogue is that package's data, bundled with it",
    ("pricing", "os"): "a price list without a date is as old as its file",
}
"""Impure libraries that one pure module may import all the same, with the reason."""

EXPORTER_MAY = """
    errors money usage event account pricing tree metrics store ingest reports config
"""
"""What the exporter imports of the SDK: values, rules, folds and the store, never the imperative
path. usage, account and pricing are values and rules on them, so they are no way around that."""


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def line_of(name: str) -> int:
    for number, line in enumerate(HOUSE):
        if name in line:
            return number
    raise AssertionError(f"spendtree.{name} is in no line of the house: add it to HOUSE")


def part(path: Path, package: Path) -> str:
    """Return the first name below the package: `store` for store/sqlite.py, "" for the door."""
    first = path.relative_to(package).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


class Import(NamedTuple):
    """One import: where it stands, the full dotted name, and whether it runs with the module."""

    where: str
    name: str
    at_top: bool

    @property
    def target(self) -> str:
        """Return the module of the SDK that is meant, "" for anything else."""
        package, _, rest = self.name.partition(".")
        first = rest.partition(".")[0]
        return first if package == "spendtree" and not first.startswith("__") else ""


def imports(path: Path, root: Path = ROOT) -> Iterator[Import]:
    """Yield everything that a source imports, wherever it does."""
    package = path.relative_to(root).parts[1:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for name in names(node, package):
            where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)} imports {name}"
            yield Import(where, name, at_top=getattr(node, "col_offset", 0) == 0)


def names(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) + 1 - node.level] if node.level else ()
        module = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def test_every_module_of_the_sdk_has_a_line_in_the_house() -> None:
    known = {name for line in HOUSE for name in line}

    unknown = {part(path, SDK) for path in modules(SDK)} - known - {""}

    assert not unknown, f"in no line of the house, add to HOUSE: {sorted(unknown)}"


def test_the_reader_of_imports_sees_function_level_relative_and_named_ones(tmp_path: Path) -> None:
    source = tmp_path / "sdk" / "spendtree" / "store" / "engine.py"
    source.parent.mkdir(parents=True)
    source.write_text(
        "import os.path\n"
        "def f():\n"
        "    from spendtree import scope\n"
        "    from . import sums\n"
        "    from ..money import to_pico\n"
        "    importlib.import_module('spendtree.cli')\n"
    )

    found = {(one.name, one.target, one.at_top) for one in imports(source, tmp_path)}

    assert found == {
        ("os.path", "", True),
        ("spendtree.scope", "scope", False),
        ("spendtree.store.sums", "store", False),
        ("spendtree.money.to_pico", "money", False),
        ("spendtree.cli", "cli", False),
    }


@pytest.mark.parametrize("path", modules(SDK), ids=lambda path: str(path.relative_to(SDK)))
def test_a_module_imports_only_from_lines_above_its_own(path: Path) -> None:
    own = part(path, SDK)
    for one in imports(path):
        if own and one.target and one.target != own:
            assert may_import(own, one.target), f"{one.where}: not from a line above {own}"


def may_import(own: str, target: str) -> bool:
    mine, other = line_of(own), line_of(target)
    return other < mine or (other == mine and bool(NEIGHBOURLY & set(HOUSE[mine])))


def test_the_rule_refuses_imports_from_below_and_from_strangers_beside() -> None:
    assert may_import("usage", "errors")
    assert may_import("scope", "tracker")
    assert not may_import("account", "store")
    assert not may_import("metrics", "tree")
    assert not may_import("tracker", "testing")


@pytest.mark.parametrize("path", modules(SDK), ids=lambda path: str(path.relative_to(SDK)))
def test_the_sdk_names_the_exporter_only_to_serve_a_demo(path: Path) -> None:
    for one in imports(path):
        if one.name.partition(".")[0] == "spendtree_exporter":
            assert part(path, SDK) == "cli", f"{one.where}: only cli may"
            assert not one.at_top, f"{one.where}: only on use, since the exporter is an extra"


@pytest.mark.parametrize("path", modules(EXPORTER), ids=lambda p: str(p.relative_to(EXPORTER)))
def test_the_exporter_never_imports_the_imperative_path(path: Path) -> None:
    for one in imports(path):
        if one.target:
            assert one.target in EXPORTER_MAY.split(), one.where


@pytest.mark.parametrize(
    "path",
    [path for path in modules(SDK) if part(path, SDK) in PURE],
    ids=lambda path: str(path.relative_to(SDK)),
)
def test_pure_modules_do_no_io_and_read_no_clock(path: Path) -> None:
    own = part(path, SDK)
    for one in imports(path):
        library = one.name.partition(".")[0]
        if library in IMPURE.split():
            assert (own, library) in EXCUSED, f"{one.where}: {own} is pure"


def test_importing_spendtree_loads_no_heavy_library() -> None:
    heavy = ["genai_prices", "prometheus_client", "yaml", "typer", "rich", "starlette", "orjson"]

    loaded = python(f"import sys, spendtree\nprint(*sorted(set(sys.modules) & set({heavy!r})))")

    assert loaded == ""


def test_nothing_happens_at_import() -> None:
    """No module starts a thread, opens a file, reads the environment's stores or forks."""
    code = """
        import sys, threading
        seen = []
        watched = ("sqlite3.connect", "socket.bind", "socket.connect", "subprocess.Popen")
        def watch(event, args):
            opened = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
            if event in watched or opened:
                seen.append((event, args))
        sys.addaudithook(watch)
        sys.dont_write_bytecode = True
        import spendtree
        for name in spendtree.__all__:
            getattr(spendtree, name)
        print(seen or "", threading.active_count())
    """

    assert python(code) == "1"


def test_the_core_works_without_any_extra() -> None:
    """Users who installed `spendtree` alone have none of the extras' libraries."""
    code = """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in (
                    "typer", "click", "rich", "orjson", "starlette", "uvicorn", "httpx"
                ):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import spendtree

        tracker = spendtree.Spendtree("memory:", config={"prices": {
            "m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}})
        with tracker.session(ceiling="0.01") as session, session.agent("a") as agent:
            with agent.call("m", input_tokens=10, max_output_tokens=10) as call:
                call.record(spendtree.Usage(10, 10))
            print(session.breakdown())
    """

    assert python(code) == "{'a': Decimal('0.00003')}"


def python(code: str) -> str:
    """Run code in a fresh interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
