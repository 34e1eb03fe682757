"""httpx: requests to services of your own carry the scope that they are made in.

Providers' hosts never see it: what names your customers is none of their business. Needs httpx.
"""

from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

try:
    import httpx
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "spendtree.integrations.httpx needs 'httpx': pip install 'spendtree[httpx]'", name="httpx"
    ) from missing

from spendtree.pricing import PriceBook
from spendtree.propagation.carrier import erase
from spendtree.scope import current
from spendtree.tracker import Spendtree

AnyClient = TypeVar("AnyClient", httpx.Client, httpx.AsyncClient)


def propagate(
    client: AnyClient, *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> AnyClient:
    """Have a client's requests carry the current scope, redirects included; return the client.

    `hosts` are patterns ("*.internal", "10.0.*") of the hosts to tell; without them all are told
    but the known hosts of providers, which never are. Give them where the client talks to others.
    """
    make = async_request_hook if isinstance(client, httpx.AsyncClient) else request_hook
    client.event_hooks["request"].append(make(hosts=hosts, tracker=tracker))
    return client


def request_hook(
    *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> Callable[[httpx.Request], None]:
    """Return an event hook for `httpx.Client(event_hooks={"request": […]})`; see `propagate`."""
    told = _Told(hosts)

    def hook(request: httpx.Request) -> None:
        # What a redirect brought along from another host goes first.
        erase(request.headers)
        if not told.includes(request.url):
            return
        spender = tracker or _tracker()
        if spender is not None:
            spender.inject(request.headers)

    return hook


def async_request_hook(
    *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> Callable[[httpx.Request], Awaitable[None]]:
    """Return an event hook for `httpx.AsyncClient`; see `propagate`."""
    hook = request_hook(hosts=hosts, tracker=tracker)

    async def async_hook(request: httpx.Request) -> None:
        hook(request)

    return async_hook


def _tracker() -> Spendtree | None:
    scope = current()
    return None if scope is None else scope.tracker


class _Told:
    """The hosts that are told: those of the patterns, and never a provider's."""

    def __init__(self, hosts: Sequence[str] | None) -> None:
        self._patterns = None if hosts is None else [host.lower() for host in hosts]
        self._prices = PriceBook()
        self._prices.sells_at("localhost")  # loads the list now, not in the first request

    def includes(self, url: httpx.URL) -> bool:
        host = url.host.lower()
        if self._patterns is not None and not any(fnmatchcase(host, p) for p in self._patterns):
            return False
        return not self._prices.sells_at(host, url.path)
