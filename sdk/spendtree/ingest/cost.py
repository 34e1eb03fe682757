"""What an imported call cost: by the code and the rule of calls that are made live. Pure."""

from functools import lru_cache

from spendtree.charge import Price, Terms, estimated, price
from spendtree.event import Request
from spendtree.ingest.span import NOTHING_UNREAD, SpanRecord
from spendtree.pricing import PriceBook
from spendtree.pricing.providers import canonical
from spendtree.response import Reading
from spendtree.usage import Usage

_NO_USAGE = Usage(0, 0)
_names = lru_cache(maxsize=1024)(canonical)


def request_of(span: SpanRecord) -> Request:
    """Return what a call asked for; a provider has one name in labels, whoever wrote it."""
    return Request(_names(span.provider) if span.provider else "", span.model, span.purpose)


def priced(span: SpanRecord, request: Request, at: int, prices: PriceBook) -> Price:
    """Return what a call with a usage, or with a stated cost alone, cost when it began."""
    usage = span.usage
    if usage is None:
        return _estimated(Price(None, {}), span)
    sheet = prices.sheet(span.model, request.provider) if span.model else None
    if _is_plain(span, usage):  # most are, and their price is one multiplication
        return _estimated(Price(None if sheet is None else sheet.cost(usage, at), {}), span)
    bill = span.reported_cost if span.is_bill else None
    answer = Reading(
        usage, span.answered, bill, span.parts, span.served, span.unread or NOTHING_UNREAD
    )
    return _estimated(price(answer, usage, Terms(request, sheet, prices, at)), span)


def _is_plain(span: SpanRecord, usage: Usage) -> bool:
    return not (
        span.answered
        or span.served
        or span.unread
        or span.parts
        or usage.units
        or (span.is_bill and span.reported_cost)
    )


def _estimated(found: Price, span: SpanRecord) -> Price:
    return found if span.reported_cost is None else estimated(found, span.reported_cost)
