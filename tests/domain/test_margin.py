"""What the operator earns, in one currency, or nothing where something is not known."""

from fractions import Fraction

import pytest

from rushes.domain.catalogue.price import Money
from rushes.domain.margin import CREDIT_VALUE_MAX, CreditValue, Valuation, read_credit_value, read_money

USD = CreditValue(Fraction(1, 100), "USD")


def test_a_credits_value_is_an_amount_and_a_currency() -> None:
    assert read_credit_value("0.01 USD") == USD
    assert read_credit_value(" 1000  CNY ") == CreditValue(Fraction(CREDIT_VALUE_MAX), "CNY")
    assert read_credit_value(USD) is USD
    assert USD.describe() == "0.01 USD"


@pytest.mark.parametrize("text", ["", "USD", "0 USD", "-1 USD", "1000.01 USD", "1", "1 dollars"])
def test_anything_else_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be an amount and a currency such as 0\.01 USD"):
        read_credit_value(text)


def test_money_is_an_amount_and_a_currency_and_may_be_nothing() -> None:
    assert read_money("50 USD") == Money(50_000_000, "USD")
    assert read_money("0 USD") == Money(0, "USD")
    assert read_money("1000000 CNY") == Money(10**12, "CNY")


@pytest.mark.parametrize("text", ["", "-1 USD", "1000001 USD", "USD 5", "5"])
def test_anything_else_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match="must be an amount and a currency such as 50 USD"):
        read_money(text)


@pytest.mark.parametrize("read", [read_credit_value, read_money])
def test_an_amount_has_at_most_twenty_characters(read: object) -> None:
    assert callable(read)
    read(f"0.{'1' * 18} USD")
    with pytest.raises(ValueError, match="must be an amount"):
        read(f"0.{'1' * 19} USD")


def test_a_margin_is_what_is_left_of_the_credits() -> None:
    sold = Valuation(USD, {"CNY": Fraction(1, 7)})
    assert sold.revenue(250) == Money(2_500_000, "USD")
    assert sold.margin(250, {}, is_known=True) == Money(2_500_000, "USD")
    assert sold.margin(250, {"USD": 1_000_000, "CNY": 700_000}, is_known=True) == Money(1_400_000, "USD")
    assert sold.margin(1, {"USD": 20_000}, is_known=True) == Money(-10_000, "USD")


def test_there_is_no_margin_where_something_is_not_known() -> None:
    sold = Valuation(USD)
    assert sold.margin(250, {"USD": 1}, is_known=False) is None
    assert sold.margin(250, {"EUR": 1}, is_known=True) is None
    assert Valuation().margin(250, {"USD": 1}, is_known=True) is None
    assert Valuation().revenue(250) is None
