"""Usage: the tokens of one call in disjoint buckets. A value; it knows no provider and no price."""

from dataclasses import dataclass

from spendtree.errors import UsageError

TOKENS_MAX = 2**40
"""More tokens than any call has; a larger count is a unit error, and would overflow a cost."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. The buckets are disjoint: their sum is what was processed.

    * `input_tokens`: input that was neither read from nor written to a cache
    * `output_tokens`: all output, reasoning included
    * `cache_read_tokens`: input read from the provider's prompt cache
    * `cache_write_tokens`: input written to a cache of the ordinary lifetime (5 minutes)
    * `cache_write_1h_tokens`: input written to a cache of the long lifetime (1 hour)
    * `reasoning_tokens`: the part of `output_tokens` that was reasoning (told, not added)

    Raises UsageError for a count that is no integer, negative or above 2**40, and for reasoning
    above output.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        # One expression, since every call makes a usage: a loop over the fields takes as long as
        # the rest of the constructor. What is wrong is looked for only when something is.
        sound = (
            type(self.input_tokens) is int
            and type(self.output_tokens) is int
            and type(self.cache_read_tokens) is int
            and type(self.cache_write_tokens) is int
            and type(self.cache_write_1h_tokens) is int
            and type(self.reasoning_tokens) is int
            and 0 <= self.input_tokens <= TOKENS_MAX
            and 0 <= self.cache_read_tokens <= TOKENS_MAX
            and 0 <= self.cache_write_tokens <= TOKENS_MAX
            and 0 <= self.cache_write_1h_tokens <= TOKENS_MAX
            and 0 <= self.reasoning_tokens <= self.output_tokens <= TOKENS_MAX
        )
        if not sound:
            raise self._error()

    def _error(self) -> UsageError:
        for name in self.__slots__:
            tokens = getattr(self, name)
            if type(tokens) is not int:
                return UsageError(f"{name}: {tokens!r} is no token count; give an int")
            if not 0 <= tokens <= TOKENS_MAX:
                return UsageError(f"{name}: {tokens} is not between 0 and {TOKENS_MAX}")
        return UsageError(
            f"reasoning_tokens: {self.reasoning_tokens} is more than the "
            f"{self.output_tokens} output_tokens that it is a part of"
        )

    @property
    def total_tokens(self) -> int:
        """Return all tokens processed: the sum of the disjoint buckets."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
        )
