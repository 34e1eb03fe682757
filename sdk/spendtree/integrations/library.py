"""What a client library is to us: its name, its paid endpoints, and where its clients stand.

Values only. The libraries themselves are not imported here.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Endpoint(NamedTuple):
    """One kind of request that is billed by tokens.

    `limits` are the keys that bound its output, the one to add last unless `limit_for` says which;
    `final` and `done` are found in a stream's last usage, and in its very end, when nothing can
    follow that would be billed.
    """

    limits: tuple[str, ...] = ()
    limit_for: Callable[[str, str], str] | None = None
    """Returns the key to add for (provider, model)."""
    sends_limit: bool = True
    """Whether it takes an output limit; where not, one is held, and none is sent."""
    choices: tuple[str, ...] = ()
    """The keys that multiply the output; the largest counts, since one includes the other."""
    fallbacks: str = ""
    """The key of a list of models that the provider asks by itself where the first one fails."""
    prompts: str = ""
    """The key that may hold several prompts, each with choices and a context window of its own."""
    usage_option: bool = False
    """Streams tell their usage only if `stream_options.include_usage` asks for it."""
    embeds: bool = False
    """The context window bounds each of its texts, not all together; there is no output."""
    kept_by_provider: tuple[str, ...] = ()
    """Keys that stand for text which the provider keeps, beside those that `bound` knows."""
    final: re.Pattern[bytes] = re.compile(rb"(?!)")
    done: re.Pattern[bytes] = re.compile(rb"(?!)")


class Library(NamedTuple):
    """One client library, by the name of its module and of our extra.

    `clients` are its synchronous and its asynchronous client; `endpoints` goes by the path that
    their `request` is given. `hosts` and `kinds` tell the provider: by the host of the base URL, or
    by a word in the name of the client's class, which goes first.
    """

    name: str
    clients: tuple[str, str]
    endpoints: Mapping[str, Endpoint]
    hosts: Mapping[str, str]
    kinds: Mapping[str, str]

    def endpoint(self, options: Any, client: Any) -> Endpoint | None:
        """Return what kind of request a client's options are for, None if it is not billed."""
        path = options.url.partition("?")[0]
        endpoint = self.endpoints.get(path)
        if endpoint is None:
            # A client's own `post` takes a path without the slash, and a whole URL, too.
            path = path.removeprefix(str(client.base_url))
            endpoint = self.endpoints.get(f"/{path.strip('/')}")
        return endpoint if endpoint is not None and options.method.lower() == "post" else None
