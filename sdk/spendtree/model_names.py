"""Names of models: whether an answer names another model than the one that was asked. Pure.

Providers answer under a dated name, and gateways, regions and collections put words before it:
those are the same model. Everything else is another one, or may be.
"""

import re
from functools import lru_cache

_BEFORE = re.compile(r"^.*/|^(?:[a-z-]+\.)+(?=[a-z])")
"""A path (`models/`, `openai/`), then regions and makers (`us.anthropic.`)."""
_AFTER = re.compile(
    r"(?:-v\d+)?:\d+$|[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{3,4}|latest|default)$"
)
"""A version of Bedrock's (`-v1:0`), a date or number of a snapshot, or a word for the newest."""


@lru_cache(maxsize=4096)
def is_another(asked: str, answered: str) -> bool:
    """Return whether the model that answered is not the one that was asked.

    Of two snapshots of one model each is another.
    """
    if not answered or asked == answered:
        return False
    first, second = _bare(asked), _bare(answered)
    stem, other = _stem(first), _stem(second)
    return stem != other or not (first in (stem, second) or second == other)


def _bare(name: str) -> str:
    return _BEFORE.sub("", _BEFORE.sub("", name.strip().lower()))


def _stem(name: str) -> str:
    shorter = _AFTER.sub("", name)
    while shorter != name:
        name, shorter = shorter, _AFTER.sub("", shorter)
    return name
