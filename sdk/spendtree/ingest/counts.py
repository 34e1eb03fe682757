"""From the counts that a source states to `Usage`, whose buckets are disjoint. Pure.

What a name means stands in `spendtree.response.aliases`, for live calls and imports alike. Here is
what traces have beside it: sources count cached tokens inside the input ("inclusive": OpenAI,
OpenInference, OpenTelemetry) or beside it ("exclusive": Anthropic), and reasoning inside or beside
the output (Langfuse). Taken for the wrong one, a long agent loop is priced several times too high
or too low, so where a source does not state which it is, its own total decides, and where it has
none, what is possible at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from spendtree.ingest.scalars import tokens
from spendtree.ingest.span import NOTHING_UNREAD, SpanError
from spendtree.response.aliases import NOTHING, meaning
from spendtree.response.buckets import MODALITIES, Facts, build
from spendtree.response.fields import flat
from spendtree.usage import UNITS, Usage

Counts = dict[str, int]
"""Counts by the buckets of `spendtree.response.aliases.ALIASES`; what is absent is not stated."""

UNREAD_MAX = 20
_PRINCIPAL = ("input", "input_inside", "output", "total")
_NOT_COUNTS = ("cost", "price")


class Stated(NamedTuple):
    """The usage that a source states, and what of it was not understood, by name."""

    usage: Usage | None
    unread: Mapping[str, Any] = NOTHING_UNREAD


NOTHING_STATED = Stated(None)


@dataclass(frozen=True, slots=True)
class Way:
    """How a source counts.

    `inclusive` is whether input contains the cached tokens, None where the source does not say.
    `apart` is whether it counts modalities beside input and output, unless its total denies it.
    `input_only` is for embeddings, whose total is input.
    """

    inclusive: bool | None = None
    apart: bool = False
    input_only: bool = False


EITHER, INCLUSIVE, EXCLUSIVE = Way(), Way(inclusive=True), Way(inclusive=False)


def stated(usage: Any, way: Way = EITHER) -> Stated:
    """Return what a usage object of a trace states. Raises SpanError for impossible counts."""
    counts: Counts = {}
    unread: dict[str, Any] = {}
    for path, value in flat(usage).items():
        note(counts, unread, path, value)
    return usage_of(counts, unread, way)


def note(counts: Counts, unread: dict[str, Any], path: str, value: Any) -> None:
    """Note one named count. Of two names of one meaning, the first that is not 0 holds."""
    known = meaning(path)
    if known is None:
        if type(value) is int and value and len(unread) < UNREAD_MAX and is_count(path):
            unread[path] = value
    elif known is not NOTHING:
        count = tokens(value, path)
        if count is not None and not counts.get(known.bucket):
            counts[known.bucket] = count


def is_count(path: str) -> bool:
    """Return whether the last word of a name may stand for a count that is billed."""
    return not path.endswith(_NOT_COUNTS)


def usage_of(counts: Counts, unread: Mapping[str, Any], way: Way = EITHER) -> Stated:
    """Return the usage that counts mean; no usage if they do not state any.

    A total alone is none, unless all of it can only be input: it cannot be split and so not be
    priced. Nor are zeros: instrumentation writes them where it has not seen the usage, and no call
    processes nothing.
    """
    unread = unread or NOTHING_UNREAD
    get = counts.get
    units = {name: count for name, count in counts.items() if name in UNITS and count}
    stated, output = get("input") or get("input_inside") or 0, get("output", 0) + get("thoughts", 0)
    read, long = get("cache_read", 0), get("cache_write_1h", 0)
    # The counts of one lifetime are a part of all writes, where both are stated.
    write = max(get("cache_write", 0) - long, get("cache_write_5m", 0))
    total, reasoning = get("total", 0), get("reasoning", 0) + get("thoughts", 0)
    if way.input_only and not (stated or output):
        stated = total
    if not (stated or output or read or write or long or units):
        return Stated(None, unread)
    cached = read + write + long
    stated += get("tool_input", 0)
    if reasoning and _reasoning_beside(total, stated, cached, output, reasoning):
        output += reasoning
    if not units.keys().isdisjoint(_MODAL):
        stated, output = _with_modalities(units, way, (stated, cached, output), total)
        whole = stated if _cached_inside(way, total, stated, cached, output) else stated + cached
        return _split(units, (whole, output, min(reasoning, output)), (read, write, long), unread)
    if not cached or not _cached_inside(way, total, stated, cached, output):
        stated += cached
    if total > stated + output and (stated or output):
        # What a source has counted is never dropped: the rest is what costs most, and reported.
        unread = {**unread, "total": total}
        if way.input_only:
            stated = total - output
        else:
            output = total - stated
    try:
        usage = Usage(stated - cached, output, read, write, long, min(reasoning, output), units)
    except ValueError as error:
        raise SpanError(str(error)) from None
    return Stated(usage, unread)


def _cached_inside(way: Way, total: int, stated: int, cached: int, output: int) -> bool:
    if way.inclusive is False or cached > stated:
        # More cached than there was input: real dumps of Claude agents state Anthropic's counts
        # under names whose convention is inclusive. What is impossible is not meant.
        return False
    if way.inclusive is None and total:
        return total != stated + cached + output
    return True


def _reasoning_beside(total: int, stated: int, cached: int, output: int, reasoning: int) -> bool:
    """Return whether the stated output leaves the reasoning out."""
    if reasoning > output:
        return True
    return total in (stated + output + reasoning, stated + cached + output + reasoning)


_MODAL = frozenset(
    f"{side}_{modality}" for side in ("input", "cache_read", "output") for modality in MODALITIES
)


def _with_modalities(
    units: Counts, way: Way, text: tuple[int, int, int], total: int
) -> tuple[int, int]:
    """Return input and output of all modalities, of counts that may be of text alone."""
    stated, cached, output = text
    spoken = [sum(units.get(f"{side}_{m}", 0) for m in MODALITIES) for side in ("input", "output")]
    both = stated + output
    if way.apart:
        beside = total not in (both, both + cached)
    else:
        beside = total in (both + sum(spoken), both + cached + sum(spoken))
    return (
        stated + spoken[0] if beside or spoken[0] > stated else stated,
        output + spoken[1] if beside or spoken[1] > output else output,
    )


def _split(
    units: Counts, whole: tuple[int, int, int], caches: tuple[int, int, int], unread: Any
) -> Stated:
    """Return a usage of several modalities, read as that of a response is."""
    names = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
    cache_names = ("cached_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    split = {_SPLIT[name]: count for name, count in units.items() if name in _SPLIT}
    written = caches[0], caches[1] + caches[2], caches[2]
    known = dict(zip((*names, *cache_names), (*whole, *written), strict=True))
    built = build({**known, **split}, Facts())
    if built.usage is None:
        raise SpanError(str(built.error or "the counts by modality contradict each other"))
    fees = {name: count for name, count in units.items() if name not in _MODAL}
    usage = built.usage
    if fees:
        usage = Usage(*_text_of(usage), {**usage.units, **fees})
    return Stated(usage, {**unread, **built.unread} or NOTHING_UNREAD)


_SPLIT = {
    **{f"input_{m}": f"input_token_details.{m}" for m in MODALITIES},
    **{f"cache_read_{m}": f"cached_tokens_details.{m}" for m in MODALITIES},
    **{f"output_{m}": f"output_token_details.{m}" for m in MODALITIES},
}
"""The unit of a modality -> a name by which a response states it."""


def _text_of(usage: Usage) -> tuple[int, int, int, int, int, int]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.reasoning_tokens,
    )


def plain(input_tokens: int, output_tokens: int) -> Stated:
    """Return the usage of two counts that are all there is, 0 and 0 being none."""
    return Stated(Usage(input_tokens, output_tokens) if input_tokens or output_tokens else None)
