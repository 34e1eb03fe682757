"""What a call may be made with. Values only; how it is made is not known here."""

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypedDict

from spendtree.errors import UsageError

PURPOSE: ContextVar[str] = ContextVar("spendtree_purpose", default="work")
"""Why the calls made here are made, where they do not say it themselves."""


MODALITIES = ("audio", "image", "video")
WORD_MAX = 40


def served(words: Sequence[str]) -> tuple[str, ...]:
    """Return what a call asks to be served as, in lower case. Raises UsageError."""
    found = _words("served", words, '["priority"] or ["fast", "region:us"]')
    if any(len(word) > WORD_MAX for word in found):
        raise UsageError(f"served: {max(found, key=len)[:WORD_MAX]!r}… is too long for a tier")
    return tuple(dict.fromkeys(word.strip().lower() for word in found if word.strip()))


def modalities(words: Sequence[str]) -> tuple[str, ...]:
    """Return what a call may read or write beside text. Raises UsageError."""
    found = _words("modalities", words, '["audio"]')
    for word in found:
        if word not in (*MODALITIES, "text"):
            known = ", ".join(MODALITIES)
            raise UsageError(f"modalities: {word!r} is not a known modality; known are {known}")
    return tuple(dict.fromkeys(word for word in found if word != "text"))


def _words(what: str, words: Any, example: str) -> list[str]:
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise UsageError(f"{what}: {words!r} is not a list; give {example}")
    found = list(words)
    if not all(isinstance(word, str) for word in found):
        raise UsageError(f"{what}: {found!r} is not a list of words; give {example}")
    return found


class CallOptions(TypedDict, total=False):
    """What a call may be made with; see `Spendtree.call`."""

    provider: str
    input_tokens: int | None
    max_output_tokens: int | None
    input: Any
    purpose: str | None
    optional: bool
    served: Sequence[str]
    units: Mapping[str, int]
    modalities: Sequence[str]
