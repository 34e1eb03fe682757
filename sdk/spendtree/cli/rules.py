"""`spendtree rules`: the alerting bundle written to a folder, or its thresholds listed."""

import difflib
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spendtree.cli import bundle, output
from spendtree.config.readers import NUMBER_MAX
from spendtree.config.thresholds import THRESHOLDS, Threshold

YOURS = ("alertmanager.yml", "prometheus.yml", "templates/links.tmpl")
"""Files that are a beginning: whoever has changed them keeps their own."""

_URL = r"https?://[\w!#$&()*+,\-./:;=?@~%\[\]]+"


def _folder(given: str) -> Path:
    """Return the folder to write to; an empty one is refused: a variable that is not set."""
    if not given.strip():
        raise typer.BadParameter("the folder's name is empty; write . for the working directory")
    if Path(given).is_file():
        raise typer.BadParameter(f"{given!r} is a file")
    return Path(given)


def _url(given: str) -> str:
    """Return the beginning of links, which is pasted into YAML as it is."""
    if given and not re.fullmatch(_URL, given):
        raise typer.BadParameter(f"{given!r} is no URL like https://host/path")
    return given


def rules(
    folder: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            parser=_folder,
            help="Where to write the bundle; without it the thresholds are listed.",
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A threshold of your own; may be given several times."
        ),
    ] = None,
    runbook_base: Annotated[
        str,
        typer.Option(
            metavar="URL",
            callback=_url,
            help="Where alerts say that their runbooks are.",
        ),
    ] = bundle.RUNBOOKS,
    grafana_base: Annotated[
        str,
        typer.Option(
            metavar="URL",
            callback=_url,
            help="Where Grafana is, for alerts' links to dashboards.",
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help=f"Overwrite {', '.join(YOURS)}, too.")
    ] = False,
    as_json: output.JsonOption = False,
) -> None:
    """Write the alerting rules, their routes and their runbooks.

    Alerts compare with thresholds: with what spendtree.yaml says under alerts.thresholds, else
    with --threshold, else with a default. So nobody has to change the files by hand, and a newer
    version is written over an older one.
    """
    own = dict(_assigned(text) for text in threshold or ())
    if folder is None:
        _list(own, as_json)
        return
    texts = bundle.files(own, runbooks=runbook_base, grafana=grafana_base)
    kept = [] if force else _kept(folder, texts)
    for name in texts.keys() - set(kept):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[name], "utf-8")
    _say(folder, list(texts), kept, own, as_json)


def _assigned(text: str) -> tuple[str, Decimal]:
    """Return the name and value of `name=value`; typer.BadParameter for anything else."""
    name, _, value = (part.strip() for part in text.partition("="))
    if name not in THRESHOLDS:
        near = difflib.get_close_matches(name, THRESHOLDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `spendtree rules` lists them"
        raise typer.BadParameter(f"there is no threshold {name!r}{hint}", param_hint="--threshold")
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise typer.BadParameter(
            f"{name}: {value!r} is no number of 0 or more", param_hint="--threshold"
        )
    if number > NUMBER_MAX:
        raise typer.BadParameter(
            f"{name}: {value!r} is too large; give at most {NUMBER_MAX}", param_hint="--threshold"
        )
    return name, number


def _kept(folder: Path, texts: dict[str, str]) -> list[str]:
    """Return the files that are there and not as they would be written."""
    found = [name for name in YOURS if name in texts and (folder / name).exists()]
    return [name for name in found if _bytes(folder / name) != texts[name].encode()]


def _bytes(file: Path) -> bytes:
    # Not as text, which one's own file need not be; a checkout may have made its line ends CRLF.
    return file.read_bytes().replace(b"\r\n", b"\n")


def _say(
    folder: Path, names: list[str], kept: list[str], own: dict[str, Decimal], as_json: bool
) -> None:
    if as_json:
        written = [name for name in names if name not in kept]
        output.write_json({"folder": str(folder), "written": written, "kept": kept})
        return
    what = f"{output.plural(len(names) - len(kept), 'file')} written to {folder}"
    changed = output.plural(len(own), "threshold")
    typer.echo(f"{what}, with {changed} of your own" if own else f"{what}, with default thresholds")
    for name in kept:
        typer.echo(f"{name} is there already and was left as it is; --force overwrites it")


def _list(own: dict[str, Decimal], as_json: bool) -> None:
    if as_json:
        output.write_json({name: _fields(own, name, each) for name, each in THRESHOLDS.items()})
        return
    table = Table("threshold", "value", "unit", "why", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    table.columns[1].justify = "right"
    for name, each in THRESHOLDS.items():
        value = f"{own.get(name, each.default):f}"
        table.add_row(name, value, each.unit, each.reason, style="bold" if name in own else "")
    output.console().print(table)


def _fields(own: dict[str, Decimal], name: str, each: Threshold) -> dict[str, str]:
    value = f"{own.get(name, each.default):f}"
    return {"value": value, "default": f"{each.default:f}", "unit": each.unit, "why": each.reason}
