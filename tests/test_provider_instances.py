"""Several instances of one provider: each with its key, host, limits, headers and models."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rushes.domain.errors import NotAuthorised, SettingsError
from rushes.domain.task import Accepted, NotSent, Succeeded
from rushes.files.fetch import fetch_file
from rushes.files.guard.client import GuardedHttp
from rushes.online import check_providers
from rushes.provider_wiring import build_providers, provider_at, result_files_of
from rushes.providers.answers import Words
from rushes.providers.base import SubmitRequest
from rushes.settings import Settings
from rushes.simulator import running_simulator
from rushes.wiring import poll_remote_task
from tests.cli.process import Shell
from tests.harness import items, knobs, run_for, rushes_on
from tests.plugins import ACME, install_plugin
from tests.providers.local_http import Exchange, http1_server

KEY_B = "canary-of-the-second-account"


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "rushes.toml").write_text(text)
    return Settings.load({"RUSHES_DATA_DIR": str(folder / "data"), **environ}, env_file=None)


TWO = """
[models.veo-quick]
like = "fal-veo3.1-fast"
api_model = "fal-ai/veo9"
credits = 7

[models."fal-b/fal-veo3.1-fast"]
credits = 3

[models.own]
like = "fal-b/veo-quick"
api_model = "fal-ai/own"

[aliases.quick]
models = ["fal-veo3.1-fast", "fal-b/fal-veo3.1-fast"]

[providers.fal-b]
like = "fal"
key = "env:KEY_OF_B"
limits = { submits_per_second = 2.5, in_flight_tasks_max = 10, connections_max = 3 }
"""


def test_an_instance_has_its_provider_s_models_under_its_own_name(tmp_path: Path) -> None:
    settings = load(
        tmp_path, TWO, KEY_OF_B=KEY_B, FAL_KEY="the-first-key", RUSHES_MODELS='{"veo-quick": {"credits": 9}}'
    )
    catalogue = settings.catalogue()
    at_b = [model for model in catalogue if model.provider == "fal-b"]
    at_fal = [model for model in catalogue if model.provider == "fal"]
    assert {f"fal-b/{model.name}" for model in at_fal} | {"own"} == {model.name for model in at_b}
    base, other = catalogue.get("veo-quick"), catalogue.get("fal-b/veo-quick")
    assert (base.typical_credits, other.typical_credits) == (9, 9), "the environment's price, for both"
    assert other.options == base.options
    assert catalogue.get("fal-b/fal-ai/veo9") == other, "by its provider's name too"
    assert catalogue.get("fal-ai/veo9") == base
    assert (catalogue.get("own").provider, catalogue.get("own").typical_credits) == ("fal-b", 9)
    assert catalogue.get("fal-b/fal-veo3.1-fast").typical_credits == 3
    quick = catalogue.find_alias("quick")
    assert quick is not None
    assert [model.provider for model in quick.models] == ["fal", "fal-b"]
    assert all(model.takes_new_tasks(0) for model in (*at_b, *at_fal))


def test_without_its_key_only_an_instance_s_models_are_unavailable(tmp_path: Path) -> None:
    catalogue = load(tmp_path, TWO, FAL_KEY="the-first-key").catalogue()
    why = {model.provider: model.unavailable for model in catalogue if model.provider in ("fal", "fal-b")}
    assert why == {"fal": None, "fal-b": "KEY_OF_B is not set"}
    catalogue = load(tmp_path, TWO, KEY_OF_B=KEY_B).catalogue()
    why = {model.provider: model.unavailable for model in catalogue if model.provider in ("fal", "fal-b")}
    assert why == {"fal": "FAL_KEY is not set", "fal-b": None}
    assert catalogue.get("veo-quick").unavailable == "FAL_KEY is not set", "an operator's own model too"
    assert catalogue.get(catalogue.default_model).provider == "fal-b", "the only one with a key"
    refused = load(tmp_path, TWO + 'headers = { x-team = "env:TEAM" }', KEY_OF_B=KEY_B)
    assert refused.provider_account("fal-b").missing == "TEAM"


def test_an_instance_s_model_may_be_the_default(tmp_path: Path) -> None:
    keys = {"KEY_OF_B": KEY_B, "FAL_KEY": "the-first-key"}
    by_variable = load(tmp_path, TWO, RUSHES_DEFAULT_MODEL="fal-b/fal-veo3.1-fast", **keys)
    assert by_variable.catalogue().default_model == "fal-b/fal-veo3.1-fast"
    by_file = load(tmp_path, 'default_model = "fal-b/veo-quick"\n' + TWO, **keys)
    assert by_file.catalogue().default_model == "fal-b/veo-quick"


def test_the_check_with_the_network_asks_each_instance_with_its_own_key(tmp_path: Path) -> None:
    with running_simulator(knobs(api_key=KEY_B)) as simulator:
        environ = {"GRSAI_HOST": simulator.base_url, "GRSAI_API_KEY": "another-key", "KEY_OF_B": KEY_B}
        settings = load(tmp_path, SECOND.format(host=simulator.base_url), **environ)
        found = {check.provider: check.ok for check in asyncio.run(check_providers(settings))}
    assert found["grsai-b"]
    assert not found["grsai"]


def test_another_currency_is_another_price_list(tmp_path: Path) -> None:
    text = '[providers.b]\nlike = "fal"\nkey = "env:B"\n'
    same = load(tmp_path, text + 'currency = "USD"', B=KEY_B).catalogue()
    other = load(
        tmp_path,
        text + 'currency = "EUR"\n[models."b/fal-veo3.1"]\n'
        'cost = { per_video = 1, currency = "EUR", as_of = 2026-11-01, source = "bill" }',
        B=KEY_B,
    ).catalogue()
    known = [model.name for model in same if model.provider == "fal" and model.cost is not None]
    assert known
    for name in known:
        assert same.get(f"b/{name}").cost == same.get(name).cost
        assert name == "fal-veo3.1" or other.get(f"b/{name}").cost is None
    cost = other.get("b/fal-veo3.1").cost
    assert cost is not None
    assert cost.currency == "EUR"


def test_each_has_its_key_and_limits(tmp_path: Path) -> None:
    settings = load(tmp_path, TWO, KEY_OF_B=KEY_B, FAL_KEY="the-first-key", RUSHES_SUBMITS_PER_SECOND="7")
    accounts = settings.provider_accounts()
    assert (accounts["fal"].key, accounts["fal-b"].key) == ("the-first-key", KEY_B)
    assert accounts["fal"].host == accounts["fal-b"].host == "https://queue.fal.run"

    async def limits() -> Mapping[str, Any]:
        providers = build_providers(settings)
        try:
            assert [name for name, provider in providers.items() if provider.name != name] == []
            return {name: provider.limits for name, provider in providers.items()}
        finally:
            await providers.close()

    found = asyncio.run(limits())
    assert sorted(found) == ["fal", "fal-b"]
    assert (found["fal"].submits_per_second, found["fal"].in_flight_tasks_max) == (7, None)
    b = found["fal-b"]
    assert (b.submits_per_second, b.in_flight_tasks_max, b.connections_max) == (2.5, 10, 3)


def test_no_text_shows_its_secrets(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        TWO + 'headers = { x-team = "env:TEAM_SECRET" }\nquery = { sig = "env:SIGNATURE" }',
        KEY_OF_B=KEY_B,
        TEAM_SECRET="canary-team",
        SIGNATURE="canary-signature",
    )
    account = settings.provider_account("fal-b")
    assert (account.headers, account.query) == ({"x-team": "canary-team"}, {"sig": "canary-signature"})
    shown = {line.name: line for line in settings.effective()}
    assert shown["KEY_OF_B"] == ("KEY_OF_B", "********", "environment")
    assert "canary" not in f"{settings!r} {account!r} {settings.provider_instances!r} {shown!r}"
    words = Words(account.key, *account.secrets)
    assert words.clean("no canary-team, no canary-signature, no " + KEY_B) == "no ***, no ***, no ***"


AZURE = """
[providers.azure]
like = "openai-video"
key = "env:AZURE_KEY"
host = "{url}/openai/v1"
headers = {{ api-key = "env:AZURE_KEY", Authorization = "", X-Region = "sweden central" }}
query = {{ api-version = "preview" }}
"""


def test_headers_and_query_go_with_every_request_and_nowhere_else(tmp_path: Path) -> None:
    video = b'{"id": "v1", "status": "completed"}'
    elsewhere: list[Exchange] = []
    place = ""

    async def answer(exchange: Exchange) -> None:
        if urlsplit(exchange.path).path.endswith("/content"):
            await exchange.answer(302, headers={"Location": f"{place}/file.mp4"})
        else:
            await exchange.answer(200, video, {"Content-Type": "application/json"})

    async def keep(exchange: Exchange) -> None:
        elsewhere.append(exchange)
        await exchange.answer(200, b"the bytes")

    async def scenario() -> list[Exchange]:
        nonlocal place
        async with http1_server(answer) as server, http1_server(keep) as other:
            place = other.url
            settings = load(tmp_path, AZURE.format(url=server.url), AZURE_KEY=KEY_B)
            providers = build_providers(settings)
            try:
                azure = providers["azure"]
                request = SubmitRequest(api_model="sora-2", prompt="a fox")
                assert await azure.submit(request) == Accepted("v1")
                result = await azure.poll_remote_task("v1")
                assert isinstance(result, Succeeded)
                assert "api-version" not in result.video_url, "what is stored is the link alone"
                http = GuardedHttp(allow_private=True)
                way = result_files_of(settings, providers)["azure"]
                assert (await fetch_file(http, result.video_url, tmp_path / "v.mp4", way=way))[0] == 9
                await http.close()
            finally:
                await providers.close()
            return list(server.requests)

    requests = asyncio.run(scenario())
    assert [(one.method, urlsplit(one.path).path) for one in requests] == [
        ("POST", "/openai/v1/videos"),
        ("GET", "/openai/v1/videos/v1"),
        ("GET", "/openai/v1/videos/v1/content"),
    ]
    for one in requests:
        assert parse_qs(urlsplit(one.path).query) == {"api-version": ["preview"]}
        assert (one.headers["api-key"], one.headers["x-region"]) == (KEY_B, "sweden central")
        assert "authorization" not in one.headers
    (file,) = elsewhere
    assert file.path == "/file.mp4"
    assert KEY_B not in str(file.headers)


def test_a_query_is_added_to_the_one_that_is_there(tmp_path: Path) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"request_id": "r1"}')

    async def scenario() -> str:
        async with http1_server(answer) as server:
            text = f'[providers.b]\nlike = "fal"\nkey = "env:B"\nhost = "{server.url}"\n'
            text += 'query = { team = "a&b" }'
            providers = build_providers(load(tmp_path, text, B=KEY_B))
            try:
                request = SubmitRequest(
                    api_model="x/y", prompt="a fox", callback_url="https://me.example/c?d=1"
                )
                await providers["b"].submit(request)
            finally:
                await providers.close()
            return server.requests[0].path

    query = parse_qs(urlsplit(asyncio.run(scenario())).query)
    assert query == {"fal_webhook": ["https://me.example/c?d=1"], "team": ["a&b"]}


SECOND = """
[providers.grsai-b]
like = "grsai"
key = "env:KEY_OF_B"
host = "{host}"

[aliases.any]
models = ["sora-2", "grsai-b/sora-2"]
"""


def test_a_batch_is_made_by_two_instances_each_with_its_own_key(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        with (
            running_simulator(knobs(api_key="test-key")) as first,
            running_simulator(knobs(api_key=KEY_B)) as second,
        ):
            config = tmp_path / "rushes.toml"
            config.write_text(SECOND.format(host=second.base_url))
            environ = {"RUSHES_CONFIG": str(config), "KEY_OF_B": KEY_B}
            async with rushes_on(database_url, first.base_url, environ) as rushes:
                made = items(8, ("sora-2", "grsai-b/sora-2"))
                batch_id = (await rushes.create_batch(made))["batch_id"]
                assert (await run_for(rushes, batch_id))["status"] == "succeeded"
                found = await rushes.items(batch_id)
                for item in found:
                    place = second if item["model"] == "grsai-b/sora-2" else first
                    assert item["video_url"].startswith(place.base_url)
                one = next(item for item in found if item["model"] == "grsai-b/sora-2")
                asked = await poll_remote_task(rushes.settings, "grsai-b", one["remote_task_id"])
                assert isinstance(asked, Succeeded)
                assert (await rushes.audit()).ok
            assert (first.report().deliveries, second.report().deliveries) == (4, 4)

    asyncio.run(scenario())


def test_an_instance_whose_key_is_refused_hands_on_to_the_other(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        with (
            running_simulator(knobs(api_key="another-key")) as first,
            running_simulator(knobs(api_key=KEY_B)) as second,
        ):
            config = tmp_path / "rushes.toml"
            config.write_text(SECOND.format(host=second.base_url))
            environ = {"RUSHES_CONFIG": str(config), "KEY_OF_B": KEY_B}
            async with rushes_on(database_url, first.base_url, environ) as rushes:
                batch_id = (await rushes.create_batch(items(6, ("any",))))["batch_id"]
                batch = await run_for(rushes, batch_id)
                assert batch["status"] == "succeeded"
                assert {item["model"] for item in await rushes.items(batch_id)} == {"grsai-b/sora-2"}
                assert batch["credits_settled"] == batch["credits_reserved"]
                assert (await rushes.audit()).ok
            assert (first.report().deliveries, second.report().deliveries) == (0, 6)

    asyncio.run(scenario())


def test_a_run_ends_by_the_refused_key_when_no_other_model_takes_what_waits(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.library.work.FAILOVER_SECONDS", 2.0)

    async def scenario() -> None:
        with running_simulator(knobs(api_key="another-key")) as first, running_simulator(knobs()) as second:
            config = tmp_path / "rushes.toml"
            text = SECOND.format(host=second.base_url).replace("grsai-b/sora-2", "grsai-b/veo-flash")
            config.write_text(text)
            environ = {"RUSHES_CONFIG": str(config), "KEY_OF_B": KEY_B}
            async with rushes_on(database_url, first.base_url, environ) as rushes:
                item = {"prompt": "a fox", "model": "any", "duration": 10}  # Veo has none
                batch_id = (await rushes.create_batch([item]))["batch_id"]
                with pytest.raises(NotAuthorised, match="the key was refused"):
                    await run_for(rushes, batch_id)
                assert (await rushes.batch(batch_id))["pending_count"] == 1
            assert second.report().submits == 0

    asyncio.run(scenario())


def test_the_host_of_before_is_asked_with_the_instance_s_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(api_key=KEY_B)) as before:
            text = SECOND.format(host="https://new.example")
            settings = load(tmp_path, text, KEY_OF_B=KEY_B, GRSAI_API_KEY="test-key")
            provider = provider_at(settings, "grsai-b", before.base_url)
            assert provider is not None
            assert isinstance(await provider.submit(SubmitRequest("sora-2", "a fox")), Accepted)
            other = provider_at(settings, "grsai", before.base_url)
            assert other is not None
            assert isinstance(await other.submit(SubmitRequest("sora-2", "a fox")), NotSent)

    asyncio.run(scenario())


def test_another_package_s_provider_has_instances_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        ACME
        + "\nfrom rushes.plugin import HttpProvider\n"
        + (
            "class Acme(HttpProvider):\n"
            "    name = 'acme'\n"
            "    def __init__(self, config):\n"
            "        super().__init__(config, headers={'x-key': config.api_key})\n"
            "    async def submit(self, request): ...\n"
            "    async def poll_remote_task(self, remote_task_id): ...\n"
            "def build(config):\n"
            "    return Acme(config)\n"
        )
    )
    install_plugin(tmp_path, monkeypatch, "acme", code)
    text = '[providers.acme-b]\nlike = "acme"\nkey = "env:B"\nhost = "https://acme.example"'
    settings = load(
        tmp_path,
        text,
        B=KEY_B,
        RUSHES_PROVIDER_ACME_KEY="first-key",
        RUSHES_PROVIDER_ACME_HOST="https://a.example",
    )

    async def names() -> dict[str, str]:
        providers = build_providers(settings)
        await providers.close()
        return {name: provider.name for name, provider in providers.items()}

    assert asyncio.run(names()) == {"acme": "acme", "acme-b": "acme-b"}
    assert settings.catalogue().get("acme-b/acme-1").provider == "acme-b"


def test_models_and_doctor_name_the_instance(tmp_path: Path) -> None:
    (tmp_path / "rushes.toml").write_text(TWO)
    environ = {"KEY_OF_B": KEY_B, "FAL_KEY": "the-first-key"}
    shell = Shell(tmp_path, {"RUSHES_DATA_DIR": str(tmp_path / "data"), **environ})
    models = {m["name"]: m for m in shell.call("models", "--json").document["models"]}
    assert (models["fal-veo3.1"]["provider"], models["fal-veo3.1"]["instance"]) == ("fal", None)
    at_b = models["fal-b/fal-veo3.1"]
    assert (at_b["provider"], at_b["instance"]) == ("fal", "fal-b")
    report = shell.call("doctor", "--json")
    providers = {one["name"]: one for one in json.loads(report.stdout)["providers"]}
    assert (providers["fal-b"]["like"], providers["fal-b"]["has_key"]) == ("fal", True)
    assert KEY_B not in report.stdout + report.stderr


B = '[providers.b]\nlike = "fal"\nkey = "env:KEY_OF_B"\n'
MISTAKES = [
    (B + "headers = 5", 4, "providers.b.headers: must be a table"),
    (B + "headers.x = 5", 4, "providers.b.headers.x: must be text, not 5"),
    (B + 'headers."a b" = "5"', 4, "providers.b.headers.a b: is no name of an HTTP header"),
    (B + 'headers.Host = "x"', 4, "providers.b.headers.Host: belongs to the request's form"),
    (B + 'headers.x = "é"', 4, "providers.b.headers.x: must be printable ASCII"),
    (B + 'headers.x = "a\\nb"', 4, "providers.b.headers.x: must be at most 4096 printable characters"),
    (B + "\nquery.v = 1", 5, "providers.b.query.v: must be text, not 1"),
    (B + 'header.x = "5"', 4, 'providers.b.header: unknown name; did you mean "headers"?'),
    ('[providers.b]\nlike = "openai-video"\nkey = "env:K"', 1, "providers.b.host: missing: openai-video"),
    ('[providers.b]\nlike = "fal"\nkey = "env:BAD"', 3, "providers.b.key: BAD must be printable ASCII"),
    (B + '[models."b/nobody"]\ncredits = 5', 4, '"b/nobody".model: unknown model "b/nobody"'),
    (B + '[aliases.a]\nmodels = ["b/fal-veo33"]', 5, '"a".models: unknown model "b/fal-veo33"; did you'),
]


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, KEY_OF_B=KEY_B, BAD="secret value")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'rushes.toml'}:{line}: {message}"), said
    assert "\n" not in said
    assert "secret value" not in said
