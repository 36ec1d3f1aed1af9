"""Settings: defaults, where values come from, and errors that name the variable but never a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from rushes.domain.archive import Retention
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError, SettingsError
from rushes.providers.registry import installed_providers, plugin_models
from rushes.setting_values import MASK, ProviderAccount, masked_database_url
from rushes.settings import Settings, field_name_of_variable
from tests.plugins import ACME, install_plugin

CANARY = "canary-5f1c"


def load(**environ: str) -> Settings:
    return Settings.load(environ, None)


def test_defaults_need_no_environment() -> None:
    settings = load()
    assert settings.database_url == "sqlite:///rushes-data/rushes.db"
    assert settings.data_dir == Path("rushes-data")
    assert settings.base_url is None
    assert settings.grsai_api_key is None
    assert settings.grsai_host == "https://grsai.dakka.com.cn"
    assert (settings.poll_interval_min_seconds, settings.poll_interval_max_seconds) == (1, 30)
    assert (settings.lease_seconds, settings.request_timeout_seconds) == (30, 30)
    assert (settings.unconfirmed_grace_seconds, settings.unconfirmed_policy) == (900, "refund")
    assert settings.allow_private_urls is False
    assert settings.submits_per_second is settings.polls_per_second is None
    assert settings.in_flight_tasks_max is settings.connections_max is None
    assert {line.source for line in settings.effective()} == {"default"}


def test_every_variable_reaches_its_field(tmp_path: Path) -> None:
    config = tmp_path / "rushes.toml"
    config.write_text("")
    environ = {
        "RUSHES_DATA_DIR": "d",
        "RUSHES_DATABASE_URL": "postgres://u@h/db",
        "RUSHES_SQLITE_BUSY_TIMEOUT_SECONDS": "3",
        "RUSHES_DATABASE_TIMEOUT_SECONDS": "12",
        "RUSHES_STOP_SECONDS": "9",
        "RUSHES_ARCHIVE_URL": "s3://bucket/videos",
        "RUSHES_ARCHIVE_FILE_BYTES_MAX": "1000",
        "RUSHES_ARCHIVE_DOWNLOADS_MAX": "2",
        "RUSHES_ARCHIVE_KEEP_DAYS": "30",
        "RUSHES_BAD_FILES": "refunded",
        "RUSHES_UPLOAD_BYTES_MAX": "1000000",
        "RUSHES_UPLOAD_KEEP_DAYS": "3",
        "RUSHES_KEEP_DAYS": "30",
        "RUSHES_ARCHIVE_KEEP_DAYS_BY_ACCOUNT": '{"acme": 90, "museum": null}',
        "RUSHES_BASE_URL": "https://example.com/videos/",
        "RUSHES_WORKER_SECRET": "w",
        "RUSHES_WEBHOOK_SECRET": "whsec_abc",
        "RUSHES_METRICS_TOKEN": "m",
        "RUSHES_WEBHOOK_SECRET_PREVIOUS": "whsec_old",
        "RUSHES_WORKER_SECRET_PREVIOUS": "w_old",
        "RUSHES_METRICS_TOKEN_PREVIOUS": "m_old",
        "RUSHES_DASHBOARD_SECRET": "twelve-chars",
        "RUSHES_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
        "RUSHES_CORS_ORIGINS": "https://app.example.com, http://LOCALHOST:3000",
        "RUSHES_CLIENTS_MAX": "100",
        "RUSHES_CLIENTS_PER_ADDRESS_MAX": "20",
        "RUSHES_BODIES_PER_ADDRESS_MAX": "5",
        "RUSHES_STREAMS_MAX": "50",
        "RUSHES_STREAMS_PER_ACCOUNT_MAX": "7",
        "RUSHES_ALLOW_PRIVATE_URLS": "true",
        "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.05",
        "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.5",
        "RUSHES_POLLS_OVER_LINES": "false",
        "RUSHES_LEASE_SECONDS": "2",
        "RUSHES_UNCONFIRMED_GRACE_SECONDS": "0",
        "RUSHES_NOT_FOUND_GRACE_SECONDS": "7",
        "RUSHES_UNCONFIRMED_POLICY": "resubmit",
        "GRSAI_API_KEY": "sk-1",
        "GRSAI_HOST": "http://127.0.0.1:8080/",
        "GEMINI_API_KEY": "g-1",
        "GEMINI_HOST": "http://127.0.0.1:8081",
        "FAL_KEY": "id:secret",
        "FAL_HOST": "http://127.0.0.1:8082",
        "RUNWAYML_API_SECRET": "key_1",
        "RUNWAYML_HOST": "http://127.0.0.1:8083",
        "ARK_API_KEY": "a-1",
        "ARK_HOST": "http://127.0.0.1:8085/api/v3/",
        "BYTEPLUS_API_KEY": "b-1",
        "BYTEPLUS_HOST": "http://127.0.0.1:8086/api/v3",
        "DASHSCOPE_API_KEY": "d-1",
        "DASHSCOPE_HOST": "http://127.0.0.1:8087/api/v1",
        "DASHSCOPE_INTL_API_KEY": "d-2",
        "DASHSCOPE_INTL_HOST": "http://127.0.0.1:8088/api/v1",
        "MINIMAX_API_KEY": "m-1",
        "MINIMAX_HOST": "http://127.0.0.1:8089",
        "XAI_API_KEY": "x-1",
        "XAI_HOST": "http://127.0.0.1:8090",
        "VERTEX_CREDENTIALS": "/keys/robot.json",
        "VERTEX_HOST": "https://europe-west4-aiplatform.googleapis.com",
        "VERTEX_STORAGE_URI": "gs://my-bucket/videos",
        "REPLICATE_API_TOKEN": "r8_1",
        "REPLICATE_HOST": "http://127.0.0.1:8088",
        "KLING_WEBHOOK_SECRET": "whsec_a2xpbmctc2VjcmV0LTE",
        "REPLICATE_WEBHOOK_SECRET": "whsec_cmVwbGljYXRlLXNlY3JldA",
        "KLING_API_KEY": "access:secret-1",
        "KLING_HOST": "http://127.0.0.1:8087",
        "OPENAI_VIDEO_API_KEY": "o-1",
        "OPENAI_VIDEO_BASE_URL": "http://127.0.0.1:8084/v1/",
        "RUSHES_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://one.example:3128",
        "HTTP_PROXY": "http://two.example:3128",
        "ALL_PROXY": "http://three.example:3128",
        "NO_PROXY": "internal.example",
        "RUSHES_PROXY_GUARDS_URLS": "true",
        "RUSHES_REQUEST_TIMEOUT_SECONDS": "5",
        "RUSHES_SUBMITS_PER_SECOND": "2.5",
        "RUSHES_POLLS_PER_SECOND": "50",
        "RUSHES_IN_FLIGHT_TASKS_MAX": "10",
        "RUSHES_CONNECTIONS_MAX": "4",
        "RUSHES_WAIT_SECONDS_MAX": "3600",
        "RUSHES_CONFIRM_CREDITS": "50",
        "RUSHES_FAILOVER_QUEUE_MAX": "50",
        "RUSHES_GATE": "true",
        "RUSHES_JUDGE_URL": "http://10.0.0.5:9000/judge",
        "RUSHES_JUDGE_COMMAND": "sh -c true",
        "RUSHES_JUDGE_SECONDS": "30",
        "RUSHES_CONFIG": str(config),
        "RUSHES_CREDIT_VALUE": "0.01 USD",
        "RUSHES_DEFAULT_MODEL": "veo-pro",
        "RUSHES_MODELS": '{"sora-2": {"credits": 3}}',
    }
    assert set(environ) == set(field_name_of_variable())
    settings = load(**environ)
    assert settings.database_url == "postgres://u@h/db"
    assert settings.base_url == "https://example.com/videos"
    assert settings.grsai_host == "http://127.0.0.1:8080"
    assert settings.grsai_api_key is not None
    assert settings.grsai_api_key.get_secret_value() == "sk-1"
    assert (settings.poll_interval_min_seconds, settings.poll_interval_max_seconds) == (0.05, 0.5)
    assert settings.unconfirmed_policy == "resubmit"
    assert (settings.submits_per_second, settings.in_flight_tasks_max) == (2.5, 10)
    assert settings.catalogue().get("sora-2").typical_credits == 3
    assert settings.archive_retention == Retention(30, {"acme": 90, "museum": None})
    assert settings.provider_account("fal") == ProviderAccount("http://127.0.0.1:8082", "id:secret")
    assert settings.provider_account("openai-video") == ProviderAccount("http://127.0.0.1:8084/v1", "o-1")
    assert settings.provider_account("ark-cn") == ProviderAccount("http://127.0.0.1:8085/api/v3", "a-1")
    assert {line.source for line in settings.effective()} == {"environment"}
    assert settings.unknown_variables == ()
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8"]
    assert settings.clients_per_address_max == 20


def test_origins_are_those_of_pages() -> None:
    settings = load(RUSHES_CORS_ORIGINS="https://App.example.com, http://localhost:3000")
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:3000")
    assert load(RUSHES_CORS_ORIGINS="*").cors_origins == ("*",)
    for value in ("app.example.com", "https://app.example.com/", "https://a.example.com,,*", "null"):
        with pytest.raises(SettingsError, match="RUSHES_CORS_ORIGINS"):
            load(RUSHES_CORS_ORIGINS=value)


@pytest.mark.parametrize("value", ["proxy", "10.0.0.1/8", "1.2.3.4,,5.6.7.8", "*"])
def test_a_proxy_is_named_by_its_address(value: str) -> None:
    with pytest.raises(SettingsError, match="no address or network"):
        load(RUSHES_TRUSTED_PROXIES=value)


def test_a_stop_takes_as_long_as_a_request_may_and_five_seconds_unless_it_is_set() -> None:
    assert load().stop_seconds == 35
    assert load(RUSHES_REQUEST_TIMEOUT_SECONDS="7").stop_seconds == 12
    assert load(RUSHES_REQUEST_TIMEOUT_SECONDS="7", RUSHES_STOP_SECONDS="3").stop_seconds == 3


def test_environment_stands_before_the_env_file_and_both_before_defaults(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "\ufeff# a comment\nexport RUSHES_LEASE_SECONDS=11\nRUSHES_POLLS_PER_SECOND='7'\n"
        'GRSAI_API_KEY="a$b${HOME}"\nRUSHES_BASE_URL=\nOTHER=1\n'
    )
    settings = Settings.load({"RUSHES_LEASE_SECONDS": "12", "RUSHES_DATA_DIR": " "}, env_file)
    sources = {line.name: line.source for line in settings.effective()}
    assert (settings.lease_seconds, sources["RUSHES_LEASE_SECONDS"]) == (12, "environment")
    assert (settings.polls_per_second, sources["RUSHES_POLLS_PER_SECOND"]) == (7, "env file")
    assert (settings.data_dir, sources["RUSHES_DATA_DIR"]) == (Path("rushes-data"), "default")
    assert settings.base_url is None
    assert settings.grsai_api_key is not None
    assert settings.grsai_api_key.get_secret_value() == "a$b${HOME}"


def test_the_process_environment_and_dot_env_are_read_by_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RUSHES_LEASE_SECONDS=11\n")
    program = "from rushes.settings import Settings; s = Settings.load(); print(s.lease_seconds, s.data_dir)"
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "RUSHES_DATA_DIR": "here"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.stdout == "11.0 here\n", process.stderr


def test_a_missing_env_file_or_a_folder_of_that_name_is_no_error(tmp_path: Path) -> None:
    assert Settings.load({}, tmp_path / "none").lease_seconds == 30
    assert Settings.load({}, tmp_path).lease_seconds == 30


def test_an_env_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"RUSHES_LEASE_SECONDS=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env: not UTF-8$"):
        Settings.load({}, env_file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUSHES_LEASE_SECONDS", "abc"),
        ("RUSHES_LEASE_SECONDS", "0"),
        ("RUSHES_LEASE_SECONDS", "-1"),
        ("RUSHES_LEASE_SECONDS", "nan"),
        ("RUSHES_LEASE_SECONDS", "inf"),
        ("RUSHES_LEASE_SECONDS", "1e9"),
        ("RUSHES_POLL_INTERVAL_MIN_SECONDS", "60"),
        ("RUSHES_POLL_INTERVAL_MIN_SECONDS", "0"),
        ("RUSHES_UNCONFIRMED_GRACE_SECONDS", "-1"),
        ("RUSHES_NOT_FOUND_GRACE_SECONDS", "-1"),
        ("RUSHES_UNCONFIRMED_POLICY", "keep"),
        ("RUSHES_ALLOW_PRIVATE_URLS", "perhaps"),
        ("RUSHES_SUBMITS_PER_SECOND", "0"),
        ("RUSHES_IN_FLIGHT_TASKS_MAX", "1.5"),
        ("RUSHES_CONNECTIONS_MAX", "0"),
        ("RUSHES_BASE_URL", "example.com"),
        ("RUSHES_BASE_URL", "ftp://example.com"),
        ("RUSHES_BASE_URL", "https://example.com/?a=1"),
        ("RUSHES_BASE_URL", "https://example.com/#a"),
        ("RUSHES_BASE_URL", "https://example.com:port"),
        ("RUSHES_DATABASE_URL", "rushes.db"),
        ("RUSHES_DATABASE_URL", "mysql://h/db"),
        ("RUSHES_DATABASE_URL", "sqlite://rushes.db"),
        ("RUSHES_DATA_DIR", "what?"),
        ("RUSHES_MODELS", "{"),
        ("RUSHES_MODELS", '{"sora-2": 5}'),
        ("RUSHES_MODELS", '{"sora-2": {"price": 5}}'),
        ("RUSHES_MODELS", '{"sora-2": {"credits": -5}}'),
        ("RUSHES_MODELS", '{"sora2": {"credits": 5}}'),
        ("RUSHES_MODELS", '{"sora-2": {}, "sora-2": {}}'),
        ("RUSHES_MODELS", "no/such/file.json"),
        ("GRSAI_HOST", "http://grsai.example.com"),
        ("GRSAI_HOST", "http://127.0.0.1.example.com"),
        ("GRSAI_HOST", "http://10.0.0.1"),
        ("GRSAI_HOST", "https://example.com/v1"),
        ("GRSAI_HOST", "https://example.com?x"),
        ("GRSAI_HOST", "grsai.example.com"),
        ("GRSAI_HOST", "https://exam ple.com"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    assert caught.value.message.startswith(f"{name}: ")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRSAI_API_KEY", f"{CANARY} with a space"),
        ("GRSAI_API_KEY", f"{CANARY}\nInjected: 1"),
        ("RUSHES_WORKER_SECRET", f"{CANARY}é"),
        ("RUSHES_WEBHOOK_SECRET", f"{CANARY}\x00"),
        ("GRSAI_HOST", f"https://user:{CANARY}@example.com"),
        ("RUSHES_BASE_URL", f"https://user:{CANARY}@example.com"),
        ("RUSHES_DATABASE_URL", f"mysql://user:{CANARY}@example.com"),
        ("RUSHES_DATABASE_URL", f"postgresql://user:{CANARY}\x01@example.com"),
    ],
)
def test_refusals_never_repeat_a_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    assert caught.value.message.startswith(f"{name}: ")
    assert CANARY not in caught.value.message
    assert CANARY not in str(caught.value.facts)
    assert CANARY not in str(caught.value.__context__)


def test_secrets_appear_in_no_repr_dump_or_listing() -> None:
    settings = load(
        GRSAI_API_KEY=CANARY,
        FAL_KEY=CANARY,
        RUSHES_PROVIDER_ACME_KEY=CANARY,
        RUSHES_WORKER_SECRET=CANARY,
        RUSHES_WEBHOOK_SECRET=CANARY,
        RUSHES_DATABASE_URL=f"postgresql://user:{CANARY}@db.example.com:5432/rushes?sslpassword={CANARY}",
    )
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)
    assert CANARY not in str(settings.effective())
    shown = {line.name: line.value for line in settings.effective()}
    assert shown["GRSAI_API_KEY"] == shown["FAL_KEY"] == shown["RUSHES_PROVIDER_ACME_KEY"] == MASK
    assert (
        shown["RUSHES_DATABASE_URL"]
        == f"postgresql://user:{MASK}@db.example.com:5432/rushes?sslpassword={MASK}"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u:p@ss/w:x@h/db", f"postgresql://u:{MASK}@h/db"),
        ("postgresql://h/db?user=u&PASSWORD=p&x=1", f"postgresql://h/db?user=u&PASSWORD={MASK}&x=1"),
    ],
)
def test_database_passwords_are_masked(url: str, shown: str) -> None:
    assert masked_database_url(url) == shown


@pytest.mark.parametrize(
    "host", ["http://localhost:1", "http://127.9.9.9", "http://[::1]:8080", "https://x.example"]
)
def test_plain_http_is_for_loopback_only(host: str) -> None:
    assert load(GRSAI_HOST=host).grsai_host == host


def test_a_ceiling_below_the_default_floor_lowers_the_floor() -> None:
    assert load(RUSHES_POLL_INTERVAL_MAX_SECONDS="0.05").poll_interval_min_seconds == 0.05


def test_the_data_folder_moves_the_default_database() -> None:
    assert load(RUSHES_DATA_DIR="/srv/rushes").database_url == "sqlite:////srv/rushes/rushes.db"


def test_models_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(b'\xef\xbb\xbf{"veo-pro": {"disabled": true}}')
    assert load(RUSHES_MODELS=str(path)).catalogue().get("veo-pro").disabled
    with pytest.raises(SettingsError, match="RUSHES_MODELS: must be a JSON object or the path"):
        load(RUSHES_MODELS=str(tmp_path))


def test_misspelt_variables_are_collected_with_a_suggestion() -> None:
    settings = load(RUSHES_LEASE_SECOND="5", GRSAI_KEY="x", RUSHES_QQQQQQQQQQ="1", HOME="/root")
    assert settings.unknown_variables == (
        ("GRSAI_KEY", "GRSAI_API_KEY"),
        ("RUSHES_LEASE_SECOND", "RUSHES_LEASE_SECONDS"),
        ("RUSHES_QQQQQQQQQQ", None),
    )


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.lease_seconds = 1


def test_a_provider_without_its_key_or_host_says_which_variable_is_missing() -> None:
    assert load().provider_account("grsai").missing == "GRSAI_API_KEY"
    assert load(GRSAI_API_KEY="k").provider_account("grsai").missing is None
    assert load().provider_account("fal").missing == "FAL_KEY"
    assert load(OPENAI_VIDEO_API_KEY="k").provider_account("openai-video").missing == "OPENAI_VIDEO_BASE_URL"
    assert load().provider_account("acme-video.2").missing == "RUSHES_PROVIDER_ACME_VIDEO_2_KEY"
    assert "k-1" not in repr(load(FAL_KEY="k-1").provider_account("fal"))


def test_a_plug_in_has_its_key_and_host_from_variables_of_its_name() -> None:
    settings = load(RUSHES_PROVIDER_ACME_KEY="k-1", RUSHES_PROVIDER_ACME_HOST="https://acme.example/api/")
    assert settings.provider_account("acme") == ProviderAccount("https://acme.example/api", "k-1")
    assert load(RUSHES_PROVIDER_ACME_KEY="k-1").provider_account("acme") == ProviderAccount("", "k-1")
    assert settings.unknown_variables == ()
    sources = {line.name: line.source for line in settings.effective()}
    assert sources["RUSHES_PROVIDER_ACME_HOST"] == "environment"
    with pytest.raises(SettingsError) as caught:
        load(RUSHES_PROVIDER_ACME_HOST="http://acme.example")
    assert caught.value.message.startswith("RUSHES_PROVIDER_ACME_HOST: must be https")
    assert load(RUSHES_PROVIDER_ACME="1").unknown_variables[0].name == "RUSHES_PROVIDER_ACME"


def test_models_of_a_provider_without_a_key_take_no_tasks_while_another_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, monkeypatch, "acme", ACME)
    assert all(model.unavailable is None for model in load().catalogue()), "this process only accepts"
    catalogue = load(GRSAI_API_KEY="k").catalogue()
    assert catalogue.get_live("sora-2", now=0.0).unavailable is None
    with pytest.raises(InputError, match="RUSHES_PROVIDER_ACME_KEY is not set; use one of: sora-2"):
        catalogue.get_live("acme-1", now=0.0)
    with_key = load(RUSHES_PROVIDER_ACME_KEY="k", RUSHES_MODELS='{"acme-1": {"credits": 7}}').catalogue()
    assert with_key.get_live("acme-1", now=0.0).typical_credits == 7
    with pytest.raises(InputError, match="GRSAI_API_KEY is not set"):
        with_key.get_live("sora-2", now=0.0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no luck')", "its models cannot be loaded: RuntimeError: no luck"),
        ("MODELS = 5", "its models cannot be loaded: TypeError: 'int' object is not iterable"),
        ("MODELS = ['acme-1']", "its models are not all of type Model: str"),
        (ACME.replace('"acme-1"', '"sora-2"'), "the model sora-2 is there already"),
    ],
)
def test_models_of_another_package_that_cannot_be_used_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    install_plugin(tmp_path, monkeypatch, "acme", code)
    assert load().catalogue().names == DEFAULT_CATALOGUE.names
    assert plugin_models(DEFAULT_CATALOGUE).troubles == {"acme": reason}


def test_a_plug_in_cannot_take_the_name_of_a_provider_that_is_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, monkeypatch, "grsai", ACME)
    assert installed_providers()["grsai"].value == "rushes.providers.families.grsai:build"


@pytest.mark.parametrize(
    ("variables", "default"),
    [
        ({}, "sora-2"),
        ({"GRSAI_API_KEY": "k"}, "sora-2"),
        ({"RUNWAYML_API_SECRET": "k"}, "runway-gen4.5"),
        ({"RUNWAYML_API_SECRET": "k", "GRSAI_API_KEY": "k"}, "sora-2"),
        ({"RUNWAYML_API_SECRET": "k", "RUSHES_DEFAULT_MODEL": "fast-video"}, "fast-video"),
        ({"RUNWAYML_API_SECRET": "k", "RUSHES_DEFAULT_MODEL": "runway-veo3.1-fast"}, "runway-veo3.1-fast"),
        (
            {"RUNWAYML_API_SECRET": "k", "RUSHES_MODELS": '{"runway-gen4.5": {"disabled": true}}'},
            "runway-veo3.1-fast",
        ),
    ],
)
def test_the_default_model_is_one_that_can_be_bought(variables: dict[str, str], default: str) -> None:
    assert load(**variables).catalogue().default_model == default


def test_a_default_model_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r'RUSHES_DEFAULT_MODEL: .*did you mean "sora-2"?'):
        load(RUSHES_DEFAULT_MODEL="sora2")


def test_proxies_come_from_the_usual_variables_in_both_cases_and_rushes_proxy_comes_first() -> None:
    def way(settings: Settings, *, tls: bool = True, host: str = "api.example") -> str:
        return str(settings.proxies.of(host, 443, tls=tls) or "direct")

    assert way(load()) == "direct"
    assert way(load(HTTPS_PROXY="http://a.example:1")) == "a.example:1"
    assert way(load(HTTPS_PROXY="http://a.example:1"), tls=False) == "direct"
    assert way(load(https_proxy="http://b.example:2", HTTPS_PROXY="http://a.example:1")) == "b.example:2"
    assert way(load(ALL_PROXY="c.example:3"), tls=False) == "c.example:3"
    assert way(load(all_proxy="c.example:3", HTTPS_PROXY="http://a.example:1")) == "a.example:1"
    everywhere = load(
        RUSHES_PROXY="http://r.example:4", HTTPS_PROXY="socks5://a.example:1", no_proxy="x.example"
    )
    assert (way(everywhere), way(everywhere, tls=False)) == ("r.example:4", "r.example:4")
    assert way(everywhere, host="x.example") == "direct"
    assert way(load(RUSHES_PROXY="none", HTTPS_PROXY="socks5://a.example:1")) == "direct"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RUSHES_PROXY", f"socks5://u:{CANARY}@p.example:1080", "SOCKS proxies are not supported"),
        ("ALL_PROXY", f"socks5h://u:{CANARY}@p.example:1080", "RUSHES_PROXY is used instead"),
        ("HTTPS_PROXY", f"https://u:{CANARY}@p.example:3128", "TLS to the proxy itself is not supported"),
        ("https_proxy", f"ftp://u:{CANARY}@p.example:3128", "must be an HTTP proxy"),
        ("RUSHES_PROXY", f"http://u:{CANARY}@p.example", "with its port"),
        ("RUSHES_PROXY", f"http://u:{CANARY}@p.example:99999", "with its port"),
        ("RUSHES_PROXY", f"http://u:{CANARY}@p.example:1/path", "with its port"),
        ("RUSHES_PROXY", f"http://u:{CANARY}@:1", "with its port"),
        ("RUSHES_PROXY", f"http://u:{CANARY} x@p.example:1", "without spaces"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_and_never_quoted(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{variable: value})
    assert caught.value.message.startswith(f"{variable.upper()}: ")
    assert message in caught.value.message
    assert CANARY not in caught.value.message


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://p.example:3128", "http://p.example:3128"),
        (f"http://user:{CANARY}@p.example:3128", f"http://{MASK}@p.example:3128"),
        (f"http://{CANARY}@p.example:3128", f"http://{MASK}@p.example:3128"),
        (f"http://u:{CANARY}@{CANARY}@p.example:3128", f"http://{MASK}@p.example:3128"),
        (f"user:{CANARY}@p.example:3128", f"{MASK}@p.example:3128"),
        ("none", "none"),
    ],
)
def test_what_a_proxy_is_asked_with_is_masked(value: str, shown: str) -> None:
    settings = load(RUSHES_PROXY=value)
    assert {line.name: line.value for line in settings.effective()}["RUSHES_PROXY"] == shown
    assert CANARY not in repr(settings)
    assert CANARY not in repr(settings.proxies)
    assert CANARY not in str(settings.proxies.of("api.example", 443, tls=True))
