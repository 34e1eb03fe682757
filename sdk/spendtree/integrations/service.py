"""What a request asks for beside text: how it is to be served, what it may read, and which fees.

Read from a request's body, headers and address, for its hold: what was really served and used says
the response. Pure; what nobody would mean is passed over, since the provider refuses it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from spendtree.response.served import word
from spendtree.usage import NO_UNITS, TOKENS_MAX


class Service(NamedTuple):
    """What a request asks for; the arguments of `Spendtree.call` by the same names."""

    served: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    units: Mapping[str, int] = NO_UNITS


TIER_KEYS = ("service_tier", "serviceTier", "speed", "performanceConfig")
TIER_HEADERS = (
    "x-amzn-bedrock-service-tier",
    "x-amzn-bedrock-performanceconfig-latency",
    "x-vertex-ai-llm-request-type",
    "x-vertex-ai-llm-shared-request-type",
)
"""Bedrock's and Vertex AI's, which put such words beside the body."""

_OPENAI_REGION = re.compile(r"([a-z]{2})\.api\.openai\.com")
_VERTEX_REGION = re.compile(
    r"[a-z]+-[a-z]+\d+-aiplatform\.googleapis\.com|aiplatform\.[a-z-]+\d*\.rep\.googleapis\.com"
)

PARTS = {
    "input_audio": "audio",
    "audio": "audio",
    "audio_url": "audio",
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "document": "image",
    "file": "image",
    "input_file": "image",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
}
"""The type of a part of a message -> what a model reads there; pages of documents are pictures."""

MODALITIES = ("audio", "image", "video")
MESSAGES = ("messages", "input", "contents")

FEES = {
    "web_search": "web_search",
    "web_search_preview": "web_search",
    "file_search": "file_search",
    "code_interpreter": "code_session",
}
"""The beginning of a tool's type -> the unit that its use is billed by."""


def service_of(
    body: Mapping[str, Any], host: str = "", headers: Mapping[str, Any] | None = None
) -> Service:
    """Return what a request asks for, by its body, the host it goes to, and its headers."""
    return Service(
        tuple(dict.fromkeys(_served(body, host, headers))),
        tuple(dict.fromkeys(_modalities(body))),
        _units(body),
    )


def _served(body: Mapping[str, Any], host: str, headers: Mapping[str, Any] | None) -> Iterator[str]:
    for key in TIER_KEYS:
        if key in body and (text := word(body[key])):
            yield text
    for name, value in (headers or {}).items():
        if str(name).lower() in TIER_HEADERS and (text := word(value)):
            yield text
    region = word(body["inference_geo"]) if "inference_geo" in body else ""
    if region:
        yield f"region:{region}"
    if found := _OPENAI_REGION.fullmatch(host):
        yield f"region:{found[1]}"
    elif _VERTEX_REGION.fullmatch(host):
        yield "regional"


def _modalities(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the model may read or write that is not text."""
    asked = body.get("modalities")
    if isinstance(asked, list | tuple):
        yield from (each for each in asked if each in MODALITIES)
    if body.get("audio"):
        yield "audio"
    for key in MESSAGES:
        messages = body.get(key)
        if type(messages) is list or type(messages) is tuple:
            for message in messages:
                if isinstance(message, Mapping):
                    yield from _of_message(message)


def _of_message(message: Mapping[str, Any]) -> Iterator[str]:
    if message.get("audio"):  # an earlier answer that was spoken
        yield "audio"
    content = message.get("content")
    if type(content) is str:
        return
    for part in _parts(message, content, message.get("parts"), message.get("output")):
        kind = PARTS.get(str(part.get("type")))
        if kind:
            yield kind
        for key in ("inlineData", "inline_data", "fileData", "file_data"):
            data = part.get(key)
            if isinstance(data, Mapping):
                yield _of_mime(str(data.get("mimeType") or data.get("mime_type") or ""))


def _parts(*values: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what has a type of its own: the values, and what stands in their lists, twice deep."""
    for value in values:
        if isinstance(value, Mapping):
            yield value
        elif isinstance(value, list | tuple):
            for part in value:
                if isinstance(part, Mapping):
                    yield part
                    inner = part.get("content")  # the result of a tool
                    if isinstance(inner, list | tuple):
                        yield from (each for each in inner if isinstance(each, Mapping))


def _of_mime(mime: str) -> str:
    kind = mime.partition("/")[0]
    return kind if kind in MODALITIES else "image"


def _units(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the most that a request can use of what is billed beside tokens, as far as it says.

    A tool that it may use any number of times is not there: what that costs is known afterwards.
    """
    found: dict[str, int] = {}
    most = _count(body.get("max_tool_calls"))
    for tool in _tools(body.get("tools")):
        name = str(tool.get("type"))
        unit = next((FEES[key] for key in FEES if name.startswith(key)), "")
        if unit == "code_session":
            # One container for the whole answer; one that is named was paid for when it was made.
            container = tool.get("container")
            found[unit] = 0 if isinstance(container, str) else 1
        elif unit:
            limit = _count(tool.get("max_uses"))
            found[unit] = found.get(unit, 0) + (most or 0 if limit is None else limit)
    if isinstance(body.get("web_search_options"), Mapping):
        found["web_search"] = found.get("web_search", 0) + 1  # models that search once, always
    return {name: count for name, count in found.items() if count} or NO_UNITS


def _tools(tools: Any) -> Iterable[Mapping[str, Any]]:
    if not isinstance(tools, list | tuple):
        return ()
    return (tool for tool in tools if isinstance(tool, Mapping))


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None
