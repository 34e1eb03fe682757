"""What is read of what programs give to `record`: the cases of ../shared, and more of each kind.

Shapes of ours are written after the providers' and frameworks' documentation, named beside them.
"""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spendtree import Spendtree, Usage
from spendtree.event import Event, Kind
from spendtree.response import read
from tests.sdk.recordings import units_are_priced
from tests.sdk.test_response import as_object

RECORD = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "cases" / "record.json"


@cache
def cases() -> list[dict[str, Any]]:
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else []


needs_cases = pytest.mark.skipif(not cases(), reason="needs ../shared/data/cases/record.json")

PRICED_ELSEWHERE = frozenset(
    (
        *("r00", "r01", "r02", "r04", "r05", "r06", "r07", "r09", "r10", "r12", "r13"),
        *("r38", "r45", "r46", "r47"),
    )
)
"""Cases whose figure needs prices of units, tiers or own tiers; they run where those are known."""


def settled(case: dict[str, Any]) -> Event:
    """Return how a call ends that is given a case's body."""
    tracker = Spendtree("memory:", {"mode": "enforce", **case.get("config", {})})
    body = as_object(case["body"]) if "given_as" in case else case["body"]
    with (
        tracker.session() as session,
        session.call(case["model"], provider=case["provider"], **case["hold"]) as call,
    ):
        call.record(body)
    (event,) = [e for e in tracker.store.events() if e.kind in (Kind.CALL, Kind.LAPSE)]
    return event


@needs_cases
@pytest.mark.parametrize("case", cases(), ids=[case["id"] for case in cases()])
def test_a_case_costs_what_is_right_or_says_that_it_is_not_known(case: dict[str, Any]) -> None:
    if case["id"] in PRICED_ELSEWHERE and not units_are_priced():
        pytest.skip("needs prices of units and tiers in the price sheets")
    if case["id"] in ("r33", "r40", "r41") and not units_are_priced():
        pytest.skip("needs a hold for what is billed by units")

    event = settled(case)

    if "cost_usd" in case:
        assert event.kind == Kind.CALL
        assert event.cost == math.ceil(Decimal(case["cost_usd"]) * 10**12), event.data
    elif case.get("expect") == "presumed":
        assert (event.kind, event.status) == (Kind.LAPSE, "unmetered")
        assert event.held > 0
    else:
        _noted(case["id"], event)


def _noted(name: str, event: Event) -> None:
    """Check a case whose right end is told in words."""
    if name == "r28":
        assert event.kind == Kind.LAPSE
    elif name == "r35":
        assert (event.usage, event.cost is not None) == (Usage(1000, 0), True)
    elif name == "r42":
        assert event.units == {}
    else:
        right = {"r33": 1_120_000_000, "r40": 2_000_000_000, "r41": 6_000_000_000}.get(name)
        marked = event.kind == Kind.LAPSE or event.cost is None or bool(event.marks)
        assert marked or event.cost == right, event


@dataclass(frozen=True)
class Run:
    """A framework's dataclass: pydantic-ai's `RunUsage`."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    input_audio_tokens: int = 0
    requests: int = 1


class Slotted:
    """An object that keeps its values in slots, and raises where it has none."""

    __slots__ = ("completion_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.prompt_tokens, self.completion_tokens = 7, 9

    @property
    def total_tokens(self) -> int:
        raise RuntimeError("not yet")


class AgentResult:
    """pydantic-ai's `AgentRunResult`: its usage is a method."""

    def usage(self) -> Run:
        return Run(input_tokens=10, output_tokens=5)


def chat(details: Any = None, out: Any = None, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, **more}
    if details is not None:
        usage["prompt_tokens_details"] = details
    if out is not None:
        usage["completion_tokens_details"] = out
    return {"choices": [], "usage": usage}


def gemini(**counts: Any) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, **counts}}


def modal(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name.upper(), "tokenCount": count} for name, count in counts.items()]


REALTIME = {
    "type": "response.done",
    "response": {
        "usage": {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "image_tokens": 0,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        }
    },
}

READ: dict[str, tuple[Any, Usage]] = {
    # Modalities. OpenAI "Realtime", "Speech to text", "Images"; Gemini "UsageMetadata"; Bedrock
    # "Nova Sonic"; Mistral "Audio".
    "realtime, cached audio": (
        REALTIME,
        Usage(59, 30, 60, units={"input_audio": 9, "cache_read_audio": 4, "output_audio": 91}),
    ),
    "chat, more cached than text": (
        chat({"audio_tokens": 800, "text_tokens": 200, "cached_tokens": 500}),
        Usage(0, 100, 200, units={"input_audio": 500, "cache_read_audio": 300}),
    ),
    "gemini, cached audio": (
        gemini(
            cachedContentTokenCount=300,
            promptTokensDetails=modal(text=400, audio=600),
            cacheTokensDetails=modal(text=100, audio=200),
        ),
        Usage(300, 100, 100, units={"input_audio": 400, "cache_read_audio": 200}),
    ),
    "gemini, tools and documents": (
        gemini(
            toolUsePromptTokenCount=50,
            toolUsePromptTokensDetails=modal(image=50),
            promptTokensDetails=modal(text=600, document=400),
        ),
        Usage(600, 100, units={"input_image": 450}),
    ),
    "gemini, modality by number": (
        gemini(candidatesTokensDetails=[{"modality": 4, "tokenCount": 100}]),
        Usage(1000, 0, units={"output_audio": 100}),
    ),
    "images, split output": (
        {
            "created": 1,
            "data": [{"b64_json": ""}],
            "usage": {
                "input_tokens": 50,
                "output_tokens": 300,
                "output_tokens_details": {"image_tokens": 272, "text_tokens": 28},
            },
        },
        Usage(50, 28, units={"output_image": 272}),
    ),
    "speech": (
        [{"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101}}],
        Usage(14, 0, units={"output_audio": 101}),
    ),
    "voxtral": (
        {
            "usage": {
                "prompt_audio_seconds": 203,
                "prompt_tokens": 4,
                "total_tokens": 3264,
                "completion_tokens": 635,
            }
        },
        Usage(4, 635, units={"audio_second": 203}),
    ),
    "nova sonic": (
        {
            "event": {
                "usageEvent": {
                    "totalInputTokens": 120,
                    "totalOutputTokens": 80,
                    "totalTokens": 200,
                    "details": {
                        "total": {
                            "input": {"speechTokens": 100, "textTokens": 20},
                            "output": {"speechTokens": 60, "textTokens": 20},
                        }
                    },
                }
            }
        },
        Usage(20, 20, units={"input_audio": 100, "output_audio": 60}),
    ),
    "whisper on groq": (
        {"task": "transcribe", "duration": 8.47},
        Usage(0, 0, units={"audio_second": 9}),
    ),
    # Cache spellings: LiteLLM, Vercel AI SDK 5 and 6, Anthropic, Bedrock, Codex.
    "litellm, an hour": (
        chat(
            {"cached_tokens": 0, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 9}}
        ),
        Usage(991, 100, cache_write_1h_tokens=9),
    ),
    "vercel 5": (
        {
            "usage": {
                "inputTokens": 10,
                "cachedInputTokens": 4,
                "outputTokens": 3,
                "totalTokens": 13,
            }
        },
        Usage(6, 3, 4),
    ),
    "vercel 6": (
        {
            "usage": {
                "inputTokens": 10,
                "inputTokenDetails": {
                    "noCacheTokens": 1,
                    "cacheReadTokens": 4,
                    "cacheWriteTokens": 5,
                },
                "outputTokens": 3,
                "outputTokenDetails": {"textTokens": 1, "reasoningTokens": 2},
            }
        },
        Usage(1, 3, 4, 5, reasoning_tokens=2),
    ),
    "vercel's provider": (
        {
            "usage": {
                "inputTokens": {"total": 10, "noCache": 1, "cacheRead": 4, "cacheWrite": 5},
                "outputTokens": {"total": 3, "text": 1, "reasoning": 2},
            }
        },
        Usage(1, 3, 4, 5, reasoning_tokens=2),
    ),
    "anthropic, nested only": (
        {
            "usage": {
                "input_tokens": 5,
                "output_tokens": 6,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 10,
                },
            }
        },
        Usage(5, 6, 0, 20, 10),
    ),
    "codex": (
        {"input_tokens": 90, "cached_input_tokens": 40, "output_tokens": 7, "total_tokens": 97},
        Usage(50, 7, 40),
    ),
    # Zeros.
    "a later zero": (
        [chat(), {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}],
        Usage(1000, 100),
    ),
    "a gateway that states all at first": (
        [
            {
                "type": "message_start",
                "message": {"usage": {"input_tokens": 9, "output_tokens": 8}},
            },
            {"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 0}},
        ],
        Usage(9, 8),
    ),
    "gemini's last chunk holds": (
        [gemini(candidatesTokenCount=120), gemini(candidatesTokenCount=90)],
        Usage(1000, 90),
    ),
    "gemini's last chunk of zeros": (
        [gemini(), {"usageMetadata": {"promptTokenCount": 0, "totalTokenCount": 0}}],
        Usage(1000, 100),
    ),
    # Totals. Vertex AI counts thoughts in the total only.
    "thoughts in the total": (
        {
            "usageMetadata": {
                "promptTokenCount": 5,
                "candidatesTokenCount": 845,
                "totalTokenCount": 2023,
            }
        },
        Usage(5, 2018),
    ),
    # Fees: OpenAI, xAI, Gemini 3, Google Maps.
    "files and code": (
        {
            "output": [
                {"type": "file_search_call", "id": "f1"},
                {"type": "code_interpreter_call", "id": "c1", "container_id": "k"},
                {"type": "code_interpreter_call", "id": "c2", "container_id": "k"},
                {"type": "web_search_call", "id": "w1", "action": {"type": "open_page"}},
            ],
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        Usage(1, 2, units={"file_search": 1, "code_session": 1}),
    ),
    "xai": (
        chat(num_sources_used=7, server_side_tool_usage_details={"x_search_calls": 2}),
        Usage(1000, 100, units={"search_source": 7, "social_search": 2}),
    ),
    "gemini 3 grounds by the query": (
        {
            "modelVersion": "gemini-3-pro-preview",
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b", "a", ""]}}],
            **gemini(),
        },
        Usage(1000, 100, units={"web_search": 2}),
    ),
    "maps": (
        {"candidates": [{"groundingMetadata": {"groundingChunks": [{"maps": {}}]}}], **gemini()},
        Usage(1000, 100, units={"maps_prompt": 1}),
    ),
    "search preview": (
        {
            "model": "gpt-4o-mini-search-preview",
            "choices": [{"message": {"annotations": [{"type": "url_citation"}]}}],
            "usage": chat()["usage"],
        },
        Usage(1000, 100, units={"web_search": 1}),
    ),
    # Input only: Cohere "Embed" and "Rerank" 2, Voyage multimodal, Jina, Ollama, Mistral OCR.
    "cohere embed": (
        {"embeddings": {"float": []}, "meta": {"billed_units": {"input_tokens": 12, "images": 1}}},
        Usage(12, 0, units={"image": 1}),
    ),
    "voyage multimodal": (
        {
            "object": "list",
            "data": [],
            "usage": {"text_tokens": 5, "image_pixels": 2000, "total_tokens": 8},
        },
        Usage(5, 0, units={"pixel": 2000}),
    ),
    "voyage's client": (SimpleNamespace(embeddings=[[0.1]], total_tokens=1000), Usage(1000, 0)),
    "jina rerank": ({"results": [], "usage": {"total_tokens": 38}}, Usage(38, 0)),
    "ollama embed": ({"embeddings": [[0.1]], "prompt_eval_count": 8}, Usage(8, 0)),
    "ocr": (
        {"pages": [], "document_annotation": "{}", "usage_info": {"pages_processed": 3}},
        Usage(0, 0, units={"annotated_page": 3}),
    ),
    # Frameworks.
    "langchain, a cache of an hour": (
        SimpleNamespace(
            content="a",
            usage_metadata={
                "input_tokens": 100,
                "output_tokens": 5,
                "total_tokens": 105,
                "input_token_details": {"cache_read": 40, "ephemeral_1h_input_tokens": 30},
            },
        ),
        Usage(30, 5, 40, 0, 30),
    ),
    "langchain, only what the provider said": (
        SimpleNamespace(usage_metadata=None, response_metadata={"token_usage": chat()["usage"]}),
        Usage(1000, 100),
    ),
    "pydantic-ai": (Run(input_tokens=90, cache_read_tokens=40, output_tokens=3), Usage(50, 3, 40)),
    "pydantic-ai, audio": (
        Run(input_tokens=90, input_audio_tokens=60, output_tokens=3),
        Usage(30, 3, units={"input_audio": 60}),
    ),
    "pydantic-ai, a result": (AgentResult(), Usage(10, 5)),
    "agents sdk, a run": (
        SimpleNamespace(
            context_wrapper=SimpleNamespace(usage=Run(input_tokens=4, output_tokens=2))
        ),
        Usage(4, 2),
    ),
    "llamaindex": (SimpleNamespace(raw=as_object(chat())), Usage(1000, 100)),
    "slots and a property that raises": (Slotted(), Usage(7, 9)),
    "openai batch": (
        {"custom_id": "a", "response": {"status_code": 200, "body": chat()}, "error": None},
        Usage(1000, 100),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_documented_shape_is_read_into_disjoint_buckets(name: str) -> None:
    body, usage = READ[name]

    assert read(body).usage == usage


UNREAD: dict[str, tuple[Any, dict[str, Any]]] = {
    "an unknown key": (chat(premium_tokens=5), {"premium_tokens": 5}),
    "an unknown part": (chat({"hologram_tokens": 5}), {"prompt_tokens_details.hologram_tokens": 5}),
    "a total that says more": (chat(total_tokens=2000), {"total": 2000}),
    "a split that says more": (chat({"audio_tokens": 1200}), {"input.split": 1200}),
    "zeros, nulls and words that are known": (
        chat({"hologram_tokens": 0, "x": None}, queue_time=0.5, service_tier="default"),
        {},
    ),
    "predictions are part of the output": (chat(None, {"rejected_prediction_tokens": 9}), {}),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_understood_is_kept_by_name(name: str) -> None:
    body, unread = UNREAD[name]

    assert dict(read(body).unread) == unread


def test_what_is_kept_of_an_unread_usage_is_bounded() -> None:
    read_ = read(chat(**{f"odd_{n}": "x" * 1000 for n in range(1000)}))

    assert len(read_.unread) == 20
    assert max(map(len, map(str, read_.unread.values()))) == 80


def test_a_total_that_says_more_is_priced_as_output() -> None:
    assert read(chat(total_tokens=2000)).usage == Usage(1000, 1000)
    assert read(
        {"object": "list", "usage": {"prompt_tokens": 7, "total_tokens": 9}}
    ).usage == Usage(9, 0)


def test_a_split_that_says_more_than_its_total_is_counted() -> None:
    usage = read(chat({"audio_tokens": 800, "text_tokens": 300})).usage

    assert usage == Usage(300, 100, units={"input_audio": 800})


@pytest.mark.parametrize(
    ("body", "served"),
    [
        (chat(), None),
        ({**chat(), "service_tier": "default"}, ()),
        ({**chat(), "service_tier": "Flex"}, ("flex",)),
        ({**chat(), "serviceTier": {"type": "priority"}}, ("priority",)),
        ({**chat(), "performanceConfig": {"latency": "optimized"}}, ("fast",)),
        (gemini(trafficType="ON_DEMAND_PRIORITY"), ("priority",)),
        (gemini(trafficType="ON_DEMAND"), ()),
        (chat(inference_geo="us", speed="fast"), ("fast", "region:us")),
        (chat(inference_geo="global"), None),
        (
            {"custom_id": "a", "response": {"body": {**chat(), "service_tier": "default"}}},
            ("batch",),
        ),
    ],
)
def test_how_a_call_was_served_is_read(body: Any, served: Any) -> None:
    assert read(body).served == served


def test_lines_of_a_batch_add_up_each_at_its_own_model() -> None:
    lines = [
        {"custom_id": str(n), "response": {"body": {**chat(), "model": model}}}
        for n, model in enumerate(("gpt-4o", "gpt-4o-mini"))
    ]

    together = read(lines)

    assert (together.usage, together.served) == (Usage(2000, 200), ("batch",))
    assert together.parts == [("gpt-4o", Usage(1000, 100)), ("gpt-4o-mini", Usage(1000, 100))]


def test_a_tool_that_runs_a_model_for_images_is_a_part_of_its_own() -> None:
    images = {"input_tokens": 30, "output_tokens": 272, "total_tokens": 302}
    body = {
        "model": "gpt-5",
        "output": [],
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        "tool_usage": {"image_gen": images, "web_search": {"num_requests": 2}},
    }

    said = read(body)

    image = Usage(30, 0, units={"output_image": 272})
    assert said.parts == [("gpt-5", Usage(10, 5)), ("gpt-image-1", image)]
    assert said.usage == Usage(40, 5, units={"output_image": 272, "web_search": 2})


@pytest.mark.parametrize(
    ("body", "cost"),
    [
        (chat(cost={"total_cost": "0.4"}), "0.4"),
        (chat(estimated_cost=0.1), "0.1"),
        ({**chat(), "response_cost": 0.2}, "0.2"),
        (SimpleNamespace(usage=chat()["usage"], total_cost_usd=0.3), "0.3"),
    ],
)
def test_a_cost_is_read_wherever_it_is_stated(body: Any, cost: str) -> None:
    assert read(body).cost == Decimal(cost)
