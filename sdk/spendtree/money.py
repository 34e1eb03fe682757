"""Money is an integer count of pico-dollars (1e-12); this module is its only door in and out.

Every real token price is a whole number of pico-dollars per token, so cost = tokens x price is
exact. `float` may come in (by its shortest decimal form) but never takes part in arithmetic.
"""

from decimal import Decimal, InvalidOperation

from spendtree.errors import MoneyError

PICO_PER_USD = 10**12
PICO_MAX = 2**63 - 1
"""An account holds at most this (int64): 9.2 million dollars."""

Money = str | Decimal | int | float
"""What the API takes for an amount of dollars."""


def to_pico(dollars: Money, *, what: str = "amount", round_up: bool = False) -> int:
    """Return an amount of dollars as pico-dollars, `0 <= pico <= PICO_MAX`.

    `round_up` rounds what is finer than a pico-dollar up; otherwise it is refused, so that no
    amount is changed silently. Raises MoneyError for NaN, infinite, negative, too fine or too
    large amounts and for anything that is no number; `what` names the amount in the message.
    """
    if isinstance(dollars, bool) or not isinstance(dollars, (str, Decimal, int, float)):
        raise MoneyError(
            f"{what}: {dollars!r} is no amount of dollars; give str, Decimal, int or float"
        )
    try:
        value = Decimal(repr(dollars) if isinstance(dollars, float) else dollars)
    except InvalidOperation:
        hint = 'write it like "0.25"'
        raise MoneyError(f"{what}: {dollars!r} is no amount of dollars; {hint}") from None
    if not value.is_finite():
        raise MoneyError(f"{what}: {dollars!r} is not a finite amount of dollars")
    if value.is_signed() and value:
        raise MoneyError(f"{what}: {dollars!r} is negative; amounts of dollars are 0 or more")
    if value.adjusted() > 7:
        raise MoneyError(_too_large(what, dollars))
    # Plain integer arithmetic: a Decimal context would round at 28 digits without a word.
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    coefficient = int("".join(map(str, digits)))
    if exponent >= -12:
        pico: int = coefficient * 10 ** (exponent + 12)
    else:
        pico, rest = divmod(coefficient, 10 ** min(-exponent - 12, 10_000))
        if rest and not round_up:
            raise MoneyError(f"{what}: {dollars!r} is finer than a pico-dollar (12 decimals)")
        pico += bool(rest)
    if pico > PICO_MAX:
        raise MoneyError(_too_large(what, dollars))
    return pico


def to_usd(pico: int) -> Decimal:
    """Return pico-dollars as exact `Decimal` dollars, without trailing zeros or exponent."""
    sign, digits = ("-", -pico) if pico < 0 else ("", pico)
    whole, fraction = divmod(digits, PICO_PER_USD)
    if not fraction:
        return Decimal(f"{sign}{whole}")
    return Decimal(f"{sign}{whole}.{f'{fraction:012d}'.rstrip('0')}")


def format_usd(pico: int) -> str:
    """Return pico-dollars for a person: cents from a dollar up, four significant digits below."""
    dollars = to_usd(pico)
    if pico == 0 or abs(pico) >= PICO_PER_USD:
        return f"-${-dollars:,.2f}" if pico < 0 else f"${dollars:,.2f}"
    places = max(2, 3 - dollars.adjusted())
    text = f"{abs(dollars):.{min(places, 12)}f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{'-' if pico < 0 else ''}${whole}.{fraction.ljust(2, '0')}"


def _too_large(what: str, dollars: Money) -> str:
    return f"{what}: {dollars!r} dollars are more than an account holds ($9,223,372)"
