"""Fees that show as items of what was answered, counted where each provider shows them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spendtree.response.fields import Fields, fields_of

ITEMS = {
    "web_search_call": "web_search",
    "web_search_preview_call": "web_search",
    "x_search_call": "social_search",
    "file_search_call": "file_search",
    "collections_search_call": "file_search",
    "code_interpreter_call": "code_session",
    "shell_call": "code_session",
}
"""Items of a response's `output`: OpenAI "Built-in tools", xAI "Tools"."""

FREE_ACTIONS = frozenset(("open_page", "find_in_page", "find"))
"""Actions of a `web_search_call` that are not a search: OpenAI "Web search: Output and citations"
bills the action `search` only."""

SEARCH_MODELS = ("search-preview", "search-api")
"""Parts of the names of OpenAI's models that search the web for each request."""

TOOLS = {
    **dict.fromkeys(("search", "web_search", "browser_search", "browser.search"), "web_search"),
    **dict.fromkeys(("python", "code_interpreter", "code_execution"), "code_session"),
}
"""Tools that Groq executed, by their type or name; each other one is a `tool_request`."""

_ITEM = ("type", "action", "container_id", "id", "status", "environment")
_CANDIDATE = ("groundingMetadata", "grounding_metadata", "content")
_GROUNDINGS = _CANDIDATE[:2]
_CALL = ("toolType", "tool_type", "args", "id")
_GROUNDING = (
    *("webSearchQueries", "web_search_queries", "groundingChunks", "grounding_chunks"),
    *("imageSearchQueries", "image_search_queries"),
)


def fees_of(bodies: Iterable[Fields], model: str) -> dict[str, int]:
    """Return how often each fee of `spendtree.usage.UNITS` fell due, by items of the answer.

    The events of a stream repeat items: each counts once. `model` is the one that answered.
    """
    items: dict[str, set[Any]] = {}
    queries: dict[Any, None] = {}
    maps = annotated = False
    for body in bodies:
        for unit, key in _items(body.get("output")):
            items.setdefault(unit, set()).add(key)
        for grounding in _groundings(body.get("candidates")):
            queries.update(dict.fromkeys(_texts(grounding)))
            maps = maps or _has_maps(grounding)
        for candidate in _listed(body.get("candidates")):
            searched, mapped = _called(candidate)
            queries.update(dict.fromkeys(searched))
            maps = maps or mapped
        for unit, key in _executed(body.get("choices")):
            items.setdefault(unit, set()).add(key)
        if "choices" in body and any(name in model for name in SEARCH_MODELS):
            annotated = annotated or _is_annotated(body["choices"])
    fees = {unit: len(keys) for unit, keys in items.items()}
    if queries:
        # Google bills a grounded prompt, and from Gemini 3 on each query.
        fees |= {"web_search": len(queries)} if _bills_queries(model) else {"grounded_prompt": 1}
    if maps:
        fees["maps_prompt"] = 1
    if annotated:
        fees["web_search"] = max(fees.get("web_search", 0), 1)
    return fees


def _bills_queries(model: str) -> bool:
    """Return whether a Gemini is billed by the query: "Gemini Developer API pricing"."""
    _, found, rest = model.lower().partition("gemini-")
    return bool(found) and rest[:1].isdigit() and int(rest[0]) >= 3


def _items(output: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(output, (list, tuple)):
        return
    for place, item in enumerate(output):
        fields = fields_of(item, _ITEM)
        unit = ITEMS.get(str(fields.get("type"))) if fields else None
        if fields is None or unit is None:
            continue
        action = fields_of(fields.get("action"), ("type",)) or {}
        if action.get("type") in FREE_ACTIONS:
            continue
        environment = fields_of(fields.get("environment"), ("container_id",)) or {}
        # A session of a container serves several calls.
        container = fields.get("container_id") or environment.get("container_id")
        key = container if unit == "code_session" and container else fields.get("id")
        yield unit, str(key) if key else place


def _groundings(candidates: Any) -> Iterator[Fields]:
    for candidate in _listed(candidates):
        fields = fields_of(candidate, _CANDIDATE)
        for name in _GROUNDINGS:
            grounding = fields_of(fields.get(name), _GROUNDING) if fields else None
            if grounding:
                yield grounding


def _texts(grounding: Fields) -> Iterator[str]:
    for name in _GROUNDING:
        found = grounding.get(name)
        if "ueries" in name and isinstance(found, (list, tuple)):
            yield from (text for text in found if isinstance(text, str) and text)


def _has_maps(grounding: Fields) -> bool:
    chunks = grounding.get("groundingChunks") or grounding.get("grounding_chunks")
    if not isinstance(chunks, (list, tuple)):
        return False
    return any((fields_of(chunk, ("maps",)) or {}).get("maps") is not None for chunk in chunks)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _called(candidate: Any) -> tuple[list[Any], bool]:
    """Return the searches, and whether there were any of maps, that a Gemini called as tools.

    Gemini 3 states them so where tools are combined ("Combine built-in tools and function
    calling"): by their queries, and by the call itself where it does not say which.
    """
    content = fields_of((fields_of(candidate, _CANDIDATE) or {}).get("content"), ("parts",)) or {}
    searched: list[Any] = []
    mapped = False
    for place, part in enumerate(_listed(content.get("parts"))):
        fields = fields_of(part, ("toolCall", "tool_call")) or {}
        call = fields_of(fields.get("toolCall") or fields.get("tool_call"), _CALL) or {}
        kind = call.get("toolType") or call.get("tool_type")
        word = str(getattr(kind, "value", kind))
        mapped = mapped or word == "GOOGLE_MAPS"
        if word.startswith("GOOGLE_SEARCH"):
            args = fields_of(call.get("args"), ("queries",)) or {}
            queries = _listed(args.get("queries"))
            texts = [text for text in queries if isinstance(text, str) and text]
            searched += texts if queries else [("call", str(call.get("id") or place))]
    return searched, mapped


def _executed(choices: Any) -> Iterator[tuple[str, Any]]:
    """Yield the unit of each tool that Groq executed, and its place in the answer.

    A stream states each when it begins and when it ends, at the same place.
    """
    for number, choice in enumerate(_listed(choices)):
        fields = fields_of(choice, ("message", "delta")) or {}
        for name in ("message", "delta"):
            message = fields.get(name)
            tools = message and (fields_of(message, ("executed_tools",)) or {}).get(
                "executed_tools"
            )
            for place, tool in enumerate(_listed(tools)):
                said = fields_of(tool, ("type", "name", "index")) or {}
                kind = said.get("type")
                word = str(said.get("name") if kind == "function" else kind).lower()
                index = said.get("index")
                yield TOOLS.get(word, "tool_request"), (number, place if index is None else index)


def _is_annotated(choices: Any) -> bool:
    """Return whether an answer cites the web: OpenAI's search models search once per request."""
    if not isinstance(choices, (list, tuple)):
        return False
    for choice in choices:
        fields = fields_of(choice, ("message", "delta")) or {}
        for name in ("message", "delta"):
            message = fields_of(fields.get(name), ("annotations",)) or {}
            if message.get("annotations"):
                return True
    return False
