"""Names of models: whether an answer names another model than the one that was asked. Pure.

Providers answer under a dated name, and gateways, regions and collections put words before it:
those are the same model. Everything else is another one, or may be.
"""

import re
from functools import lru_cache

_BEFORE = re.compile(r"^.*/|^(?:[a-z-]+\.)+(?=[a-z])")
"""A path (`models/`, `openai/`), then regions and makers (`us.anthropic.`)."""
_VERSION = re.compile(r"(?:-v\d+)?:\d+$|-latest$|@default$")
"""A version of Bedrock's (`-v1:0`), or a word for the newest snapshot."""
_DATE = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{3,4})$")
"""A date or number of a snapshot."""


@lru_cache(maxsize=4096)
def is_another(asked: str, answered: str) -> bool:
    """Return whether the model that answered is not the one that was asked.

    Of two snapshots of one model each is another.
    """
    if not answered or asked == answered:
        return False
    first, second = _bare(asked), _bare(answered)
    return first != second and first != _stem(second) and second != _stem(first)


def _bare(name: str) -> str:
    return _VERSION.sub("", _BEFORE.sub("", _BEFORE.sub("", name.strip().lower())))


def _stem(name: str) -> str:
    return _DATE.sub("", name)
