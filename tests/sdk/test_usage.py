"""Usage counts tokens in disjoint buckets and refuses counts that cannot be."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.errors import SpendtreeError, UsageError
from spendtree.usage import TOKENS_MAX, Usage

FIELDS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)
counts = st.integers(min_value=0, max_value=TOKENS_MAX)


def _usage(**changed: Any) -> Usage:
    return Usage(**{"input_tokens": 10, "output_tokens": 10, **changed})


def test_what_is_not_told_is_zero() -> None:
    assert Usage(3, 4) == Usage(3, 4, 0, 0, 0, 0)


@given(st.tuples(counts, counts, counts, counts, counts))
def test_the_total_is_the_sum_of_the_disjoint_buckets(buckets: tuple[int, ...]) -> None:
    input, output, read, write, write_1h = buckets
    assert Usage(input, output, read, write, write_1h).total_tokens == sum(buckets)


def test_reasoning_is_a_part_of_output_and_not_added() -> None:
    assert Usage(0, 10, reasoning_tokens=10).total_tokens == 10


def test_more_reasoning_than_output_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"reasoning_tokens: 11 is more than the 10 output_tokens"):
        Usage(0, 10, reasoning_tokens=11)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("tokens", [-1, -TOKENS_MAX, TOKENS_MAX + 1])
def test_a_count_out_of_range_is_refused_by_name(name: str, tokens: int) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: {tokens} is not between 0 and"):
        _usage(**{name: tokens})


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("tokens", [True, False, 1.0, "1", None, float("nan")])
def test_a_count_that_is_no_int_is_refused_by_name(name: str, tokens: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: .* is no token count; give an int"):
        _usage(**{name: tokens})


def test_the_largest_counts_are_taken() -> None:
    assert Usage(*[TOKENS_MAX] * 6).total_tokens == 5 * TOKENS_MAX


def test_a_usage_error_is_a_value_error_and_one_of_ours() -> None:
    with pytest.raises(ValueError, match="input_tokens") as caught:
        Usage(-1, 0)
    assert isinstance(caught.value, SpendtreeError)


def test_a_usage_cannot_be_changed_or_extended() -> None:
    usage = Usage(1, 2)
    with pytest.raises(FrozenInstanceError):
        usage.input_tokens = 3  # type: ignore[misc]
    assert not hasattr(usage, "__dict__")
    assert hash(usage) == hash(Usage(1, 2))
