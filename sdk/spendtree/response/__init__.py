"""What a provider's response says of itself: its usage, its model, its cost. Pure, no clients.

`wire` parses what came as text or bytes; `shapes` is the table of where each provider says it;
`reading` walks that table and knows no provider.
"""

from spendtree.response.reading import (
    model_of,
    parts_of,
    reported_cost,
    searches_of,
    usage_of,
    view_of,
)

__all__ = ["model_of", "parts_of", "reported_cost", "searches_of", "usage_of", "view_of"]
