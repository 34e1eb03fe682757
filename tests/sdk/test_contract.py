"""How long a result may be, and how one that is longer is cut."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.contract import Contract, Mode, Verdict, check, cut
from spendtree.errors import ConfigurationError

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
WAVING_DARK_HAND = "\U0001f44b\U0001f3ff"
FLAG = "\U0001f1e9\U0001f1ea"
KEYCAP = "1\ufe0f\u20e3"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
HANGUL_IN_PARTS = "\u1100\u1161\u11a8"
ACCENTED = "e\u0301\u0302"
SURROGATES = "\ud83d\ude00"
THAI = "\u0e19\u0e33"
DEVANAGARI = "\u0928\u0940"
WHOLE = [
    *(FAMILY, WAVING_DARK_HAND, FLAG, KEYCAP, SCOTLAND, HANGUL_IN_PARTS, ACCENTED, SURROGATES),
    *(THAI, DEVANAGARI, "\r\n", "a", "ß", "漢", "\uac01"),
]
"""Each is one character to a person, whatever number of code points it has."""


def words(text: str) -> int:
    return len(text.split())


def not_called(text: str) -> int:
    raise AssertionError(text)


MODES: tuple[Mode, ...] = ("record", "refuse")


@given(st.integers(0, 99), st.none() | st.integers(0, 50), st.none() | st.integers(50, 99))
def test_a_result_within_its_contract_is_delivered_as_it_is(
    tokens: int, least: int | None, most: int | None
) -> None:
    for mode in MODES:
        contract = Contract(min_tokens=least, max_tokens=most, mode=mode)
        verdict = check(contract, "text", tokens, not_called)
        within = (least or 0) <= tokens <= (99 if most is None else most)
        assert (verdict == Verdict(text="text", tokens=tokens)) is within
        assert verdict.refused is (mode == "refuse" and not within)


def test_a_violation_is_recorded_with_its_excess_and_delivered_whole() -> None:
    contract = Contract(min_tokens=2, max_tokens=4)
    long, short = "one two three four five six", "one"
    assert check(contract, long, 6, not_called) == Verdict(
        text=long, tokens=6, violation="max", excess_tokens=2
    )
    assert check(contract, short, 1, not_called) == Verdict(
        text=short, tokens=1, violation="min", excess_tokens=1
    )


def test_a_refusal_is_told_by_the_verdict() -> None:
    contract = Contract(min_tokens=2, max_tokens=4, mode="refuse")
    assert check(contract, "a b c d e", 5, not_called).refused
    assert check(contract, "a", 1, not_called).refused
    assert not check(contract, "a b c d", 4, not_called).refused


def test_a_truncated_result_fits_and_its_excess_is_that_of_the_whole() -> None:
    contract = Contract(max_tokens=3, mode="truncate")
    verdict = check(contract, "one two three four five", 5, words)
    assert verdict == Verdict(text="one two three", tokens=3, violation="max", excess_tokens=2)


def test_what_is_too_short_or_not_known_as_text_cannot_be_truncated() -> None:
    contract = Contract(min_tokens=2, max_tokens=3, mode="truncate")
    assert check(contract, "one", 1, not_called).text == "one"
    assert check(contract, None, 9, not_called) == Verdict(
        text=None, tokens=9, violation="max", excess_tokens=6
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens 5 is more than max_tokens 4"),
        ({"max_tokens": -1}, "max_tokens: -1 is no number of tokens"),
        ({"min_tokens": 1.5}, "min_tokens: 1.5 is no number of tokens"),
        ({"max_tokens": True}, "max_tokens: True is no number of tokens"),
        ({"mode": "shorten"}, "'shorten' is not one of record, truncate, refuse"),
        ({"mode": "truncate", "min_tokens": 1}, "'truncate' needs max_tokens"),
    ],
)
def test_a_contract_that_cannot_be_meant_is_refused(
    limits: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Contract(**limits)  # type: ignore[arg-type]


@given(st.text(), st.integers(0, 40))
def test_a_cut_text_is_a_beginning_that_fits(text: str, most: int) -> None:
    for count in (len, words, lambda text: len(text.encode("utf-8", "surrogatepass"))):
        beginning = cut(text, most, count)
        assert text.startswith(beginning)
        assert count(beginning) <= most
        assert beginning == text or count(text) > most


@given(st.lists(st.text(alphabet="abcdefg", min_size=1, max_size=9), min_size=2), st.data())
def test_a_cut_text_ends_after_a_whole_word_and_misses_none_that_fits(
    parts: list[str], data: st.DataObject
) -> None:
    text = " ".join(parts)
    most = data.draw(st.integers(len(parts[0]), len(text)))
    beginning = cut(text, most, len)
    kept = beginning.split()
    assert kept == parts[: len(kept)]
    assert len(" ".join(parts[: len(kept) + 1])) > most or kept == parts


def test_a_word_longer_than_any_is_cut_within() -> None:
    assert cut("see " + "x" * 500, 300, len) == "see " + "x" * 296
    assert cut("x" * 500, 300, len) == "x" * 300
    assert cut("see wonderful things", 9, len) == "see"


def test_a_script_without_spaces_is_cut_between_its_characters() -> None:
    text = "Title\n" + "我们决定通过可执行软件完成任务" * 9
    assert cut(text, 50, len) == text[:50]


@pytest.mark.parametrize("whole", WHOLE, ids=ascii)
def test_no_character_is_taken_apart(whole: str) -> None:
    text = "x" + whole * 40
    for most in range(len(text)):
        beginning = cut(text, most, len)
        assert len(beginning.removeprefix("x")) % len(whole) == 0 or whole == "\r\n"
        assert len(beginning) > most - len(whole) or whole == "\r\n"


@given(st.lists(st.sampled_from(WHOLE), max_size=30), st.integers(0, 60))
def test_no_character_in_a_mixed_text_is_taken_apart(parts: list[str], most: int) -> None:
    if any(before == after == FLAG for before, after in itertools.pairwise(parts)):
        parts = [part for part in parts if part != FLAG]
    beginning = cut("".join(parts), most, len).rstrip()
    ends = ["".join(parts[:place]).rstrip() for place in range(len(parts) + 1)]
    assert beginning in ends


def test_a_combining_mark_stays_with_what_it_combines() -> None:
    text = unicodedata.normalize("NFD", "ớ" * 50)
    for most in range(len(text)):
        assert cut(text, most, len) == text[: most // 3 * 3]


def test_a_counter_that_never_fits_leaves_nothing() -> None:
    assert cut("one two", 2, lambda text: 3) == ""
    assert cut("one two", 0, words) == ""


def test_a_counter_that_counts_less_for_more_still_gives_what_fits() -> None:
    def merging(text: str) -> int:
        """Count as tokenizers may: "ab" is one token where "a" and "b" are two."""
        return len(text.replace("ab", "x"))

    for most in range(12):
        assert merging(cut("abababababababababab", most, merging)) <= most

    def merging_words(text: str) -> int:
        return len(text.replace("ab c", "x"))

    assert cut("ab cdefgh", 1, merging_words) == "a"  # "ab c" is one token, "ab" is two


def test_cutting_a_long_text_asks_for_few_counts() -> None:
    asked = []

    def count(text: str) -> int:
        asked.append(len(text))
        return len(text) // 4

    text = "word " * 200_000
    assert len(cut(text, 1000, count)) in range(3990, 4004)
    assert len(asked) < 30
