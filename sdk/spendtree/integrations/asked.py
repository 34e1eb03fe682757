"""One request of a client: what it asks for, and what it is sent with.

Reads the options that a client's `request` is given and never changes them: they are the user's.
"""

import copy
import json
import logging
import weakref
from collections.abc import Mapping
from typing import Any

from spendtree import bound
from spendtree.account import Denial
from spendtree.call import Call
from spendtree.call_site import call_site
from spendtree.default import default
from spendtree.integrations.library import Endpoint, Library
from spendtree.integrations.service import MODALITIES, Service, service_of
from spendtree.pricing.providers import canonical
from spendtree.scope import current
from spendtree.tracker import Spendtree
from spendtree.usage import TOKENS_MAX

log = logging.getLogger("spendtree")

PROVIDER = "_spendtree_provider"
"""The attribute in which `wrap` keeps the provider that it was told."""

DEPLOYMENT = "/deployments/"
"""What comes before the name of a deployment, where a URL on Azure has one."""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
"""Hosts that tell no provider: a proxy, a gateway, a model of one's own, a test."""


class ClientCall(Call):
    """A call that a client makes: its provider is that of the client, whatever a policy says."""

    asked: "Asked"
    may_be_everyday = True

    def switch(self, model: str, provider: str) -> bool:
        """Ask another model from here on; False also if another provider would have to be asked.

        False as well where the request cannot be made to ask another model.
        """
        if provider and canonical(provider) != canonical(self.provider):
            return False
        if self.asked.fixes_model():
            return False
        return super().switch(model, self.provider)

    def ask_clamped(self, floor_tokens: int) -> Denial | None:
        """Try to hold for less output, but a token for each choice, and only what can be sent."""
        if not self.asked.takes_limit or self.asked.fallbacks:
            return self.ask()
        return super().ask_clamped(max(floor_tokens, self.asked.choices))

    def _left_unrecorded(self) -> str:
        """Log, once for each place, that a client's stream ended without a word on usage."""
        place = call_site()
        if self.tracker.places.is_new("unmetered", place):
            log.warning(
                "a response of %s that was read at %s stated no usage: its worst case, $%s, is "
                "presumed spent; have the server state usage in its streams, or make such calls "
                "within spendtree.call, and record their usage (logged once for each place)",
                *(self._request.model, place or "an unknown line", f"{self.held:f}"),
            )
        return "the response stated no usage"

    def _worst_case(self) -> int:
        """Return what the dearest of the models costs that the provider may ask."""
        if not self.asked.fallbacks:
            return super()._worst_case()
        request, sheet, limits = self._request, self._sheet, self._asked
        dearest = 0
        for model, limit in self.asked.fallbacks:
            self._request = request._replace(model=model)
            self._sheet = self.tracker.prices.sheet(model, request.provider)
            self._asked = limits if limit is None else (limits[0], limit * self.asked.choices)
            dearest = max(dearest, super()._worst_case())
        # The model that is asked goes last: the bounds that stay are its own.
        self._request, self._sheet, self._asked = request, sheet, limits
        self.output_limit = None
        return max(dearest, super()._worst_case())


class Asked:
    """A request that is billed: the body that it will have, who is asked, and the output limit."""

    def __init__(self, library: Library, endpoint: Endpoint, client: Any, options: Any) -> None:
        self.endpoint = endpoint
        self._client, self._options = client, options
        self._is_raw = _raw(options) is not None
        self._scope = current()
        self._tracker = default() if self._scope is None else self._scope.tracker
        self.body = _body(options)
        model = self.body.get("model")
        self.model = model if isinstance(model, str) else ""
        self.provider = getattr(client, PROVIDER, "") or provider_of(library, client, self._tracker)
        self.streams = self.body.get("stream") is True
        self._prompts = _prompts(self.body.get(endpoint.prompts))
        choices = max((_count(self.body.get(key)) or 1 for key in endpoint.choices), default=1)
        self.choices = choices * self._prompts
        self.fallbacks = _fallbacks(self.body.get(endpoint.fallbacks))
        self.takes_limit = bool(endpoint.limits) and endpoint.sends_limit and not self._is_raw
        limits = {key: _count(self.body.get(key), least=0) for key in endpoint.limits}
        # 0 is a limit as well: Anthropic fills its prompt cache so, and writes nothing.
        self._key = next((key for key in limits if limits[key] is not None), "")
        self._limit = limits.get(self._key)
        self.adds_usage = (
            self.streams
            and endpoint.usage_option
            and not self._is_raw
            and not _asks_usage(self.body)
        )

    def call(self) -> ClientCall:
        """Return the call of one attempt, to enter."""
        limit, endpoint = self._limit, self.endpoint
        tokens = None if limit is None else limit * self.choices
        content = {key: each for key, each in self.body.items() if key not in bound.NO_INPUT}
        if endpoint.embeds:
            tokens = 0
        elif any(content.get(key) is not None for key in endpoint.kept_by_provider):
            content = {}
        service = self._service()
        call = ClientCall(
            self._tracker,
            self._scope,
            self.model,
            provider=self.provider,
            input=content or None,
            max_output_tokens=tokens,
            served=service.served,
            units=service.units,
            modalities=service.modalities,
        )
        call.asked = self
        call.choices = self.choices
        call.takes_defaults = not self._is_raw
        if endpoint.embeds or self._prompts > 1:
            call._one_prompt = False
        return call

    def _service(self) -> Service:
        """Return what it asks for beside text."""
        headers = self._options.headers
        given = headers if isinstance(headers, Mapping) else None
        service = service_of(self.body, self._client.base_url.host, given)
        if any(self.body.get(key) is not None for key in self.endpoint.kept_by_provider):
            return service._replace(modalities=MODALITIES)  # what is kept may be of any
        return service

    def fixes_model(self) -> bool:
        """Tell whether another model in the body would not be asked, or cannot be put there."""
        if self.fallbacks:  # the list would go on with the models of before
            return True
        # Azure's clients: a deployment in the URL is asked, whatever model the body names.
        return self._is_raw or DEPLOYMENT in str(self._client._prepare_url(self._options.url))

    def options(self, call: ClientCall) -> Any:
        """Return the options to send an attempt with: the user's, and what the call was granted."""
        options = copy.copy(self._options)
        if self._is_raw:  # it is sent as it stands
            return options
        changes: dict[str, Any] = {}
        if call.model != self.model:
            changes["model"] = call.model
        limit = self._limit_to_send(call)
        if limit is not None:
            changes[self._key or self._key_to_add(call)] = limit
        if self.adds_usage:
            told = self.body.get("stream_options")
            changes["stream_options"] = {**(told or {}), "include_usage": True}
        if changes:
            # What stands in the extra body goes over the body, so what we say goes into both.
            extra = options.extra_json
            options.json_data = {**(options.json_data or {}), **changes}
            if extra is not None:
                options.extra_json = {**extra, **changes}
        return options

    def _limit_to_send(self, call: ClientCall) -> int | None:
        """Return the output limit of each choice, None where what the user sent says it.

        An assumed limit is not sent where it may be above what the model can write, which a
        provider refuses: the context window, and what the sources of the table dispute. Nor where
        it might not fit into the window together with the prompt.
        """
        granted = call.max_output_tokens
        if granted is None or not self.takes_limit:
            return None
        limit = granted // self.choices
        if limit == self._limit or (limit == _assumed(call) and not self._sends_assumed(call)):
            return None
        return limit

    def _sends_assumed(self, call: ClientCall) -> bool:
        limit, sheet = call.output_limit, call._sheet
        if limit is None or limit.kind != "table":
            return limit is not None and limit.is_sent
        # It is that of one model, and would hold for all of them.
        if not limit.is_sent or self.fallbacks:
            return False
        window = None if sheet is None else sheet.context_window
        return window is None or (call.input_tokens or 0) + limit.tokens <= window

    def _key_to_add(self, call: ClientCall) -> str:
        key = self.endpoint.limit_for
        return key(self.provider, call.model) if key else self.endpoint.limits[0]


def provider_of(library: Library, client: Any, tracker: Spendtree) -> str:
    """Return the provider that a client asks, by its class or its base URL; "" if none is told."""
    url = client.base_url
    known = _known.get(client)
    if known is None or known[0] is not url:
        known = _known[client] = url, _provider(library, type(client).__name__, url, tracker)
    return known[1]


_known: "weakref.WeakKeyDictionary[Any, tuple[Any, str]]" = weakref.WeakKeyDictionary()
"""The base URL that each client had when it was last asked, and the provider there."""


def _provider(library: Library, kind: str, url: Any, tracker: Spendtree) -> str:
    for word, provider in library.kinds.items():
        if word in kind:
            return provider
    if url.host in LOCAL:
        return ""
    return library.hosts.get(url.host) or tracker.prices.provider_at(str(url))


def _raw(options: Any) -> Any:
    """Return the content that a user wrote as bytes, None where a client writes it."""
    body, content = options.json_data, getattr(options, "content", None)
    return body if content is None and isinstance(body, bytes | bytearray) else content


def _json(content: Any) -> Any:
    """Return what a content says; None for what is not JSON, or can be read only once."""
    if not isinstance(content, str | bytes | bytearray):
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _body(options: Any) -> Mapping[str, Any]:
    body, extra = options.json_data, options.extra_json
    raw = _raw(options)
    if raw is not None:
        body = _json(raw)
    if not isinstance(body, Mapping):
        body = {}
    return {**body, **extra} if isinstance(extra, Mapping) else body


def _count(value: Any, *, least: int = 1) -> int | None:
    return value if type(value) is int and least <= value <= TOKENS_MAX else None


def _prompts(value: Any) -> int:
    """Return how many prompts a value stands for; a list of token ids is one."""
    several = isinstance(value, list | tuple) and any(not isinstance(each, int) for each in value)
    return len(value) if several else 1


def _fallbacks(value: Any) -> list[tuple[str, int | None]]:
    """Return the models of a list of fallbacks, each with the output limit that it gives itself."""
    entries = value if isinstance(value, list | tuple) else []
    told = [each if isinstance(each, Mapping) else {"model": each} for each in entries]
    return [
        (each["model"], _count(each.get("max_tokens"), least=0))
        for each in told
        if isinstance(each.get("model"), str) and each["model"]
    ]


def _asks_usage(body: Mapping[str, Any]) -> bool:
    told = body.get("stream_options")
    return isinstance(told, Mapping) and told.get("include_usage") is True


def _assumed(call: ClientCall) -> int | None:
    return None if call.output_limit is None else call.output_limit.tokens
