"""Usage: what one call used, in disjoint buckets. A value; it knows no provider and no price.

Text tokens are fields, since every call has them. Everything else that providers count (tokens of
audio and images, searches, seconds, pages) is a unit of the table `UNITS`, and a call that has none
pays nothing for them: it shares one empty mapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

from spendtree.errors import UsageError

TOKENS_MAX = 2**40
"""More tokens than any call has; a larger count is a unit error, and would overflow a cost."""


class Unit(NamedTuple):
    """One row of `UNITS`: something that a provider counts and bills beside text tokens."""

    name: str
    family: Literal["tokens", "fee"]
    """Tokens belong to `total_tokens`; a fee is beside them."""
    direction: Literal["input", "output", ""]
    modality: Literal["audio", "image", "video", "text", ""]
    cached: bool
    """Read from the provider's prompt cache."""
    words: str
    """One of it, in words."""
    wider: str = ""
    """The field of `Usage`, or the unit, that holds it where a provider does not split it off; ""
    where nothing does."""


_UNITS = (
    Unit("input_audio", "tokens", "input", "audio", False, "audio input token", "input_tokens"),
    Unit("input_image", "tokens", "input", "image", False, "image input token", "input_tokens"),
    Unit("input_video", "tokens", "input", "video", False, "video input token", "input_tokens"),
    Unit(
        *("cache_read_audio", "tokens", "input", "audio", True),
        *("audio token read from a cache", "cache_read_tokens"),
    ),
    Unit(
        *("cache_read_image", "tokens", "input", "image", True),
        *("image token read from a cache", "cache_read_tokens"),
    ),
    Unit(
        *("cache_read_video", "tokens", "input", "video", True),
        *("video token read from a cache", "cache_read_tokens"),
    ),
    Unit("output_audio", "tokens", "output", "audio", False, "audio output token", "output_tokens"),
    Unit("output_image", "tokens", "output", "image", False, "image output token", "output_tokens"),
    Unit("output_video", "tokens", "output", "video", False, "video output token", "output_tokens"),
    # Perplexity's deep research bills the tokens of what it cites at a price of their own.
    Unit("citation", "tokens", "output", "", False, "citation token"),
    Unit("web_search", "fee", "", "", False, "web search"),
    Unit("social_search", "fee", "", "", False, "search of posts", "web_search"),
    Unit("grounded_prompt", "fee", "", "", False, "prompt grounded by a web search"),
    Unit("maps_prompt", "fee", "", "", False, "prompt grounded by a map"),
    Unit("search_source", "fee", "", "", False, "source used by a live search"),
    Unit("storage_search", "fee", "", "", False, "search of stored documents"),
    Unit("file_search", "fee", "", "", False, "search of uploaded files", "storage_search"),
    Unit("code_session", "fee", "", "", False, "session of a code interpreter"),
    Unit("rerank_search", "fee", "", "", False, "search unit of a reranker"),
    Unit("tool_request", "fee", "", "", False, "request to a tool of the provider"),
    Unit("request", "fee", "", "", False, "request billed at a price of its own"),
    Unit("classification", "fee", "", "", False, "classification"),
    Unit("audio_second", "fee", "", "audio", False, "second of audio"),
    Unit("video_second", "fee", "", "video", False, "second of video"),
    Unit("character", "fee", "input", "text", False, "character"),
    Unit("text_message", "fee", "input", "text", False, "text message"),
    Unit("image", "fee", "", "image", False, "image"),
    Unit("pixel", "fee", "", "image", False, "pixel"),
    Unit("page", "fee", "input", "", False, "page"),
    Unit("annotated_page", "fee", "input", "", False, "annotated page", "page"),
    # Amazon Bedrock "Guardrails", by policy. What is free there (filters of words, regular
    # expressions) is not counted.
    Unit("guardrail_content", "fee", "", "text", False, "text unit checked by content filters"),
    Unit("guardrail_image", "fee", "", "image", False, "image checked by content filters"),
    Unit("guardrail_topic", "fee", "", "text", False, "text unit checked for denied topics"),
    Unit(
        *("guardrail_sensitive", "fee", "", "text", False),
        "text unit checked for sensitive information",
    ),
    Unit("guardrail_grounding", "fee", "", "text", False, "text unit checked for its grounding"),
    Unit(
        *("guardrail_reasoning", "fee", "", "text", False),
        "text unit checked by automated reasoning",
    ),
)

UNITS: Mapping[str, Unit] = {unit.name: unit for unit in _UNITS}
"""Everything that is counted beside text tokens, by name. Names are stored: never rename one."""


class Units(dict[str, int]):
    """Counts by the names of `UNITS`: a dictionary that cannot be changed, and so has a hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Units, (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the units of a Usage cannot be changed; make another Usage")

    def __add__(self, other: Mapping[str, int]) -> "Units":
        """Return the sums of both."""
        if not other:
            return self
        return Units({name: self.get(name, 0) + other.get(name, 0) for name in {**self, **other}})

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


NO_UNITS = Units()
"""What a call shares that used nothing but text tokens. Test `usage.units` for truth."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. The buckets are disjoint: their sum is what was processed.

    * `input_tokens`: input that was neither read from nor written to a cache
    * `output_tokens`: all output, reasoning included
    * `cache_read_tokens`: input read from the provider's prompt cache
    * `cache_write_tokens`: input written to a cache of the ordinary lifetime (5 minutes)
    * `cache_write_1h_tokens`: input written to a cache of the long lifetime (1 hour)
    * `reasoning_tokens`: the part of `output_tokens` that was reasoning (stated, not added)
    * `units`: counts of everything else, by the names of `UNITS`: tokens of other modalities
      (`input_audio`: not part of `input_tokens`) and what is billed beside tokens (`web_search`)

    `Usage(200, 100, units={"input_audio": 800})` used 1,000 tokens of input. Units of 0 go.
    Raises UsageError for a count that is not an integer, negative or above 2**40, for reasoning
    above output, and for a unit that `UNITS` does not list.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    units: Mapping[str, int] = NO_UNITS

    def __post_init__(self) -> None:
        # One expression, since every call makes a usage: a loop over the fields takes as long as
        # the rest of the constructor. What is wrong is looked for only when something is.
        sound = (
            type(self.input_tokens) is int
            and type(self.output_tokens) is int
            and type(self.cache_read_tokens) is int
            and type(self.cache_write_tokens) is int
            and type(self.cache_write_1h_tokens) is int
            and type(self.reasoning_tokens) is int
            and 0 <= self.input_tokens <= TOKENS_MAX
            and 0 <= self.cache_read_tokens <= TOKENS_MAX
            and 0 <= self.cache_write_tokens <= TOKENS_MAX
            and 0 <= self.cache_write_1h_tokens <= TOKENS_MAX
            and 0 <= self.reasoning_tokens <= self.output_tokens <= TOKENS_MAX
        )
        if not sound:
            raise self._error()
        if self.units is not NO_UNITS:
            object.__setattr__(self, "units", _checked(self.units))

    def _error(self) -> UsageError:
        for name in TOKEN_FIELDS:
            tokens = getattr(self, name)
            if type(tokens) is not int:
                return UsageError(f"{name}: {tokens!r} is not a token count; give an int")
            if not 0 <= tokens <= TOKENS_MAX:
                return UsageError(f"{name}: {tokens} is not between 0 and {TOKENS_MAX}")
        return UsageError(
            f"reasoning_tokens: {self.reasoning_tokens} is more than the "
            f"{self.output_tokens} output_tokens that it is a part of"
        )

    @property
    def total_tokens(self) -> int:
        """Return all tokens processed, of every modality: the sum of the disjoint buckets."""
        text = (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
        )
        return text + tokens_of(self.units) if self.units else text

    @property
    def is_nothing(self) -> bool:
        """Return whether every count is 0: a response that states that states no usage."""
        return not (
            self.input_tokens
            or self.output_tokens
            or self.cache_read_tokens
            or self.cache_write_tokens
            or self.cache_write_1h_tokens
            or self.units
        )


TOKEN_FIELDS = tuple(Usage.__slots__[:6])
"""The fields that are counts of text tokens, in their order."""


def tokens_of(units: Mapping[str, int]) -> int:
    """Return how many tokens there are among some units; fees are none."""
    return sum(count for name, count in units.items() if is_tokens(name))


def is_tokens(unit: str) -> bool:
    """Return whether a unit counts tokens; one that only a later version knows does not."""
    known = UNITS.get(unit)
    return known is not None and known.family == "tokens"


def _checked(units: Any) -> Units:
    """Return a read-only copy without zeros. Raises UsageError."""
    if type(units) is Units:
        return units
    if not isinstance(units, Mapping):
        raise UsageError(f"units: {units!r} is not a mapping of unit names to counts")
    for name, count in units.items():
        if name not in UNITS:
            raise UsageError(f"units: {name!r} is not a known unit; known are {', '.join(UNITS)}")
        if type(count) is not int:
            raise UsageError(f"units: {name} {count!r} is not a count; give an int")
        if not 0 <= count <= TOKENS_MAX:
            raise UsageError(f"units: {name} {count} is not between 0 and {TOKENS_MAX}")
    return Units({name: count for name, count in units.items() if count}) or NO_UNITS
