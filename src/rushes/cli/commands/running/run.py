"""`rushes run`: a file of prompts becomes settled videos, once, in a folder."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes.cli.given_acceptance import NOTHING_ASKED, GivenAcceptance
from rushes.cli.given_items import (
    NO_BOUNDS_GIVEN,
    NOTHING_GIVEN,
    GivenAuto,
    GivenItems,
    folder_of,
    price_drafts,
)
from rushes.cli.named import batch_ids, model_names
from rushes.cli.options import Account, Json, PromptFile, Whole
from rushes.cli.show import say
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.domain.input.priced import PricedDraft
    from rushes.domain.input.prompts import TaskDraft
    from rushes.library import Rushes
    from rushes.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GivenRetries:
    """The options that say what happens to items that fail."""

    retries: Annotated[Whole, Parameter(help="Times to retry a failed item (0 to 5).")] = 0
    retry_on: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Only after this failure, such as output_moderation or timeout; may be repeated.",
        ),
    ] = None
    retry_credits_max: Annotated[Whole | None, Parameter(help="Credits that re-rolls may cost in total.")] = (
        None
    )
    stop_loss: Annotated[
        str | None,
        Parameter(help="RATE:TRIES; 0.3:50 stops re-rolls once 50 tries ended and fewer than 30 % passed."),
    ] = None
    last_model: Annotated[
        str | None,
        Parameter(completer=model_names, help="The model of an item's last try, at its own price."),
    ] = None

    repair: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="REASON:CHANGE; frozen:shorter, audio_moderation:sound_off, black:next_model=veo-pro, or"
            " usual; may be repeated.",
        ),
    ] = None

    def policy(self) -> dict[str, Any]:
        """The options as the API's object; what is wrong with them is found where all front ends look."""
        from rushes.domain.errors import InputError

        policy: dict[str, Any] = {"max": self.retries}
        if self.stop_loss is not None:
            rate, _, after = self.stop_loss.partition(":")
            try:
                policy["stop_loss"] = {"pass_rate_min": float(rate), "after": int(after)}
            except ValueError:
                raise InputError(
                    f'--stop-loss takes RATE:TRIES, such as 0.3:50, not "{self.stop_loss[:40]}"'
                ) from None
        given = {
            "reasons": self.retry_on,
            "credits_max": self.retry_credits_max,
            "last_model": self.last_model,
            "repairs": None if self.repair is None else _repairs(self.repair),
        }
        return policy | {name: value for name, value in given.items() if value is not None}


def _repairs(texts: Sequence[str]) -> bool | list[dict[str, Any]]:
    """`frozen:shorter` as the API's object; `usual` is true. What is wrong is found where all look."""
    if list(texts) == ["usual"]:
        return True
    rules: list[dict[str, Any]] = []
    for text in texts:
        after, _, change = text.partition(":")
        do, separator, models = change.partition("=")
        rule: dict[str, Any] = {"after": after, "do": do or None}
        rules.append(rule | ({"models": models.split(",")} if separator else {}))
    return rules


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GivenWays:
    """The options that say how a run goes: its folder, its credits, and whether it is a repeat."""

    out: Annotated[
        Path | None, Parameter(help="Copy the videos into this folder, with a manifest of every item.")
    ] = None
    again: Annotated[
        bool, Parameter(negative=(), help="Buy the same items once more; otherwise their batch is resumed.")
    ] = False
    resume: Annotated[
        str | None,
        Parameter(
            completer=batch_ids, help="Instead of FILE: a batch's id, or last for the newest open one."
        ),
    ] = None
    reuse: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Items that ask for what was bought in the last 30 days, or twice here, take that file for 0"
            " credits.",
        ),
    ] = False
    yes: Annotated[bool, Parameter(negative=(), help="Do not ask, however many credits it takes.")] = False
    grant: Annotated[
        Whole | None, Parameter(help="Credits to grant the account first, if the batch is accepted.")
    ] = None
    account: Account = "default"
    request_id: Annotated[
        str | None, Parameter(help="Makes a repeat harmless: the same id and file are the same batch.")
    ] = None
    json: Json = False


NO_RETRIES = GivenRetries()
PLAIN = GivenWays()


def run(
    file: PromptFile | None = None,
    /,
    *,
    given: GivenItems = NOTHING_GIVEN,
    ways: GivenWays = PLAIN,
    retrying: GivenRetries = NO_RETRIES,
    accepting: GivenAcceptance = NOTHING_ASKED,
    bounds: GivenAuto = NO_BOUNDS_GIVEN,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="Show what it would cost, as `rushes quote` does, and stop.")
    ] = False,
) -> int:
    """Run a file of prompts until every item has finished.

    Says what it costs, submits every prompt once, stores the videos and copies them into a folder. Started
    again with the same prompts it resumes, and buys nothing twice. Ctrl-C stops cleanly.
    """
    from rushes.cli.commands.quote import show_quote
    from rushes.cli.commands.running.before import out_folder
    from rushes.cli.session import run_async
    from rushes.cli.usage import UsageError
    from rushes.domain.input.prompts import check_request_id
    from rushes.settings import Settings

    settings = Settings.load()
    check_request_id(ways.request_id)
    if ways.resume is not None:
        if file is not None or given.template is not None:
            raise UsageError("name a FILE or a batch to --resume, not both")
        asked_anew = (given, retrying, accepting, bounds, ways.grant, ways.request_id)
        nothing = (NOTHING_GIVEN, NO_RETRIES, NOTHING_ASKED, NO_BOUNDS_GIVEN, None, None)
        if ways.again or ways.reuse or dry_run or asked_anew != nothing:
            raise UsageError(
                "--resume continues a batch as it was accepted:"
                " only --out, --yes, --account and --json go with it"
            )
        with out_folder(ways.out):
            return run_async(_resume(settings, ways, ways.resume))
    catalogue = settings.catalogue()
    bounds, drafts = bounds.in_lanes(given.drafts(file, catalogue), catalogue)
    if dry_run:
        priced = price_drafts(drafts, settings, folder_of(file), auto=bounds.rule(catalogue))
        best_of = accepting.best_of_for(priced, settings)
        show_quote(
            priced, settings, as_json=ways.json, account=ways.account, reuse=ways.reuse, best_of=best_of
        )
        return 0
    asked = {
        "retries": retrying.policy(),
        "gate": accepting.gate,
        "accept": accepting.accept(),
        "auto": bounds.document(),
        "reuse": ways.reuse,
    }
    with out_folder(ways.out):
        return run_async(_run(settings, _Items(drafts, folder_of(file)), ways, asked))


async def _resume(settings: "Settings", ways: GivenWays, named: str) -> int:
    from rushes.cli.outcome import left_now
    from rushes.cli.session import opened
    from rushes.domain.errors import InputError, NotFound

    async with opened(settings=settings) as rushes:
        if named == "last":
            batch_id = await rushes.open_batch_id(ways.account)
            if batch_id is None:
                raise NotFound(f'account "{ways.account}" has no open batch; `rushes batch list` shows all')
        else:
            batch_id = await rushes.batch_id_like(named, account=ways.account)
        batch = await rushes.batch(batch_id)
        if not (await left_now(rushes, batch_id)).count:
            raise InputError(
                f"batch {batch_id} has finished ({batch['status']}): nothing is left to resume;"
                f" `rushes batch download {batch_id} --out videos` copies its videos"
            )
        say(f"resuming batch {batch_id}: {counted(batch['total_count'], 'task')}")
        return await _work(rushes, batch_id, ways)


@dataclass(frozen=True, slots=True)
class _Items:
    """What to make, and where the paths in it start."""

    drafts: "Sequence[TaskDraft]"
    folder: Path


async def _run(settings: "Settings", items: _Items, ways: GivenWays, asked: Mapping[str, Any]) -> int:
    from rushes.cli.commands.running.before import (
        approve,
        refuse_without_credits,
        require_keys,
        say_quote,
        with_hint,
    )
    from rushes.cli.outcome import left_now
    from rushes.cli.session import opened
    from rushes.database_wiring import missing_sqlite_file
    from rushes.domain.errors import InsufficientCredits
    from rushes.domain.input.duplicates import duplicates

    is_new = missing_sqlite_file(settings) is not None
    priced = _priced(settings, items, ways, asked, may_be_known=not is_new and not ways.again)
    require_keys(settings, priced)
    try:
        if is_new:
            repeated = {index for index, _ in duplicates(priced)}
            free = repeated if ways.reuse else frozenset()
            required = sum(draft.credits for index, draft in enumerate(priced) if index not in free)
            refuse_without_credits(required=required, grant=ways.grant, account=ways.account)
            approve(priced, settings, yes=ways.yes, bought=((), repeated), reuse=ways.reuse)
        async with opened(creates=True, settings=settings) as rushes:
            await rushes.check_archive()  # before anything is bought that could not be kept
            bought = await rushes.bought_before(priced, account=ways.account)
            if not is_new and not await _is_known(rushes, items, ways):
                approve(priced, settings, yes=ways.yes, bought=bought, reuse=ways.reuse)
            batch = await rushes.start_run(
                items.drafts,
                folder=items.folder,
                account=ways.account,
                request_id=ways.request_id,
                grant=ways.grant,
                again=ways.again,
                **asked,
            )
            if priced and not batch["idempotent_replay"] and not sys.stderr.isatty():
                say_quote(priced, settings, bought=bought, reuse=ways.reuse)
            say(_accepted(batch, is_resumed=(await left_now(rushes, batch["batch_id"])).count > 0))
            if ways.grant is not None and batch["idempotent_replay"]:
                say("nothing was granted: --grant is for a new batch; `rushes credits grant` grants at once")
            for model in {draft.model.name: draft.model for draft in priced if not draft.choices}.values():
                if model.note is not None:
                    say(f"{model.name}: {model.note}")
            return await _work(rushes, batch["batch_id"], ways)
    except InsufficientCredits as error:
        raise with_hint(error, grant=ways.grant, account=ways.account) from None


def _priced(
    settings: "Settings",
    items: _Items,
    ways: GivenWays,
    asked: Mapping[str, Any],
    *,
    may_be_known: bool,
) -> "list[PricedDraft]":
    """The drafts with their prices; none when they are refused, but `may_be_known` from an earlier run."""
    from rushes.cli.commands.running.before import check_asked
    from rushes.domain.errors import InputError
    from rushes.domain.input.auto import NO_BOUNDS, read_auto

    try:
        rule = read_auto(asked["auto"], settings.catalogue(), int(time.time() * 1000)) or NO_BOUNDS
        priced = price_drafts(items.drafts, settings, items.folder, account=ways.account, auto=rule)
        check_asked(settings, priced, asked)  # before a database is made
    except InputError:
        if not may_be_known:
            raise
        return []  # the batch may have been accepted before its model went: `start_run` knows
    return priced


async def _is_known(rushes: "Rushes", items: _Items, ways: GivenWays) -> bool:
    if ways.again or ways.request_id is not None:
        return False
    return await rushes.earlier_run(items.drafts, account=ways.account, folder=items.folder) is not None


def _accepted(batch: Mapping[str, Any], *, is_resumed: bool) -> str:
    if not batch["idempotent_replay"]:
        return (
            f"batch {batch['batch_id']}: {counted(batch['total_count'], 'task')} accepted,"
            f" {counted(batch['credits_reserved'], 'credit')} reserved"
        )
    if is_resumed:
        return f"batch {batch['batch_id']} was accepted before: resuming it"
    return (
        f"batch {batch['batch_id']} was made from these prompts before ({batch['status']}):"
        " nothing is bought; --again buys them once more"
    )


async def _work(rushes: "Rushes", batch_id: str, ways: GivenWays) -> int:
    """Follow the batch to its end, fill the folder, and say how it ended and what is next."""
    from rushes.cli.commands.batches.download import copy_videos
    from rushes.cli.commands.running import after
    from rushes.cli.outcome import batch_now, exit_code_of, left_of, outcome_at_end, print_outcome
    from rushes.cli.progress import progress_display
    from rushes.cli.session import stop_on_signals
    from rushes.concurrency import until_stopped
    from rushes.domain.errors import DatabaseUnreachable, NotAuthorised

    started_at, refusal, manifest = time.monotonic(), None, None
    if ways.out is not None:
        await after.note_folder(rushes, batch_id, ways.out)
    with stop_on_signals() as stop:
        seen = await until_stopped(stop.event, batch_now(rushes, batch_id))
        if seen is None:
            return stop.exit_code
        latest: dict[str, Any] = seen
        try:
            if left_of(rushes.settings, latest).count:
                with progress_display() as progress:

                    def show(batch: dict[str, Any], troubles: dict[str, str]) -> None:
                        nonlocal latest
                        latest = batch
                        progress.update(batch, troubles)

                    batch = await rushes.run(batch_id, stop=stop.event, on_progress=show)
                    latest |= batch  # not in one: `latest` would be that from before the run
        except NotAuthorised as error:
            refusal = error
        except DatabaseUnreachable:
            if not stop.event.is_set():
                raise
        if ways.out is not None and not stop.event.is_set():
            manifest = await copy_videos(rushes, batch_id, ways.out, stop=stop)
        ended = await outcome_at_end(rushes, latest, stop.event)
        folder = after.folder_facts(ways.out, manifest) if ways.out and manifest else None
        print_outcome(ended, time.monotonic() - started_at, as_json=ways.json, folder=folder)
        left = left_of(rushes.settings, ended)
        after.say_what_is_next(ended, ways.out, left)
    if refusal is not None:
        raise refusal
    if left.count or stop.signal_number is not None:
        return stop.exit_code
    return exit_code_of(ended)
