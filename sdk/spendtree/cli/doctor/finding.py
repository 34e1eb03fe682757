"""What an examination comes to: sections of findings, each with what to do about it. Values."""

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "problem"]

LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "problem")
"""As it is meant; worth knowing; likely not meant; wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: how it is, in a sentence, and what to do about it."""

    level: Level
    text: str
    fix: str = ""


@dataclass(slots=True, kw_only=True)
class Section:
    """What was found about one subject; `facts` are its figures, for programs."""

    name: str
    title: str
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def ok(self, text: str) -> None:
        """Add what is as it should be."""
        self._add("ok", text, "")

    def note(self, text: str, fix: str = "") -> None:
        """Add what is worth knowing."""
        self._add("note", text, fix)

    def warn(self, text: str, fix: str) -> None:
        """Add what is likely not meant."""
        self._add("warning", text, fix)

    def fail(self, text: str, fix: str) -> None:
        """Add what is wrong."""
        self._add("problem", text, fix)

    def _add(self, level: Level, text: str, fix: str) -> None:
        self.findings.append(Finding(level=level, text=text, fix=fix))
