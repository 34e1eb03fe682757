"""From the counts that a source states to `Usage`, whose buckets are disjoint. Pure.

Sources count cached tokens inside the input ("inclusive": OpenAI, OpenInference, OpenTelemetry) or
beside it ("exclusive": Anthropic), and reasoning inside or beside the output (Langfuse). Taken for
the wrong one, a long agent loop is priced several times too high or too low, so where a source
does not state which it is, its own total decides, and where it has none, what is possible at all.
"""

from typing import NamedTuple

from spendtree.ingest.span import SpanError
from spendtree.usage import Usage


class Counts(NamedTuple):
    """Token counts as a source states them; None is not stated.

    `inclusive` is whether `input` contains the cached tokens, None where the source does not say.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    total: int | None = None
    inclusive: bool | None = None


def disjoint(counts: Counts) -> Usage | None:
    """Return the usage that counts mean, None if they do not tell any.

    A total alone is none: it cannot be split and so not be priced. Nor are zeros: instrumentation
    writes them where it has not seen the usage, and no call processes nothing.
    """
    stated, output = counts.input or 0, counts.output or 0
    read, write, long = counts.cache_read or 0, counts.cache_write or 0, counts.cache_write_1h or 0
    reasoning = counts.reasoning or 0
    cached = read + write + long
    if not (stated or output or cached):
        return None
    if reasoning and _reasoning_beside(counts, stated + cached, stated, output, reasoning):
        output += reasoning
    uncached = stated
    if cached and _cached_inside(counts, stated, cached, output):
        uncached = stated - cached
    try:
        return Usage(uncached, output, read, write, long, reasoning)
    except ValueError as error:
        raise SpanError(str(error)) from None


def _cached_inside(counts: Counts, stated: int, cached: int, output: int) -> bool:
    if counts.inclusive is False or cached > stated:
        # More cached than there was input: real dumps of Claude agents state Anthropic's counts
        # under names whose convention is inclusive. What is impossible is not meant.
        return False
    if counts.inclusive is None and counts.total:
        return counts.total != stated + cached + output
    return True


def _reasoning_beside(counts: Counts, both: int, stated: int, output: int, reasoning: int) -> bool:
    """Return whether the stated output leaves the reasoning out."""
    if reasoning > output:
        return True
    return counts.total in (stated + output + reasoning, both + output + reasoning)
