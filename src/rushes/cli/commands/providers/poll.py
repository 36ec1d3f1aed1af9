"""`rushes poll`: ask a provider about one remote task."""

from typing import Annotated

from cyclopts import Parameter

from rushes.cli.exits import ExitCode
from rushes.cli.options import Json

KEY_REFUSED_STATUSES = frozenset({401, 403})


def poll(
    remote_id: Annotated[str, Parameter(help="The provider's own id of the task.")],
    /,
    *,
    provider: Annotated[str, Parameter(help="Its name, as `rushes doctor` lists them.")] = "grsai",
    json: Json = False,
) -> int:
    """Look up one remote task at its provider; nothing is stored.

    Ends with 0 when the provider answered, 1 when it did not, 4 when it refused the key.
    """
    from rushes.cli.session import run_async
    from rushes.cli.show import print_facts, print_json
    from rushes.domain.task import NoAnswer, poll_result_as_dict
    from rushes.settings import Settings
    from rushes.wiring import poll_remote_task

    result = run_async(poll_remote_task(Settings.load(), provider, remote_id))
    document = poll_result_as_dict(result)
    if json:
        print_json(document)
    else:
        print_facts(document)
    if isinstance(result, NoAnswer):
        refused = result.http_status in KEY_REFUSED_STATUSES
        return ExitCode.NOT_AUTHORISED if refused else ExitCode.ERROR
    return ExitCode.DONE
