"""Services with two sides, each with its keys and hosts: one family, one entry for each model."""

import asyncio
from pathlib import Path

import pytest

from rushes.api.compatible.model_views import all_models
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.instances import FAMILIES, family_of
from rushes.provider_wiring import build_providers
from rushes.settings import Settings
from tests.cli.process import Shell

NAME = "seedance-2.0"


def load(folder: Path, text: str = "", **environ: str) -> Settings:
    (folder / "rushes.toml").write_text(text)
    return Settings.load({"RUSHES_DATA_DIR": str(folder / "data"), **environ}, env_file=None)


@pytest.mark.parametrize(
    ("keys", "home", "other"),
    [
        ({}, "ark-cn", "ark-intl"),
        ({"ARK_API_KEY": "k"}, "ark-cn", "ark-intl"),
        ({"BYTEPLUS_API_KEY": "k"}, "ark-intl", "ark-cn"),
        ({"ARK_API_KEY": "k", "BYTEPLUS_API_KEY": "k"}, "ark-cn", "ark-intl"),
    ],
)
def test_a_plain_name_is_the_first_instance_s_that_has_a_key(
    tmp_path: Path, keys: dict[str, str], home: str, other: str
) -> None:
    catalogue = load(tmp_path, **keys).catalogue()
    word = {"ark-cn": "doubao", "ark-intl": "dreamina"}
    plain = catalogue.get(NAME)
    assert (plain.provider, plain.api_model) == (home, f"{word[home]}-seedance-2-0-260128")
    second = catalogue.get(f"{other}/{NAME}")
    assert (second.provider, second.api_model) == (other, f"{word[other]}-seedance-2-0-260128")
    assert catalogue.get(f"{home}/{NAME}") == plain, "with its instance's name too"
    assert plain.unavailable is None
    assert len(catalogue) == len(DEFAULT_CATALOGUE)


def test_what_an_operator_says_of_either_name_holds(tmp_path: Path) -> None:
    text = f'[models."{NAME}"]\ncredits = 7\n[models."ark-intl/seedance-2.5"]\ncredits = 9\n'
    text += f'[aliases.best]\nmodels = ["{NAME}", "ark-intl/{NAME}"]\n'
    for keys in ({"ARK_API_KEY": "k"}, {"BYTEPLUS_API_KEY": "k"}):
        catalogue = load(tmp_path, text, **keys).catalogue()
        assert catalogue.get(NAME).typical_credits == 7
        assert catalogue.get("ark-intl/seedance-2.5").typical_credits == 9


def test_another_account_of_a_region_has_its_models_under_its_own_name(tmp_path: Path) -> None:
    text = '[providers.ark-b]\nlike = "ark-intl"\nkey = "env:KEY_B"\n'
    settings = load(tmp_path, text, KEY_B="k", ARK_API_KEY="k")
    model = settings.catalogue().get(f"ark-b/{NAME}")
    assert (model.provider, model.api_model) == ("ark-b", "dreamina-seedance-2-0-260128")
    assert settings.provider_account("ark-b").host == "https://ark.ap-southeast.bytepluses.com/api/v3"


def test_each_region_is_a_provider_of_its_own(tmp_path: Path) -> None:
    settings = load(tmp_path, ARK_API_KEY="cn", BYTEPLUS_API_KEY="intl", ARK_HOST="https://cn.example/api/v3")

    async def names() -> dict[str, str]:
        providers = build_providers(settings)
        await providers.close()
        return {name: provider.name for name, provider in providers.items()}

    assert asyncio.run(names()) == {"ark-cn": "ark-cn", "ark-intl": "ark-intl"}
    assert settings.provider_account("ark-cn").host == "https://cn.example/api/v3"
    assert [family_of(name) for name in FAMILIES["ark"]] == ["ark", "ark"]


def test_a_model_is_listed_once_with_its_family_and_where_else_it_is(tmp_path: Path) -> None:
    environ = {"RUSHES_DATA_DIR": str(tmp_path / "data"), "BYTEPLUS_API_KEY": "k"}
    document = Shell(tmp_path, environ).call("models", "--json").document
    found = [model for model in document["models"] if model["name"].endswith(NAME)]
    assert len(found) == 1
    assert (found[0]["provider"], found[0]["instance"]) == ("ark", "ark-intl")
    assert found[0]["also_at"] == [
        {"name": f"ark-cn/{NAME}", "instance": "ark-cn", "unavailable": "ARK_API_KEY is not set"}
    ]
    shown = Shell(tmp_path, environ).call("models", "show", NAME).stdout
    assert f"also as ark-cn/{NAME} (ARK_API_KEY is not set)\n" in shown
    without = Shell(tmp_path, {"RUSHES_DATA_DIR": str(tmp_path / "data")}).call("models", "--json").document
    assert {m["instance"] for m in without["models"] if m["provider"] == "ark"} == {"ark-cn"}


@pytest.mark.parametrize(
    ("keys", "listed"),
    [
        ({"ARK_API_KEY": "k"}, [NAME]),
        ({"ARK_API_KEY": "k", "BYTEPLUS_API_KEY": "k"}, [NAME, f"ark-intl/{NAME}"]),
    ],
)
def test_tenants_see_another_instance_s_model_where_it_can_be_bought(
    tmp_path: Path, keys: dict[str, str], listed: list[str]
) -> None:
    found = all_models(load(tmp_path, **keys).catalogue(), 1_800_000_000.0)
    ours = [model for model in found if model["id"].endswith(NAME)]
    assert [model["id"] for model in ours] == listed
    assert {model["rushes"]["provider"] for model in ours} == {"ark"}
