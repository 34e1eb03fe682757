"""The most that a call's input can be, before it is made. Pure: requests in, token counts out.

Three levels, each an upper bound, each tighter than the one before:

* bytes: a token is at least one byte of text for every tokenizer in use (byte-level BPE,
  SentencePiece with byte fallback), but some normalise to NFKC first, which can lengthen a text
  ("\ufdfa" grows from 3 bytes to 33). So the larger of both counts; bytes / 4 is an average.
* a tokenizer, the caller's or `known_tokenizer`: its count of each text, and the same overheads.
* `learn`, in agent loops: what the provider counted for the conversation so far, and a bound of
  what was added since.

Give the whole request (messages, system prompt and tools): what is not given is not counted.
"""

import functools
import hashlib
import importlib
import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import normalize

from spendtree.usage import Usage

Tokenizer = Callable[[str], int]
"""Returns the tokens of a text as the model that is meant counts them, or more."""

MESSAGE_OVERHEAD_TOKENS = 16
"""Role markers and separators around one message; the widest chat template in use needs 8."""

PART_OVERHEAD_TOKENS = 6
"""Quotes, colon, comma and spaces around one key, value or item, where a provider writes tools or
arguments into the prompt as JSON."""

REQUEST_OVERHEAD_TOKENS = 32
"""Markers around a whole request: start, priming of the answer, a hidden system preamble."""

TOOLS_OVERHEAD_TOKENS = 1024
"""The hidden prompt that explains how to use tools: Anthropic's "Tool use: pricing" names up to
530 tokens; twice that for what newer models may need."""


def text_tokens(text: str, tokenizer: Tokenizer | None = None) -> int:
    """Return a bound of the tokens of a text."""
    if text.isascii():
        size = len(text)
    else:
        encoded = len(text.encode("utf-8", "surrogatepass"))
        size = max(encoded, len(normalize("NFKC", text).encode("utf-8", "surrogatepass")))
    return size if tokenizer is None else min(tokenizer(text), size)


def input_tokens(
    content: Any,
    *,
    tokenizer: Tokenizer | None = None,
    learned: "Learned | None" = None,
    window: int | None = None,
) -> int | None:
    """Return a bound of the input tokens of a text, a list of messages, or any JSON-like request.

    `window` is the model's context window in tokens: no request is larger, so no bound is, and it
    is the bound of what its text does not bound (images, files, audio, tools that the provider
    runs, references to what it keeps). None if only the window would do, and it is not given.
    """
    talk = None
    if isinstance(content, Conversation):
        talk, content = content, content.content
    elif learned is not None:
        talk = Conversation(content)
    known = [] if window is None else [window]
    total = _tokens(content, tokenizer)
    if total is not None:
        known.append(total + REQUEST_OVERHEAD_TOKENS + _tools_tokens(content))
    grown = None
    if learned is not None and talk is not None:
        grown = _grown_tokens(learned, talk, tokenizer)
    if grown is not None:
        known.append(grown)
    return min(known, default=None)


def known_tokenizer(model: str) -> Tokenizer | None:
    """Return tiktoken's tokenizer of an OpenAI model; None for others, or without tiktoken.

    The one door here that is not pure: tiktoken reads its vocabulary, and fetches it at first. A
    name that tiktoken only guesses ("gpt-5.6" from "gpt-5") is not known: its bound is in bytes.
    """
    try:
        tiktoken = importlib.import_module("tiktoken")
        names = tiktoken.model.MODEL_TO_ENCODING
        if not any(model == name or model.startswith(f"{name}-") for name in names):
            return None
        encoding = tiktoken.encoding_for_model(model)
    except (ImportError, KeyError, OSError, ValueError):  # not there, not known, not fetched
        return None
    return lambda text: len(encoding.encode_ordinary(text))


class Learned(NamedTuple):
    """What a provider counted for one request of a conversation; keeps none of its text.

    `messages` is their number, `fingerprint` that of the request up to the last of them,
    `tokens` the provider's count of all its input and of the output that followed.
    """

    messages: int
    fingerprint: bytes
    tokens: int


def learn(content: Any, usage: Usage) -> Learned | None:
    """Return what the usage of a request teaches about the next one of the same conversation.

    None for a request that holds objects that are not JSON-like.
    """
    talk = content if isinstance(content, Conversation) else Conversation(content)
    fingerprint = talk.fingerprint(len(talk.messages))
    if fingerprint is None:
        return None
    # All buckets: what a cache had is input, too, and the output comes back as input, partly out
    # of sight (reasoning that the provider keeps).
    return Learned(messages=len(talk.messages), fingerprint=fingerprint, tokens=usage.total_tokens)


class Conversation:
    """A request that is asked about more than once: its messages, and the frame around them.

    It stands for the request in `input_tokens` and `learn`, and is made anew for each request.
    """

    __slots__ = ("_known", "content", "frame", "messages")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.messages, self.frame = _parts(content)
        self._known: dict[int, bytes | None] = {}

    def fingerprint(self, messages: int) -> bytes | None:
        """Return what identifies it up to so many messages; None if it is not JSON-like."""
        if messages not in self._known:
            self._known[messages] = _fingerprint(self.frame, self.messages[:messages])
        return self._known[messages]


def _grown_tokens(learned: Learned, talk: Conversation, tokenizer: Tokenizer | None) -> int | None:
    """Return the bound of a request that continues a known one; None if it does not."""
    if talk.fingerprint(learned.messages) != learned.fingerprint:
        return None
    if _tokens(talk.frame, None) is None:
        return None  # tools that the provider runs, a state that it keeps: they grow by themselves
    tokens = _tokens(talk.messages[learned.messages :], tokenizer)
    return None if tokens is None else learned.tokens + tokens + REQUEST_OVERHEAD_TOKENS


def _parts(content: Any) -> tuple[list[Any], Any]:
    """Split a request into its messages and the frame around them."""
    if isinstance(content, Mapping):
        for key in _NO_FRAME:
            if _is_list(content.get(key)):
                frame = {name: content[name] for name in content if name not in _NO_FRAME[key]}
                return list(content[key]), frame
    return (list(content), None) if _is_list(content) else ([content], None)


def _fingerprint(frame: Any, messages: list[Any]) -> bytes | None:
    """Return what identifies a content; None for what is not JSON-like."""
    digest = hashlib.blake2b(digest_size=16)
    content = [frame, messages]
    try:
        # Several times as fast as feeding part by part, which is for what this does not say.
        written = marshal.dumps(content, MARSHAL_VERSION)
        if any(mark in written for mark in _CACHE_MARKS_WRITTEN):
            written = marshal.dumps(_without_marks(content), MARSHAL_VERSION)
        digest.update(written)
    except ValueError:
        try:
            _feed(digest.update, content)
        except TypeError:
            return None
    return digest.digest()


def _without_marks(content: Any) -> Any:
    if isinstance(content, dict):
        kept = content.keys() - _CACHE_MARKS
        return {key: _without_marks(content[key]) for key in content if key in kept}
    if isinstance(content, (list, tuple)):
        return [_without_marks(part) for part in content]
    return content


def _feed(update: Callable[[bytes], None], content: Any) -> None:
    """Feed a digest with what identifies a content; raises TypeError for what is not JSON-like."""
    if isinstance(content, str):
        text = content.encode("utf-8", "surrogatepass")
        update(b"s%d:" % len(text) + text)
    elif isinstance(content, (bytes, bytearray)):
        update(b"b%d:" % len(content) + content)
    elif content is None or isinstance(content, (bool, int, float)):
        update(repr(content).encode() + b";")
    elif isinstance(content, Mapping):
        update(b"{")
        for key, value in content.items():
            if key not in _CACHE_MARKS:
                _feed(update, key)
                _feed(update, value)
        update(b"}")
    elif _is_list(content):
        update(b"[")
        for part in content:
            _feed(update, part)
        update(b"]")
    else:
        raise TypeError(type(content).__name__)


def _tokens(content: Any, tokenizer: Tokenizer | None) -> int | None:
    kind = type(content)
    if kind is str:
        if tokenizer is None and content.isascii():
            return len(content)
        return text_tokens(content, tokenizer)
    if kind is dict or isinstance(content, Mapping):
        return _mapping_tokens(content, tokenizer)
    if kind is list or _is_list(content):
        return _sum(content, tokenizer)
    if content is None or isinstance(content, bool):
        return 5
    if isinstance(content, str):
        return text_tokens(content, tokenizer)
    return len(repr(content)) if isinstance(content, (int, float)) else None


def _mapping_tokens(content: Mapping[Any, Any], tokenizer: Tokenizer | None) -> int | None:
    if _is_unbounded(content):
        return None
    keys, values = _sum(content, tokenizer), _sum(content.values(), tokenizer)
    return None if keys is None or values is None else keys + values + MESSAGE_OVERHEAD_TOKENS


def _sum(parts: Iterable[Any], tokenizer: Tokenizer | None) -> int | None:
    total = 0
    for part in parts:
        if type(part) is str and tokenizer is None and part.isascii():
            total += len(part) + PART_OVERHEAD_TOKENS  # most parts are such
            continue
        tokens = _tokens(part, tokenizer)
        if tokens is None:
            return None
        total += tokens + PART_OVERHEAD_TOKENS
    return total


def _is_unbounded(content: Mapping[Any, Any]) -> bool:
    kind = content.get("type")
    if isinstance(kind, str):
        if _is_unbounded_type(kind):
            return True
        if kind == "reasoning" and not content.get("encrypted_content"):
            return True  # a reference: the provider keeps what was thought
    if _UNBOUNDED_KEYS.isdisjoint(content):
        return False
    return any(content[key] is not None for key in content.keys() & _UNBOUNDED_KEYS)


@functools.lru_cache(maxsize=1024)
def _is_unbounded_type(kind: str) -> bool:
    return any(word in kind for word in _UNBOUNDED_TYPES)


def _tools_tokens(content: Any, depth: int = 3) -> int:
    """Return the overhead of tools, if a request, or a list in it, gives any."""
    if isinstance(content, Mapping):
        if _TOOLS_MARKS.isdisjoint(content):
            return 0
        function = content.get("function", {"arguments": ""})  # a call of one has arguments
        given = (
            any(content.get(key) for key in _TOOLS_KEYS)
            or not _TOOL_KEYS.isdisjoint(content)
            or (isinstance(function, Mapping) and "arguments" not in function)
        )
        return TOOLS_OVERHEAD_TOKENS if given else 0
    if depth and _is_list(content):
        return max((_tools_tokens(part, depth - 1) for part in content), default=0)
    return 0


def _is_list(content: Any) -> bool:
    return isinstance(content, Sequence) and not isinstance(content, (str, bytes, bytearray))


_UNBOUNDED_TYPES = (
    *("image", "file", "audio", "video", "document", "item_reference"),
    # Tools that the provider runs: they put what they find into the prompt.
    *("web_search", "web_fetch", "code_interpreter", "code_execution", "computer", "mcp"),
    *("tool_search", "advisor"),
)
_UNBOUNDED_KEYS = frozenset(
    {
        *("image_url", "file_id", "file_url", "file_data", "fileData", "inlineData"),
        *("inline_data", "s3Location", "cachedContent", "cached_content"),
        *("previous_response_id", "conversation", "container"),
        *("googleSearch", "google_search", "googleSearchRetrieval", "urlContext", "url_context"),
        *("codeExecution", "code_execution", "fileSearch", "file_search", "googleMaps"),
        *("mcp_servers", "web_search_options", "search_parameters", "plugins"),
    }
)
_TOOLS_KEYS = ("tools", "functions", "toolConfig", "tool_config")
_TOOL_KEYS = frozenset(
    {"input_schema", "inputSchema", "toolSpec", "functionDeclarations", "function_declarations"}
    | {"parameters"}
)
_TOOLS_MARKS = _TOOL_KEYS.union(_TOOLS_KEYS, ("function",))
_CACHE_MARKS = frozenset({"cache_control", "cachePoint"})
"""Where a provider shall cache: moved along with every turn, and never read by the model."""

_CACHE_MARKS_WRITTEN = tuple(mark.encode() for mark in sorted(_CACHE_MARKS))

MARSHAL_VERSION = 2
"""The last one that writes equal contents alike: later ones refer back to an object that stands
there twice, and tell interned strings from others."""

NO_INPUT = frozenset(
    {
        *(
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "temperature",
            "top_p",
            "seed",
        ),
        *("stop", "stop_sequences", "stream", "stream_options", "user", "metadata", "timeout"),
    }
)
"""Settings of a request that the model does not read, so that they may change between turns."""

_NO_FRAME = {key: NO_INPUT | {key} for key in ("messages", "input", "contents")}
