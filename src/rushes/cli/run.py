"""`rushes run`: a file of prompts becomes settled videos."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from rushes.cli.files import STANDARD_INPUT, read_bounded
from rushes.cli.options import Account, Json, Whole
from rushes.cli.show import say

if TYPE_CHECKING:
    from rushes.domain.prompts import PricedDraft, TaskDraft
    from rushes.settings import Settings


def _not_an_option(_type: object, file: str) -> None:
    """Of names that begin with a hyphen only the hyphen alone, for standard input, is a file's."""
    if file.startswith("-") and file != STANDARD_INPUT:
        raise ValueError(f'no such option "{file}" (a file of that name is ./{file})')


def run(
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            validator=_not_an_option,
            help="Prompts: text (one a line), CSV or JSON Lines; - reads stdin.",
        ),
    ],
    /,
    *,
    model: Annotated[
        str, Parameter(help="A model or an alias, for items that name none; see `rushes models`.")
    ] = "sora-2",
    format: Annotated[
        Literal["text", "csv", "jsonl"] | None, Parameter(help="By default the file's suffix tells.")
    ] = None,
    grant: Annotated[
        Whole | None, Parameter(help="Give the account so many credits first, if the batch is accepted.")
    ] = None,
    account: Account = "default",
    aspect_ratio: Annotated[str | None, Parameter(help="For items that name none: 16:9 or 9:16.")] = None,
    duration: Annotated[Whole | None, Parameter(help="Seconds, for items that name none.")] = None,
    request_id: Annotated[
        str | None, Parameter(help="Makes a repeat harmless: the same id and file are the same batch.")
    ] = None,
    retries: Annotated[Whole, Parameter(help="Try a failed item again, up to so many times (0 to 5).")] = 0,
    retry_on: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Only after this failure, such as output_moderation or timeout; may be repeated.",
        ),
    ] = None,
    retry_credits_max: Annotated[
        Whole | None, Parameter(help="What tries after the first may cost, all together.")
    ] = None,
    stop_loss: Annotated[
        str | None,
        Parameter(help="RATE:TRIES, such as 0.3:50: no more re-rolls when fewer pass, after so many tries."),
    ] = None,
    last_model: Annotated[
        str | None, Parameter(help="The model of an item's last try, at its own price.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a file of prompts to its end.

    Reserves the credits, submits every prompt once, polls, settles, stores the videos, and shows how it
    goes. It ends when each video is stored, or is refused or expired with its reason; `rushes batch
    download` copies them out. Ctrl-C stops cleanly; `rushes worker` goes on from there.
    """
    from rushes.cli.session import run_async
    from rushes.domain.prompts import INPUT_BYTES_MAX, Defaults, parse_batch_input

    options = {
        name: value
        for name, value in {"aspect_ratio": aspect_ratio, "duration": duration}.items()
        if value is not None
    }
    source, data = read_bounded(file, INPUT_BYTES_MAX)
    drafts = parse_batch_input(data, source, format, Defaults(model=model, options=options))
    policy = _policy(retries, retry_on, retry_credits_max, stop_loss, last_model)
    return run_async(
        _run(drafts, grant=grant, account=account, request_id=request_id, retries=policy, as_json=json)
    )


def _policy(
    retries: int,
    reasons: list[str] | None,
    credits_max: int | None,
    stop_loss: str | None,
    last_model: str | None,
) -> dict[str, Any]:
    """The options as the API's object; what is wrong with them is found where all front ends look."""
    from rushes.domain.errors import InputError

    policy: dict[str, Any] = {"max": retries}
    if stop_loss is not None:
        rate, _, after = stop_loss.partition(":")
        try:
            policy["stop_loss"] = {"pass_rate_min": float(rate), "after": int(after)}
        except ValueError:
            raise InputError(
                f'--stop-loss takes RATE:TRIES, such as 0.3:50, not "{stop_loss[:40]}"'
            ) from None
    given = {"reasons": reasons, "credits_max": credits_max, "last_model": last_model}
    return policy | {name: value for name, value in given.items() if value is not None}


async def _run(
    drafts: "Sequence[TaskDraft]",
    *,
    grant: int | None,
    account: str,
    request_id: str | None,
    retries: Mapping[str, Any],
    as_json: bool,
) -> int:
    from rushes.cli.outcome import exit_code_of, open_count, print_outcome, resume_hint
    from rushes.cli.progress import progress_display
    from rushes.cli.session import opened, stop_on_signals
    from rushes.domain.errors import InputError, InsufficientCredits, NotAuthorised
    from rushes.domain.prompts import validate_drafts
    from rushes.domain.retries import read_policy
    from rushes.settings import Settings
    from rushes.wiring import missing_sqlite_file

    settings = Settings.load()
    try:
        priced = validate_drafts(drafts, settings.catalogue(), time.time())
        read_policy(retries, settings.catalogue(), priced, time.time())  # before a database is made
    except InputError:
        if request_id is None or missing_sqlite_file(settings) is not None:
            raise
        priced = []  # the batch may have been accepted before its model went: `create_batch` knows
    require_keys(settings, priced)
    required = sum(draft.credits for draft in priced)
    try:
        refuse_without_database(settings, required=required, grant=grant)
        async with opened(creates=True, settings=settings) as rushes:
            await rushes.check_archive()  # before anything is bought that could not be kept
            batch = await rushes.create_batch(
                drafts, account=account, request_id=request_id, grant=grant, retries=retries
            )
            say(_accepted(batch))
            started_at, refusal = time.monotonic(), None
            with stop_on_signals() as stop:
                try:
                    with progress_display() as progress:
                        await rushes.run(batch["batch_id"], stop=stop.event, on_progress=progress.update)
                except NotAuthorised as error:
                    refusal = error
                batch = await rushes.batch(batch["batch_id"])
            files = await print_outcome(rushes, batch, time.monotonic() - started_at, as_json=as_json)
            # files that wait where nobody archives are not this command's to wait for
            due = files["due"] if settings.archive_place else 0
            if open_count(batch) or due:
                say(f"rushes: {resume_hint(batch, due)}")
    except InsufficientCredits as error:
        raise _with_hint(error, grant=grant, account=account) from None
    if refusal is not None:
        raise refusal
    if open_count(batch) or due:
        return stop.exit_code
    return exit_code_of(batch, files)


def require_keys(settings: "Settings", priced: "Sequence[PricedDraft]") -> None:
    """Raise `SettingsError` when the batch needs a provider that has no key or cannot be built."""
    from rushes.domain.errors import SettingsError
    from rushes.wiring import try_providers

    wanted = sorted({draft.model.provider for draft in priced})
    for provider in wanted:
        missing = settings.provider_account(provider).missing
        if missing is not None:
            raise SettingsError(
                f"{missing} is not set, and {provider} needs it;"
                " without a key try `rushes demo` or `rushes sim`",
                variable=missing,
            )
    troubles = try_providers(settings)[1]
    for provider in wanted:
        if provider in troubles:
            raise SettingsError(f"the provider {provider} cannot be used: {troubles[provider]}")


def refuse_without_database(settings: "Settings", *, required: int, grant: int | None) -> None:
    """Without a database there are no credits but the granted ones: refuse before one is made."""
    from rushes.cli.credits import check_grant
    from rushes.domain.errors import InsufficientCredits
    from rushes.wiring import missing_sqlite_file

    if grant is not None:
        check_grant(grant)
    if required > (grant or 0) and missing_sqlite_file(settings) is not None:
        raise InsufficientCredits(required=required, available=grant or 0)


def _accepted(batch: Mapping[str, Any]) -> str:
    if batch["idempotent_replay"]:
        return f"batch {batch['batch_id']} was accepted before: going on with it"
    return (
        f"batch {batch['batch_id']}: {batch['total_count']} tasks accepted,"
        f" {batch['credits_reserved']} credits reserved"
    )


def _with_hint(error: Any, *, grant: int | None, account: str) -> Exception:
    """The same refusal with the command that mends it."""
    needed = error.missing + (grant or 0)
    where = "" if account == "default" else f" --account {account}"
    error.message += f"; grant them with `rushes credits grant {needed}{where}` or `--grant {needed}`"
    found: Exception = error
    return found
