"""Which client libraries are installed, and whether their calls are tracked."""

import importlib
import os
import sys

from spendtree.cli.doctor.finding import Section
from spendtree.cli.doctor.installation import installed, missing, requirements
from spendtree.integrations import LIBRARIES, instrumented

BY_HAND = (
    *("boto3", "cohere", "google-genai", "groq", "litellm", "mistralai", "ollama", "together"),
    *("cerebras-cloud-sdk", "langchain", "llama-index"),
)
"""Distributions that make calls and that no integration of ours tracks by itself."""


def look(module: str) -> Section:
    """Look at the clients; in a program that has imported `module`, if one is named."""
    section = Section(name="clients", title="Clients")
    is_imported = bool(module) and _imported(section, module)
    tracked, needs = instrumented(), requirements()
    versions = {name: installed(name) for name in LIBRARIES}
    for name, version in versions.items():
        if version is not None:
            _client(section, name, version, name in tracked, is_imported)
            for lacking in missing(needs.get(name, {})):
                section.warn(f"spendtree[{name}] needs {lacking}", f"pip install -U {name}")
    others = {name: version for name in BY_HAND if (version := installed(name)) is not None}
    if others:
        section.note(
            f"not tracked by themselves: {', '.join(others)}",
            "put spendtree.call around their requests",
        )
    if not others and not any(versions.values()):
        section.note("no client library is installed here", "run this where your program runs")
    section.facts = {
        "instrumented": list(tracked),
        "installed": {name: version for name, version in versions.items() if version} | others,
        "imported": module or None,
    }
    return section


def _client(section: Section, name: str, version: str, tracked: bool, imported: bool) -> None:
    if tracked:
        section.ok(f"{name} {version} is instrumented")
    elif imported:
        section.warn(
            f"{name} {version} is installed and not instrumented once your module is imported",
            f'call spendtree.instrument("{name}") at its start, or spendtree.wrap(client)',
        )
    else:
        section.note(
            f"{name} {version} can be instrumented",
            f'spendtree.instrument("{name}") in your program; --import MODULE looks if it does',
        )


def _imported(section: Section, module: str) -> bool:
    """Import a module of the user's, from the working directory as `python -m` does."""
    sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    except Exception as error:
        section.fail(
            f"{module} cannot be imported: {type(error).__name__}: {error}", "mend it first"
        )
        return False
    finally:
        sys.path.remove(os.getcwd())
    section.ok(f"{module} is imported")
    return True
