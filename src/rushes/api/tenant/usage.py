"""What an account has used: tries and credits, by day, model and key."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.times import Time, epoch_ms_if_given
from rushes.api.parts import Parts
from rushes.api.shapes import account as shapes
from rushes.api.shapes.documents import ACCOUNT, answers
from rushes.domain.catalogue.options import quoted
from rushes.domain.errors import InputError
from rushes.read.tenant.usage import DAY_MS, GROUPS, usage

DAYS: Final = 30
DAYS_MAX: Final = 92

router = APIRouter(tags=[ACCOUNT])


@router.get("/usage", response_model=shapes.Usage, summary="Get the usage", responses=answers(422))
async def get_usage(
    caller: Caller,
    parts: Parts,
    by: Annotated[
        str, Query(max_length=40, description="`day`, `model` and `key`, separated by commas.")
    ] = "day",
    from_time: Annotated[Time, Query(alias="from")] = None,
    to_time: Annotated[Time, Query(alias="to")] = None,
) -> Response:
    """Of the batches that were made in that time, the last 30 days unless it is said. A retried item counts
    once for each try.

    `from` is included, `to` is not; they are at most 92 days apart.
    """
    to_ms = epoch_ms_if_given(to_time, field="to")
    to_ms = parts.now_ms() + 1 if to_ms is None else to_ms
    from_ms = epoch_ms_if_given(from_time, field="from")
    from_ms = to_ms - DAYS * DAY_MS if from_ms is None else from_ms
    if not 0 <= to_ms - from_ms <= DAYS_MAX * DAY_MS:
        raise InputError(f"must be 0 to {DAYS_MAX} days before `to`", field="from")
    groups = tuple(dict.fromkeys(by.split(",")))
    for group in groups:
        if group not in GROUPS:
            raise InputError(f"must be of {', '.join(GROUPS)}, not {quoted(group)}", field="by")
    found = await parts.database.read(usage, caller.account_id, groups=groups, from_ms=from_ms, to_ms=to_ms)
    return ok_answer(found)
