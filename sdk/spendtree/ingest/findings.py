"""What an import has to say of its files: what could not be read, and what no call was found in.

Pure. A cause is reported once for a file, with how often it was met and where first.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from spendtree.ingest.sessions import SpanSession, has_calls
from spendtree.ingest.span import Problem, SpanRecord

CAUSES_MAX = 50
"""Different causes of one file; what is beyond is counted with the last."""

KEYS_SHOWN = 6
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-fA-F]{8,}|\d+(?:\.\d+)?")
"""What differs between two reports of one cause: values, ids, numbers."""

Files = Sequence[tuple[str, Sequence[SpanRecord]]]
_Key = tuple[str, str]


class Causes:
    """Problems, those of one cause in one file as one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Problem] = {}
        self._of_file: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, problem: Problem) -> None:
        """Add one problem."""
        key = problem.file, _VALUES.sub("#", problem.reason)
        if key not in self._found and self._of_file[problem.file] >= CAUSES_MAX:
            key = problem.file, "…"
        known = self._found.get(key)
        if known is None:
            self._of_file[problem.file] += 1
            self._found[key] = problem
        else:
            self._found[key] = replace(known, count=known.count + problem.count)

    @property
    def problems(self) -> list[Problem]:
        """Return one problem a cause, in the order in which they were met."""
        return list(self._found.values())


class Findings(NamedTuple):
    """What is wrong with whole files, what is worth a word, and how many spans have no call."""

    problems: list[Problem]
    notes: list[Problem]
    left_out: int


def of(files: Files, left: Iterable[SpanSession]) -> Findings:
    """Return what is to be said of files, of which some sessions were left out."""
    undated, foreign = set[_Key](), set[_Key]()
    for session in left:
        if any(span.rollup for span in session.spans):
            continue  # repetitions of calls that stand in other traces
        found = undated if has_calls(session) else foreign
        found.update((span.trace_id, span.span_id) for span in session.spans)
    findings = Findings([], [], 0)
    for file, spans in files:
        findings = _of_file(findings, file, spans, (undated, foreign))
    return findings


def _of_file(
    before: Findings, file: str, spans: Sequence[SpanRecord], left: tuple[set[_Key], set[_Key]]
) -> Findings:
    problems, notes, left_out = before
    undated, foreign = (
        [span for span in spans if (span.trace_id, span.span_id) in keys] if keys else []
        for keys in left
    )
    if undated:
        problems.append(Problem(file, "", _undated(undated)))
    if foreign:
        told = problems if len(foreign) == len(spans) else notes
        told.append(Problem(file, "", _without_call(foreign, len(spans))))
    unmetered = [span for span in spans if span.keys and span.kind == "LLM" and not span.usage]
    if unmetered:
        notes.append(Problem(file, "", _unmetered(unmetered)))
    return Findings(problems, notes, left_out + len(undated) + len(foreign))


def latest(files: Files) -> dict[_Key, int]:
    """Return, for each span of files, the latest time in its file: microseconds, 0 for none."""
    found: dict[_Key, int] = {}
    for _, spans in files:
        times = (time for span in spans for time in (span.start_us, span.end_us) if time)
        last = max(times, default=0)
        for span in spans:
            found.setdefault((span.trace_id, span.span_id), last)
    return found


def _undated(spans: Sequence[SpanRecord]) -> str:
    return (
        f"{_spans(len(spans))} left out: nothing in the file has a time, and a price needs one; "
        "give each call its time"
    )


def _without_call(spans: Sequence[SpanRecord], of: int) -> str:
    return (
        f"{len(spans):,} of {_spans(of)} left out: nothing in their traces is a call that is known "
        f"here; their most frequent attributes are {_frequent(spans)}"
    )


def _unmetered(spans: Sequence[SpanRecord]) -> str:
    return (
        f"{len(spans):,} calls state no usage that is known here; what may count it is "
        f"{_frequent(spans)}"
    )


def _spans(count: int) -> str:
    return f"{count:,} span{'' if count == 1 else 's'}"


def _frequent(spans: Sequence[SpanRecord]) -> str:
    counted = Counter(key for span in spans for key in span.keys)
    shown = [f"{key} ({count:,})" for key, count in counted.most_common(KEYS_SHOWN)]
    return ", ".join(shown) or "none at all"
