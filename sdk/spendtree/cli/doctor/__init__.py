"""`spendtree doctor`: whether all is as it should be here, and what to do where it is not."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from spendtree.cli import output
from spendtree.cli.doctor import clients, installation, recorded, storage
from spendtree.cli.doctor.finding import LEVELS, Finding, Section
from spendtree.cli.doctor.surroundings import configuration, exporter, prices

__all__ = ["doctor"]

SIGNS = {
    "ok": ("✓", "green"),
    "note": ("·", "dim"),
    "warning": ("!", "bold yellow"),
    "problem": ("✗", "bold red"),
}


def doctor(
    store: output.StoreOption = output.DEFAULT_STORE,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="SPENDTREE_CONFIG", metavar="FILE", help="The configuration, spendtree.yaml."
        ),
    ] = None,
    module: Annotated[
        str,
        typer.Option(
            "--import", metavar="MODULE", help="Import this first, and see what it instruments."
        ),
    ] = "",
    as_json: output.JsonOption = False,
) -> None:
    """Look for what is wrong here, and say what to do about it.

    What is installed and instrumented, the store's file and its health, calls that were made
    outside any scope, the exporter, the price list and the configuration. Nothing is changed. The
    exit code is 1 if something is wrong, 0 if there are only warnings.
    """
    sections = examine(store, config, module)
    if as_json:
        output.write_json(_fields(sections))
    else:
        _show(sections)
    if _counts(sections)["problem"]:
        raise typer.Exit(1)


def examine(store: str, config: Path | None, module: str) -> list[Section]:
    """Return what is found, subject by subject."""
    stored, health = storage.look(store)
    return [
        installation.look(),
        clients.look(module),
        stored,
        *([] if health is None else [recorded.look(health), exporter(store)]),
        prices(config, health),
        configuration(config, health),
    ]


def _counts(sections: list[Section]) -> Counter[str]:
    return Counter(finding.level for section in sections for finding in section.findings)


def _fields(sections: list[Section]) -> dict[str, object]:
    counts = _counts(sections)
    return {
        "summary": {level: counts[level] for level in LEVELS},
        **{
            section.name: {
                **section.facts,
                "findings": [
                    {"level": each.level, "text": each.text, "fix": each.fix or None}
                    for each in section.findings
                ],
            }
            for section in sections
        },
    }


def _show(sections: list[Section]) -> None:
    console = output.console()
    for section in sections:
        console.print(Text(section.title, style="bold"))
        for finding in section.findings:
            for line in _lines(finding):
                console.print(line, soft_wrap=True)
    counts = _counts(sections)
    console.print()
    console.print(_verdict(counts["problem"], counts["warning"]))


def _lines(finding: Finding) -> list[Text]:
    sign, style = SIGNS[finding.level]
    strong = finding.level in ("warning", "problem")
    lines = [Text.assemble("  ", (sign, style), " ", output.clean(finding.text))]
    if finding.fix:
        arrow = "→ " if strong else ""
        lines.append(
            Text(f"    {arrow}{output.clean(finding.fix)}", style="cyan" if strong else "dim")
        )
    return lines


def _verdict(problems: int, warnings: int) -> Text:
    found = [
        output.plural(count, noun)
        for count, noun in ((problems, "problem"), (warnings, "warning"))
        if count
    ]
    if not found:
        return Text("All is well.", style="green")
    return Text(f"{' and '.join(found)} to look at.", style="bold red" if problems else "yellow")
