"""Claude Code's transcripts: `~/.claude/projects/…/*.jsonl`, one object a line. Pure.

An answer is logged in several lines, one for each block of its content, each with the usage so
far, and again in the files of sessions that were resumed or forked: a message id is one call,
whichever file it is in, with the usage of the line that states most, the last. Lines of sub-agents
say `isSidechain`. Errors that Claude Code makes up itself have the model `<synthetic>`.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.ingest import bodies, scalars
from spendtree.ingest.span import SpanError, SpanRecord

TRACE = "claude-code"
"""The trace of all messages: ids are unique, and one message may stand in several sessions."""

MAIN, SUB = "claude-code", "subagent"
_MARKS = ("sessionId", "leafUuid", "messageId", "parentUuid")
_TYPES = frozenset(
    (
        *("user", "assistant", "system", "summary", "progress", "attachment", "last-prompt"),
        *("file-history-snapshot", "queue-operation", "custom-title", "agent-name", "pr-link"),
        *("agent-setting", "permission-mode", "ai-title", "mode", "worktree-state"),
    )
)


def is_line(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one line of a transcript."""
    kind = document.get("type")
    return isinstance(kind, str) and kind in _TYPES and any(mark in document for mark in _MARKS)


def span(line: Mapping[str, Any]) -> SpanRecord | None:
    """Return the call that a line is of, None of any other line."""
    message = line.get("message")
    if line.get("type") != "assistant" or not isinstance(message, dict):
        return None
    usage = message.get("usage")
    if message.get("model") == "<synthetic>" or not isinstance(usage, dict):
        return None
    session = scalars.text(line.get("sessionId"))
    id = scalars.text(message.get("id") or line.get("uuid"))
    if not id:
        raise SpanError("an answer without message id, so it cannot be counted once")
    side = line.get("isSidechain") is True
    agent_id = scalars.text(line.get("agentId")) if side else ""
    fields = bodies.fields(message)
    fields["is_bill"] = False
    if not fields["reported_cost"]:
        fields["reported_cost"] = scalars.dollars(line.get("costUSD"))
    return SpanRecord(
        trace_id=TRACE,
        span_id=id,
        parent_span_id=agent_id,
        session=session,
        kind="LLM",
        name="message",
        agent=_agent(line) if side else MAIN,
        role="worker" if side else "coordinator",
        provider=provider_of(fields["model"]),
        end_us=scalars.micros(line.get("timestamp"), "timestamp"),
        status="ok",
        response_id=id,
        **fields,
    )


def _agent(line: Mapping[str, Any]) -> str:
    for name in ("agentName", "agentType", "subagentType", "attributionAgent", "slug"):
        if line.get(name):
            return scalars.text(line[name])
    return SUB


def provider_of(model: Any) -> str:
    """Return Anthropic for its own names; Bedrock's and Vertex' say themselves whose they are."""
    return "anthropic" if str(model).startswith("claude-") and "@" not in str(model) else ""
