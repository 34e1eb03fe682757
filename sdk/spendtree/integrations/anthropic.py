"""The `anthropic` library: messages, also through Bedrock, Vertex and Foundry. A table.

Sources: the API reference ("Messages", "Streaming messages") and the library's `_base_client`.
"""

import re

from spendtree.integrations.library import Endpoint, Library

LIBRARY = Library(
    name="anthropic",
    clients=("Anthropic", "AsyncAnthropic"),
    endpoints={
        "/v1/messages": Endpoint(
            limits=("max_tokens",),
            fallbacks="fallbacks",
            final=re.compile(rb'"message_delta"'),
            done=re.compile(rb'"message_stop"'),
        ),
    },
    hosts={"api.anthropic.com": "anthropic"},
    kinds={"Bedrock": "aws", "Vertex": "google", "Foundry": "azure"},
)
