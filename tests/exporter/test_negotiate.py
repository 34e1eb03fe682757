"""Which format and encoding the headers of real clients get."""

import pytest

from spendtree_exporter.negotiate import format_for, wants_gzip
from spendtree_exporter.render import OPENMETRICS, TEXT, Format

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        (BROWSER, TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=0.0.1,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.8", TEXT),
        ("application/openmetrics-text;q=0.8, text/plain;q=0.3", OPENMETRICS),
        ("application/openmetrics-text;q=0, */*", TEXT),
        ("text/plain;q=0, application/*;q=0.1", OPENMETRICS),
        ("application/openmetrics-text, */*", OPENMETRICS),
        ("application/openmetrics-text;q=broken, text/plain;q=0.1", TEXT),
        ("application/json", TEXT),
        (";;,,=;q", TEXT),
    ],
)
def test_the_format_is_the_one_that_weighs_most(accept: str, format: Format) -> None:
    assert format_for(accept).content_type == format.content_type


@pytest.mark.parametrize(
    ("accept_encoding", "zipped"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*", True),
        ("identity", False),
        ("br, identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1.0", True),
    ],
)
def test_gzip_is_used_where_it_is_accepted_and_not_less_than_plain(
    accept_encoding: str, zipped: bool
) -> None:
    assert wants_gzip(accept_encoding) is zipped
