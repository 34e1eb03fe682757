"""The vocabulary of spendtree.yaml, and its door.

The tables are the whole of it: a new key is a reader in a table, and a field of its settings.
"""

import os
from collections.abc import Mapping
from typing import Any

from spendtree.config.document import read_document
from spendtree.config.place import Place
from spendtree.config.readers import (
    Reader,
    dollars,
    each,
    marks,
    one_of,
    prices,
    seconds,
    section,
    tokens,
)
from spendtree.config.settings import MODES, AgentSettings, Config, SessionSettings
from spendtree.errors import ConfigurationError

SESSION: dict[str, Reader] = {"ceiling_usd": dollars, "warn_at": marks}

AGENT: dict[str, Reader] = {
    "envelope_usd": dollars,
    "max_cost_usd": dollars,
    "max_output_tokens": tokens,
}

SECTIONS: dict[str, Reader] = {
    "mode": one_of(MODES),
    "session": section(SESSION, SessionSettings),
    "agents": each(section(AGENT, AgentSettings), "of agent roles"),
    "prices": prices,
    "busy_timeout_seconds": seconds,
}


def load_config(source: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file (by its path) or a mapping of the same shape; None is all defaults.

    Raises ConfigurationError naming the file and line (for a mapping, the key), the value and what
    is allowed: for unknown or duplicate keys, values that cannot be meant, and unreadable files.
    """
    if source is None:
        return Config()
    if isinstance(source, Mapping):
        place, data = Place("", {}), source
    elif isinstance(source, (str, os.PathLike)):
        place, data = read_document(os.fspath(source))
    else:
        raise ConfigurationError(f"config: {source!r} is neither a path nor a mapping")
    return Config(**section(SECTIONS)(place, data))
