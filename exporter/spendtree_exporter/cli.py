"""The command `spendtree-exporter`: flags in, a served store out. Flags follow other exporters'."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spendtree.errors import ConfigurationError, SpendtreeError
from spendtree.metrics import Fold
from spendtree.store import DEFAULT_URL, open_store
from spendtree_exporter.app import create_app
from spendtree_exporter.own import VERSION
from spendtree_exporter.reload import Settings, changes, read_settings, reloading
from spendtree_exporter.serve import listen, parse_address, serve_on, url_of

log = logging.getLogger("spendtree.exporter")

_RESERVED = ("/", "/-/healthy", "/-/ready")


class _Level(StrEnum):
    debug = "debug"
    info = "info"
    warn = "warn"
    error = "error"


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
            help="spendtree.yaml, for its `metrics` and budgets; SIGHUP reads it again.",
        ),
    ] = None,
    listen_address: Annotated[
        str,
        typer.Option(
            "--web.listen-address", help="HOST:PORT, :PORT for every interface, or [IPV6]:PORT."
        ),
    ] = "127.0.0.1:9797",
    telemetry_path: Annotated[
        str, typer.Option("--web.telemetry-path", help="Where the metrics are served.")
    ] = "/metrics",
    level: Annotated[
        _Level, typer.Option("--log.level", help="Least severe message that is logged.")
    ] = _Level.info,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Follow a Spendtree store and serve its figures to Prometheus."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    # uvicorn tells its life in four lines; one of ours is enough.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        _run(store, config_file, listen_address, telemetry_path)
    except (SpendtreeError, OSError) as error:
        typer.echo(f"spendtree-exporter: {error}", err=True)
        raise typer.Exit(1) from None


def _run(url: str, config_file: Path | None, listen_address: str, telemetry_path: str) -> None:
    if not telemetry_path.startswith("/") or telemetry_path in _RESERVED:
        raise ConfigurationError(
            f"--web.telemetry-path {telemetry_path!r} must begin with / and be none of "
            + ", ".join(_RESERVED)
        )
    host, port = parse_address(listen_address)
    settings = read_settings(config_file)
    store = open_store(url, create=False)
    try:
        try:
            sock = listen(host, port)
        except OSError as error:
            raise OSError(f"cannot listen on {listen_address}: {error.strerror}") from error
        fold = Fold(store.id, limits=settings.limits, linger_us=settings.linger_us)
        app = create_app(store, telemetry_path=telemetry_path, fold=fold)
        with reloading(config_file, app.state.follower, settings):
            log.info("following %s, serving %s%s", store.url, url_of(sock), telemetry_path)
            if config_file is not None:
                said = "; ".join(changes(Settings(), settings)) or "all limits are the defaults"
                log.info("configured by %s: %s", config_file, said)
            serve_on(app, sock)
        log.info("stopped")
    finally:
        store.close()


def main() -> None:
    """Run the command: exit code 0 after a signal, 1 if it cannot serve, 2 for wrong flags."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(export)
    app(prog_name="spendtree-exporter")
