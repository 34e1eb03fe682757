"""One attempt of one provider request: hold the worst case, let it be made, settle the truth.

`asking` holds the money and does what a policy asks for, `refusing` tells what was refused,
`answer` reads what came back, and `call` is the way from the first to the last; `tool` is the same
for what has a price and no model.
"""

from spendtree.call.call import Call
from spendtree.call.options import PURPOSE, CallOptions
from spendtree.call.tool import Tool

__all__ = ["PURPOSE", "Call", "CallOptions", "Tool"]
