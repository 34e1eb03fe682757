"""Fields of whatever a response is: dictionaries, clients' objects, dataclasses, messages. Pure.

Nothing is known here of what a field means. Objects are looked at with care: a property may raise,
a structure may be endless, and neither is a reason to lose what was paid for.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from spendtree.response.aliases import ALIASES

Fields = Mapping[str, Any]
Flat = dict[str, Any]
"""Values by the path of their key inside a usage object; lists of modalities by modality."""

DEPTH_MAX = 6
LEAVES_MAX = 200
PATH_MAX = 160
"""Characters of a path: no key of a count is longer."""

_ATOMS = frozenset((str, int, float, bool, bytes, type(None), list, tuple, set, frozenset))
_MODALITIES = {"1": "text", "2": "image", "3": "video", "4": "audio", "5": "document"}
"""Vertex AI's "Modality" by number, as its protocol buffers give it."""

_USAGE_NAMES = frozenset(
    name for names in ALIASES.values() for name in names if "." not in name and "[" not in name
) | {"prompt_tokens_details", "completion_tokens_details", "billed_units", "cost"}


def fields_of(thing: Any, wanted: Iterable[str] = ()) -> Fields | None:
    """Return the fields of a mapping or an object, None of what has none.

    Of an object that keeps its values elsewhere than in its `__dict__` (slots, properties, protocol
    buffers), those of the `wanted` names that it has.
    """
    kind = type(thing)
    if kind is dict:
        return thing  # type: ignore[no-any-return]
    if kind in _ATOMS:
        return None
    if isinstance(thing, Mapping):
        return _guarded_items(thing)
    if isinstance(thing, (str, int, float, bytes, list, tuple, set, memoryview, bytearray, type)):
        return _named(thing)
    return _attributes(thing, wanted)


def _attributes(thing: Any, wanted: Iterable[str]) -> Fields:
    try:
        own = thing.__dict__
    except Exception:
        own = None
    try:
        more = thing.__pydantic_extra__
    except Exception:
        more = None
    if more is not None or (own and "__pydantic_fields__" in type(thing).__dict__):
        return {**own, **more} if more else own or {}
    found = {key: value for key, value in (own or {}).items() if key[:1] != "_"}
    for name in wanted:
        if name not in found:
            try:
                value = getattr(thing, name, None)
            except Exception:  # a property that raises states nothing
                continue
            if value is not None:
                found[name] = value
    return found


def _guarded_items(thing: Mapping[Any, Any]) -> Fields:
    try:
        return {str(key): value for key, value in thing.items()}
    except Exception:
        return {}


def _named(thing: Any) -> Fields | None:
    """Return the fields of a named tuple."""
    names = getattr(thing, "_fields", None)
    if isinstance(thing, tuple) and isinstance(names, tuple):
        return dict(zip(names, thing, strict=False))
    return None


def flat(usage: Any) -> Flat:
    """Return what a usage object states: values by the path of their key, without nulls."""
    found: Flat = {}
    fields = fields_of(usage, _USAGE_NAMES)
    if fields:
        _flatten(fields, "", found, DEPTH_MAX)
        if "billed_units" in fields:  # Cohere: what else it states is not billed
            return {path: n for path, n in found.items() if path.startswith("billed_units.")}
    return found


def _flatten(fields: Fields, prefix: str, found: Flat, depth: int) -> None:
    for key, value in fields.items():
        kind = type(value)
        if kind is int:  # most are
            found[prefix + key if type(key) is str else f"{prefix}{key}"] = value
        elif value is not None and value is not False and value != "":
            if len(found) >= LEAVES_MAX:
                return
            path = f"{prefix}{key}"[:PATH_MAX]
            if kind is str or kind is float or kind is bool:
                found[path] = value
            elif depth:
                _nested(value, path, found, depth - 1)


def _nested(value: Any, path: str, found: Flat, depth: int) -> None:
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        for item in value[:LEAVES_MAX]:
            fields = fields_of(item, ("modality", "token_count", "tokenCount"))
            if fields is None:
                return  # a vector, or texts
            _item(fields, path, found, depth)
        return
    if isinstance(value, (str, int, float)):  # of a class of its own: an enumeration
        found[path] = getattr(value, "value", value)
        return
    fields = fields_of(value, _USAGE_NAMES)
    if fields:
        _flatten(fields, f"{path}.", found, depth)


def _item(fields: Fields, path: str, found: Flat, depth: int) -> None:
    """Add an item of a list: a count by modality or lifetime, or fields that are added up."""
    name = fields.get("modality")
    if name is None:
        name = fields.get("ttl")
    count = fields.get("tokenCount", fields.get("token_count", fields.get("inputTokens")))
    if name is not None and type(count) is int:
        word = str(getattr(name, "value", name)).lower()
        path = f"{path}.{_MODALITIES.get(word, word)}"[:PATH_MAX]
        found[path] = found.get(path, 0) + count
        return
    own: Flat = {}
    _flatten(fields, f"{path}[].", own, depth)
    for key, value in own.items():
        before = found.get(key)
        both = type(before) is int and type(value) is int
        found[key] = before + value if both else value
