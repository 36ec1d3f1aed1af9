"""Arguments that name a model or a batch, and what a shell's completion offers for them."""

from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

BATCHES_OFFERED: Final = 20
"""The newest ones."""


def model_names(_context: object) -> list[str]:
    """Every model and alias of the catalogue that can be bought; with `rushes.toml`, if there is one."""
    from rushes.settings import Settings

    catalogue = Settings.load().catalogue()
    names = [model.name for model in catalogue if model.unavailable is None]
    return [*names, *(alias.name for alias in catalogue.aliases)]


def batch_ids(_context: object) -> list[tuple[str, str]]:
    """`last` and the ids of the newest batches, each with its status and size."""
    from rushes.cli.session import looked_at, run_async
    from rushes.domain.errors import RushesError
    from rushes.domain.notation import counted

    async def newest() -> list[tuple[str, str]]:
        async with looked_at() as rushes:
            found = await rushes.list_batches(limit=BATCHES_OFFERED)
        return [(one["batch_id"], f"{one['status']}, {counted(one['total_count'], 'task')}") for one in found]

    try:
        return [("last", "the newest batch"), *run_async(newest())]
    except RushesError:  # no database here yet
        return []


ModelName: TypeAlias = Annotated[
    str | None,
    Parameter(
        completer=model_names,
        help="A model, an alias or auto, for items that name none; see `rushes models`.",
    ),
]
KnownModel: TypeAlias = Annotated[str, Parameter(completer=model_names, help="A model or an alias.")]
BatchId: TypeAlias = Annotated[
    str, Parameter(completer=batch_ids, help="The batch's id, the start of it, or last.")
]
