"""The most that a call's input can be: never less than any tokenizer could count."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.bound import (
    MESSAGE_OVERHEAD_TOKENS,
    REQUEST_OVERHEAD_TOKENS,
    input_tokens,
    text_tokens,
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
    ],
)
def test_what_is_not_bounded_by_its_text_has_no_bound(content: Any) -> None:
    assert input_tokens(content) is None


def test_nothing_and_numbers_are_counted_as_they_are_written() -> None:
    assert input_tokens(None) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens(True) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens(-12.5) == 5 + REQUEST_OVERHEAD_TOKENS
    assert input_tokens([]) == REQUEST_OVERHEAD_TOKENS
