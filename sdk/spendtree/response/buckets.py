"""From counts as they are stated to disjoint buckets: what is inside what. Pure arithmetic.

Three rules, in this order:

* what is stated is never dropped. Where a total, or the sum of a split, is more than what was read,
  the difference is counted as the most expensive bucket that it can be, and reported;
* of two readings that are both possible, the more expensive one is taken;
* what cannot be is an error: the call is presumed to have cost its hold.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from spendtree.errors import UsageError
from spendtree.response.aliases import Meaning, meaning
from spendtree.response.numbers import number
from spendtree.usage import TOKENS_MAX, UNITS, Usage

Counts = dict[str, int]
Unread = dict[str, Any]

MODALITIES = ("audio", "video", "image")
"""Besides text, the most expensive first, as the price lists have it."""

UNREAD_MAX = 20
TEXT_MAX = 80
"""Characters kept of a value that was not understood."""

_INPUT = {m: f"input_{m}" for m in (*MODALITIES, "text")}
_READ = {m: f"cache_read_{m}" for m in (*MODALITIES, "text")}
_OUTPUT = {m: f"output_{m}" for m in (*MODALITIES, "text")}
_SMALLER = frozenset(("cache_read", *_READ.values()))
"""Of two statements of these the smaller one is the more expensive: the rest is fresh input."""

_PRINCIPAL = frozenset(("input_inside", "input", "output", "total"))
"""Counts of which a zero says something: that it is stated."""

_FEES = frozenset(name for name, unit in UNITS.items() if unit.family == "fee") | {"citation"}


class Facts(NamedTuple):
    """What a response says beside its counts that decides how they are read."""

    input_only: bool = False
    """It makes no output that is billed: embeddings, rerankers."""
    makes: str = ""
    """The modality of all output that is not split: images, speech."""
    omits_input: bool = False
    """An input that is not stated is zero: Ollama leaves out what it had evaluated before."""
    annotated: bool = False
    """Pages were annotated."""


class Built(NamedTuple):
    """A usage, or the most that was understood where it is not whole."""

    usage: Usage | None
    floor: Usage | None
    unread: Unread
    error: UsageError | None = None
    """Why the counts cannot be."""


def counted(flat: Mapping[str, Any]) -> tuple[Counts, bool, Unread]:
    """Return counts by bucket, whether cache tokens are beside the input, and what is not known."""
    counts: Counts = {}
    unread: Unread = {}
    beside = False
    for path, value in flat.items():
        known = meaning(path)
        if known is not None:
            if not known.bucket:
                continue
            if known.beside:
                beside = True
            if value == 0 and known.bucket not in _PRINCIPAL:
                continue
        count = value if type(value) is int else number(value)
        if known is None or count is None or not 0 <= count <= TOKENS_MAX:
            if value and value != "0":
                unread[path] = value
            continue
        _note(counts, known, count, path, unread)
    return counts, beside, unread


def _note(counts: Counts, known: Meaning, count: int, path: str, unread: Unread) -> None:
    """Note a count; of two that differ, the one that costs more, and the other is reported."""
    bucket = known.bucket
    before = counts.get(bucket)
    if before is None or not before:
        counts[bucket] = count
    elif count and count != before:
        smaller = bucket in _SMALLER
        counts[bucket] = min(before, count) if smaller else max(before, count)
        unread[path] = count


def build(flat: Mapping[str, Any], facts: Facts) -> Built:
    """Return the usage that a flat usage object states."""
    counts, beside, unread = counted(flat)
    try:
        return _Counted(counts, beside, unread, facts).built()
    except UsageError as error:
        known = max(counts.get(name, 0) for name in ("input", "input_inside", "cache_read", ""))
        output = max(counts.get("output", 0), counts.get("thoughts", 0))
        return Built(None, Usage(known, min(output, TOKENS_MAX)), unread, error)


class _Counted:
    """One usage object being read: its counts, and what becomes of them."""

    def __init__(self, counts: Counts, beside: bool, unread: Unread, facts: Facts) -> None:
        self.counts = counts
        self.beside = beside
        self.unread = unread
        self.facts = facts

    def built(self) -> Built:
        counts = self.counts
        fees = {name: counts[name] for name in counts if name in _FEES and counts[name]}
        if self.facts.annotated and "page" in fees:
            fees["annotated_page"] = fees.pop("page")
        stated = self._input()
        if stated is None:
            return self._without_input(fees)
        read, written, long = self._caches()
        tool = self._tool_input()
        whole = stated
        if self.beside:
            whole += read + written + long
        elif read + written + long > stated:
            # OpenRouter counts what was read as written too, for a model that stores it again.
            written = max(written - read, 0)
            if read + written + long > stated:
                raise _impossible(stated, read + written + long)
        whole += tool
        output, reasoning = self._output(whole, fees)
        if output is None:
            floor = self._split(whole, 0, 0, (read, written, long), fees).usage
            return Built(None, floor, self.unread)
        if self.facts.input_only and not counts.get("output") and output:
            whole, output = whole + output, 0  # a total that is more than the input is input, too
        return self._split(whole, output, reasoning, (read, written, long), fees)

    def _input(self) -> int | None:
        counts = self.counts
        inside, either = counts.get("input_inside"), counts.get("input")
        if inside is None or not inside:
            stated = inside if either is None else either
            return 0 if stated is None and self.facts.omits_input else stated
        if either is not None and either > inside:
            self.unread["input"] = inside
            return either
        # Gateways that speak both tongues: the name that says what it contains goes first.
        self.beside = False
        return inside

    def _without_input(self, fees: Counts) -> Built:
        counts = self.counts
        output, total = counts.get("output"), counts.get("total", 0)
        if "pixel" in fees:  # Voyage: an image's tokens are in the total, and billed by the pixel
            total = counts.get("input_text", 0)
        if output is None and (self.facts.input_only or (fees and not total)) and (total or fees):
            return Built(Usage(total, 0, units=fees), None, self.unread)
        read, written, long = self._caches()
        units = {**fees, **{_INPUT[m]: counts.get(_INPUT[m], 0) for m in MODALITIES}}
        known = max(total - read - written - long, (output or 0) + counts.get("thoughts", 0))
        floor = Usage(0, known, read, written, long, units=units)
        return Built(None, None if floor.is_nothing else floor, self.unread)

    def _caches(self) -> tuple[int, int, int]:
        """Return what was read from a cache, written for the ordinary time, and for an hour."""
        counts = self.counts
        read = counts.get("cache_read") or sum(counts.get(name, 0) for name in _READ.values())
        long, short = counts.get("cache_write_1h", 0), counts.get("cache_write_5m", 0)
        return read, max(counts.get("cache_write", 0) - long, short), long

    def _tool_input(self) -> int:
        counts = self.counts
        split = sum(counts.get(f"tool_{modality}", 0) for modality in MODALITIES)
        return max(counts.get("tool_input", 0), split)

    def _output(self, whole: int, fees: Counts) -> tuple[int | None, int]:
        """Return the output and the reasoning in it: as stated, or what the total leaves for it.

        It is more where reasoning is billed but counted in the total only (xAI, Gemini's chat
        completions), and all there is where a provider leaves a zero out.
        """
        counts = self.counts
        output, thoughts = counts.get("output"), counts.get("thoughts", 0)
        reasoning = counts.get("reasoning", 0)
        total = counts.get("total")
        if output is not None or thoughts:
            output = (output or 0) + thoughts
        if output is None:
            if total is None:
                return (0, 0) if self.facts.input_only else (self._split_output(), reasoning)
            rest = max(total - whole, 0)
            if rest and not self.facts.input_only:
                self.unread["total"] = total
            return rest, min(reasoning, rest)
        if reasoning and self._reasons_beside(whole, output, reasoning, fees):
            return output + reasoning, reasoning + thoughts
        reasoning = max(reasoning, thoughts)
        if total is not None and total != whole + output:
            output = self._balanced(whole, output, reasoning, total)
        elif reasoning > output and total is None:
            self.unread["reasoning"] = reasoning
            output = reasoning
        # Some count more reasoning than output (MiniMax: 11 of 10); the total says what is billed.
        return output, min(reasoning, output)

    def _split_output(self) -> int | None:
        """Return the output where only its split is stated."""
        counts = self.counts
        stated = [counts[name] for name in _OUTPUT.values() if name in counts]
        return sum(stated) if stated else None

    def _reasons_beside(self, whole: int, output: int, reasoning: int, fees: Counts) -> bool:
        total = self.counts.get("total")
        if total == whole + output + reasoning:
            return True
        # Perplexity "sonar-deep-research" bills reasoning beside its completion.
        return "citation" in fees

    def _balanced(self, whole: int, output: int, reasoning: int, total: int) -> int:
        """Return the output once it agrees with a total that says more; report what does not."""
        rest = total - whole - output
        if rest > 0:
            if "audio_second" in self.counts:
                return output  # Mistral: the audio's tokens, which are billed by the second
            self.unread["total"] = total
            return output + rest
        known = whole + output - self._tool_input()
        explained = self.beside or total in (0, known, known - self.counts.get("thoughts", 0))
        if not explained:  # some leave out what is beside prompt and answer, or what a cache served
            self.unread["total"] = total
        return max(output, min(reasoning, output))

    def _split(
        self,
        whole: int,
        output: int,
        reasoning: int,
        caches: tuple[int, int, int],
        fees: Counts,
    ) -> Built:
        read, written, long = caches
        if not self._is_split(whole, output, reasoning):
            fresh = whole - read - written - long
            usage = Usage(fresh, output, read, written, long, reasoning, fees)
            return Built(usage, None, self.unread)
        units = dict(fees)
        text = self._split_input(whole, read, written + long, units)
        spoken = self._split_generated(output, reasoning, units)
        usage = Usage(text[0], spoken, text[1], written, long, min(reasoning, spoken), units)
        return Built(usage, None, self.unread)

    def _is_split(self, whole: int, output: int, reasoning: int) -> bool:
        """Return whether there is more than text, or may be: a split that is not the whole."""
        counts = self.counts
        if self.facts.makes or not counts.keys().isdisjoint(_OTHERS):
            return True
        text, written = counts.get("input_text", 0), counts.get("output_text", 0)
        return bool(
            (text and text not in (whole, whole - self._tool_input()))
            or (written and written not in (output, output - reasoning))
        )

    def _split_input(self, whole: int, read: int, written: int, units: Counts) -> tuple[int, int]:
        """Split input and what a cache served of it by modality; return the text of both."""
        counts = self.counts
        parts = {m: counts.get(_INPUT[m], 0) + counts.get(f"tool_{m}", 0) for m in MODALITIES}
        stated = counts.get("input_text")
        if stated is not None:  # what tools put into the prompt is split apart, if at all
            stated += self._tool_input() - sum(counts.get(f"tool_{m}", 0) for m in MODALITIES)
        text = self._text_of(whole, parts, stated, "input")
        left = read
        cached = dict.fromkeys(MODALITIES, 0)
        for m in reversed(MODALITIES):
            cached[m] = min(counts.get(_READ[m], 0), parts[m], left)
            left -= cached[m]
        cached_text, room = left, max(text - written, 0)
        if cached_text > room:
            # Text cannot have been all of it: the cheapest comes first, and the rest is the others.
            over, cached_text = cached_text - room, room
            for m in reversed(MODALITIES):
                more = min(over, parts[m] - cached[m])
                cached[m] += more
                over -= more
        for m in MODALITIES:
            units[_INPUT[m]] = parts[m] - cached[m]
            units[_READ[m]] = cached[m]
        return max(text - cached_text - written, 0), cached_text

    def _split_generated(self, output: int, reasoning: int, units: Counts) -> int:
        """Split output by modality; return the text."""
        counts, makes = self.counts, self.facts.makes
        parts = {m: counts.get(_OUTPUT[m], 0) for m in MODALITIES}
        if makes and not any(parts.values()) and not counts.get("output_text"):
            parts[makes] = output - reasoning
        stated = counts.get("output_text")
        if stated is not None and stated + reasoning + sum(parts.values()) == output:
            stated += reasoning  # LiteLLM, Gemini: the text beside the thoughts
        text = self._text_of(output, parts, stated, "output")
        for m in MODALITIES:
            units[_OUTPUT[m]] = parts[m]
        return text

    def _text_of(self, whole: int, parts: Counts, stated: int | None, side: str) -> int:
        """Return the text in a whole; `parts` get what a split leaves out, and it is reported."""
        others = sum(parts.values())
        if stated is None or (not stated and not others):
            text = whole - others
            if text < 0:
                self.unread[f"{side}.split"] = others
                return 0
            return text
        rest = whole - others - stated
        if rest:
            self.unread[f"{side}.split"] = others + stated
        if rest > 0:
            most = next((m for m in MODALITIES if parts[m]), "")
            if not most:
                return stated + rest
            parts[most] += rest
        return stated


_OTHERS = frozenset(
    f"{side}_{m}" for side in ("input", "cache_read", "tool", "output") for m in MODALITIES
)


def _impossible(stated: int, cached: int) -> UsageError:
    return UsageError(
        f"input_tokens: {stated - cached} is not between 0 and {TOKENS_MAX}; {cached} tokens of a "
        f"cache are stated to be a part of {stated} tokens of input"
    )


def bounded(unread: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was not understood as it is kept: so many keys, and values of so many letters."""
    kept: dict[str, Any] = {}
    for path in sorted(unread)[:UNREAD_MAX]:
        value = unread[path]
        plain = type(value) in (int, bool) and abs(value) <= TOKENS_MAX
        kept[path] = value if plain else str(value)[:TEXT_MAX]
    return kept
