"""Usage counts tokens in disjoint buckets and refuses counts that cannot be."""

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.errors import SpendtreeError, UsageError
from spendtree.usage import NO_UNITS, TOKENS_MAX, UNITS, Usage

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
    with pytest.raises(UsageError, match=rf"^{name}: .* is not a token count; give an int"):
        _usage(**{name: tokens})


def test_the_largest_counts_are_taken() -> None:
    most = TOKENS_MAX
    assert Usage(most, most, most, most, most, most).total_tokens == 5 * TOKENS_MAX


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


def test_other_modalities_are_beside_the_text_and_in_the_total() -> None:
    usage = Usage(200, 100, units={"input_audio": 800, "output_audio": 900, "web_search": 2})

    assert usage.total_tokens == 200 + 100 + 800 + 900
    assert usage.units == {"input_audio": 800, "output_audio": 900, "web_search": 2}


def test_a_plain_usage_shares_the_empty_units() -> None:
    assert Usage(1, 2).units is NO_UNITS
    assert Usage(1, 2, units={}).units is NO_UNITS
    assert Usage(1, 2, units={"input_audio": 0}).units is NO_UNITS


@pytest.mark.parametrize(
    ("units", "error"),
    [
        ({"input_smell": 1}, "'input_smell' is not a known unit; known are input_audio"),
        ({"input_audio": 1.0}, "input_audio 1.0 is not a count"),
        ({"input_audio": True}, "input_audio True is not a count"),
        ({"web_search": -1}, "web_search -1 is not between 0 and"),
        ({"web_search": TOKENS_MAX + 1}, "is not between 0 and"),
        ([("web_search", 1)], "is not a mapping of unit names to counts"),
    ],
)
def test_a_bad_unit_is_refused_by_name(units: Any, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        Usage(1, 1, units=units)


def test_units_are_copied_hashed_pickled_and_cannot_be_changed() -> None:
    given = {"input_audio": 1}
    usage = Usage(1, 1, units=given)
    given["input_audio"] = 2

    assert usage == Usage(1, 1, units={"input_audio": 1})
    assert hash(usage) == hash(Usage(1, 1, units={"input_audio": 1}))
    assert pickle.loads(pickle.dumps(usage)) == copy.deepcopy(usage) == usage
    for change in ("clear", "popitem"):
        with pytest.raises(TypeError, match="cannot be changed"):
            getattr(usage.units, change)()
    with pytest.raises(TypeError, match="cannot be changed"):
        usage.units["web_search"] = 1  # type: ignore[index]


def test_nothing_is_a_usage_whose_every_count_is_zero() -> None:
    assert Usage(0, 0).is_nothing
    assert not Usage(0, 0, units={"rerank_search": 1}).is_nothing
    for name in FIELDS[:5]:
        assert not _usage(**{"input_tokens": 0, "output_tokens": 0, name: 1}).is_nothing


def test_every_unit_has_its_own_name_and_a_wider_bucket_that_exists() -> None:
    for name, unit in UNITS.items():
        assert unit.name == name
        assert unit.wider in {"", *FIELDS, *UNITS}
        assert unit.family == "fee" or unit.direction
