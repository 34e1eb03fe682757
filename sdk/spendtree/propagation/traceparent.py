"""W3C Trace Context: the header `traceparent`, whose trace is the session. Pure.

A session's id is its trace's where it has the form of one, as made ids have; else the trace's is
the id of the session's opening event, which follows from the session's.
"""

import re

from spendtree.event import derived_id

_HEADER = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)
_TRACE = re.compile(r"[0-9a-f]{32}")
_NONE = "0" * 32

SAMPLED = "01"
"""The caller has recorded: every call of ours is. Samplers that follow their parent keep the trace,
where 00 would have them drop it."""


def trace_of(session: str) -> str:
    """Return the trace id of a session."""
    if _TRACE.fullmatch(session) and session != _NONE:
        return session
    return derived_id("session", session).hex()


def text(session: str, run: str) -> str:
    """Return the header for a session and a run ("" is none), which stands for the parent span."""
    parent = derived_id("run", session, run)[:8]
    return f"00-{trace_of(session)}-{parent.hex()}-{SAMPLED}"


def parse(header: str) -> str:
    """Return the trace id that a header names, "" if it is malformed."""
    match = _HEADER.fullmatch(header.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return ""
    known = match["trace"] != _NONE and match["parent"] != "0" * 16
    return match["trace"] if known else ""
