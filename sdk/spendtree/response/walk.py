"""Walks a response, or the events of its stream, along the keys that wrap others. Pure.

Gathers what there is to be read: usage objects, costs, tiers, bodies. What it means is not known
here.
"""

from decimal import Decimal
from typing import Any

from spendtree.response import places
from spendtree.response.fields import Fields, fields_of
from spendtree.response.guardrails import GUARDRAIL
from spendtree.response.served import stated_in_result

DEPTH_MAX = 5
"""Envelopes around a usage object: a line of a batch has three."""


class Walk:
    """What is met on the way through a response and its envelopes."""

    def __init__(self) -> None:
        self.usages: list[tuple[Any, bool, bool]] = []
        """Usage objects, whether each is a stream's first one, and whether it is a final one."""
        self.second: list[Any] = []
        self.metrics: list[Fields] = []
        self.bodies: list[Fields] = []
        self.makers: list[Fields] = []
        """Tools that ran models of their own, and state their usage."""
        self.breakdown: Any = None
        self.traces: list[tuple[Fields, bool]] = []
        """What guardrails checked, and whether it stands beside a model's own body."""
        self.model = ""
        self.costs: list[Decimal | None] = []
        self.by_model: Any = None
        self.tiers: list[Fields] = []
        self.batch = False
        self.input_only = False
        self.output = False
        self.makes = ""
        self.annotated = False

    def take(self, thing: Any, depth: int = DEPTH_MAX) -> None:
        """Look through one response, event or envelope."""
        fields = fields_of(thing, places.FACTS)
        if fields is None:
            return
        private = getattr(thing, "__pydantic_private__", None) if fields is not thing else None
        if private:  # LiteLLM
            self.costs += stated_in_result(fields_of(private.get("_hidden_params")) or {})
        first = fields.get("type") == "message_start" or ("message" in fields and len(fields) == 1)
        for key, value in fields.items():
            if value is None or key not in _LOOKED_AT:
                continue
            if key in places.USAGES:
                self._usage(key, value, False)
            elif key in places.ENVELOPES:
                if depth:
                    self._envelope(key, value, first and key == "message", depth - 1)
            else:
                self._fact(key, value, fields)

    def _usage(self, key: str, value: Any, first: bool) -> None:
        if callable(value):  # a method of a result: pydantic-ai's `AgentRunResult`
            try:
                value = value()
            except Exception:
                return
        if key == "meta" and "billed_units" not in (fields_of(value, ("billed_units",)) or ()):
            return  # not Cohere's
        self.usages.append((value, first, key in ("usageMetadata", "usage_metadata")))

    def _envelope(self, key: str, value: Any, first: bool, depth: int) -> None:
        if key == "generations":
            while isinstance(value, (list, tuple)) and value:
                value = value[0]
        if isinstance(value, (str, bytes, int, float, list, tuple)):
            return
        before = len(self.usages)
        self.take(value, depth)
        if first:
            for place in range(before, len(self.usages)):
                usage, _, final = self.usages[place]
                self.usages[place] = usage, True, final

    def _fact(self, key: str, value: Any, fields: Fields) -> None:
        if key in _MODEL_KEYS:
            if not self.model and type(value) is str:
                self.model = value
        elif key in places.BODY:
            self.output = True
            self.bodies.append(fields)
        elif key in _TIER_KEYS:
            if not self.tiers or self.tiers[-1] is not fields:
                self.tiers.append(fields)
        elif key in places.BATCHES:
            self.batch = True
        elif key in _COST_KEYS:
            self.costs += stated_in_result({key: value})
        elif key in places.INPUT_ONLY:
            # Titan's texts are `results`, too.
            is_text = key == "results" and "inputTextTokenCount" in fields
            self.input_only = self.input_only or not is_text
        elif key in places.MAKES_OUTPUT:
            self.output = True
        elif key in places.MODELS_OF_CALLS:
            self.by_model = value
        elif key in places.SECOND:
            self._repetition(value)
        elif key in places.TRACES:
            self._trace(key, value)
        elif key == places.BREAKDOWN:
            self.breakdown = value
        elif key == places.METRICS:
            self.metrics.append(fields_of(value) or {})
        elif key == places.HEADERS[0]:
            self._headers(value)
        elif key == "tool_usage":
            self._tools(value)
        elif key == "document_annotation":
            self.annotated = True
        else:
            self._kind(key, value)

    def _kind(self, key: str, value: Any) -> None:
        """Learn from what a response calls itself what its output is."""
        if key == "object":
            if value == "list":  # embeddings of OpenAI and those who speak like it
                self.input_only = True
        elif key == "type" and type(value) is str:
            if value.startswith("image_"):
                self.makes = "image"
            elif value.startswith("speech."):
                self.makes = "audio"

    def _repetition(self, value: Any) -> None:
        fields = fields_of(value, (*places.SECOND_USAGES, *places.MODELS, "service_tier")) or {}
        self.second += [fields[key] for key in places.SECOND_USAGES if fields.get(key) is not None]
        if fields.get("service_tier") is not None:
            self.tiers.append(fields)
        for key in places.MODELS:
            if not self.model and type(fields.get(key)) is str:
                self.model = str(fields[key])
        for key in places.TRACES:
            self._trace(key, fields.get(key))

    def _trace(self, key: str, value: Any) -> None:
        trace = fields_of(value, ("guardrail",)) or {}
        guardrail = fields_of(trace.get("guardrail"), GUARDRAIL)
        if guardrail:
            self.traces.append((guardrail, key != "trace"))

    def _headers(self, value: Any) -> None:
        headers = fields_of((fields_of(value) or {}).get(places.HEADERS[1])) or {}
        found = {
            key: count
            for key, count in headers.items()
            if str(key).startswith(places.HEADER_PREFIX) and str(key).endswith("-count")
        }
        if found:
            self.metrics.append(found)

    def _tools(self, value: Any) -> None:
        """Take what OpenAI's tools used beside the model: searches, and a model for images."""
        tools = fields_of(value, ("image_gen", "web_search")) or {}
        searches = (fields_of(tools.get("web_search"), ("num_requests",)) or {}).get("num_requests")
        if searches:
            self.usages.append(({"web_search": {"num_requests": searches}}, False, False))
        images = fields_of(tools.get("image_gen"))
        if images and images.get("total_tokens"):
            self.makers.append(images)


_MODEL_KEYS = frozenset(places.MODELS)
_TIER_KEYS = frozenset(("service_tier", "serviceTier", "speed", "performanceConfig"))
_COST_KEYS = frozenset(("total_cost_usd", "response_cost", "total_cost"))
_LOOKED_AT = frozenset(
    (
        *(*places.USAGES, *places.ENVELOPES, *places.SECOND, *places.MODELS, *places.BATCHES),
        *(*places.MODELS_OF_CALLS, *places.BODY, *places.INPUT_ONLY, *places.MAKES_OUTPUT),
        *(*places.TRACES, places.BREAKDOWN),
        *(*_TIER_KEYS, *_COST_KEYS, places.METRICS, places.HEADERS[0], "tool_usage"),
        *("object", "type", "document_annotation"),
    )
)
