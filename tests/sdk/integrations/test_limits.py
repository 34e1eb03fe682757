"""What a request can cost at most, where that is not plain: its hold, and the limit it is sent."""

import inspect
import json
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import openai
import pytest

from spendtree import BudgetExceededError, UnknownPriceError
from spendtree.bound import input_tokens
from spendtree.scope import Session
from spendtree.testing.reply import answer, json_reply, responses_usage
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    CONFIG,
    MESSAGES,
    MODEL,
    PICO_PER_TOKEN,
    Desk,
    anthropic_client,
    openai_client,
)


@pytest.mark.parametrize(
    ("asked", "outputs"),
    [
        ({"prompt": "hi", "best_of": 20, "n": 1}, 20),
        ({"prompt": "hi", "best_of": 3, "n": 3}, 3),
        ({"prompt": ["hi"] * 50}, 50),
        ({"prompt": [[1, 2], [3]], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["hi"]}, 1),
    ],
)
def test_every_choice_of_every_prompt_may_have_the_whole_limit(
    desk: Desk, asked: dict[str, Any], outputs: int
) -> None:
    desk.provider.play(answer("/v1/completions", {"model": MODEL}, Usage(5, 100 * outputs)))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.completions.create(model=MODEL, max_tokens=100, **asked)

    inputs = input_tokens({"model": MODEL, **asked}) or 0
    assert desk.end().held == (inputs + 100 * outputs) * PICO_PER_TOKEN
    assert desk.provider.received[0].body["max_tokens"] == 100


def test_the_context_window_bounds_each_prompt_and_not_all_together(desk: Desk) -> None:
    prompts = ["x" * 40_000] * 4
    desk.provider.play(answer("/v1/completions", {"model": MODEL}, Usage(160_000, 4)))

    with desk.tracker.session(ceiling=5), openai_client(desk) as client:
        client.completions.create(model=MODEL, prompt=prompts, max_tokens=1)

    assert desk.end().held > 160_000 * PICO_PER_TOKEN


def test_a_limit_of_no_output_is_sent_as_it_is(desk: Desk) -> None:
    """Anthropic's way to fill the prompt cache without an answer."""
    desk.provider.play(answer("/v1/messages", {"model": MODEL}, Usage(5, 0)))

    with (
        desk.tracker.session(ceiling=1),
        desk.tracker.agent("writer", max_output_tokens=300),
        anthropic_client(desk) as client,
    ):
        client.messages.create(model=MODEL, max_tokens=0, messages=MESSAGES)

    assert desk.provider.received[0].body["max_tokens"] == 0
    inputs = input_tokens({"model": MODEL, "messages": MESSAGES}) or 0
    assert desk.end().held == inputs * PICO_PER_TOKEN


def test_compacting_is_held_with_the_limit_and_sent_without_one(desk: Desk) -> None:
    """That endpoint has no output limit, and refuses what it does not know."""
    compacted = {"id": "r", "object": "response.compaction", "created_at": 0, "output": []}
    desk.provider.play(json_reply({**compacted, "usage": responses_usage(Usage(5, 5))}))

    with (
        desk.tracker.session(ceiling=1),
        desk.tracker.agent("writer", max_output_tokens=300),
        openai_client(desk) as client,
    ):
        if not hasattr(client.responses, "compact"):
            pytest.skip("this version of openai has no responses.compact")
        client.responses.compact(model=MODEL, input="hi")

    assert dict(desk.provider.received[0].body) == {"model": MODEL, "input": "hi"}
    inputs = input_tokens({"model": MODEL, "input": "hi"}) or 0
    assert desk.end().held == (inputs + 300) * PICO_PER_TOKEN


def test_compacting_is_not_clamped_since_no_limit_can_be_sent(desk: Desk) -> None:
    with (
        _clamping(desk, tokens=100, asked={"model": MODEL, "input": "hi"}),
        desk.tracker.agent("writer", max_output_tokens=300),
        openai_client(desk) as client,
        pytest.raises(BudgetExceededError),
    ):
        client.post("/responses/compact", cast_to=object, body={"model": MODEL, "input": "hi"})

    assert desk.provider.received == []


@pytest.mark.parametrize(("tokens", "sent"), [(19, []), (20, [1]), (59, [2])])
def test_a_clamp_never_sends_more_than_was_granted(
    desk: Desk, tokens: int, sent: list[int]
) -> None:
    """Each of 20 choices writes a token at least: with money for fewer the call is refused."""
    with (
        _clamping(desk, tokens=tokens, asked={"model": MODEL, "messages": MESSAGES, "n": 20}),
        desk.tracker.agent("writer"),
        openai_client(desk) as client,
        nullcontext() if sent else pytest.raises(BudgetExceededError),
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES, n=20, max_tokens=500)

    assert [each.max_output_tokens for each in desk.provider.received] == sent


@pytest.mark.parametrize(
    "url", ["chat/completions", "{base}/chat/completions", "chat/completions?x=1"]
)
def test_a_request_is_known_however_its_url_is_written(desk: Desk, url: str) -> None:
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.post(url.format(base=desk.provider.url), cast_to=object, body=body)

    assert desk.end().output_tokens == 5
    desk.agree()


@pytest.mark.parametrize(("limit", "outputs"), [({"max_tokens": 50}, 50), ({}, 100_000)])
def test_a_body_of_bytes_is_bounded_by_what_it_says_and_sent_as_it_is(
    desk: Desk, limit: dict[str, int], outputs: int
) -> None:
    """The agent's limit cannot be put into it, so it bounds nothing."""
    said = {"model": MODEL, "messages": MESSAGES, **limit}

    with (
        desk.tracker.session(ceiling=5),
        desk.tracker.agent("writer", max_output_tokens=30),
        openai_client(desk) as client,
    ):
        _post_bytes(client, json.dumps(said).encode())

    inputs = input_tokens({"model": MODEL, "messages": MESSAGES}) or 0
    assert desk.end().held == (inputs + outputs) * PICO_PER_TOKEN
    assert dict(desk.provider.received[0].body) == said
    desk.agree()


def test_a_body_that_is_not_json_is_refused_under_a_cap(desk: Desk) -> None:
    """Nothing tells which model it asks, so nothing bounds what it costs."""
    with (
        desk.tracker.session(ceiling=5),
        openai_client(desk) as client,
        pytest.raises(UnknownPriceError),
    ):
        _post_bytes(client, b"not json")

    assert desk.provider.received == []


def _post_bytes(client: openai.OpenAI, content: bytes) -> None:
    if "content" not in inspect.signature(client.post).parameters:
        pytest.skip("this version of openai takes no content")
    headers = {"Content-Type": "application/json"}
    options: Any = {"headers": headers}
    client.post("/chat/completions", cast_to=object, content=content, options=options)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_deployment_in_the_url_is_asked_whatever_the_policy_falls_back_to(
    desk: Desk, fixed: bool
) -> None:
    """So there is no fallback from it; without one the URL takes the model from the body."""
    cheap = {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.1", "context_window": 100_000}
    policy = {"agents": {"writer": {"policy": [{"fallback": {"model": "cheap"}}, "refuse"]}}}
    desk.tracker.reconfigure({**CONFIG, "prices": {**CONFIG["prices"], "cheap": cheap}, **policy})
    body = {"model": "cheap", "messages": MESSAGES}
    desk.provider.play(answer("/v1/chat/completions", body, Usage(5, 5)))

    with (
        desk.tracker.session(ceiling="0.001"),
        desk.tracker.agent("writer"),
        _azure(desk, **({"azure_deployment": MODEL} if fixed else {})) as client,
        pytest.raises(BudgetExceededError) if fixed else nullcontext(),
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=50)

    paths = [each.path.partition("?")[0] for each in desk.provider.received]
    assert paths == ([] if fixed else ["/openai/deployments/cheap/chat/completions"])


DEAR = {"input_usd_per_mtok": "20", "output_usd_per_mtok": "20", "context_window": 100_000}


@pytest.mark.parametrize(
    ("entries", "outputs"),
    [([{"model": "dear"}], 50), ([{"model": "dear", "max_tokens": 500}, {"model": MODEL}], 500)],
)
def test_a_fallback_that_the_provider_makes_is_held_at_the_dearest_price(
    desk: Desk, entries: list[dict[str, Any]], outputs: int
) -> None:
    desk.tracker.reconfigure({**CONFIG, "prices": {**CONFIG["prices"], "dear": DEAR}})

    with desk.tracker.session(ceiling=1), anthropic_client(desk) as client:
        client.messages.create(
            model=MODEL, max_tokens=50, messages=MESSAGES, extra_body={"fallbacks": entries}
        )

    asked = {"model": MODEL, "messages": MESSAGES, "fallbacks": entries}
    inputs = input_tokens(asked) or 0
    assert desk.end().held == (inputs + outputs) * 2 * PICO_PER_TOKEN
    assert desk.end().request.model == MODEL


def test_a_fallback_of_openrouter_is_held_as_well(desk: Desk) -> None:
    desk.tracker.reconfigure({**CONFIG, "prices": {**CONFIG["prices"], "dear": DEAR}})
    models = [MODEL, "dear"]

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(
            model=MODEL, max_tokens=50, messages=MESSAGES, extra_body={"models": models}
        )

    inputs = input_tokens({"model": MODEL, "messages": MESSAGES, "models": models}) or 0
    assert desk.end().held == (inputs + 50) * 2 * PICO_PER_TOKEN


def test_a_fallback_without_a_price_is_refused_under_a_cap(desk: Desk) -> None:
    with (
        desk.tracker.session(ceiling=1),
        anthropic_client(desk) as client,
        pytest.raises(UnknownPriceError, match="nobody-knows"),
    ):
        client.messages.create(
            model=MODEL,
            max_tokens=50,
            messages=MESSAGES,
            extra_body={"fallbacks": [{"model": "nobody-knows"}]},
        )

    assert desk.provider.received == []


def _azure(desk: Desk, **more: Any) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=desk.provider.origin,
        api_version="1",
        api_key="k",
        http_client=openai.DefaultHttpxClient(verify=False),
        max_retries=0,
        **more,
    )


def _clamping(desk: Desk, *, tokens: int, asked: dict[str, Any]) -> Session:
    """Return a session with money for so many output tokens, whose writer clamps."""
    policy = {"agents": {"writer": {"policy": [{"clamp": {"floor": 1}}, "refuse"]}}}
    desk.tracker.reconfigure({**CONFIG, **policy})
    inputs = input_tokens(asked) or 0
    return desk.tracker.session(ceiling=Decimal(inputs + tokens) / 100_000)
