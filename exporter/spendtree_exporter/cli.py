"""The command `spendtree-exporter`: flags in, a served store out. Flags follow other exporters'."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from spendtree.config import load_config
from spendtree.config.figures import catalogue_figures
from spendtree.errors import ConfigurationError, SpendtreeError
from spendtree.metrics import Fold
from spendtree.pricing import PriceBook
from spendtree.store import DEFAULT_URL, Store, open_store
from spendtree.store.reader import is_writable
from spendtree_exporter import snapshot
from spendtree_exporter.app import create_app
from spendtree_exporter.connections import CONNECTIONS_MAX
from spendtree_exporter.follow import Follower
from spendtree_exporter.hosts import host_names
from spendtree_exporter.lock import lock_path, store_path
from spendtree_exporter.logs import log_to_stderr
from spendtree_exporter.otlp import TRACES
from spendtree_exporter.otlp_limits import Limits
from spendtree_exporter.own import VERSION
from spendtree_exporter.reload import reloading
from spendtree_exporter.security import Security
from spendtree_exporter.serve import closing_socket, listen_on, serve_on, url_of
from spendtree_exporter.settings import Settings, changes, read_settings
from spendtree_exporter.tokens import Tokens
from spendtree_exporter.watch import Reloads

log = logging.getLogger("spendtree.exporter")

_RESERVED = ("/", "/sessions", "/api", "/v1/traces")
_RESERVED_BELOW = ("/-/", "/sessions/", "/api/")
"""Paths that the metrics cannot have, and what no path of them may begin with."""

_NO_PART_OF_A_PATH = ("{", "}", "?", "#", "//")
"""What would be a pattern, a query, a fragment, or another host's name in a link."""

_SWITCH_SECONDS = 0.001
"""After which a thread that computes lets others run: a scrape asks for its turn some twenty times,
and received spans may keep two other threads busy."""

_SETTLE_SECONDS = 3600.0
"""Longer than reading the largest log takes."""


class _Level(StrEnum):
    debug = "debug"
    info = "info"
    warn = "warn"
    error = "error"


class _LogFormat(StrEnum):
    logfmt = "logfmt"
    json = "json"


class _Access(NamedTuple):
    """Who is let in: the files that say so, the names that are answered to, and how many."""

    web_config: Path | None
    allowed_hosts: Sequence[str]
    token_file: Path | None
    connections: int


class _Spans(NamedTuple):
    """Whether spans are received, whether they are charged, and how many at once."""

    receive: bool
    charge: bool
    limits: Limits


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spendtree-exporter {VERSION}")
        raise typer.Exit


def export(
    store: Annotated[
        str, typer.Option("--store", envvar="SPENDTREE_STORE", help="URL of the store to follow.")
    ] = DEFAULT_URL,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config.file",
            envvar="SPENDTREE_CONFIG",
            metavar="FILE",
            help="spendtree.yaml, for `metrics`, budgets, plans, `alerts`; SIGHUP reads it again.",
        ),
    ] = None,
    state_file: Annotated[
        str | None,
        typer.Option(
            "--state-file",
            metavar="FILE",
            help="Where the figures are kept, so that a restart need not read the whole log; "
            '"" keeps them nowhere.',
            show_default="beside the store, with -exporter-state behind its name",
        ),
    ] = None,
    listen_address: Annotated[
        list[str],
        typer.Option(
            "--web.listen-address",
            metavar="ADDRESS",
            help="HOST:PORT, :PORT for every interface, [IPV6]:PORT or unix:/PATH; repeatable.",
        ),
    ] = ["127.0.0.1:9797"],  # noqa: B006 - typer copies it
    telemetry_path: Annotated[
        str, typer.Option("--web.telemetry-path", help="Where the metrics are served.")
    ] = "/metrics",
    web_config: Annotated[
        Path | None,
        typer.Option(
            "--web.config.file",
            metavar="FILE",
            help="TLS and basic auth, in the form that Prometheus exporters share.",
            show_default="plain HTTP for everybody",
        ),
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--web.allowed-hosts",
            metavar="NAME",
            help="Name in Host headers that is answered to beside localhost and loopback "
            "addresses; repeatable, * for any.",
            show_default="checked on loopback addresses only",
        ),
    ] = None,
    receive: Annotated[
        bool,
        typer.Option(
            "--web.enable-otlp-receiver",
            help="Take OpenTelemetry spans at POST /v1/traces (OTLP/HTTP).",
            show_default=True,
        ),
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--otlp.token-file",
            metavar="FILE",
            help="Bearer tokens, one a line; spans are taken with one of them only.",
            show_default="spans from everybody who is let in",
        ),
    ] = None,
    charge: Annotated[
        bool,
        typer.Option(
            "--otlp.charge",
            help="Charge received calls to the sessions that they name.",
            show_default=True,
        ),
    ] = False,
    most_connections: Annotated[
        int,
        typer.Option(
            "--web.max-connections",
            min=4,
            help="Connections at once, half of them of one address; the one that waits makes room.",
        ),
    ] = CONNECTIONS_MAX,
    body_bytes: Annotated[
        int,
        typer.Option(
            "--otlp.max-body-bytes", min=1, help="Bytes of a request to /v1/traces, as sent."
        ),
    ] = Limits().body_bytes,
    unpacked_bytes: Annotated[
        int,
        typer.Option(
            "--otlp.max-unpacked-bytes",
            min=1,
            help="The same after gzip; it is in memory while it is read.",
        ),
    ] = Limits().unpacked_bytes,
    spans: Annotated[
        int, typer.Option("--otlp.max-spans", min=1, help="Spans of a request to /v1/traces.")
    ] = Limits().spans,
    level: Annotated[
        _Level, typer.Option("--log.level", help="Least severe message that is logged.")
    ] = _Level.info,
    log_format: Annotated[
        _LogFormat, typer.Option("--log.format", help="How messages are written to stderr.")
    ] = _LogFormat.logfmt,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Follow a Spendtree store and serve its figures to Prometheus."""
    log_to_stderr(level, log_format.value)
    sys.setswitchinterval(_SWITCH_SECONDS)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the server listens to them: a signal then is no failure either.
        signal.signal(number, _end)
    try:
        _run(
            store,
            config_file,
            _state_file(store, state_file),
            listen_address,
            telemetry_path,
            _Access(web_config, allowed_hosts or (), token_file, most_connections),
            _Spans(receive, charge, _limits(body_bytes, unpacked_bytes, spans)),
        )
    except (SpendtreeError, OSError) as error:
        typer.echo(f"spendtree-exporter: {error}", err=True)
        raise typer.Exit(1) from None


def _run(
    url: str,
    config_file: Path | None,
    state_file: Path | None,
    addresses: Sequence[str],
    telemetry_path: str,
    access: _Access,
    spans: _Spans,
) -> None:
    _check_path(telemetry_path)
    hosts = host_names(access.allowed_hosts)
    reloads = Reloads()
    security = access.web_config and Security(access.web_config, reloads=reloads)
    tokens = access.token_file and Tokens(access.token_file, reloads=reloads)
    tls = security.tls if security else None
    if not spans.receive and (tokens or spans.charge):
        raise ConfigurationError(
            "--otlp.token-file and --otlp.charge need --web.enable-otlp-receiver: nothing is "
            "received without it"
        )
    settings = read_settings(config_file)
    with closing(_open(url)) as store, _listening(addresses) as sockets:
        fold = Fold(store.id, **settings.fold._asdict())
        prices = PriceBook(load_config(config_file).prices) if spans.receive else None
        app = create_app(
            store,
            telemetry_path=telemetry_path,
            fold=fold,
            state_file=state_file,
            receive=prices,
            charge=spans.charge,
            tokens=tokens or None,
            reloads=reloads,
            receive_limits=spans.limits,
        )
        dated = catalogue_figures(PriceBook().catalogue_timestamp)
        app.state.follower.configured = {**dated, **settings.figures}
        with reloading(config_file, app.state.follower, settings, reloads):
            scheme = "http" if tls is None else "https"
            for sock in sockets:
                log.info("serving %s%s for %s", url_of(sock, scheme), telemetry_path, store.url)
            if config_file is not None:
                said = "; ".join(changes(Settings(), settings)) or "all limits are the defaults"
                log.info("configured by %s: %s", config_file, said)
            _spare_the_collector(app.state.follower)
            own = (TRACES,) if tokens else ()
            guarded = security.guard(app, except_for=own) if security else app
            serve_on(guarded, sockets, tls, hosts=hosts, connections=access.connections)
        log.info("stopped")


def _limits(body_bytes: int, unpacked_bytes: int, spans: int) -> Limits:
    """Return the limits of a request; of bodies that wait, three have room, as by default."""
    return Limits(
        body_bytes=body_bytes,
        unpacked_bytes=unpacked_bytes,
        spans=spans,
        waiting_bytes=3 * body_bytes,
    )


def _open(url: str) -> Store:
    """Open the store, to be read alone where it cannot be written."""
    path = store_path(url)
    if not path or not os.path.exists(path) or is_writable(path):
        return open_store(url, create=False)
    log.warning("read-only: %s cannot be written here; nothing of it is kept in order", path)
    return open_store(url, read_only=True)


def _state_file(url: str, wanted: str | None) -> Path | None:
    """Return where the state is kept: as wanted, else beside a store that is a file.

    Raises ConfigurationError for a wanted file that is something else. The name beside the store
    is the exporter's own: what stands there may be replaced, however the last one was torn.
    """
    if wanted is None:
        beside = lock_path(url)
        return Path(f"{beside}-state") if beside else None
    if not wanted:
        return None
    snapshot.check_place(Path(wanted), url)
    return Path(wanted)


def _check_path(telemetry_path: str) -> None:
    taken = telemetry_path in _RESERVED or telemetry_path.startswith(_RESERVED_BELOW)
    if not telemetry_path.startswith("/") or taken:
        raise ConfigurationError(
            f"--web.telemetry-path {telemetry_path!r} must begin with / and be none of "
            + ", ".join([*_RESERVED, *(f"{path}…" for path in _RESERVED_BELOW)])
        )
    found = [part for part in _NO_PART_OF_A_PATH if part in telemetry_path]
    if found:
        raise ConfigurationError(
            f"--web.telemetry-path {telemetry_path!r} must not contain {' or '.join(found)}"
        )


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


@contextmanager
def _listening(addresses: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Listen on all of the addresses or, with an error that names it, on none."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing_socket(listen_on(each))) for each in addresses]


def _spare_the_collector(follower: Follower) -> None:
    """Take the series there are from the garbage collector once the log was read.

    A full collection would walk them all, and every request would wait for it: 0.1 s for 100,000.
    """

    def settle() -> None:
        follower.wait(_SETTLE_SECONDS)
        gc.collect()
        gc.freeze()

    threading.Thread(target=settle, name="spendtree-settle", daemon=True).start()


def main() -> None:
    """Run the command: exit code 0 after a signal, 1 if it cannot serve, 2 for wrong flags."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(export)
    app(prog_name="spendtree-exporter")
