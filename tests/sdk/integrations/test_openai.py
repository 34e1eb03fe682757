"""The openai client as its users use it: every way to ask settles, and looks as without us."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

import spendtree
from spendtree import BudgetExceededError, Spendtree
from spendtree.bound import input_tokens
from spendtree.event import Kind
from spendtree.integrations.asked import provider_of
from spendtree.integrations.openai import LIBRARY
from spendtree.testing.reply import Reply, answer, events, json_reply
from spendtree.usage import Usage
from tests.sdk.integrations.desk import (
    CONFIG,
    MESSAGES,
    MODEL,
    PICO_PER_TOKEN,
    Desk,
    async_openai_client,
    openai_client,
)

USAGE = Usage(30, 12, cache_read_tokens=5, reasoning_tokens=4)
BODY: Any = {"model": MODEL, "messages": MESSAGES, "max_tokens": 50}


def chat(stream: bool = False, text: str = "one two three") -> Any:
    body = {"model": MODEL, "stream": stream, "stream_options": {"include_usage": True}}
    return answer("/v1/chat/completions", body, USAGE, text)


# Chat completions.


def test_usage_comes_in_disjoint_buckets(desk: Desk) -> None:
    desk.provider.play(chat())

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(**BODY)

    assert desk.end().usage == USAGE
    assert desk.end().cost == (30 + 12 + 5) * PICO_PER_TOKEN
    desk.agree()


@pytest.mark.parametrize("told", [None, {}, {"include_usage": False}])
def test_a_stream_looks_as_it_would_without_us(desk: Desk, told: Any) -> None:
    """Who did not ask for the usage gets every chunk but that one, and not a different one."""
    options: Any = {} if told is None else {"stream_options": told}
    with openai_client(desk) as client:
        spendtree.uninstrument()
        bare = list(client.chat.completions.create(**BODY, stream=True, **options))
        spendtree.instrument("openai")
        with desk.tracker.session(ceiling=1):
            tracked = list(client.chat.completions.create(**BODY, stream=True, **options))

    assert [each.model_dump() for each in tracked] == [each.model_dump() for each in bare]
    assert desk.provider.received[1].body["stream_options"] == {"include_usage": True}
    assert desk.statuses() == ["ok"]


def test_who_asks_for_the_usage_of_a_stream_gets_it(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        chunks = list(
            client.chat.completions.create(
                **BODY, stream=True, stream_options={"include_usage": True}
            )
        )

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert desk.statuses() == ["ok"]
    desk.agree()


@pytest.mark.asyncio
async def test_an_asynchronous_stream_hides_the_usage_too(desk: Desk) -> None:
    async with desk.tracker.session(ceiling=1), async_openai_client(desk) as client:
        stream = await client.chat.completions.create(**BODY, stream=True)
        chunks = [chunk async for chunk in stream]

    assert all(chunk.choices for chunk in chunks)
    assert desk.statuses() == ["ok"]
    desk.agree()


def test_a_stream_closed_half_way_is_presumed_spent(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        stream = client.chat.completions.create(**BODY, stream=True)
        next(iter(stream))
        stream.close()

    assert desk.statuses() == ["lapsed"]
    assert desk.end().data == {"reason": "closed before its end"}
    desk.agree()


@pytest.mark.asyncio
async def test_an_asynchronous_stream_closed_half_way_is_presumed_spent(desk: Desk) -> None:
    async with desk.tracker.session(ceiling=1), async_openai_client(desk) as client:
        stream = await client.chat.completions.create(**BODY, stream=True)
        async for _ in stream:
            break
        await stream.close()

    assert desk.statuses() == ["lapsed"]
    desk.agree()


def test_a_stream_that_is_never_read_is_presumed_spent(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        with client.chat.completions.create(**BODY, stream=True):
            pass
        assert desk.statuses() == ["lapsed"]
    desk.agree()


@pytest.mark.parametrize("usage_asked", [False, True])
def test_who_stops_at_the_finish_reason_has_not_missed_the_usage(
    desk: Desk, usage_asked: bool
) -> None:
    """Most programs stop there; the usage comes after it, so it is awaited first."""
    told: Any = {"stream_options": {"include_usage": True}} if usage_asked else {}
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        stream = client.chat.completions.create(**BODY, stream=True, **told)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].finish_reason:
                break
        if usage_asked:
            next(iter(stream))
        stream.close()

    assert desk.statuses() == ["ok"]
    desk.agree()


def test_an_error_in_a_stream_is_presumed_spent(desk: Desk) -> None:
    first, *_ = chat(stream=True).pieces
    error = {"error": {"message": "the model fell over", "type": "server_error"}}
    desk.provider.play(events(json.loads(first.removeprefix(b"data: ")), error, done=False))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        stream = client.chat.completions.create(**BODY, stream=True)
        with pytest.raises(openai.APIError, match="fell over"):
            list(stream)

    assert desk.statuses() == ["lapsed"]
    desk.agree()


# Raw responses.


def test_a_raw_response_settles_before_it_is_parsed(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        raw = client.chat.completions.with_raw_response.create(**BODY)
        assert desk.statuses() == ["ok"]
        assert raw.parse().usage is not None
        assert raw.http_response.json()["model"] == MODEL
    desk.agree()


def test_a_raw_stream_settles_when_it_was_read(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        raw = client.chat.completions.with_raw_response.create(**BODY, stream=True)
        assert desk.statuses() == []
        assert all(chunk.choices for chunk in raw.parse())
    assert desk.statuses() == ["ok"]
    desk.agree()


@pytest.mark.parametrize("read", ["parse", "json", "text", "iter_lines", "iter_bytes"])
def test_a_streaming_response_settles_however_it_is_read(desk: Desk, read: str) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        with client.chat.completions.with_streaming_response.create(**BODY) as response:
            assert desk.statuses() == []
            found = getattr(response, read)()
            if read.startswith("iter"):
                assert list(found)
        assert desk.statuses() == ["ok"]
    desk.agree()


def test_the_lines_of_a_streaming_response_hide_the_usage(desk: Desk) -> None:
    with (
        desk.tracker.session(ceiling=1),
        openai_client(desk) as client,
        client.chat.completions.with_streaming_response.create(**BODY, stream=True) as response,
    ):
        lines = [line for line in response.iter_lines() if line]

    assert lines[-1] == "data: [DONE]"
    assert not [line for line in lines if '"choices": []' in line]
    assert desk.statuses() == ["ok"]
    desk.agree()


def test_a_streaming_response_that_nobody_reads_is_presumed_spent(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        with client.chat.completions.with_streaming_response.create(**BODY):
            pass
        assert desk.statuses() == ["lapsed"]
    desk.agree()


# Structured outputs and tools.


class Weather(pydantic.BaseModel):
    city: str
    celsius: int


def test_a_structured_output_is_parsed_and_settled(desk: Desk) -> None:
    desk.provider.play(chat(text='{"city": "Bonn", "celsius": 7}'))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        answered = client.chat.completions.parse(**BODY, response_format=Weather)

    assert answered.choices[0].message.parsed == Weather(city="Bonn", celsius=7)
    assert desk.end().usage == USAGE
    desk.agree()


@pytest.mark.parametrize("reason", ["length", "not-json"])
def test_a_structured_output_that_does_not_fit_was_paid_for(desk: Desk, reason: str) -> None:
    body = json.loads(chat(text="no JSON").pieces[0])
    body["choices"][0]["finish_reason"] = "length" if reason == "length" else "stop"
    desk.provider.play(json_reply(body))

    with (
        desk.tracker.session(ceiling=1),
        openai_client(desk) as client,
        pytest.raises((openai.LengthFinishReasonError, pydantic.ValidationError)),
    ):
        client.chat.completions.parse(**BODY, response_format=Weather)

    assert (desk.end().kind, desk.end().status) == (Kind.CALL, "failed")
    assert desk.end().usage == USAGE
    desk.agree()


def test_a_stream_helper_settles(desk: Desk) -> None:
    with (
        desk.tracker.session(ceiling=1),
        openai_client(desk) as client,
        client.chat.completions.stream(**BODY) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.content

    assert desk.statuses() == ["ok"]
    desk.agree()


def test_tools_count_as_input(desk: Desk) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools: Any = [{"type": "function", "function": function}]

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(**BODY)
        client.chat.completions.create(**BODY, tools=tools)

    plain, with_tools = (event.held for event in desk.ends())
    assert with_tools - plain > len(json.dumps(tools)) * PICO_PER_TOKEN
    desk.agree()


# Responses.


def test_a_response_settles_in_every_form(desk: Desk) -> None:
    body: Any = {"model": MODEL, "input": "How are you?", "max_output_tokens": 50}
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.responses.create(**body)
        assert len(list(client.responses.create(**body, stream=True))) > 5
        with client.responses.stream(**body) as stream:
            assert stream.get_final_response().usage is not None
        client.responses.with_raw_response.create(**body)

    assert desk.statuses() == ["ok"] * 4
    assert {event.usage for event in desk.ends()} == {desk.ends()[0].usage}
    desk.agree()


def test_a_response_stream_may_end_incomplete(desk: Desk) -> None:
    whole = answer("/v1/responses", {"model": MODEL, "stream": True}, USAGE)
    pieces = [each.replace(b"response.completed", b"response.incomplete") for each in whole.pieces]
    desk.provider.play(Reply(headers=whole.headers, pieces=pieces))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        list(client.responses.create(model=MODEL, input="x", max_output_tokens=50, stream=True))

    assert desk.end().usage == USAGE
    desk.agree()


@pytest.mark.parametrize("kept", [{"previous_response_id": "resp_1"}, {"prompt": {"id": "pmpt_1"}}])
def test_what_the_provider_keeps_counts_as_the_context_window(desk: Desk, kept: Any) -> None:
    with desk.tracker.session(ceiling=5), openai_client(desk) as client:
        client.responses.create(model=MODEL, input="x", max_output_tokens=50, **kept)

    assert desk.end().held == (100_000 + 50) * PICO_PER_TOKEN


# Embeddings.


def test_embeddings_have_no_output_and_no_window_for_all_texts_together(desk: Desk) -> None:
    texts = ["word " * 8_000] * 4

    with desk.tracker.session(ceiling=5), openai_client(desk) as client:
        found = client.embeddings.create(model=MODEL, input=texts)

    assert [each.embedding for each in found.data] == [[0.0, 1.0]] * 4
    assert desk.end().output_tokens == 0
    assert desk.end().held == desk.end().cost
    assert desk.end().held > 100_000 * PICO_PER_TOKEN
    desk.agree()


# The output limit.


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_the_call_is_what_is_held(desk: Desk, key: str) -> None:
    body: Any = {"model": MODEL, "messages": MESSAGES, key: 70}

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(**body)

    assert desk.provider.received[0].body == body
    assert (
        desk.end().held
        == (input_tokens({"model": MODEL, "messages": MESSAGES}) or 0) * (PICO_PER_TOKEN)
        + 70 * PICO_PER_TOKEN
    )


def test_the_agents_limit_is_sent_where_the_call_has_none(desk: Desk) -> None:
    with (
        desk.tracker.session(ceiling=1),
        desk.tracker.agent("writer", max_output_tokens=40),
        openai_client(desk) as client,
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
        client.responses.create(model=MODEL, input="x")
        client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=30)

    assert [each.max_output_tokens for each in desk.provider.received] == [40, 40, 30]
    desk.agree()


def test_a_limit_that_is_only_the_context_window_is_held_but_not_sent(desk: Desk) -> None:
    with desk.tracker.session(ceiling=5), openai_client(desk) as client:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)

    assert desk.provider.received[0].max_output_tokens is None
    assert desk.end().held > 100_000 * PICO_PER_TOKEN


def test_each_choice_may_have_the_whole_limit(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(**BODY, n=3)

    assert desk.end().output_tokens == 150
    assert desk.end().held == desk.end().cost
    assert desk.provider.received[0].max_output_tokens == 50
    desk.agree()


def test_an_extra_body_is_held_and_limited_like_the_body(desk: Desk) -> None:
    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=50, extra_body={"max_tokens": 90}
        )

    assert desk.end().output_tokens == 90
    assert desk.end().held == desk.end().cost
    desk.agree()


def test_a_policy_may_clamp_what_is_sent(tmp_path: Path, desk: Desk) -> None:
    policy = {"agents": {"writer": {"policy": [{"clamp": {"floor": 5}}, "refuse"]}}}
    desk.tracker.reconfigure({**CONFIG, **policy})
    bound = input_tokens({"model": MODEL, "messages": MESSAGES}) or 0
    ceiling = Decimal(bound + 20) / 100_000

    with (
        desk.tracker.session(ceiling=ceiling),
        desk.tracker.agent("writer"),
        openai_client(desk) as client,
    ):
        client.chat.completions.create(**BODY)

    assert desk.provider.received[0].max_output_tokens == 20
    assert desk.end().cost == desk.end().held
    desk.agree()


def test_a_policy_may_fall_back_to_another_model_of_the_same_provider(desk: Desk) -> None:
    cheap = {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.1", "context_window": 100_000}
    steps = [
        {"fallback": {"model": "elsewhere", "provider": "anthropic"}},
        {"fallback": {"model": "cheap"}},
        "refuse",
    ]
    desk.tracker.reconfigure(
        {
            **CONFIG,
            "prices": {**CONFIG["prices"], "cheap": cheap, "elsewhere": cheap},
            "agents": {"writer": {"policy": steps}},
        }
    )

    with (
        desk.tracker.session(ceiling="0.001"),
        desk.tracker.agent("writer"),
        openai_client(desk) as client,
    ):
        client.chat.completions.create(**BODY)

    assert desk.provider.received[0].body["model"] == "cheap"
    assert desk.end().request.model == "cheap"
    desk.agree()


def test_nothing_is_changed_in_a_request_that_no_cap_bounds(desk: Desk) -> None:
    body: Any = {"model": MODEL, "messages": MESSAGES, "temperature": 0.5}

    with desk.tracker.session(), openai_client(desk) as client:
        client.chat.completions.create(**body)

    assert desk.provider.received[0].body == body


def test_the_users_request_is_never_changed(desk: Desk) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    extra: Any = {"extra": [1]}

    with (
        desk.tracker.session(ceiling=1),
        desk.tracker.agent("writer", max_output_tokens=40),
        openai_client(desk) as client,
    ):
        list(
            client.chat.completions.create(
                model=MODEL, messages=messages, stream=True, extra_body=extra
            )
        )

    assert messages == [{"role": "user", "content": "x"}]
    assert extra == {"extra": [1]}


# Providers and prices.


def test_azure_is_priced_by_the_model_behind_the_deployment(desk: Desk) -> None:
    """The deployment's name has no price; without a cap the answer tells what it was."""
    reply = answer("/v1/chat/completions", {"model": "gpt-4o-2024-08-06"}, Usage(1000, 1000))
    desk.provider.play(reply)
    client = openai.AzureOpenAI(
        azure_endpoint=desk.provider.origin,
        api_key="k",
        api_version="2024-10-21",
        http_client=openai.DefaultHttpxClient(verify=False),
    )

    with desk.tracker.session(), client:
        client.chat.completions.create(model="my-deployment", messages=MESSAGES, max_tokens=1000)

    assert desk.provider.received[0].path == "/openai/deployments/my-deployment/chat/completions"
    assert desk.end().request == ("azure", "my-deployment", "work")
    assert desk.end().cost == 1000 * 2_500_000 + 1000 * 10_000_000
    assert desk.end().data == {"answered_by": "gpt-4o-2024-08-06"}
    desk.agree()


def test_a_cost_that_the_provider_reports_is_booked_and_flagged(desk: Desk) -> None:
    body = json.loads(chat().pieces[0])
    body["usage"]["cost"] = 0.00123
    desk.provider.play(json_reply(body))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        spendtree.wrap(client, provider="openrouter").chat.completions.create(**BODY)

    assert desk.end().cost == 1_230_000_000
    assert (desk.end().data or {})["cost_source"] == "provider"
    assert desk.end().marks == ("stated_cost",)
    assert desk.end().request.provider == "openrouter"
    desk.agree()


def test_a_cost_that_a_stream_reports_is_booked_and_flagged(desk: Desk) -> None:
    *before, usage, done = chat(stream=True).pieces
    told = json.loads(usage.removeprefix(b"data: "))
    told["usage"]["cost"] = 0.5
    pieces = (*before, b"data: " + json.dumps(told).encode() + b"\n\n", done)
    desk.provider.play(Reply(headers=chat(stream=True).headers, pieces=pieces))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        list(client.chat.completions.create(**BODY, stream=True))

    assert desk.end().cost == 500_000_000_000
    assert (desk.end().data or {})["cost_source"] == "provider"
    assert desk.end().marks == ("stated_cost",)
    desk.agree()


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://my-place.openai.azure.com/openai/v1", "azure"),
        ("http://localhost:11434/v1", ""),
        ("https://gateway.example.com/v1", ""),
    ],
)
def test_the_base_url_tells_the_provider(desk: Desk, url: str, provider: str) -> None:
    with openai_client(desk, url=url) as client:
        assert provider_of(LIBRARY, client, desk.tracker) == provider


# What is not billed by tokens, and what is outside.


def test_other_requests_pass_through_unseen(desk: Desk) -> None:
    desk.provider.play(json_reply({"object": "list", "data": []}))

    with desk.tracker.session(ceiling=1), openai_client(desk) as client:
        client.post("/moderations", body={"input": "x"}, cast_to=object)

    assert desk.ends() == []
    assert len(desk.provider.received) == 1


def test_a_call_outside_any_scope_is_unattributed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spendtree(f"sqlite:///{tmp_path}/default.db", CONFIG).session() as session:
        default = session.tracker
    monkeypatch.setattr("spendtree.default._default", default)

    with openai_client(desk) as client:
        client.chat.completions.create(**BODY)

    (end,) = [event for event in default.store.events() if event.kind == Kind.CALL]
    assert (end.context.session, end.data) == ("", {"unattributed": "no_scope"})
    assert end.cost
    default.close()


def test_a_refused_call_never_reaches_the_provider(desk: Desk) -> None:
    with (
        pytest.raises(BudgetExceededError, match="output tokens would fit"),
        desk.tracker.session(ceiling="0.0001"),
        openai_client(desk) as client,
    ):
        client.chat.completions.create(**BODY)

    assert desk.provider.received == []
    desk.agree()
