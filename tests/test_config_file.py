"""`rushes.toml`: what it may say, where it is found, and the line of each mistake."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from rushes.domain.catalogue.options import DecimalNumber, YesNo
from rushes.domain.catalogue.price import Money
from rushes.domain.errors import SettingsError
from rushes.settings import Settings

WHOLE = """\
default_model = "mine"
credit_value = "0.01 USD"

[models."runway-gen4.5"]
price = { per_second = 11 }

[models.sora-2]
removed = true

[models.mine]
provider = "fal"
api_model = "fal-ai/x"
price = { per_second = 5, by.audio = { true = 1.5 } }
cost = { per_second = 0.03, currency = "CNY", as_of = 2026-11-01, source = "my bill" }

[models.mine.options]
duration = { kind = "whole_number", minimum = 2, maximum = 10, default = 5, wire = { template = "{}s" } }
audio = { kind = "yes_no", default = false }
strength = { kind = "decimal", minimum = 0, maximum = 1.5, default = 0.5 }

[aliases.fast]
models = ["mine", "runway-gen4.5"]
prices = "own"

[currencies]
CNY = 0.14

[providers.fal-b]
like = "fal"
key = "env:FAL_KEY_B"
host = "https://queue.example.com"
currency = "EUR"
limits = { submits_per_second = 2.5, in_flight_tasks_max = 10 }
"""


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "rushes.toml").write_text(text)
    return Settings.load({"RUSHES_DATA_DIR": str(folder / "data"), **environ}, env_file=None)


def test_models_prices_aliases_currencies_and_providers(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    catalogue = settings.catalogue()
    assert catalogue.default_model == "mine"
    assert catalogue.find("sora-2") is None
    assert catalogue.get("runway-gen4.5").price_of({"duration": 10}) == 110
    mine = catalogue.get("mine")
    assert mine.price_of({"audio": True}) == 38
    assert mine.options["audio"] == YesNo(default=False)
    assert mine.options["strength"] == DecimalNumber(Decimal(0), Decimal("1.5"), default=0.5)
    expected = mine.cost_of({"duration": 10})
    assert expected is not None
    assert expected.money == Money(300_000, "CNY")
    fast = catalogue.find_alias("fast")
    assert fast is not None
    assert (fast.own_prices, [model.name for model in fast.models]) == (True, ["mine", "runway-gen4.5"])
    assert settings.currency_rates == {"CNY": Fraction(14, 100)}
    fal = settings.provider_instances["fal-b"]
    assert (fal.like, fal.key_variable, fal.host) == ("fal", "FAL_KEY_B", "https://queue.example.com")
    assert (fal.currency, fal.limits) == ("EUR", {"submits_per_second": 2.5, "in_flight_tasks_max": 10})
    # 25 credits are 0.25 USD; 0.15 CNY are 0.021 USD
    margin = settings.valuation.margin(25, {"CNY": 150_000}, is_known=True)
    assert margin == Money(229_000, "USD")
    assert settings.valuation.margin(25, {"EUR": 1}, is_known=True) is None, "no rate"
    assert settings.valuation.margin(25, {}, is_known=False) is None, "no cost"


def test_the_environment_wins(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        WHOLE,
        RUSHES_DEFAULT_MODEL="veo-pro",
        RUSHES_CREDIT_VALUE="0.02 EUR",
        RUSHES_MODELS='{"runway-gen4.5": {"credits": 3}}',
    )
    assert settings.catalogue().default_model == "veo-pro"
    assert settings.catalogue().get("runway-gen4.5").price_of({"duration": 10}) == 3
    assert settings.credit_value is not None
    assert settings.credit_value.describe() == "0.02 EUR"
    sources = {line.name: line.source for line in settings.effective()}
    assert sources["RUSHES_CREDIT_VALUE"] == "environment"
    from_file = {line.name: line for line in load(tmp_path, WHOLE).effective()}
    assert from_file["RUSHES_CREDIT_VALUE"][1:] == ("0.01 USD", "rushes.toml")
    assert from_file["RUSHES_CONFIG"][1:] == (str(tmp_path / "rushes.toml"), "default")


def test_a_file_is_named_by_rushes_config_and_must_then_be_there(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[models.sora-2]\ncredits = 77\n")
    settings = load(tmp_path, WHOLE, RUSHES_CONFIG=str(other))
    assert settings.config_file == other
    assert settings.catalogue().get("sora-2").typical_credits == 77
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path, WHOLE, RUSHES_CONFIG=str(tmp_path / "nowhere.toml"))


MISTAKES = [
    ("[model.x]", 1, 'model: unknown name; did you mean "models"?'),
    ("\n[models.sora-2]\ncredit = 5", 3, 'sora-2.credit: cannot be overridden; did you mean "credits"?'),
    ("[models.sora-2]\ncredits = -5", 2, "sora-2: credits must be from 0 to 1000000"),
    ("[models.sora-2]\ncredits = 2.5", 2, "sora-2.credits: must be a whole number"),
    ("[models.sora-2]\nprice = { per_video = 2.5 }", 2, "sora-2.price.per_video: must be whole credits"),
    (
        "[models.sora-2]\nprice.per_video = 5\nprice.by.size.large = 2",
        3,
        "sora-2: price: by.size: the option size needs a default",
    ),
    (
        "[models.sora-2]\n\nprice = { per_second = 5 }",
        3,
        "sora-2: price: per_second: the option",
    ),
    ("[models.nobody]\ncredits = 5", 1, '"nobody".model: unknown model'),
    ('[aliases.a]\nmodels = ["sora-3"]', 2, '"a".models: unknown model "sora-3"; did you mean'),
    ('[models.a]\nalias_of = ["sora-3"]', 2, '"a".alias_of: unknown model "sora-3"; did you mean'),
    (
        '[models.cheap]\nlike = "sora-2"\nprovider = "fal"\napi_model = "x"',
        3,
        "cheap.provider: cannot be overridden: a model that is there already, or is like another,",
    ),
    ('[models.sora-2]\napi_model = "x"', 2, "sora-2.api_model: cannot be overridden: a model that is there"),
    (
        "[models.sora-2]\nenabled = false",
        2,
        "sora-2.enabled: a model has no such field; write disabled = true",
    ),
    (
        "[models.sora-2]\nenabled = true",
        2,
        "sora-2.enabled: a model has no such field; write disabled = false",
    ),
    ("[aliases.a]\ncredits = 5", 1, "aliases.a: models: missing"),
    ('[aliases.a]\nmodel = ["sora-2"]', 2, 'aliases.a.model: unknown name; did you mean "models"?'),
    ("[currencies]\nUSD = 1\nBTC = 5", 3, "currencies.BTC: must be a currency of ISO 4217"),
    ("[currencies]\nCNY = 0", 2, "currencies.CNY: must be a number above 0"),
    ('[currencies]\nCNY = "0.1"', 2, "currencies.CNY: must be a number above 0"),
    ('[providers.b]\nlike = "fall"', 2, "providers.b.like: must be one of"),
    ('[providers.b]\nlike = "fal"\nkey = "secret"', 3, "providers.b.key: must name a variable"),
    ('[providers.fal]\nlike = "fal"', 1, "providers.fal: is a provider already"),
    (
        '[providers.b]\nlike = "fal"\nkey = "env:K"\nhost = "http://example.com"',
        4,
        "providers.b.host: must be https",
    ),
    (
        '[providers.b]\nlike = "fal"\nkey = "env:K"\nlimits.in_flight_tasks_max = 1.5',
        4,
        "providers.b.limits.in_flight_tasks_max: must be a whole number above 0",
    ),
    ('default_model = "sora2"', 1, "default_model: "),
    ("a = 1\na = 2", 2, "not TOML: "),
    ("x = [", 1, "not TOML: "),
]


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'rushes.toml'}:{line}: {message}"), said
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "value", ["0.01", "USD 0.01", "-1 USD", "0.01 usd", "0.01 BTC", "1e9 USD", "nan USD"]
)
def test_a_credit_value_is_an_amount_and_a_currency(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="RUSHES_CREDIT_VALUE: must be an amount and a currency"):
        Settings.load({"RUSHES_CREDIT_VALUE": value, "RUSHES_DATA_DIR": str(tmp_path / "d")}, env_file=None)


def test_an_unknown_model_of_an_alias_is_refused_in_the_words_of_the_file_with_a_short_list(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, '[aliases.a]\nmodels = ["nope"]').catalogue()
    message = refused.value.message
    assert 'rushes.toml:2: "a".models: unknown model "nope"; known: ' in message
    assert message.endswith(" more")
    assert len(message) < 400
