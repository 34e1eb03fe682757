"""App: the exporter's HTTP doors as a Starlette application.

It starts and stops the follower with itself. Rendering and compressing run in worker threads:
the event loop never waits for the fold.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from spendtree.metrics import Fold
from spendtree.pricing import PriceBook
from spendtree.store import Store
from spendtree_exporter import api, pages, site
from spendtree_exporter.follow import Follower
from spendtree_exporter.gather import Gatherer, Patience
from spendtree_exporter.journal import Journal
from spendtree_exporter.keeper import SESSION_IDLE_SECONDS, Keeper
from spendtree_exporter.layout import HEADERS
from spendtree_exporter.lock import lock_path
from spendtree_exporter.negotiate import format_for, wants_gzip
from spendtree_exporter.otlp import TRACES, Receiver
from spendtree_exporter.otlp_limits import Limits
from spendtree_exporter.own import VERSION
from spendtree_exporter.queries import Queries
from spendtree_exporter.render import Own
from spendtree_exporter.scrape import Scrapes
from spendtree_exporter.set_aside import SetAside
from spendtree_exporter.tokens import Tokens
from spendtree_exporter.watch import Reloads

CATCH_UP_SECONDS = 5.0
"""How long a scrape waits for the first full catch-up; Prometheus gives up after 10 s."""


def create_app(
    store: Store,
    *,
    telemetry_path: str = "/metrics",
    fold: Fold | None = None,
    state_file: Path | None = None,
    session_idle_seconds: float = SESSION_IDLE_SECONDS,
    receive: PriceBook | None = None,
    patience: Patience | None = None,
    charge: bool = False,
    tokens: Tokens | None = None,
    reloads: Reloads | None = None,
    receive_limits: Limits | None = None,
) -> Starlette:
    """Return the exporter of a store: metrics at `telemetry_path`, health, API and pages.

    It follows the store while it runs; `fold` is an empty Fold with other limits than usual. The
    store stays the caller's, who closes it afterwards. `state.follower` is the Follower, which
    keeps its state over restarts in `state_file`. With prices to `receive` by, spans are taken at
    `/v1/traces` within `receive_limits`, and wait for the rest of their trace as `patience` says;
    `tokens` are asked for there, and only with `charge` are the accounts of sessions charged that
    spans name. `reloads` tells whether files that were read again are in force.
    """
    follower = Follower(store, fold=fold, state_file=state_file)
    queries = Queries(store)
    gatherer = None if receive is None else _gatherer(store, receive, patience, charge=charge)
    keeper = Keeper(
        store,
        session_idle_seconds=session_idle_seconds,
        when_writer=gatherer.take_up if gatherer else lambda: None,
    )
    receiver = Receiver(gatherer, keeper, tokens, receive_limits)
    doors = _Doors(follower, keeper, receiver, telemetry_path, reloads or Reloads())
    routes = [
        Route(telemetry_path, doors.metrics),
        Route("/-/healthy", doors.healthy),
        Route("/-/ready", doors.ready),
        Route("/", doors.landing),
        *api.routes(queries),
        *site.routes(queries),
    ]
    if gatherer is not None:
        routes.append(Route(TRACES, receiver.traces, methods=["POST"]))
    app = Starlette(
        routes=routes, lifespan=doors.lifespan, exception_handlers={HTTPException: api.refused}
    )
    app.state.follower = follower
    return app


def _gatherer(
    store: Store, prices: PriceBook, patience: Patience | None, *, charge: bool
) -> Gatherer:
    beside = lock_path(store.url)
    journal = Journal(f"{beside}-spans") if beside else None
    aside = SetAside(f"{beside}-spans.set-aside" if beside else "")
    return Gatherer(
        store, prices, patience=patience, journal=journal, charge=charge, set_aside=aside
    )


class _Doors:
    """The endpoints, around one follower."""

    def __init__(
        self,
        follower: Follower,
        keeper: Keeper,
        receiver: Receiver,
        telemetry_path: str,
        reloads: Reloads,
    ) -> None:
        self._reloads = reloads
        self._follower = follower
        self._keeper = keeper
        self._receiver = receiver
        self._telemetry_path = telemetry_path
        self._scrapes = Scrapes(follower, self._own)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Follow the store while the application runs."""
        self._follower.start()
        self._keeper.start()
        self._receiver.start()
        try:
            yield
        finally:
            # The lock is given up last: until then what was received is being written.
            for stop in (self._receiver.stop, self._keeper.stop, self._follower.stop):
                await run_in_threadpool(stop)

    async def metrics(self, request: Request) -> Response:
        """Answer a scrape, in the format and encoding that it asks for.

        503 until the whole log was folded once: counters that start too low and rise to the truth
        would be counted a second time by every scraper.
        """
        if self._unready():
            await run_in_threadpool(self._follower.wait, CATCH_UP_SECONDS)
        if reason := self._unready():
            return PlainTextResponse(f"{reason}\n", 503, {"Retry-After": "5"})
        format = format_for(",".join(request.headers.getlist("accept")))
        zipped = wants_gzip(",".join(request.headers.getlist("accept-encoding")))
        body = await self._scrapes.body(format, zipped=zipped)
        headers = {"Content-Type": format.content_type, "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    async def healthy(self, _request: Request) -> Response:
        """Say that the process works; 503 if its figures could be wrong."""
        if self._follower.failure:
            return PlainTextResponse(f"{self._follower.failure}\n", 503)
        return PlainTextResponse("healthy\n")

    async def ready(self, _request: Request) -> Response:
        """Say that the figures are complete; 503 until the log was read to its end once."""
        reason = self._unready()
        return PlainTextResponse(f"{reason}\n", 503) if reason else PlainTextResponse("ready\n")

    async def landing(self, _request: Request) -> Response:
        """Show what this is and how it stands."""
        follower = self._follower
        return HTMLResponse(
            pages.landing(
                version=VERSION,
                telemetry_path=self._telemetry_path,
                store=f"{follower.store.url} ({follower.store.id})",
                problem=self._unready(),
                events=follower.fold.events,
                series=follower.fold.session_series + follower.fold.standing_series,
                live_sessions=follower.fold.live_sessions,
                lag_seconds=follower.lag_seconds,
            ),
            headers=HEADERS,
        )

    def _unready(self) -> str:
        """Return why the figures are not to be shown, "" if they are."""
        follower = self._follower
        if follower.failure or follower.complete:
            return follower.failure
        return f"not ready: reading the log, {follower.events_read:,} events so far"

    def _own(self) -> Own:
        received = self._receiver.own()
        return {
            "exporter_writer": [((), int(self._keeper.writer))],
            "exporter_config_last_reload_successful": [((), int(self._reloads.good))],
            **received,
        }
