"""W3C Baggage: the text of the header, and its members. Pure; it knows no member of ours.

The limits are those that every platform must pass on ("Propagation format for distributed context:
Baggage", section Limits); what is larger is not read, since it may have been cut.
"""

import re
from collections.abc import Mapping

MAX_BYTES = 8192
MAX_MEMBERS = 64

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = frozenset(
    b"!#$&'()*+-./0123456789:<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
)
"""The spec's baggage-octet without "%", which begins an escape."""
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def split(header: str) -> list[str]:
    """Return the members of a header as they stand, [] for one that is over the limits."""
    if len(header) > MAX_BYTES or len(header.encode("utf-8", "replace")) > MAX_BYTES:
        return []
    members = [member for text in header.split(",") if (member := text.strip())]
    return members if len(members) <= MAX_MEMBERS else []


def parse(header: str) -> dict[str, str]:
    """Return what a header says by key; what is malformed is left out, of two the first counts."""
    found: dict[str, str] = {}
    for member in split(header):
        key, equals, value = member.partition(";")[0].partition("=")
        decoded = _decoded(value.strip()) if equals else None
        if decoded is not None and _TOKEN.fullmatch(key.strip()):
            found.setdefault(key.strip(), decoded)
    return found


def merged(header: str, own: Mapping[str, str], prefix: str) -> str | None:
    """Return a header with our members in place of those with our prefix; others stay as they are.

    Ours are added in their order as long as they fit into the limits. None where the first does
    not: the rest means nothing without it.
    """
    members = others(header, prefix)
    size = sum(len(member.encode("utf-8", "replace")) + 1 for member in members) - 1
    for place, (key, value) in enumerate(own.items()):
        member = f"{key}={_encoded(value)}"
        if size + 1 + len(member) <= MAX_BYTES and len(members) < MAX_MEMBERS:
            members.append(member)
            size += 1 + len(member)
        elif place == 0:
            return None
    return ",".join(members)


def others(header: str, prefix: str) -> list[str]:
    """Return the members of a header that do not begin with a prefix, whatever their size."""
    members = [text.strip() for text in header.split(",")]
    return [member for member in members if member and not member.startswith(prefix)]


def _encoded(value: str) -> str:
    return "".join(
        chr(octet) if octet in _PLAIN else f"%{octet:02X}"
        for octet in value.encode("utf-8", "replace")
    )


def _decoded(value: str) -> str | None:
    try:
        octets = value.encode("ascii")
        return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), octets).decode("utf-8")
    except UnicodeError:
        return None
