"""`spendtree demo`: run the workload, show the dearest session, and say what to look at."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    closing,
    nullcontext,
    suppress,
)
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import spendtree
from spendtree.cli import drawing, output, workload
from spendtree.cli.asking import Asking, Direct
from spendtree.cli.clients import Clients
from spendtree.cli.sessions import read_summaries
from spendtree.cli.stream import GAP_SECONDS, stream
from spendtree.tree import SessionTree

STORE = "sqlite:///spendtree-demo.db"
"""Not SPENDTREE_STORE: spend that never was does not belong among spend that was."""

AT_ONCE = 3

WITHOUT_CLIENT = (
    "asking without a client, since openai is not installed: pip install 'spendtree[openai]'"
)

_COST = output.Dollars(4)


def demo(
    sessions: Annotated[int, typer.Option(min=1, metavar="N", help="Sessions to run.")] = 6,
    forever: Annotated[
        bool,
        typer.Option("--forever", help="Then go on as slowly as in life, until interrupted."),
    ] = False,
    gap: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="For --forever: between two sessions."),
    ] = GAP_SECONDS,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve /metrics meanwhile, and on until interrupted."),
    ] = False,
    listen: Annotated[
        str,
        typer.Option("--listen", "--web.listen-address", metavar="HOST:PORT", help="For --serve."),
    ] = "127.0.0.1:9797",
    store: Annotated[
        str, typer.Option("--store", metavar="URL", help="Where to record; never SPENDTREE_STORE.")
    ] = STORE,
    seed: Annotated[int, typer.Option(help="The same seed spends the same.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write only the sessions, as `sessions --json` does.")
    ] = False,
) -> None:
    """Run agents on a fake provider and show who spent what.

    Nothing is paid for: the client of OpenAI asks a server on 127.0.0.1. Coordinators plan and
    spawn researchers, who spawn readers. One researcher fails, and its task is routed again in a
    second cycle; an agent with too small an envelope is denied a call; one session runs into its
    ceiling. With --forever sessions then come at random, last a minute or two and overlap, as long
    as you like to look at them.
    """
    console = output.console()
    console.quiet = as_json
    with (
        workload.quiet_troubles(),
        closing(spendtree.Spendtree(store, workload.CONFIG)) as tracker,
    ):
        with _serving(tracker, listen) if serve else nullcontext("") as url:
            show = _Demo(tracker, console, seed=seed, url=url)
            asyncio.run(show.run(sessions, gap_seconds=gap if forever else None))
        if as_json:
            rows = read_summaries(tracker.store)
            output.write_json([row.to_dict() for row in rows if row.session in show.done])


def _serving(tracker: spendtree.Spendtree, listen: str) -> AbstractContextManager[str]:
    """Serve the store's metrics in a thread beside; the value is the URL."""
    # The exporter is an extra of its own, which the demo needs only here.
    try:
        from spendtree.config.figures import catalogue_figures, configured_figures  # noqa: PLC0415
        from spendtree.config.limits import fold_settings  # noqa: PLC0415
        from spendtree.metrics import Fold  # noqa: PLC0415
        from spendtree_exporter.app import create_app  # noqa: PLC0415
        from spendtree_exporter.serve import parse_address, serving  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise output.failure(
            f"--serve needs {missing.name!r}: pip install 'spendtree[exporter]'"
        ) from None
    host, port = parse_address(listen)
    # Nobody scrapes a demo for a minute before looking: its counters show their values at once.
    limits = fold_settings(tracker.config)._replace(birth_hold_us=0)
    app = create_app(tracker.store, fold=Fold(tracker.store.id, **limits._asdict()))
    dated = catalogue_figures(tracker.prices.catalogue_timestamp)
    app.state.follower.configured = {**dated, **configured_figures(tracker.config)}
    return serving(app, host, port)


class _Demo:
    """One run of the demo: its sessions, the dearest of them, and what is said about it."""

    _interrupted: asyncio.Event

    def __init__(
        self, tracker: spendtree.Spendtree, console: Console, *, seed: int, url: str
    ) -> None:
        self._tracker = tracker
        self._console = console
        self._seed = seed
        self._url = url
        self._dearest: SessionTree | None = None
        self.done: set[str] = set()

    async def run(self, sessions: int, *, gap_seconds: float | None) -> None:
        """Run so many sessions, then show; with a gap, or served, stay until interrupted."""
        interrupted = self._interrupted = _interruption()
        if self._url:
            self._say(f"serving {self._url}/metrics, Ctrl-C ends it")
        workload.stray_call(self._tracker, seed=self._seed)
        async with self._asked() as asking:
            numbers = iter(range(sessions))
            work = (self._work(numbers, interrupted, asking) for _ in range(AT_ONCE))
            await asyncio.gather(*work)
            self._show()
            if interrupted.is_set():
                return
            if gap_seconds is not None:
                self._say("\nGoing on as slowly as in life. Ctrl-C ends it.")
                await self._go_on(interrupted, asking, sessions, gap_seconds)
        if self._url and not interrupted.is_set():
            self._say("Ctrl-C ends it.")
            await interrupted.wait()

    def _asked(self) -> AbstractAsyncContextManager[Asking]:
        """Return the way to ask: the client of OpenAI, or without it the direct one."""
        try:
            return Clients()
        except ImportError:
            self._say(WITHOUT_CLIENT)
            return nullcontext(Direct())

    async def _work(
        self, numbers: Iterator[int], interrupted: asyncio.Event, asking: Asking
    ) -> None:
        for number in numbers:
            if interrupted.is_set():
                return
            session = workload.Session(self._tracker, seed=self._seed, number=number, asking=asking)
            self._finished(await session.run())

    async def _go_on(
        self, interrupted: asyncio.Event, asking: Asking, first: int, gap_seconds: float
    ) -> None:
        await stream(
            self._tracker,
            seed=self._seed,
            ended=interrupted,
            told=self._finished,
            first=first,
            gap_seconds=gap_seconds,
            asking=asking,
        )

    def _finished(self, session: str) -> None:
        tree = self._tracker.tree(session)
        self.done.add(tree.session)
        if self._dearest is None or tree.totals.cost > self._dearest.totals.cost:
            self._dearest = tree
        status = tree.status.replace("_", " ")
        line = Text.assemble(
            ("session ", "dim"),
            f"{tree.session[:13]}  {tree.customer:<8} ",
            (f"{status:<15} ", output.STATUS_STYLES.get(tree.status, "")),
            f"{output.plural(tree.totals.calls, 'call'):>8}  {_COST.text(tree.totals.cost)}",
        )
        try:
            self._console.print(line)
        except SystemExit:  # nobody reads on (`| head`); out of a task it would tear down the loop
            self._console.quiet = True
            self._interrupted.set()

    def _show(self) -> None:
        if self._dearest is None:
            return
        self._say("\nThe dearest session:\n")
        drawing.draw(self._console, self._dearest, folded=True)
        url = self._tracker.store.url
        self._say("\nWhat to look at:")
        if url != "memory:":
            self._say(f"  spendtree sessions --sort cost --store {url}")
            self._say(f"  spendtree tree --all --store {url} {self._dearest.session}")
        if self._url:
            self._say(f"  curl {self._url}/metrics   (or {self._url}/ in a browser)")
        elif url != "memory:":
            self._say(f"  spendtree-exporter --store {url}   (serves /metrics on 127.0.0.1:9797)")

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def _interruption() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set: open sessions end before the demo does."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Loops without signals (Windows, other threads) are interrupted the hard way.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, interrupted.set)
    return interrupted
