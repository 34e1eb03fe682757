"""Negotiate: which format and encoding a request asks for. Pure functions of two headers.

After RFC 9110, sections 12.4.2 (weights), 12.5.1 (Accept) and 12.5.3 (Accept-Encoding).
"""

from collections.abc import Iterator
from typing import NamedTuple

from spendtree_exporter.render import OPENMETRICS, TEXT, Format


class _Offer(NamedTuple):
    format: Format
    type: str
    version: str


_OFFERS = (
    _Offer(TEXT, "text/plain", "0.0.4"),
    _Offer(OPENMETRICS, "application/openmetrics-text", "1.0.0"),
)


def format_for(accept: str) -> Format:
    """Return the format that an Accept header weighs highest, the named before the wildcards.

    The text format where nothing fits: a scraper gets more from it than from a refusal.
    """
    best, chosen = (0.0, 0), TEXT
    for offer in _OFFERS:
        weight = _weight(offer, accept)
        if weight > best and weight[0] > 0:
            best, chosen = weight, offer.format
    return chosen


def wants_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is accepted, and not less than the plain body."""
    weights = {coding: q for coding, _, q in _items(accept_encoding)}
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(offer: _Offer, accept: str) -> tuple[float, int]:
    """Return the weight that the most exact media range gives to an offer, and how exact it is."""
    found = (0, 0.0)
    for media, parameters, q in _items(accept):
        exactness = {
            offer.type: 3 + ("version" in parameters),
            f"{offer.type.partition('/')[0]}/*": 2,
            "*/*": 1,
        }.get(media, 0)
        if exactness and parameters.get("version", offer.version) == offer.version:
            found = max(found, (exactness, q))
    exactness, q = found
    return q, exactness


def _items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield (name, parameters, weight) of a comma-separated header; a broken weight is 0."""
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        if name:
            pairs = (part.partition("=") for part in rest)
            parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
            yield name, parameters, _quality(parameters.pop("q", "1"))


def _quality(text: str) -> float:
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0 <= q <= 1 else 0.0
