"""Builds the parts of a process from the settings; providers come from `provider_wiring`."""

import base64
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes import telemetry
from rushes.database_wiring import paces_of, wall_clock_ms
from rushes.domain.acceptance.gate import GateRules
from rushes.domain.callback_tokens import callback_token
from rushes.domain.errors import InputError, SettingsError
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.secrets import derived_key
from rushes.domain.task import NoAnswer, PollResult
from rushes.files.archive import Archiver
from rushes.files.chains.last_frame import no_last_frames_here
from rushes.files.downloads import Downloader
from rushes.files.due import ArchiveLimits
from rushes.files.gate.deciding import no_gate_here
from rushes.files.guard.client import GuardedHttp
from rushes.files.judge.asking import Asking, JudgeLimits
from rushes.files.judge.hooks import CommandJudge, HttpJudge, Judge
from rushes.files.links import FileLinks
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads
from rushes.money.bad_files import AfterBadFile
from rushes.money.rebuy import buy_next
from rushes.money.statements.signing_key import (
    KEY_SEED_BYTES,
    SIGNING_KEY_FILE,
    load_or_create_signing_key,
    public_key_hex,
)
from rushes.provider_wiring import (
    OtherHosts,
    build_providers,
    provider_at,
    result_files_of,
    try_providers,
    usable_account,
)
from rushes.providers.answers import is_remote_task_id
from rushes.providers.base import Provider
from rushes.providers.http.client import HttpTransport
from rushes.read.forecasts import ProviderPace
from rushes.run.context import UnconfirmedPolicy, WorkerConfig
from rushes.run.inputs.last_frames import LastFrames
from rushes.run.inputs.uploaded import UploadedInputs
from rushes.run.process import WorkerProcess
from rushes.run.retention import Keeper
from rushes.run.sent_record import sent_records
from rushes.run.worker import Worker
from rushes.settings import Settings
from rushes.store.database import Database
from rushes.store.installation import takes_weak_secrets

log = telemetry.logger()


def machine_clocks() -> tuple[Callable[[], float], ...]:
    """Clocks of this machine, in seconds: one that nobody sets and, where there is one, another that also
    runs while the machine is suspended. (An event loop's own clock may be that of its last turn.)"""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.monotonic, partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return (time.monotonic,)


def new_worker_id() -> str:
    """A worker id that is never used twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


# --- building the parts -------------------------------------------------------------------------------


def provider_paces(settings: Settings) -> dict[str, ProviderPace]:
    """What the providers that have a key allow, for forecasts; nothing is connected."""
    return paces_of(try_providers(settings)[0])


def guarded_http(settings: Settings) -> GuardedHttp:
    """The client for URLs that others have named: webhooks and result files."""
    return GuardedHttp(
        allow_private=settings.allow_private_urls,
        proxies=settings.proxies,
        proxy_guards=settings.proxy_guards_urls,
    )


def require_strong_secrets(settings: Settings, database: Database) -> None:
    """Refuse secrets that could be guessed: raises `SettingsError`.

    An installation that was in use before they were refused starts with them until 0.3; the log says so.
    """
    for variable, problem in settings.weak_secrets().items():
        if not database.run_reading(takes_weak_secrets):
            raise SettingsError(
                f"{variable} is too weak: it {problem}; `rushes keys secret` makes one", variable=variable
            )
        log.error(telemetry.WEAK_SECRET, variable=variable, problem=problem, refused_from="0.3")


def gate_rules(settings: Settings) -> GateRules:
    """What new batches' field `gate` means here."""
    refusal = no_gate_here(keeps_files=settings.archive_place is not None)
    has_judge = settings.judge_url is not None or bool(settings.judge_command)
    return GateRules(settings.gate_thresholds, settings.gate, refusal, has_judge)


def build_archiver(
    settings: Settings, database: Database, providers: Mapping[str, Provider]
) -> Archiver | None:
    """What fetches the files of successes; None when the operator keeps none."""
    if settings.archive_place is None:
        return None
    charge = settings.catalogue().charge
    return Archiver(
        database,
        objects=ObjectStore(settings.archive_place),
        http=guarded_http(settings),
        files_of=result_files_of(settings, providers),
        now_ms=wall_clock_ms,
        limits=ArchiveLimits(
            file_bytes_max=settings.archive_file_bytes_max,
            files_at_once_max=settings.archive_downloads_max,
            retention=settings.archive_retention or None,
        ),
        on_decided=partial(buy_next, reprice=charge),
        on_bad_file=AfterBadFile(settings.bad_files == "refunded", charge),
    )


def build_uploads(settings: Settings, database: Database) -> Uploads:
    """The uploads, in the archive or, where no videos are kept, in the data folder."""
    return Uploads(
        database,
        ObjectStore(settings.upload_place),
        now_ms=wall_clock_ms,
        new_nonce=lambda: secrets.token_hex(4),
        bytes_max=settings.upload_bytes_max,
        keep_days=settings.upload_keep_days,
        makes_links=settings.base_url is not None,
        no_last_frames=no_last_frames_here(keeps_files=settings.archive_place is not None),
    )


def build_inputs(settings: Settings, uploads: Uploads) -> UploadedInputs:
    """What gives a worker's submits their files."""
    if settings.base_url is None or settings.webhook_secret is None:
        return UploadedInputs(uploads, None)
    links = FileLinks(settings.webhook_secret.get_secret_value().encode(), settings.base_url)
    return UploadedInputs(uploads, lambda upload: links.upload_link(upload, now_ms=wall_clock_ms()))


def build_downloader(settings: Settings, folder: Path, *, on_bytes: Callable[[int], None]) -> Downloader:
    """What copies videos into the folder: from the archive or, without one, from their providers."""
    place = settings.archive_place
    return Downloader(
        folder,
        objects=None if place is None else ObjectStore(place),
        http=guarded_http(settings),
        files_of=result_files_of(settings, build_providers(settings)),
        on_bytes=on_bytes,
    )


def build_worker_process(
    settings: Settings, database: Database, providers: Mapping[str, Provider]
) -> WorkerProcess:
    """A worker and, unless the operator keeps no videos, the archiver that it wakes; and who prunes."""
    archiver = build_archiver(settings, database, providers)
    keeper, uploads = build_keeper(settings, database), build_uploads(settings, database)
    elsewhere = OtherHosts(settings)
    on_commit = (lambda: None) if archiver is None else archiver.wake
    worker = build_worker(settings, database, providers, elsewhere, on_commit=on_commit)
    frames = LastFrames(
        database,
        ObjectStore(settings.archive_place or settings.upload_place),
        uploads,
        now_ms=wall_clock_ms,
        on_given=worker.wake,
    )
    asking = build_asking(settings, database)
    return WorkerProcess(worker, archiver, keeper, uploads, asking, elsewhere.close, frames)


def judge_secret(settings: Settings) -> str:
    """What questions to the judge are signed with, in the form of Standard Webhooks."""
    if settings.webhook_secret is None:
        raise SettingsError(
            "RUSHES_WEBHOOK_SECRET must be set: it signs questions to the judge",
            variable="RUSHES_WEBHOOK_SECRET",
        )
    key = derived_key(settings.webhook_secret.get_secret_value().encode(), "judge")
    return f"whsec_{base64.b64encode(key).decode()}"


def build_asking(settings: Settings, database: Database) -> Asking | None:
    """What asks the operator's judge about clips; None without a judge, or where no files are kept."""
    judge: Judge
    if settings.archive_place is None:
        return None
    if settings.judge_url is not None:
        # the operator's own endpoint may well be on a private address
        http = GuardedHttp(allow_private=True, proxies=settings.proxies)
        judge = HttpJudge(settings.judge_url, http, judge_secret(settings), wall_clock_ms)
    elif settings.judge_command:
        judge = CommandJudge(settings.judge_command)
    else:
        return None
    return Asking(
        database,
        judge,
        objects=ObjectStore(settings.archive_place),
        now_ms=wall_clock_ms,
        on_decided=partial(buy_next, reprice=settings.catalogue().charge),
        link_of=partial(_link_of, settings),
        limits=JudgeLimits(settings.judge_seconds),
    )


def _link_of(settings: Settings, task_id: int) -> str | None:
    """A link to the stored file that needs no key; None without a public base URL."""
    if settings.base_url is None or settings.webhook_secret is None:
        return None
    links = FileLinks(settings.webhook_secret.get_secret_value().encode(), settings.base_url)
    return links.link(task_id, "video", now_ms=wall_clock_ms())


def build_keeper(settings: Settings, database: Database) -> Keeper | None:
    """What folds batches that are past RUSHES_KEEP_DAYS; None where they are kept indefinitely."""
    if settings.keep_days is None:
        return None
    return Keeper(
        database,
        signing_key=partial(signing_key_of, settings),
        keep_days=settings.keep_days,
        now_ms=wall_clock_ms,
    )


def own_public_key(settings: Settings) -> str | None:
    """The public half of the signing key, in hex; None where there is no key yet."""
    path = settings.data_dir / SIGNING_KEY_FILE
    return public_key_hex(signing_key_of(settings)) if path.exists() else None


def signing_key_of(settings: Settings) -> Ed25519PrivateKey:
    """The operator's signing key, made when there is none."""
    seed = secrets.token_bytes(KEY_SEED_BYTES)
    return load_or_create_signing_key(settings.data_dir / SIGNING_KEY_FILE, seed=seed)


def build_worker(
    settings: Settings,
    database: Database,
    providers: Mapping[str, Provider],
    elsewhere: OtherHosts,
    *,
    on_commit: Callable[[], None] = lambda: None,
) -> Worker:
    """A worker of this process for the given providers, which finds those that it asks at other hosts
    `elsewhere`; `on_commit` hears that outcomes were committed."""
    return Worker(
        database,
        providers,
        catalogue=settings.catalogue(),
        schedule=LearnedSchedule(
            settings.poll_interval_min_seconds,
            settings.poll_interval_max_seconds,
            catalogue=settings.catalogue(),
            first_wait_max_seconds=(
                settings.poll_interval_max_seconds
                if settings.is_set("RUSHES_POLL_INTERVAL_MAX_SECONDS")
                else None
            ),
        ),
        config=WorkerConfig(
            lease_seconds=settings.lease_seconds,
            stop_seconds=settings.stop_seconds,
            unconfirmed_grace_seconds=settings.unconfirmed_grace_seconds,
            not_found_grace_seconds=settings.not_found_grace_seconds,
            unconfirmed_policy=UnconfirmedPolicy(settings.unconfirmed_policy),
            wait_seconds_max=settings.wait_seconds_max,
            failover_queue_max=settings.failover_queue_max,
            poll_backoff_seconds_max=settings.poll_interval_max_seconds,
            callback_url=callback_urls(settings),
            takes_callbacks=settings.base_url is not None,
            archives=settings.archive_place is not None,
            host=socket.gethostname(),
            pid=os.getpid(),
        ),
        now_ms=wall_clock_ms,
        new_id=new_worker_id,
        jitter=random.Random(),
        clocks=machine_clocks(),
        on_commit=on_commit,
        hosts={name: host for name in providers if (host := settings.provider_account(name).host)},
        provider_at=elsewhere.provider_at,
        records=sent_records(settings.data_dir / "workers"),
        inputs=build_inputs(settings, build_uploads(settings, database)),
    )


def callback_urls(settings: Settings) -> Callable[[str, int, int], str | None]:
    """Makes the callback URL of `(provider, task_id, attempt)`; None for each without a public base URL."""
    base_url, secret = settings.base_url, settings.webhook_secret
    if base_url is None:
        return lambda _provider, _task_id, _attempt: None
    if secret is None:
        raise SettingsError("RUSHES_WEBHOOK_SECRET must be set when RUSHES_BASE_URL is: it signs callbacks")
    key = secret.get_secret_value().encode()
    return lambda provider, task_id, attempt: (
        f"{base_url}/callbacks/{provider}/{callback_token(key, task_id=task_id, attempt=attempt)}"
    )


async def poll_remote_task(settings: Settings, provider: str, remote_task_id: str) -> PollResult:
    """Ask a provider once about a remote task; nothing is stored, and no database is needed.

    Raises `InputError` for what can be no id, `NotFound` for a provider that is not installed and
    `SettingsError` for one without a key.
    """
    if not is_remote_task_id(remote_task_id):
        raise InputError("must be the provider's own id of the task", field="remote_task_id")
    return (await poll_where_sent(settings, provider, remote_task_id, host=None))[0]


async def poll_where_sent(
    settings: Settings, provider: str, remote_task_id: str, *, host: str | None
) -> tuple[PollResult, float]:
    """The same at this host (None: the one that is set), and how long the provider's links to files live, in
    seconds.
    """
    account = usable_account(settings, provider)
    providers, troubles = try_providers(settings)
    if provider in troubles:
        raise SettingsError(f"the provider {provider} cannot be used: {troubles[provider]}")
    transports: list[HttpTransport] = []
    asked: Provider | None = providers[provider]
    try:
        if host not in (None, account.host):
            asked = provider_at(settings, provider, str(host), transports=transports)
        if asked is None:
            return NoAnswer(f"it was sent to {host}, which cannot be asked now"), 0.0
        return await asked.poll_remote_task(remote_task_id), asked.result_files.link_seconds
    finally:
        for transport in transports:
            await transport.close()
        await providers.close()
