"""What is checked, shown and asked before a run buys anything."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rushes.cli.show import say
from rushes.domain.notation import counted

Bought: TypeAlias = tuple[Sequence[Mapping[str, Any]], Set[int]]
"""What the account has bought before of what is asked for, and the indexes that `--reuse` does not buy."""

if TYPE_CHECKING:
    from rushes.domain.input.priced import PricedDraft
    from rushes.settings import Settings

MANIFEST_ENDING = ".manifest.json"
STRANGERS_SHOWN_MAX = 3
TRIAL = ".rushes-trial"
"""A file that is written and removed to see whether a folder takes files."""


def require_keys(settings: "Settings", priced: "Sequence[PricedDraft]") -> None:
    """Raise `SettingsError` when the batch needs a provider that has no key or cannot be built.

    An item whose model is chosen later needs one provider of those that may be chosen.
    """
    from rushes.domain.errors import SettingsError
    from rushes.provider_wiring import try_providers

    usable, troubles = try_providers(settings)
    wanted = sorted(
        {
            draft.model.provider
            for draft in priced
            if not any(one.model.provider in usable for one in draft.choices)
        }
    )
    for provider in wanted:
        missing = settings.provider_account(provider).missing
        if missing is not None:
            raise SettingsError(
                f"{missing} is not set, and {provider} needs it;"
                " without a key try `rushes demo` or `rushes sim`",
                variable=missing,
            )
    for provider in wanted:
        if provider in troubles:
            raise SettingsError(f"the provider {provider} cannot be used: {troubles[provider]}")


def check_asked(settings: "Settings", priced: "Sequence[PricedDraft]", asked: Mapping[str, Any]) -> None:
    """Raise `InputError` for a policy of retries, a gate, a best-of or a time to finish by that cannot be."""
    from rushes.cli.commands.quote import check_reachable_without_database
    from rushes.domain.acceptance.best_of import read_acceptance
    from rushes.domain.input.auto import read_auto
    from rushes.domain.retries import read_policy
    from rushes.wiring import gate_rules

    accept, catalogue = asked["accept"], settings.catalogue()
    rule = read_auto(asked["auto"], catalogue, int(time.time() * 1000))
    read_policy(asked["retries"], catalogue, priced, time.time(), buys_clips=accept is not None)
    read_acceptance(asked["gate"], accept, gate_rules(settings), priced, rule)
    check_reachable_without_database(settings, priced)


def refuse_without_credits(*, required: int, grant: int | None, account: str) -> None:
    """Where there is no database yet: refuse what nobody grants, before one is made."""
    from rushes.cli.commands.credits import check_grant
    from rushes.domain.errors import InsufficientCredits
    from rushes.library import DEFAULT_ACCOUNT

    if grant is not None:
        check_grant(grant)
    if required > (grant or 0) and (grant is not None or account != DEFAULT_ACCOUNT):
        raise InsufficientCredits(required=required, available=grant or 0)


def with_hint(error: Any, *, grant: int | None, account: str) -> Exception:
    """The same refusal with the command that fixes it."""
    needed = error.missing + (grant or 0)
    where = "" if account == "default" else f" --account {account}"
    error.message += f"; grant them with `rushes credits grant {needed}{where}` or `--grant {needed}`"
    found: Exception = error
    return found


NOTHING_BOUGHT: Bought = ((), frozenset())


def say_quote(
    priced: "Sequence[PricedDraft]",
    settings: "Settings",
    *,
    bought: Bought = NOTHING_BOUGHT,
    reuse: bool = False,
) -> None:
    """What the batch will cost, and which of its items ask for the same as another or as what was bought."""
    from rushes.cli.commands.quote import bought_line, duplicates_line, quote_line, reuse_line
    from rushes.read.quotes import named_duplicates

    found, free = bought
    saved = sum(priced[index].credits for index in free)
    say(quote_line(priced, settings, free=free if reuse else frozenset()))
    same = named_duplicates(priced)
    if same:
        say(duplicates_line(same))
    if found:
        say(bought_line(found))
    if saved:
        say(reuse_line(saved, reuse=reuse))


def approve(
    priced: "Sequence[PricedDraft]",
    settings: "Settings",
    *,
    yes: bool,
    bought: Bought = NOTHING_BOUGHT,
    reuse: bool = False,
) -> None:
    """On a terminal say what it will cost, and ask if that is much. Raises `InputError` for a no.

    Elsewhere nobody reads it before the batch is accepted, and a refusal stays one line.
    """
    from rushes.domain.errors import InputError

    if not priced or not sys.stderr.isatty():
        return
    say_quote(priced, settings, bought=bought, reuse=reuse)
    free = bought[1] if reuse else frozenset()
    required = sum(draft.credits_max for index, draft in enumerate(priced) if index not in free)
    most = settings.confirm_credits
    if yes or required <= most:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"it costs {counted(required, 'credit')}, more than RUSHES_CONFIRM_CREDITS ({most}): add --yes"
        )
    print(f"Spend {counted(required, 'credit')}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was bought; --yes buys without a question")


@contextlib.contextmanager
def out_folder(out: Path | None) -> Iterator[None]:
    """The checked folder; a new one goes again when nothing came to stand in it."""
    is_new = out is not None and not out.exists()
    if out is not None:
        check_out_folder(out)
    try:
        yield
    finally:
        if is_new and out is not None:
            with contextlib.suppress(OSError):  # there are files in it
                out.rmdir()


def check_out_folder(out: Path) -> None:
    """Raise `InputError` unless the folder takes files and is empty or holds the videos of another run."""
    from rushes.video_folder import folder_at, write_text

    folder_at(out)
    names = sorted(path.name for path in out.iterdir() if path.name != TRIAL)
    if not any(name.endswith(MANIFEST_ENDING) for name in names):
        refuse_strangers(out, names)
    trial = out / TRIAL
    try:
        write_text(trial, "rushes\n")
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def refuse_strangers(out: Path, names: Sequence[str]) -> None:
    """Raise `InputError` for a folder that holds these files of others, unless there are none."""
    from rushes.domain.errors import InputError

    if names:
        more = ", …" if len(names) > STRANGERS_SHOWN_MAX else ""
        raise InputError(
            f"has other files ({', '.join(names[:STRANGERS_SHOWN_MAX])}{more}); name an empty or new folder",
            source=str(out),
        )
