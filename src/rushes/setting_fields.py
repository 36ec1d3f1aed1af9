"""Every setting: its variable, its type, its default and what it is for."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from rushes.domain.input.uploads import UPLOAD_BYTES_MAX, UPLOAD_KEEP_DAYS
from rushes.domain.margin import CreditValue, read_credit_value
from rushes.setting_values import (
    BucketUri,
    Count,
    Days,
    Network,
    ProviderHost,
    ProviderUrl,
    Rate,
    Seconds,
    Secret,
    check_archive_url,
    check_base_url,
    check_dashboard_secret,
    check_judge_url,
    read_command,
    read_json,
    read_models,
    read_networks,
    read_origins,
)
from rushes.store.connections.place import check_data_dir, check_database_url

GRSAI_HOST_MAINLAND = "https://grsai.dakka.com.cn"
POLL_INTERVAL_MIN_SECONDS = 1.0
POLL_INTERVAL_MAX_SECONDS = 30.0
REQUEST_TIMEOUT_SECONDS = 30.0
STOP_SPARE_SECONDS = 5.0
"""What a stopping process has besides the time of a submit: for its last commit."""


def _env(name: str, default: Any, *, shown: bool = True) -> Any:
    return Field(default, validation_alias=name, repr=shown)


class SettingFields(BaseModel):
    """The fields. The environment and the `.env` file are read by `Settings.load`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
        defer_build=True,  # `Settings` is built when it is first loaded, and these fields only as its own
    )

    data_dir: Annotated[Path, AfterValidator(check_data_dir)] = _env("RUSHES_DATA_DIR", Path("rushes-data"))
    """Folder of the SQLite file and whatever else is kept on disk; made when first needed."""
    database_url: Annotated[str, AfterValidator(check_database_url)] = Field(
        default_factory=lambda valid: f"sqlite:///{valid.get('data_dir', 'rushes-data')}/rushes.db",
        validation_alias="RUSHES_DATABASE_URL",
        repr=False,
    )
    """`sqlite:///file`, `postgresql://…` or `postgres://…`, kept as given; never print its password."""
    sqlite_busy_timeout_seconds: Seconds = _env("RUSHES_SQLITE_BUSY_TIMEOUT_SECONDS", 10.0)
    """How long a SQLite transaction waits for another process's lock."""
    database_timeout_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = _env(
        "RUSHES_DATABASE_TIMEOUT_SECONDS", 20.0
    )
    """How long a PostgreSQL transaction may take before it is given up and retried."""

    archive_url: Annotated[str, AfterValidator(check_archive_url)] = Field(
        default_factory=lambda valid: f"{valid.get('data_dir', 'rushes-data')}/archive",
        validation_alias="RUSHES_ARCHIVE_URL",
    )
    """Where finished videos are kept: a folder, `s3://bucket/prefix`, `gs://…`, `az://…`, or `none`."""
    archive_file_bytes_max: Annotated[int, Field(ge=1, le=5_000_000_000)] = _env(
        "RUSHES_ARCHIVE_FILE_BYTES_MAX", 512 * 1024 * 1024
    )
    """A larger file is refused."""
    archive_downloads_max: Annotated[int, Field(ge=1, le=256)] = _env("RUSHES_ARCHIVE_DOWNLOADS_MAX", 8)
    """Files that one process fetches at the same time."""

    gate: bool = _env("RUSHES_GATE", False)
    """Whether the clips of new batches are judged by the gate when the batch does not say; needs `video`."""

    judge_url: Annotated[str, AfterValidator(check_judge_url)] | None = _env("RUSHES_JUDGE_URL", None)
    """An endpoint that judges clips which the gate lets through; `rushes keys judge` shows its secret."""
    judge_command: Annotated[tuple[str, ...], BeforeValidator(read_command)] = _env(
        "RUSHES_JUDGE_COMMAND", ()
    )
    """A program that does the same, where there is no RUSHES_JUDGE_URL: it reads one JSON object and writes
    one."""
    judge_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = _env(
        "RUSHES_JUDGE_SECONDS", 60.0
    )
    """How long one question to the judge may take."""

    archive_keep_days: Days | None = _env("RUSHES_ARCHIVE_KEEP_DAYS", None)
    """Days after which a stored video is removed; not set, it is kept indefinitely."""
    archive_keep_days_by_account: Annotated[dict[str, Days | None], BeforeValidator(read_json)] = Field(
        default_factory=dict, validation_alias="RUSHES_ARCHIVE_KEEP_DAYS_BY_ACCOUNT"
    )
    """The same for single accounts, as JSON: `{"acme": 90, "archive": null}`; null keeps all."""

    bad_files: Literal["charged", "refunded"] = _env("RUSHES_BAD_FILES", "charged")
    """Whether a success stays charged whose file is broken, or not of the length or shape asked for."""
    upload_bytes_max: Annotated[int, Field(ge=1, le=1_000_000_000)] = _env(
        "RUSHES_UPLOAD_BYTES_MAX", UPLOAD_BYTES_MAX
    )
    """A larger picture, video or sound that is to go into a video is refused."""
    upload_keep_days: Days = _env("RUSHES_UPLOAD_KEEP_DAYS", UPLOAD_KEEP_DAYS)
    """Days after its last use that an upload is kept; what an open batch needs is kept in any case."""

    keep_days: Days | None = _env("RUSHES_KEEP_DAYS", None)
    """Days after which workers fold a finished batch into a signed summary; not set, never."""

    base_url: Annotated[str, AfterValidator(check_base_url)] | None = _env("RUSHES_BASE_URL", None)
    """The public URL of this service, without a slash at its end; it turns callbacks on."""
    worker_secret: Secret | None = _env("RUSHES_WORKER_SECRET", None)
    """What `POST /internal/batch-worker` must carry; without it that route is off."""
    webhook_secret: Secret | None = _env("RUSHES_WEBHOOK_SECRET", None)
    """The secret behind callback tokens and webhook signatures."""
    metrics_token: Secret | None = _env("RUSHES_METRICS_TOKEN", None)
    """What `GET /metrics` must carry as a bearer token; without it that page is open."""
    webhook_secret_previous: Secret | None = _env("RUSHES_WEBHOOK_SECRET_PREVIOUS", None)
    """The webhook secret before a change: links and callbacks made with it still count, and webhooks carry
    its signature too. Remove it once all receivers have the new one."""
    worker_secret_previous: Secret | None = _env("RUSHES_WORKER_SECRET_PREVIOUS", None)
    """The worker secret before a change, which is taken too."""
    metrics_token_previous: Secret | None = _env("RUSHES_METRICS_TOKEN_PREVIOUS", None)
    """The metrics token before a change, which is taken too."""
    dashboard_secret: Annotated[Secret, AfterValidator(check_dashboard_secret)] | None = _env(
        "RUSHES_DASHBOARD_SECRET", None
    )
    """What operators sign in to the dashboard with; without it there is none."""
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(read_networks)] = _env(
        "RUSHES_TRUSTED_PROXIES", ()
    )
    """Addresses or networks of the proxies in front of this service, separated by commas: only their
    `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(read_origins)] = _env("RUSHES_CORS_ORIGINS", ())
    """Origins of web pages whose scripts may use `/v1`, separated by commas; `*` stands for all."""
    clients_max: Annotated[int, Field(ge=10, le=100_000)] = _env("RUSHES_CLIENTS_MAX", 4_000)
    """Connections to this service at the same time; fewer where the system allows fewer open files."""
    clients_per_address_max: Annotated[int, Field(ge=1, le=100_000)] = _env(
        "RUSHES_CLIENTS_PER_ADDRESS_MAX", 256
    )
    """Of them from one address, or one IPv6 /64. Does not count for trusted proxies."""
    bodies_per_address_max: Annotated[int, Field(ge=1, le=512)] = _env("RUSHES_BODIES_PER_ADDRESS_MAX", 64)
    """Requests from one address whose bodies are still coming."""
    streams_max: Annotated[int, Field(ge=1, le=100_000)] = _env("RUSHES_STREAMS_MAX", 2_000)
    """Event streams that are open at the same time."""
    streams_per_account_max: Annotated[int, Field(ge=1, le=100_000)] = _env(
        "RUSHES_STREAMS_PER_ACCOUNT_MAX", 200
    )
    """Of them of one account."""
    allow_private_urls: bool = _env("RUSHES_ALLOW_PRIVATE_URLS", False)
    """Whether result files and webhooks may live on private addresses, for tests and intranets."""

    proxy: str | None = _env("RUSHES_PROXY", None, shown=False)
    """The HTTP proxy that leads out, for providers, webhooks and files: `http://[user:password@]host:port`.

    It comes before the other variables; `none` connects directly, whatever they say.
    """
    https_proxy: str | None = _env("HTTPS_PROXY", None, shown=False)
    """The proxy to https hosts, as other programs use it; also written in lower case, which comes first."""
    http_proxy: str | None = _env("HTTP_PROXY", None, shown=False)
    """The proxy to http hosts."""
    all_proxy: str | None = _env("ALL_PROXY", None, shown=False)
    """The proxy where neither of these two is set."""
    no_proxy: str | None = _env("NO_PROXY", None)
    """Hosts that are reached directly, with commas: names and all below them, addresses, networks, `*`."""
    proxy_guards_urls: bool = _env("RUSHES_PROXY_GUARDS_URLS", False)
    """Whether the proxy looks up the names of webhooks and result files and refuses private addresses itself.

    Otherwise they are looked up and checked here, and the proxy is asked for the checked address.
    """

    request_timeout_seconds: Seconds = _env("RUSHES_REQUEST_TIMEOUT_SECONDS", REQUEST_TIMEOUT_SECONDS)
    """The time-out of one request to a provider."""
    poll_interval_max_seconds: Seconds = _env("RUSHES_POLL_INTERVAL_MAX_SECONDS", POLL_INTERVAL_MAX_SECONDS)
    """The longest time between two polls of a task that is not overdue.

    Left to its default, the wait for a task's first poll may be longer: nobody looks at a render after half a
    minute that takes seven. Set, it bounds that wait too.
    """
    poll_interval_min_seconds: Seconds = Field(
        default_factory=lambda valid: min(
            POLL_INTERVAL_MIN_SECONDS, valid.get("poll_interval_max_seconds", POLL_INTERVAL_MIN_SECONDS)
        ),
        validation_alias="RUSHES_POLL_INTERVAL_MIN_SECONDS",
    )
    """The shortest time between two polls of a task; by default 1, or the ceiling if that is less."""
    polls_over_lines: bool = _env("RUSHES_POLLS_OVER_LINES", True)
    """Whether a connection may be asked about the next task in the moment of an answer, which takes less
    processor time. A minute without it follows an answer that is about another task."""
    stop_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        default_factory=lambda valid: (
            valid.get("request_timeout_seconds", REQUEST_TIMEOUT_SECONDS) + STOP_SPARE_SECONDS
        ),
        validation_alias="RUSHES_STOP_SECONDS",
    )
    """How long a stopping process waits for submits under way and its last commit; by default 5 more than
    a request may take."""
    lease_seconds: Seconds = _env("RUSHES_LEASE_SECONDS", 30.0)
    """How long a silent worker keeps its tasks."""
    unconfirmed_grace_seconds: Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)] = _env(
        "RUSHES_UNCONFIRMED_GRACE_SECONDS", 900.0
    )
    """How long a submit of unknown outcome may wait for its callback before the policy decides."""
    not_found_grace_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = _env(
        "RUSHES_NOT_FOUND_GRACE_SECONDS", 60.0
    )
    """How long after it took a task a provider may answer that there is no such task: services that copy
    between machines need a moment. It is asked again until then. Once it has reported the task's status,
    such an answer ends the task at once."""
    unconfirmed_policy: Literal["refund", "resubmit"] = _env("RUSHES_UNCONFIRMED_POLICY", "refund")
    """What then happens: give the credits back, or submit once more as a new attempt."""
    wait_seconds_max: Annotated[float, Field(gt=0, le=365 * 86_400, allow_inf_nan=False)] = _env(
        "RUSHES_WAIT_SECONDS_MAX", 7 * 86_400.0
    )
    """How long a task may wait to be sent, held or in a queue, before it fails and is refunded."""
    confirm_credits: Annotated[int, Field(ge=0)] = _env("RUSHES_CONFIRM_CREDITS", 500)
    """On a terminal `rushes run` asks before it spends more credits than this; `--yes` answers."""
    failover_queue_max: Count | None = _env("RUSHES_FAILOVER_QUEUE_MAX", None)
    """How many tasks may wait for a provider before those under an alias go to its next model."""

    grsai_api_key: Secret | None = _env("GRSAI_API_KEY", None)
    """The provider key of Grsai."""
    grsai_host: ProviderHost = _env("GRSAI_HOST", GRSAI_HOST_MAINLAND)
    """`scheme://host[:port]` of Grsai; plain http to loopback only, as for every provider."""
    gemini_api_key: Secret | None = _env("GEMINI_API_KEY", None)
    """The key of Google's Gemini API."""
    gemini_host: ProviderHost = _env("GEMINI_HOST", "https://generativelanguage.googleapis.com")
    """`scheme://host[:port]` of the Gemini API."""
    fal_key: Secret | None = _env("FAL_KEY", None)
    """The key of fal."""
    fal_host: ProviderHost = _env("FAL_HOST", "https://queue.fal.run")
    """`scheme://host[:port]` of fal's queue."""
    runwayml_api_secret: Secret | None = _env("RUNWAYML_API_SECRET", None)
    """The key of Runway's API."""
    runwayml_host: ProviderHost = _env("RUNWAYML_HOST", "https://api.dev.runwayml.com")
    """`scheme://host[:port]` of Runway's API."""
    ark_api_key: Secret | None = _env("ARK_API_KEY", None)
    """The key of Volcengine's Ark: Seedance in China."""
    ark_host: ProviderUrl = _env("ARK_HOST", "https://ark.cn-beijing.volces.com/api/v3")
    """Where Ark is, up to `/api/v3`."""
    byteplus_api_key: Secret | None = _env("BYTEPLUS_API_KEY", None)
    """The key of BytePlus' ModelArk: Seedance outside China."""
    byteplus_host: ProviderUrl = _env("BYTEPLUS_HOST", "https://ark.ap-southeast.bytepluses.com/api/v3")
    """Where ModelArk is, up to `/api/v3`."""
    dashscope_api_key: Secret | None = _env("DASHSCOPE_API_KEY", None)
    """The key of Alibaba's Model Studio in Beijing: Wan and HappyHorse."""
    dashscope_host: ProviderUrl = _env("DASHSCOPE_HOST", "https://dashscope.aliyuncs.com/api/v1")
    """Where it is, up to `/api/v1`; a workspace's own host may stand here."""
    dashscope_intl_api_key: Secret | None = _env("DASHSCOPE_INTL_API_KEY", None)
    """The key of Alibaba's Model Studio in Singapore."""
    dashscope_intl_host: ProviderUrl = _env(
        "DASHSCOPE_INTL_HOST", "https://dashscope-intl.aliyuncs.com/api/v1"
    )
    """Where it is, up to `/api/v1`; a workspace's own host may stand here."""
    minimax_api_key: Secret | None = _env("MINIMAX_API_KEY", None)
    """The key of MiniMax' own API."""
    minimax_host: ProviderHost = _env("MINIMAX_HOST", "https://api.minimax.io")
    """`scheme://host[:port]` of MiniMax; in China `https://api.minimaxi.com`."""
    xai_api_key: Secret | None = _env("XAI_API_KEY", None)
    """The key of xAI: Grok Imagine."""
    xai_host: ProviderUrl = _env("XAI_HOST", "https://api.x.ai")
    """Where xAI is, up to `/v1`."""
    kling_api_key: Secret | None = _env("KLING_API_KEY", None)
    """The API key of Kling, or `ACCESS:SECRET` of the older keys."""
    kling_webhook_secret: Secret | None = _env("KLING_WEBHOOK_SECRET", None)
    """The secret that Kling signs callbacks with; with it, others are refused."""
    kling_host: ProviderHost = _env("KLING_HOST", "https://api-singapore.klingai.com")
    """`scheme://host[:port]` of Kling; `https://api-beijing.klingai.com` in China."""
    replicate_api_token: Secret | None = _env("REPLICATE_API_TOKEN", None)
    """The token of Replicate."""
    replicate_webhook_secret: Secret | None = _env("REPLICATE_WEBHOOK_SECRET", None)
    """The secret that Replicate signs webhooks with; with it, others are refused."""
    replicate_host: ProviderHost = _env("REPLICATE_HOST", "https://api.replicate.com")
    """`scheme://host[:port]` of Replicate."""
    vertex_credentials: Secret | None = _env("VERTEX_CREDENTIALS", None)
    """The key file of a service account for Vertex AI: its path, or its Base64."""
    vertex_host: ProviderHost = _env("VERTEX_HOST", "https://us-central1-aiplatform.googleapis.com")
    """`scheme://host[:port]` of Vertex AI; it names the location."""
    vertex_storage_uri: BucketUri | None = _env("VERTEX_STORAGE_URI", None)
    """The bucket for the videos of Vertex AI: `gs://bucket/prefix`. Without it they come in its answers."""
    openai_video_api_key: Secret | None = _env("OPENAI_VIDEO_API_KEY", None)
    """The key of a server with OpenAI's `/v1/videos`, such as another rushes."""
    openai_video_base_url: ProviderUrl | None = _env("OPENAI_VIDEO_BASE_URL", None)
    """Where that server is, up to `/v1`: `https://videos.example.com/v1`. OpenAI's own has closed."""
    submits_per_second: Rate | None = _env("RUSHES_SUBMITS_PER_SECOND", None)
    """Submits a second at each provider, instead of the provider's own limit."""
    polls_per_second: Rate | None = _env("RUSHES_POLLS_PER_SECOND", None)
    """Polls a second at each provider, instead of the provider's own limit."""
    in_flight_tasks_max: Count | None = _env("RUSHES_IN_FLIGHT_TASKS_MAX", None)
    """Tasks at each provider at the same time, instead of the provider's own limit."""
    connections_max: Annotated[int, Field(ge=1, le=10_000)] | None = _env("RUSHES_CONNECTIONS_MAX", None)
    """Connections to each provider, instead of the provider's own limit."""

    plugin_keys: dict[str, Secret] = Field(default_factory=dict, repr=False)
    """Keys of other packages' providers, by variable: `RUSHES_PROVIDER_<NAME>_KEY`."""
    plugin_hosts: dict[str, ProviderUrl] = Field(default_factory=dict)
    """Hosts of other packages' providers, by variable: `RUSHES_PROVIDER_<NAME>_HOST`."""

    config_path: Path | None = _env("RUSHES_CONFIG", None)
    """The file with models, prices, aliases, currencies and provider instances; by default `rushes.toml`
    beside the data folder, if it is there.
    """
    credit_value: Annotated[CreditValue, BeforeValidator(read_credit_value)] | None = _env(
        "RUSHES_CREDIT_VALUE", None
    )
    """What one credit is sold for, such as `0.01 USD`: with it, margins are shown."""
    default_model: str | None = _env("RUSHES_DEFAULT_MODEL", None)
    """The model or alias of items that name none; not set, `sora-2` when Grsai has a key, else the first
    model whose provider has one.
    """
    models: Annotated[dict[str, dict[str, Any]], BeforeValidator(read_models)] = Field(
        default_factory=dict, validation_alias="RUSHES_MODELS"
    )
    """Changes to the model catalogue, see `Catalogue.with_overrides`: JSON, or the path of a JSON file."""

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if self.judge_url is not None and self.webhook_secret is None:
            raise ValueError(
                "RUSHES_JUDGE_URL: set RUSHES_WEBHOOK_SECRET too, which its questions are signed with"
            )
        return self

    @model_validator(mode="after")
    def _check_poll_intervals(self) -> Self:
        if self.poll_interval_min_seconds > self.poll_interval_max_seconds:
            raise ValueError(
                f"RUSHES_POLL_INTERVAL_MIN_SECONDS: {self.poll_interval_min_seconds:g} is more than"
                f" RUSHES_POLL_INTERVAL_MAX_SECONDS ({self.poll_interval_max_seconds:g})"
            )
        return self
