import ast
import inspect
import math
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.catalogue import price as price_module
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, Origin, Url, UrlList, WholeNumber, YesNo
from rushes.domain.catalogue.price import Cost, ExpectedCost, Money, Price, decimal_of_micros, exact, total
from rushes.domain.catalogue.price_reading import (
    cost_document,
    read_cost,
    read_price,
    stored_price,
    tariff_text,
)
from rushes.domain.errors import InputError

OPTIONS: dict[str, OptionSpec] = {
    "duration": WholeNumber(2, 20, default=5),
    "resolution": OneOf(("720p", "1080p", "4k"), default="720p"),
    "audio": YesNo(default=False),
    "first_frame_url": Url(),
    "reference_urls": UrlList(9),
}
WRITTEN = {
    "per_second": 5,
    "by": {"resolution": {"1080p": 1.5, "4k": 3}, "audio": {"true": "1.5"}},
    "per_input_image": 2,
    "free_input_images": 5,
    "minimum": 12,
}


def model(price: dict[str, Any], **more: Any) -> Model:
    return Model(
        name="m",
        provider="acme",
        api_model="m",
        options=OPTIONS,
        price=read_price(price, Origin(path="price")),
        **more,
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 25),
        ({"duration": 2}, 12),  # the minimum
        ({"duration": 10}, 50),
        ({"duration": 10, "resolution": "1080p"}, 75),
        ({"duration": 3, "resolution": "1080p", "audio": True}, 34),  # 33.75, rounded up once
        ({"duration": 10, "resolution": "4k", "audio": True}, 225),
        ({"duration": 10, "reference_urls": ("a",) * 5}, 50),
        ({"duration": 10, "reference_urls": ("a",) * 7, "first_frame_url": "b"}, 56),
    ],
)
def test_the_price_by_seconds_and_options(options: dict[str, Any], expected: int) -> None:
    assert model(WRITTEN).price_of(options) == expected


options_strategy = st.fixed_dictionaries(
    {
        "resolution": st.sampled_from(["720p", "1080p", "4k"]),
        "audio": st.booleans(),
        "reference_urls": st.lists(st.just("u"), max_size=9).map(tuple),
    }
)
factor = st.decimals("0.01", "20", places=2)
price_strategy = st.fixed_dictionaries(
    {
        "per_second": st.integers(0, 40),
        "by": st.fixed_dictionaries(
            {
                "resolution": st.fixed_dictionaries({"1080p": factor, "4k": factor}),
                "audio": st.fixed_dictionaries({"true": factor}),
            }
        ),
        "per_input_image": st.integers(0, 9),
        "free_input_images": st.integers(0, 5),
        "minimum": st.integers(0, 100),
    }
)


@given(price_strategy, options_strategy, st.integers(2, 19))
def test_a_longer_video_never_costs_less(
    price: dict[str, Any], options: dict[str, Any], seconds: int
) -> None:
    sold = model(price)
    shorter, longer = (sold.price_of({**options, "duration": each}) for each in (seconds, seconds + 1))
    assert 0 <= shorter <= longer


@given(price_strategy, options_strategy, st.integers(2, 20))
def test_the_price_is_the_exact_amount_rounded_up_once(
    price: dict[str, Any], options: dict[str, Any], seconds: int
) -> None:
    """The same sum in decimals of 60 digits, which hold every product here exactly."""
    by = price["by"]
    amount = Decimal(price["per_second"]) * seconds
    amount *= by["resolution"].get(options["resolution"], 1)
    amount *= by["audio"]["true"] if options["audio"] else 1
    amount += price["per_input_image"] * max(0, len(options["reference_urls"]) - price["free_input_images"])
    expected = max(Decimal(price["minimum"]), amount).to_integral_value(rounding="ROUND_CEILING")
    assert model(price).price_of({**options, "duration": seconds}) == expected


@given(price_strategy)
def test_a_price_is_written_and_read_again_unchanged(price: dict[str, Any]) -> None:
    read = read_price(price, Origin())
    assert read_price(stored_price(read), Origin()) == read


def test_prices_are_computed_without_floats() -> None:
    """No float literal, no float(), no true division stands where money is computed."""
    tree = ast.parse(inspect.getsource(price_module))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "float")
    assert exact(0.1) == Fraction(1, 10)
    # 0.1 + 0.2 > 0.3 in floats: that price would be 4
    assert (
        Price(read_price({"per_second": 30, "by": {"audio": {"true": 0.1}}}, Origin()).tariff).credits(
            {"duration": 1, "audio": True}
        )
        == 3
    )


def test_a_table_names_every_combination() -> None:
    rows = [
        {"duration": seconds, "resolution": lines, "credits": seconds * (2 if lines == "4k" else 1)}
        for seconds in (4, 8)
        for lines in ("720p", "4k")
    ]
    options = {
        "duration": OneOf((4, 8), default=4),
        "resolution": OneOf(("720p", "4k"), default="720p"),
    }
    sold = Model(
        name="m", provider="a", api_model="m", options=options, price=read_price({"table": rows}, Origin())
    )
    assert [sold.price_of(each) for each in ({}, {"duration": 8}, {"duration": 8, "resolution": "4k"})] == [
        4,
        8,
        16,
    ]
    with pytest.raises(ValueError, match="price: table: no row for duration 8, resolution 4k"):
        Model(
            name="m",
            provider="a",
            api_model="m",
            options=options,
            price=read_price({"table": rows[:-1]}, Origin()),
        )


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"per_second": -1}, "price.per_second: must be whole credits from 0 to 1000000, not -1"),
        ({"per_second": 2.5}, "price.per_second: must be whole credits from 0 to 1000000, not 2.5"),
        ({"per_video": 10**12}, "price.per_video: must be whole credits from 0 to 1000000"),
        ({"per_video": True}, "price.per_video: must be whole credits"),
        ({"per_video": 1, "per_second": 1}, "price: must have exactly one of per_second, per_video, table"),
        ({}, "price: must have exactly one of"),
        (5, "price: must be an object"),
        ({"per_secnd": 5}, 'price: has no field "per_secnd"; did you mean "per_second"?'),
        ({"per_second": 1, "by": {"audio": {"true": -2}}}, "price.by.audio.true: must be a factor above 0"),
        ({"per_second": 1, "by": {"audio": {"true": math.nan}}}, "price.by.audio.true: must be a factor"),
        (
            {"per_second": 1, "by": {"audio": {"true": "1e999999999"}}},
            "price.by.audio.true: must be a factor",
        ),
        ({"per_second": 1, "by": {"audio": 2}}, "price.by.audio: must be an object of values"),
        ({"table": []}, "price.table: must be a list of at least one row"),
        ({"table": [{"duration": 5}]}, r"price.table\[0\]: must be an object with credits"),
        (
            {"table": [{"audio": True, "credits": 5}, {"duration": 5, "credits": 6}]},
            r"price.table\[1\]: must name the same options as the first row: audio",
        ),
        (
            {"table": [{"audio": True, "credits": 5}, {"audio": True, "credits": 6}]},
            r"price.table\[1\]: the same options as an earlier row",
        ),
        ({"per_second": 1, "free_input_images": -1}, "price.free_input_images: must be a whole number"),
    ],
)
def test_a_price_that_cannot_be_is_one_line_with_its_place(price: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        read_price(price, Origin(path="price"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"per_second": 1, "by": {"resolution": {"4K": 2}}}, 'by.resolution.4K: .*did you mean "4k"?'),
        ({"per_second": 1, "by": {"sound": {"true": 2}}}, 'by.sound: the model has no option "sound"'),
        ({"per_second": 1, "by": {"duration": {"5": 2}}}, "by.duration: per_second counts it already"),
        ({"per_second": 1, "by": {"reference_urls": {"5": 2}}}, ".*needs a default to be priced"),
        ({"per_second": 900_000}, "the dearest video would be 18,000,000, more than 1,000,000"),
        ({"table": [{"audio": True, "credits": 5}]}, "table: no row for audio false"),
        ({"table": [{"audio": "yes", "credits": 5}]}, r'table\[0\].audio: "yes" is no value of the option'),
    ],
)
def test_a_price_that_does_not_fit_the_options_is_refused(price: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^price: {message}") as caught:
        model(price)
    assert "\n" not in str(caught.value)


def test_a_price_per_second_needs_a_duration_with_a_default() -> None:
    price = read_price({"per_second": 5}, Origin())
    for options, message in (
        ({}, 'per_second: the model has no option "duration"'),
        ({"duration": WholeNumber(2, 10)}, "per_second: the option duration needs a default"),
        ({"duration": OneOf(("short",), default="short")}, "must be a number of seconds"),
    ):
        with pytest.raises(ValueError, match=message):
            Model(name="m", provider="a", api_model="m", options=options, price=price)


COST = {
    "per_second": "0.05",
    "currency": "USD",
    "as_of": "2026-11-01",
    "source": "https://example.com/prices",
}


IN_TOKENS: dict[str, Any] = {"unit": "tokens", "unit_price": "0.000046"}


def test_a_unit_may_cost_more_with_some_values_of_an_option() -> None:
    by = {"unit_price_by": {"resolution": {"1080p": "0.000051"}}}
    cost = read_cost({**COST, **IN_TOKENS, **by}, Origin(path="cost"))
    nanos = [
        cost.expected({"duration": 5, "resolution": lines}).unit_nanos for lines in ("720p", "1080p", "4k")
    ]
    assert nanos == [46_000, 51_000, 46_000]
    assert cost_document(cost)["unit_price_by"] == {"resolution": {"1080p": "0.000051"}}
    assert read_cost(cost_document(cost)) == cost
    for wrong, message in (
        ({"resolution": {"8k": 1}}, r"cost: unit_price_by\.resolution\.8k: is no value of the option"),
        ({"lines": {"4k": 1}}, r'cost: unit_price_by\.lines: the model has no option "lines"'),
    ):
        cost = read_cost({**COST, **IN_TOKENS, "unit_price_by": wrong}, Origin(path="cost"))
        with pytest.raises(ValueError, match=message):
            model({"per_second": 5}, cost=cost)


def test_a_cost_is_money_of_a_date_and_a_source() -> None:
    cost = read_cost({**COST, "unit": "credits", "unit_price": 0.01}, Origin(path="cost"))
    assert cost.money({"duration": 10}) == Money(500_000, "USD")
    assert cost.money({"duration": 10}).document() == {"amount": "0.5", "currency": "USD"}
    assert (cost.as_of, cost.source) == (date(2026, 11, 1), "https://example.com/prices")
    assert (cost.unit, cost.unit_price) == ("credits", Fraction(1, 100))
    assert cost.expected({"duration": 10}) == ExpectedCost(Money(500_000, "USD"), "credits", 10_000_000)
    assert read_cost(cost_document(cost), Origin()) == cost
    assert tariff_text(cost.tariff) == "0.05 a second"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"currency": "EURO"}, 'cost.currency: must be a currency of ISO 4217 such as USD, not "EURO"'),
        ({"currency": "usd"}, 'cost.currency: .*did you mean "USD"?'),
        ({"currency": None}, "cost.currency: must be a currency"),
        ({"as_of": "yesterday"}, "cost.as_of: must be a date such as 2026-11-01"),
        ({"source": ""}, "cost.source: must say where the cost was read"),
        ({"per_second": "-0.05"}, "cost.per_second: must be a number from 0 to 1000000"),
        ({"per_second": "0.05$"}, "cost.per_second: must be a number"),
        ({"unit": "credits", "unit_price": "free"}, "cost.unit_price: must be a number"),
        ({"unit": "credits"}, "cost.unit_price: unit and unit_price go together"),
        ({"unit_price_by": {"resolution": {"4k": 1}}}, "cost.unit_price_by: needs unit and unit_price"),
        ({**IN_TOKENS, "unit_price_by": 5}, "cost.unit_price_by: must be an object, not 5"),
        ({**IN_TOKENS, "unit_price_by": {"resolution": {}}}, "cost.unit_price_by.resolution: must be an"),
        (
            {**IN_TOKENS, "unit_price_by": {"resolution": {"4k": "free"}}},
            "cost.unit_price_by.resolution.4k: must be a number",
        ),
    ],
)
def test_a_cost_that_cannot_be_is_one_line_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        read_cost({**COST, **change}, Origin(path="cost"))


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0"), (1, "0.000001"), (600_000, "0.6"), (100_000_000, "100"), (-1_500_000, "-1.5")],
)
def test_millionths_are_shown_without_needless_zeros(micros: int, text: str) -> None:
    assert f"{decimal_of_micros(micros):f}" == text


def test_amounts_of_different_currencies_are_never_added() -> None:
    assert total([Money(1, "USD"), Money(2, "CNY"), Money(3, "USD")]) == {"USD": 4, "CNY": 2}


def test_every_model_of_the_catalogue_has_a_price_for_its_defaults() -> None:
    assert all(each.typical_credits > 0 for each in DEFAULT_CATALOGUE)
    assert all(isinstance(each.cost, Cost | None) for each in DEFAULT_CATALOGUE)
