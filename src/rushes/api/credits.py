"""Credits: the balance and the ledger."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.ids import public_id
from rushes.api.edge.times import Time, epoch_ms_if_given
from rushes.api.parts import Parts
from rushes.api.shapes import models
from rushes.api.shapes.documents import CREDITS, answers
from rushes.domain.credits import EntryType
from rushes.read.ledger import LedgerFilter, balance, ledger_page
from rushes.read.scope import Scope

LEDGER_PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10_000_000

router = APIRouter(prefix="/credits", tags=[CREDITS])


@router.get("/balance", response_model=models.Balance, summary="Get the balance", responses=answers())
async def get_balance(caller: Caller, parts: Parts) -> Response:
    """What may be spent (`available`), what open batches hold (`reserved`), and the lots behind it."""
    return ok_answer(await parts.database.read(balance, caller.account, now_ms=parts.now_ms()))


@router.get(
    "/ledger", response_model=models.LedgerPage, summary="List ledger entries", responses=answers(404, 422)
)
async def list_ledger(
    caller: Caller,
    parts: Parts,
    batch_id: Annotated[str | None, Query(description="Only entries of this batch.")] = None,
    type: Annotated[EntryType | None, Query(description="Only entries of this type.")] = None,
    from_time: Annotated[Time, Query(alias="from")] = None,
    to_time: Annotated[Time, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=1, le=LEDGER_PAGE_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Response:
    """Newest first. `from` is included, `to` is not."""
    wanted = LedgerFilter(
        batch_id=None if batch_id is None else public_id(batch_id),
        type=type,
        from_ms=epoch_ms_if_given(from_time, field="from"),
        to_ms=epoch_ms_if_given(to_time, field="to"),
    )
    entries, total = await parts.database.read(
        ledger_page, Scope(caller.account_id), wanted, limit=limit, offset=offset
    )
    return ok_answer({"entries": entries, "total": total, "limit": limit, "offset": offset})
