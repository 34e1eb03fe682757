"""What a call may be made with. Values only; how it is made is not known here."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypedDict

PURPOSE: ContextVar[str] = ContextVar("spendtree_purpose", default="work")
"""Why the calls made here are made, where they do not say it themselves."""


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
