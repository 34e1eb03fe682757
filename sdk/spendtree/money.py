"""Money is an integer count of pico-dollars (1e-12); this module is its only door in and out.

Every real token price is a whole number of pico-dollars per token, so cost = tokens x price is
exact. `float` may come in (by its shortest decimal form) but never takes part in arithmetic.
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

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
    value = _decimal(dollars, what)
    if not value.is_finite():
        raise MoneyError(_refusal(what, dollars, "is not a finite amount of dollars"))
    if not value:
        return 0
    if value.is_signed():
        raise MoneyError(_refusal(what, dollars, "is negative; amounts of dollars are 0 or more"))
    # Asked before anything is multiplied out: "1e999999" must not become a million digits.
    pico = PICO_MAX + 1 if value.adjusted() > 7 else _scaled(value, round_up)
    if pico is None:
        raise MoneyError(_refusal(what, dollars, "is finer than a pico-dollar (12 decimals)"))
    if pico > PICO_MAX:
        raise MoneyError(_refusal(what, dollars, "is more than an account holds ($9,223,372)"))
    return pico


def _decimal(dollars: Money, what: str) -> Decimal:
    if isinstance(dollars, (str, Decimal, int, float)) and not isinstance(dollars, bool):
        try:
            # float.__repr__, not repr(): a subclass may write itself otherwise (numpy.float64).
            return Decimal(float.__repr__(dollars) if isinstance(dollars, float) else dollars)
        except InvalidOperation:
            pass
    problem = 'is no amount of dollars; give str, Decimal, int or float, like "0.25"'
    raise MoneyError(_refusal(what, dollars, problem))


def _scaled(value: Decimal, round_up: bool) -> int | None:
    """Return positive dollars as pico-dollars; None if they are finer and must not be rounded."""
    # Moving the exponent by hand is exact; a Decimal multiplication rounds at 28 digits silently.
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scaled = Decimal((0, digits, exponent + 12))
    pico = int(scaled.to_integral_value(ROUND_CEILING))
    return pico if round_up or pico == scaled else None


def to_usd(pico: int) -> Decimal:
    """Return pico-dollars as exact `Decimal` dollars, without trailing zeros.

    Write it with `f"{dollars:f}"`: `str` of a Decimal below a micro-dollar is "1E-12".
    """
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


def _refusal(what: str, dollars: object, problem: str) -> str:
    try:
        shown = repr(dollars)
    except ValueError:  # an int of more digits than Python is willing to print
        shown = "a number of thousands of digits"
    return f"{what}: {shown if len(shown) <= 80 else shown[:77] + '...'} {problem}"
