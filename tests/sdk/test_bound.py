"""The most that a call's input can be: never less than any tokenizer could count."""

import gzip
import itertools
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree import Usage
from spendtree.bound import (
    MESSAGE_OVERHEAD_TOKENS,
    PART_OVERHEAD_TOKENS,
    REQUEST_OVERHEAD_TOKENS,
    TOOLS_OVERHEAD_TOKENS,
    Learned,
    Tokenizer,
    input_tokens,
    known_tokenizer,
    learn,
    text_tokens,
)

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
TRACES = DATA / "traces"
needs_traces = pytest.mark.skipif(
    not (TRACES / "original").is_dir(), reason="needs the recorded traces of ../shared/data"
)

NAMES = st.text(max_size=10).filter(lambda name: not name.startswith(("image", "file", "type")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@given(st.text())
def test_a_text_has_at_least_its_bytes_in_either_form(text: str) -> None:
    bound = text_tokens(text)
    assert bound >= len(text.encode("utf-8", "surrogatepass"))
    assert bound >= len(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass"))


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_a_plain_text_has_its_length(text: str) -> None:
    assert text_tokens(text) == len(text)
    assert input_tokens(text) == len(text) + REQUEST_OVERHEAD_TOKENS


def test_a_text_that_grows_when_normalised_is_bounded_by_what_it_grows_to() -> None:
    assert text_tokens("\ufdfa") == 33
    assert text_tokens("\ud800") == 3  # a lone surrogate is no reason to fail


@given(st.text(), st.text())
def test_more_text_never_has_a_smaller_bound(text: str, more: str) -> None:
    assert text_tokens(text + more) >= max(text_tokens(more), 1 if text else 0)
    messages = [{"role": "user", "content": text}]
    longer = [*messages, {"role": "user", "content": more}]
    assert (input_tokens(longer) or 0) > (input_tokens(messages) or 0)


@given(st.lists(st.text(max_size=50), max_size=8))
def test_messages_have_their_texts_and_an_overhead_each(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    texts_alone = sum(text_tokens(text) for text in texts)
    bound = input_tokens(messages)
    assert bound is not None
    assert bound >= texts_alone + MESSAGE_OVERHEAD_TOKENS * len(texts) + REQUEST_OVERHEAD_TOKENS


@given(JSON)
def test_a_structure_has_at_least_the_characters_of_its_json(content: Any) -> None:
    written = json.dumps(content, ensure_ascii=False)
    # Escapes inside texts are a text's own affair: compare with texts that need none.
    escapes = sum(written.count(mark) for mark in ("\\",)) * 6
    bound = input_tokens(content)
    if bound is not None:
        assert bound + escapes >= len(written)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "data:…"}}],
        [{"type": "input_image", "image": "x"}],
        [{"role": "user", "content": [{"type": "image", "source": {"data": "…"}}]}],
        [{"type": "input_file", "file_data": "…"}],
        [{"type": "document", "source": {"type": "text"}}],
        [{"type": "input_audio", "input_audio": {}}],
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
        {"contents": [{"parts": [{"fileData": {"fileUri": "gs://…"}}]}]},
        [{"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}],
        [{"document": {"source": {"s3Location": {"uri": "s3://…"}}}}],
        {"input": "go on", "previous_response_id": "resp_1"},
        {"input": "go on", "conversation": "conv_1"},
        {"contents": [], "cachedContent": "cachedContents/1"},
        b"bytes",
        [object()],
        {"nested": [{"deep": ({"x": b""},)}]},
        {"messages": [], "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"input": "go on", "tools": [{"type": "code_interpreter"}]},
        {"contents": [], "tools": [{"googleSearch": {}}]},
        {"messages": [], "mcp_servers": [{"url": "https://example.org"}]},
        [{"type": "item_reference", "id": "msg_1"}],
        [{"type": "reasoning", "id": "rs_1", "summary": []}],
    ],
)
def test_what_is_not_bounded_by_its_text_has_no_bound(content: Any) -> None:
    assert input_tokens(content) is None


def test_nothing_and_numbers_are_counted_as_they_are_written() -> None:
    assert input_tokens(None) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens(True) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens(-12.5) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens([]) == REQUEST_OVERHEAD_TOKENS


def test_what_is_not_bounded_by_its_text_has_the_context_window_as_its_bound() -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "…"}}]}]
    assert input_tokens(image, window=128_000) == 128_000
    assert input_tokens("a" * 200_000, window=128_000) == 128_000
    assert input_tokens("a", window=128_000) == 1 + REQUEST_OVERHEAD_TOKENS


def test_a_key_without_a_value_refers_to_nothing() -> None:
    assert input_tokens({"input": "go on", "previous_response_id": None}) is not None
    assert input_tokens([{"type": "reasoning", "encrypted_content": "gAAAA"}]) is not None


@pytest.mark.parametrize(
    "tools",
    [
        {"messages": [], "tools": [{"name": "now", "input_schema": {}}]},
        {"messages": [], "toolConfig": {"tools": [{"toolSpec": {"name": "now"}}]}},
        [[], [{"type": "function", "function": {"name": "now", "parameters": {}}}]],
        [[], [{"functionDeclarations": [{"name": "now"}]}]],
        [{"role": "user", "content": "x"}, {"name": "now", "input_schema": {}}],
    ],
)
def test_tools_bring_a_hidden_prompt(tools: Any) -> None:
    assert (input_tokens(tools) or 0) >= TOOLS_OVERHEAD_TOKENS


def test_no_tools_bring_no_hidden_prompt() -> None:
    assert (input_tokens({"messages": [{"content": "x"}], "tools": []}) or 0) < 200


# The second level: a tokenizer.


def words(text: str) -> int:
    return len(text.split())


def test_a_tokenizer_tightens_the_bound_of_texts_and_keeps_the_overheads() -> None:
    text = "the quick brown fox jumps"
    assert text_tokens(text, words) == 5
    assert input_tokens(text, tokenizer=words) == 5 + REQUEST_OVERHEAD_TOKENS
    messages = [{"role": "user", "content": text}]
    strings = 3  # role, user, content
    parts = PART_OVERHEAD_TOKENS * 5 + MESSAGE_OVERHEAD_TOKENS + REQUEST_OVERHEAD_TOKENS
    assert input_tokens(messages, tokenizer=words) == 5 + strings + parts


@given(st.text())
def test_no_tokenizer_makes_the_bound_larger(text: str) -> None:
    assert text_tokens(text, lambda text: 10 * len(text) + 7) == text_tokens(text)


def test_without_tiktoken_no_tokenizer_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert known_tokenizer("gpt-4o") is None


class FakeEncoding:
    def encode_ordinary(self, text: str) -> list[str]:
        return text.split()


def fake_tiktoken(encoding_for_model: Any) -> Any:
    names = {"gpt-4o": "o200k_base", "gpt-5": "o200k_base"}
    model = SimpleNamespace(MODEL_TO_ENCODING=names)
    return SimpleNamespace(model=model, encoding_for_model=encoding_for_model)


def test_only_a_model_that_the_library_names_has_a_known_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", fake_tiktoken(lambda _: FakeEncoding()))
    for model in ("gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-5-2025-08-07"):
        tokenizer = known_tokenizer(model)
        assert tokenizer is not None
        assert tokenizer("one two") == 2
    for model in ("gpt-5.6-sol", "gpt-5o", "claude-sonnet-4-5", "gemini-2.5-pro", ""):
        assert known_tokenizer(model) is None


def test_a_vocabulary_that_cannot_be_fetched_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "tiktoken", fake_tiktoken(offline))
    assert known_tokenizer("gpt-4o") is None


# The third level: learned in agent loops.

SYSTEM = {"role": "system", "content": "You look things up. " * 40}
FIRST = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]
ANSWER = [{"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And Spain?"}]


def learned_from(content: Any, usage: Usage) -> Learned:
    learned = learn(content, usage)
    assert learned is not None
    return learned


def test_a_conversation_that_goes_on_is_bounded_by_its_last_count_and_what_was_added() -> None:
    learned = learned_from(FIRST, Usage(100, 20, 60, 3, 2))
    bound = input_tokens([*FIRST, *ANSWER], learned=learned)
    added = (input_tokens(ANSWER) or 0) - REQUEST_OVERHEAD_TOKENS
    assert bound == 100 + 20 + 60 + 3 + 2 + added + REQUEST_OVERHEAD_TOKENS
    assert bound < (input_tokens([*FIRST, *ANSWER]) or 0)


def test_a_whole_request_goes_on_if_all_around_its_messages_is_the_same() -> None:
    request = {"model": "m", "system": "s" * 5000, "messages": FIRST, "max_tokens": 10}
    learned = learned_from(request, Usage(1200, 20))
    further = {**request, "messages": [*FIRST, *ANSWER], "max_tokens": 999}
    assert (input_tokens(further, learned=learned) or 0) < 1500
    for change in ({"system": "t" * 5000}, {"tools": [{"name": "now"}]}, {"model": "n"}):
        assert input_tokens({**further, **change}, learned=learned) == input_tokens(
            {**further, **change}
        )


@given(st.lists(st.dictionaries(NAMES, st.text(max_size=20), max_size=3), max_size=5), st.data())
def test_a_changed_prefix_falls_back_to_bytes(messages: list[Any], data: st.DataObject) -> None:
    learned = learned_from([*messages, {"role": "user", "content": "x"}], Usage(1, 0))
    place = data.draw(st.integers(0, len(messages)))
    other = [*messages, {"role": "user", "content": "x"}]
    other[place] = {**other[place], "and": "more"}
    assert input_tokens(other, learned=learned) == input_tokens(other)
    assert input_tokens(messages, learned=learned) == input_tokens(messages)


def test_prefixes_that_run_together_are_not_the_same() -> None:
    learned = learned_from([["ab", "c"]], Usage(1, 0))
    for other in (["a", "bc"], ["abc"], ["ab", ["c"]], ["ab", "c", ""], ["ab", b"c"]):
        assert input_tokens([other] * 9, learned=learned) == input_tokens([other] * 9)


def test_a_cache_mark_that_moves_along_does_not_change_the_prefix() -> None:
    marked = {"type": "text", "text": "a" * 3000, "cache_control": {"type": "ephemeral"}}
    plain = {"type": "text", "text": "a" * 3000}
    learned = learned_from([{"role": "user", "content": [marked]}], Usage(500, 0))
    further = [{"role": "user", "content": [plain]}, {"role": "user", "content": [marked]}]
    assert (input_tokens(further, learned=learned) or 0) < 500 + 3000 + 300


def test_the_same_text_is_the_same_prefix_whichever_object_has_it() -> None:
    word, copy = "again", "".join(["aga", "in"])
    assert word is not copy
    request = [{"role": word, "content": word}, {"role": "user", "content": ("x", 1, 2.5, None)}]
    other = [{"role": copy, "content": "".join(["ag", "ain"])}, *request[1:]]
    assert learned_from(request, Usage(9, 1)) == learned_from(other, Usage(9, 1))


class Role(str):
    """A text of a class of its own, as an enumeration's members are."""

    __slots__ = ()


def test_texts_of_a_class_of_their_own_teach_as_well() -> None:
    asked = [{"role": Role("user"), "content": "a" * 3000}]
    learned = learned_from(asked, Usage(500, 20))
    assert (input_tokens([*asked, *ANSWER], learned=learned) or 0) < 1500


def test_an_image_that_was_counted_is_known_and_one_that_was_added_is_not() -> None:
    image = {"role": "user", "content": [{"type": "image", "source": {"data": "iVBOR"}}]}
    learned = learned_from([image], Usage(1600, 40))
    assert input_tokens([image, *ANSWER], learned=learned) is not None
    assert input_tokens([image, image], learned=learned) is None
    assert input_tokens([image, image], learned=learned, window=9000) == 9000


def test_what_grows_at_the_provider_teaches_nothing() -> None:
    for state in ({"conversation": "conv_1"}, {"tools": [{"type": "web_search"}]}):
        request = {"input": FIRST, **state}
        learned = learned_from(request, Usage(100, 20))
        further = {"input": [*FIRST, *ANSWER], **state}
        assert input_tokens(further, learned=learned) is None


def test_objects_that_are_not_json_teach_nothing() -> None:
    assert learn([object()], Usage(1, 1)) is None
    learned = learned_from(FIRST, Usage(1, 1))
    assert input_tokens([object(), object(), "x"], learned=learned) is None


# Against what providers counted.


class Counted(NamedTuple):
    """A recorded request with its text, and the input and output that the provider counted."""

    source: str
    model: str
    request: dict[str, Any]
    usage: Usage


def openinference_messages(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    messages: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        found = re.match(r"llm\.input_messages\.(\d+)\.(.*)", key)
        if found:
            messages.setdefault(int(found[1]), {})[found[2]] = value
    return [messages[number] for number in sorted(messages)]


def recorded_spans() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((TRACES / "original").glob("*/*_*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for span in content["spans"] if isinstance(content, dict) else content:
            yield path.name, span.get("attributes") or {}


def counted_spans() -> Iterator[Counted]:
    """Yield model calls that say their messages; without tools where the trace leaves them out."""
    for name, said in recorded_spans():
        tokens = said.get("gen_ai.usage.input_tokens") or said.get("llm.token_count.prompt")
        messages = json.loads(said.get("gen_ai.input.messages", "[]"))
        messages = messages or openinference_messages(said)
        if not tokens or not messages or name in TOOLS_NOT_TOLD:
            continue
        tools = json.loads(said.get("gen_ai.tool.definitions", "[]"))
        tools += [value for key, value in said.items() if key.startswith("llm.tools.")]
        output = said.get("gen_ai.usage.output_tokens") or said.get("llm.token_count.completion")
        model = said.get("gen_ai.response.model") or said.get("llm.model_name") or ""
        usage = Usage(tokens, output or 0)
        yield Counted(name, model, {"tools": tools, "messages": messages}, usage)


TOOLS_NOT_TOLD = {
    "GOOGLE_trace.json",
    "OPENAI_trace.json",
    "SMOLAGENTS_trace.json",
    "openai_agents_genai_adot_spans.json",
}
"""Traces of agents that have tools, which the provider counted, and which the trace leaves out."""


def counted_logs() -> Iterator[Counted]:
    """Yield the first turn of each chat in ChatDev's logs: one is in Chinese."""
    turn = re.compile(
        r"\*\*\[Start Chat\]\*\*\n\n\[(.*?)\]\n\n(.*?)\n\n\[2023-.*?"
        r"prompt_tokens: (\d+)\ncompletion_tokens: (\d+)",
        re.DOTALL,
    )
    for path in sorted((TRACES / "original" / "chatdev").glob("*.log.gz")):
        for system, user, tokens, output in turn.findall(
            gzip.decompress(path.read_bytes()).decode()
        ):
            messages = [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ]
            usage = Usage(int(tokens), int(output))
            yield Counted(path.name, "gpt-3.5-turbo-16k", {"messages": messages}, usage)


def report(level: str, bounds: list[tuple[int, int]]) -> None:
    """Say how loose a level is: the bound over what was counted, in the middle and at the edges."""
    ratios = sorted(bound / counted for bound, counted in bounds)
    middle = ratios[len(ratios) // 2]
    print(f"{level}: {len(ratios)} calls, {ratios[0]:.2f} … {middle:.2f} … {ratios[-1]:.2f} times")


@needs_traces
def test_bytes_are_never_below_what_a_provider_counted() -> None:
    bounds = []
    for source, _, request, usage in [*counted_spans(), *counted_logs()]:
        bound = input_tokens(request)
        assert bound is not None
        assert bound >= usage.input_tokens, source
        bounds.append((bound, usage.input_tokens))
    report("bytes", bounds)
    assert len(bounds) >= 35


@needs_traces
def test_an_agent_loop_learns_a_bound_that_is_tighter_and_never_below_the_count() -> None:
    bounds, in_bytes = [], []
    for _, calls in itertools.groupby(counted_spans(), lambda call: call.source):
        known: list[Learned] = []
        for call in calls:
            for learned in known:
                bound = input_tokens(call.request, learned=learned)
                plain = input_tokens(call.request)
                assert bound is not None
                assert plain is not None
                assert call.usage.input_tokens <= bound <= plain, call.source
                if bound < plain:
                    bounds.append((bound, call.usage.input_tokens))
                    in_bytes.append((plain, call.usage.input_tokens))
            known.append(learned_from(call.request, call.usage))
    report("learned", bounds)
    report("the same in bytes", in_bytes)
    assert len(bounds) >= 8
    assert sum(bound for bound, _ in bounds) < 0.6 * sum(bound for bound, _ in in_bytes)


NOT_ALL_OF_ITS_TEXT = Usage(2414, 594)
"""A manual's prompt: its text in the log is 1,047 tokens short of what was billed; in all other
logged chats the two differ by 11."""


@needs_traces
def test_tiktoken_is_never_below_what_openai_counted() -> None:
    pytest.importorskip("tiktoken", reason="needs tiktoken: pip install tiktoken")
    bounds = []
    for source, model, request, usage in [*counted_spans(), *counted_logs()]:
        tokenizer = known_tokenizer(model)
        if tokenizer is None and model.startswith("gpt-"):
            pytest.skip(f"needs tiktoken's vocabulary of {model}, fetched or in TIKTOKEN_CACHE_DIR")
        if tokenizer is not None and usage != NOT_ALL_OF_ITS_TEXT:
            bound = input_tokens(request, tokenizer=tokenizer)
            assert bound is not None
            assert usage.input_tokens <= bound <= (input_tokens(request) or 0), source
            bounds.append((bound, usage.input_tokens))
    report("tiktoken", bounds)
    assert len(bounds) >= 30


def counting(tokens: int) -> Tokenizer:
    """Return a tokenizer that counts every text as so many."""
    return lambda _: tokens


@needs_traces
def test_the_overheads_cover_what_a_count_of_the_texts_alone_leaves_out() -> None:
    """ChatDev counted with tiktoken before each call: up to 16 tokens fewer than were billed."""
    compared = 0
    with gzip.open(TRACES / "chatdev_spans.jsonl.gz", "rt") as lines:
        for span in map(json.loads, lines):
            estimate = span.get("attrs", {}).get("estimated_prompt_tokens")
            if estimate is not None:
                bound = input_tokens("x" * 10**6, tokenizer=counting(estimate)) or 0
                assert bound >= span["usage"]["input_tokens"], span["span_id"]
                compared += 1
    assert compared == 982


@needs_traces
def test_an_answer_is_never_longer_than_the_bound_of_its_text() -> None:
    """The text of a recorded answer is what a provider counted as output, but for reasoning."""
    bounds = []
    for path in sorted((DATA / "providers").glob("*/*__json__200__*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))["response"]["body_json"]
        usage, choices = body.get("usage") or {}, body.get("choices") or []
        counted = usage.get("completion_tokens")
        details = usage.get("completion_tokens_details") or {}
        if counted and len(choices) == 1 and not details.get("reasoning_tokens"):
            message = choices[0]["message"]
            bound = input_tokens(message)
            if bound is not None and not message.get("executed_tools"):
                assert bound >= counted, path.name
                bounds.append((bound, counted))
    report("answers in bytes", bounds)
    assert len(bounds) >= 15
