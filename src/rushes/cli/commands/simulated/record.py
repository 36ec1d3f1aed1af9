"""`rushes record`: keep the shapes of what a provider answers to polls."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.exits import ExitCode
from rushes.cli.options import Json

IDS_MAX = 100


def record(
    remote_ids: Annotated[list[str], Parameter(help="The provider's own ids of tasks, new and old ones.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder for the samples; it is made where there is none.")],
    provider: Annotated[str, Parameter(help="Its name, as `rushes doctor` lists them.")] = "grsai",
    json: Json = False,
) -> int:
    """Poll remote tasks and keep the names and types of the answers, without ids, texts, links or keys.

    Nothing is bought or stored elsewhere. `rushes sim --compare` says where the simulator differs: a service
    that has changed is noticed so. Ends with 1 when no poll was answered.
    """
    import msgspec

    from rushes.cli.session import run_async
    from rushes.cli.show import print_json, say
    from rushes.database_wiring import wall_clock_ms
    from rushes.domain.errors import InputError
    from rushes.domain.notation import counted
    from rushes.domain.task import NoAnswer
    from rushes.provider_wiring import record_polls
    from rushes.settings import Settings

    if len(remote_ids) > IDS_MAX:
        raise InputError(f"{len(remote_ids)} ids; {IDS_MAX} are taken at a time")
    day = _day(wall_clock_ms())
    samples, results = run_async(record_polls(Settings.load(), provider, remote_ids, day))
    answered = sum(not isinstance(result, NoAnswer) for result in results)
    file = out / f"{samples.provider}-{day}.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(samples), indent=1) + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from None
    if json:
        counts = {"exchanges": len(samples.exchanges), "polls": len(results), "answered": answered}
        print_json({"file": str(file), **counts})
    else:
        exchanges = counted(len(samples.exchanges), "exchange")
        say(f"rushes: {exchanges} of {counted(len(results), 'poll')} in {file}; {answered} answered")
    return ExitCode.DONE if answered else ExitCode.ERROR


def _day(now_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
