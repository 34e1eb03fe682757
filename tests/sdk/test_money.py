"""Dollars come in by one door, go out exactly, and nothing is changed silently."""

from decimal import ROUND_CEILING, Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.errors import MoneyError, SpendtreeError
from spendtree.money import PICO_MAX, PICO_PER_USD, Money, format_usd, to_pico, to_usd

picos = st.integers(min_value=-PICO_MAX, max_value=PICO_MAX)


@pytest.mark.parametrize(
    ("dollars", "pico"),
    [
        ("0.25", 250_000_000_000),
        (Decimal("0.25"), 250_000_000_000),
        (3, 3_000_000_000_000),
        (0.1, 100_000_000_000),
        (0.1 + 0.2, 300_000_000_001),  # what the caller computed is 0.30000000000000004
        (1e-12, 1),
        ("1e-12", 1),
        ("0.000000000001", 1),
        ("2.5e2", 250 * PICO_PER_USD),
        ("  7 ", 7 * PICO_PER_USD),
        (0, 0),
        (0.0, 0),
        (-0.0, 0),
        ("-0", 0),
        (Decimal("0E+30"), 0),
        ("9223372.036854775807", PICO_MAX),
    ],
)
def test_dollars_become_pico_dollars(dollars: Money, pico: int) -> None:
    assert to_pico(dollars, round_up=isinstance(dollars, float)) == pico


def test_a_float_is_read_by_its_shortest_decimal_form() -> None:
    assert to_pico(0.1) == to_pico("0.1")
    assert to_pico(0.07) == to_pico("0.07")
    assert to_pico(1.1) == 1_100_000_000_000


def test_a_subclass_of_float_is_read_by_its_value_whatever_it_prints() -> None:
    class Float64(float):
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    assert to_pico(Float64(0.1)) == 100_000_000_000


@pytest.mark.parametrize(
    ("dollars", "problem"),
    [
        ("nan", "not a finite"),
        (float("nan"), "not a finite"),
        (Decimal("sNaN"), "not a finite"),
        (float("inf"), "not a finite"),
        ("-Infinity", "not a finite"),
        (-1, "negative"),
        (-0.01, "negative"),
        ("-1e-30", "negative"),
        ("0.0000000000001", "finer than a pico-dollar"),
        (0.1 + 0.2, "finer than a pico-dollar"),
        pytest.param("0." + "1" * 20_000, "finer than a pico-dollar", id="20000 decimals"),
        ("1e-999999", "finer than a pico-dollar"),
        ("9223372.036854775808", "more than an account holds"),
        (10_000_000, "more than an account holds"),
        pytest.param(10**5000, "more than an account holds", id="5001 digits"),
        ("1e999999", "more than an account holds"),
        ("$0.25", "no amount of dollars"),
        ("", "no amount of dollars"),
        ("ten cents", "no amount of dollars"),
        (True, "no amount of dollars"),
        (False, "no amount of dollars"),
        (None, "no amount of dollars"),
        (b"1", "no amount of dollars"),
        ([1], "no amount of dollars"),
    ],
)
def test_what_is_no_amount_is_refused_by_name_and_reason(dollars: Money, problem: str) -> None:
    with pytest.raises(MoneyError, match=problem) as caught:
        to_pico(dollars, what="ceiling")
    assert str(caught.value).startswith("ceiling: ")
    assert len(str(caught.value)) < 200


def test_a_money_error_is_a_value_error_and_one_of_ours() -> None:
    with pytest.raises(ValueError, match="amount: 'x' is no amount") as caught:
        to_pico("x")
    assert isinstance(caught.value, SpendtreeError)


@pytest.mark.parametrize(
    ("dollars", "pico"),
    [
        ("0.0000000000001", 1),
        ("1e-999999", 1),
        ("0.1000000000001", 100_000_000_001),
        pytest.param("0." + "1" * 20_000, 111_111_111_112, id="20000 decimals"),
        ("0.5", 500_000_000_000),
    ],
)
def test_rounding_up_never_loses_a_part_of_a_pico_dollar(dollars: str, pico: int) -> None:
    assert to_pico(dollars, round_up=True) == pico


def test_rounding_up_does_not_let_too_much_in() -> None:
    with pytest.raises(MoneyError, match="more than an account holds"):
        to_pico("9223372.0368547758071", round_up=True)


@given(picos.map(abs))
def test_dollars_out_and_in_again_are_the_same(pico: int) -> None:
    assert to_pico(to_usd(pico)) == pico
    assert to_pico(f"{to_usd(pico):f}") == pico


@given(picos)
def test_dollars_out_are_exact_and_carry_no_trailing_zeros(pico: int) -> None:
    dollars = to_usd(pico)
    assert dollars * PICO_PER_USD == pico
    text = f"{dollars:f}"
    assert not ("." in text and text.endswith("0"))


@given(st.decimals(min_value=0, max_value=9_000_000, allow_nan=False))
def test_rounding_up_is_the_ceiling_of_the_exact_product(dollars: Decimal) -> None:
    exact = Context(prec=400).multiply(dollars, Decimal(PICO_PER_USD))
    assert to_pico(dollars, round_up=True) == int(exact.to_integral_value(ROUND_CEILING))


@given(st.decimals(min_value=0, max_value=9_000_000, allow_nan=False))
def test_without_rounding_up_an_amount_is_exact_or_refused(dollars: Decimal) -> None:
    try:
        pico = to_pico(dollars)
    except MoneyError:
        assert to_usd(to_pico(dollars, round_up=True)) > dollars
    else:
        assert to_usd(pico) == dollars


def test_the_callers_decimal_context_does_not_round_money() -> None:
    with localcontext(Context(prec=2)):
        assert to_pico("1234.567890123456") == 1_234_567_890_123_456
        assert str(to_usd(1_234_567_890_123_456)) == "1234.567890123456"


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "$0.00"),
        (PICO_PER_USD, "$1.00"),
        (1_234_567_891 * 10**9, "$1,234,567.89"),
        (-2_500_000_000_000, "-$2.50"),
        (250_000_000_000, "$0.25"),
        (123_456_000_000, "$0.1235"),
        (10_000_000_000, "$0.01"),
        (12_345_678, "$0.00001235"),
        (-12_345_678, "-$0.00001235"),
        (1, "$0.000000000001"),
        (999_999_999_999, "$1.00"),
    ],
)
def test_money_for_people_shows_cents_or_four_digits(pico: int, text: str) -> None:
    assert format_usd(pico) == text


@given(picos)
def test_money_for_people_is_within_half_a_cent_or_half_of_its_fourth_digit(pico: int) -> None:
    shown = Decimal(format_usd(pico).replace("$", "").replace(",", ""))
    off = abs(shown * PICO_PER_USD - pico)
    assert off <= (PICO_PER_USD // 200 if abs(pico) >= PICO_PER_USD else abs(pico) // 1000)
