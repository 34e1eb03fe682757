"""What a provider's response says of itself: usage, model, cost, fees. Pure, no clients.

`wire` parses what came as text or bytes; `walk` goes along the keys that `places` lists; `aliases`
says what each key of a usage object means; `buckets` makes them disjoint; `reading` does all of it.
"""

from spendtree.response.reading import (
    NOTHING_UNREAD,
    Reading,
    model_of,
    read,
    reported_cost,
    usage_of,
)

__all__ = ["NOTHING_UNREAD", "Reading", "model_of", "read", "reported_cost", "usage_of"]
