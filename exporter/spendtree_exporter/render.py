"""Render: a Fold's series as exposition bytes, in the text format and in OpenMetrics.

The lines of samples are the same in both formats, so each is made once, kept with its series, and
made again only when its value has changed; then its labels are kept. No floats: values are
integers with a fixed number of decimal places. Nothing here knows HTTP or reads a clock.

Formats: Prometheus text 0.0.4, and OpenMetrics 1.0.0 (counters are named without `_total` in
their comments, `# UNIT` lines, `# EOF` at the end).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from spendtree.metrics import Family, Fold, Series

Own = Mapping[str, Sequence[tuple[tuple[str, ...], int]]]
"""Samples that are not the fold's: (label values, value in the family's integer unit) by family."""


class Format(NamedTuple):
    """An exposition format: its content type, what opens a family, and what ends the body."""

    content_type: str
    header: Callable[[Family], str]
    end: bytes


def render(fold: Fold, format: Format, own: Own | None = None) -> bytes:
    """Return the whole body: every family of the catalogue, with its series or without any.

    Families stand in the catalogue's order, series in the order in which the log made them.
    """
    own = own or {}
    parts: list[bytes] = []
    for family, rows in fold:
        parts.append(format.header(family).encode())
        draw = partial(_draw, fold.store_id, family)
        parts += [
            series.text if series.fresh else draw(labels, series) for labels, series in rows.items()
        ]
        for labels, value in own.get(family.name, ()):
            parts.append(_line(fold.store_id, family, labels, value))
    parts.append(format.end)
    return b"".join(parts)


def decimal(value: int, places: int) -> str:
    """Return `value / 10**places` as exact decimal text, without trailing zeros or exponent."""
    if not places:
        return str(value)
    digits = str(abs(value)).rjust(places + 1, "0")
    whole, fraction = digits[:-places], digits[-places:].rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def escape(text: str) -> str:
    """Return a label value as it stands between quotes."""
    if _SPECIAL.search(text) is None:
        return text
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


_SPECIAL = re.compile(r'[\\\n"]')


def _draw(store: str, family: Family, labels: tuple[str, ...], series: Series) -> bytes:
    text = series.text
    if text:
        # No value contains a space, so the last one ends the labels.
        head = text[: text.rindex(b" ") + 1]
        text = head + f"{decimal(series.value, family.decimals)}\n".encode()
    else:
        text = _line(store, family, labels, series.value)
    series.text = text
    series.fresh = True
    return text


def _line(store: str, family: Family, labels: tuple[str, ...], value: int) -> bytes:
    pairs = [f'store="{escape(store)}"']
    pairs += [f'{name}="{escape(text)}"' for name, text in zip(family.labels, labels, strict=True)]
    number = decimal(value, family.decimals)
    return f"{family.full_name}{{{','.join(pairs)}}} {number}\n".encode()


def _text_header(family: Family) -> str:
    name = family.full_name
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def _openmetrics_header(family: Family) -> str:
    name = family.full_name.removesuffix("_total")
    unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
    return f"# TYPE {name} {family.kind}\n{unit}# HELP {name} {escape(family.help)}\n"


TEXT = Format("text/plain; version=0.0.4; charset=utf-8", _text_header, b"")
OPENMETRICS = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", _openmetrics_header, b"# EOF\n"
)
