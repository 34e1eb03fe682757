"""The output contract of an agent role: how long a result it may hand up. Pure; books nothing.

A result becomes input of the agent above, so an overlong report is cost moved to the coordinator.
Who delivers, what is recorded and what is raised is not decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args
from unicodedata import category, east_asian_width

from spendtree.errors import ConfigurationError

Mode = Literal["record", "truncate", "refuse"]
"""What to do about a violation: only record it, cut the text, or let the caller refuse it."""

Tokens = Callable[[str], int]
"""Counts the tokens of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """How many tokens a role's result may have; None is no limit.

    Raises ConfigurationError for limits that no result could keep to, and for an unknown mode.
    """

    min_tokens: int | None = None
    max_tokens: int | None = None
    mode: Mode = "record"

    def __post_init__(self) -> None:
        for name in ("min_tokens", "max_tokens"):
            limit = getattr(self, name)
            if limit is not None and (type(limit) is not int or limit < 0):
                raise ConfigurationError(
                    f"{name}: {limit!r} is no number of tokens; give 0 or more"
                )
        least, most = self.min_tokens, self.max_tokens
        if least is not None and most is not None and least > most:
            raise ConfigurationError(
                f"min_tokens {least} is more than max_tokens {most}: no result could keep to both"
            )
        if self.mode not in get_args(Mode):
            raise ConfigurationError(
                f"mode: {self.mode!r} is not one of {', '.join(get_args(Mode))}"
            )
        if self.mode == "truncate" and most is None:
            raise ConfigurationError("mode: 'truncate' needs max_tokens, to know where to cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a contract says of one result.

    `text` and `tokens` are what to deliver; `violation` is "max", "min" or "" for none;
    `excess_tokens` is by how many the result itself was over or under; `refused` says that
    nothing may be delivered, which the caller tells whom it concerns.
    """

    text: str | None
    tokens: int
    violation: Literal["max", "min", ""] = ""
    excess_tokens: int = 0
    refused: bool = False


def check(contract: Contract, text: str | None, tokens: int, count: Tokens) -> Verdict:
    """Return what to deliver of a result of `tokens` tokens, and how it breaks the contract.

    `text` is None where only the number is known: nothing can be cut then, and what was told is
    delivered as it is. `count` is called only to cut.
    """
    over, under = _excess(contract, tokens)
    if not over and not under:
        return Verdict(text=text, tokens=tokens)
    refused = contract.mode == "refuse"
    if under:  # nothing can be cut to make it longer
        return Verdict(
            text=text, tokens=tokens, violation="min", excess_tokens=under, refused=refused
        )
    if contract.mode == "truncate" and text is not None:
        text = cut(text, contract.max_tokens or 0, count)
        tokens = count(text)
    return Verdict(text=text, tokens=tokens, violation="max", excess_tokens=over, refused=refused)


def _excess(contract: Contract, tokens: int) -> tuple[int, int]:
    """Return the tokens over the maximum and under the minimum; one of them is 0."""
    over = 0 if contract.max_tokens is None else max(tokens - contract.max_tokens, 0)
    under = 0 if contract.min_tokens is None else max(contract.min_tokens - tokens, 0)
    return over, under


def cut(text: str, max_tokens: int, count: Tokens) -> str:
    """Return the longest beginning of a text that is found to count at most `max_tokens`.

    Ends after a whole word, if any whole word fits, and otherwise after a whole character: what
    combines (accents, joined emoji, flags, surrogate pairs) is never taken apart. Calls `count`
    about log2(len(text)) times.
    """
    if count(text) <= max_tokens:
        return text
    fits, fails = 0, len(text)  # how much of the text
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if count(text[:middle]) <= max_tokens:
            fits = middle
        else:
            fails = middle
    return _shrunk(text, fits, max_tokens, count)


def _shrunk(text: str, end: int, max_tokens: int, count: Tokens) -> str:
    """Return a beginning that ends well; shorter again while a counter thinks less is more."""
    while end > 0:
        beginning = text[: _good_end(text, end)].rstrip()
        if count(beginning) <= max_tokens:
            return beginning
        end = min(len(beginning), end - 1)
    return ""


def _good_end(text: str, end: int) -> int:
    """Return the last place at or before `end` between two words, else between two characters."""
    if end >= len(text):
        return end
    for place in range(end, max(end - _LONGEST_WORD, 0), -1):
        if _between_words(text, place) and not _joined(text, place):
            return place
    while end > 0 and _joined(text, end):
        end -= 1
    return end


def _between_words(text: str, place: int) -> bool:
    """Return whether a word may end here: at a space, or beside a script that uses none."""
    beside = (text[place - 1], text[place])
    return any(each.isspace() or east_asian_width(each) in ("W", "F") for each in beside)


def _joined(text: str, place: int) -> bool:
    """Return whether the characters before and after a place are parts of one that is seen.

    The rules of Unicode's "Text Segmentation" (UAX #29) that can be told from the character
    database: CR LF, combining marks, joiners and variation selectors, emoji modifiers, flags,
    Hangul syllables; and halves of a surrogate pair.
    """
    before, after = text[place - 1], text[place]
    if before == "\r" and after == "\n":
        return True
    if category(after) in ("Mn", "Me", "Mc") or after in _JOINERS:
        return True
    if before == _ZERO_WIDTH_JOINER or _in(after, _EMOJI_MODIFIERS) or _in(after, _TAGS):
        return True
    if _in(before, _HIGH_SURROGATES) and _in(after, _LOW_SURROGATES):
        return True
    if _in(after, _HANGUL_VOWELS_AND_TAILS):
        return _in(before, _HANGUL)
    return _in(after, _FLAG_LETTERS) and _flag_letters_before(text, place) % 2 == 1


def _flag_letters_before(text: str, place: int) -> int:
    letters = 0
    while place > letters and _in(text[place - 1 - letters], _FLAG_LETTERS):
        letters += 1
    return letters


def _in(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


_LONGEST_WORD = 80
"""Characters to look back for a space: beyond, it is no word (a link, a hash, a line of base64)."""

_ZERO_WIDTH_JOINER = "\u200d"
_JOINERS = frozenset("\u200c\u200d\u0e33\u0eb3")
"""Besides the zero-width joiners, the vowels AM of Thai and Lao, which are letters by category."""
_EMOJI_MODIFIERS = ((0x1F3FB, 0x1F3FF),)
_TAGS = ((0xE0020, 0xE007F),)
_FLAG_LETTERS = ((0x1F1E6, 0x1F1FF),)
_HIGH_SURROGATES = ((0xD800, 0xDBFF),)
_LOW_SURROGATES = ((0xDC00, 0xDFFF),)
_HANGUL = ((0x1100, 0x11FF), (0xAC00, 0xD7A3))
_HANGUL_VOWELS_AND_TAILS = ((0x1160, 0x11FF),)
