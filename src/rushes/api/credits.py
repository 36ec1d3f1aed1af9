"""Credits: the balance and the ledger."""

from datetime import UTC, date, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from rushes.api import models
from rushes.api.answering import ok_answer
from rushes.api.auth import Caller
from rushes.api.documents import CREDITS, answers
from rushes.api.ids import public_id
from rushes.api.parts import Parts
from rushes.domain.credits import EntryType
from rushes.domain.errors import InputError
from rushes.engine import tenant, views
from rushes.engine.tenant import LedgerFilter

LEDGER_PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10_000_000
TIME_CHARACTERS_MAX: Final = 40

router = APIRouter(prefix="/credits", tags=[CREDITS])

Time = Annotated[
    str | None,
    Query(
        max_length=TIME_CHARACTERS_MAX,
        description="An ISO 8601 date or time; UTC unless it names a zone.",
        examples=["2026-11-01", "2026-11-01T12:00:00Z"],
    ),
]


@router.get("/balance", response_model=models.Balance, summary="Get the balance", responses=answers())
async def get_balance(caller: Caller, parts: Parts) -> Response:
    """What may be spent (`available`), what open batches hold (`reserved`), and the lots behind it."""
    return ok_answer(await parts.database.read(views.balance, caller.account, now_ms=parts.now_ms()))


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
        from_ms=_epoch_ms(from_time, "from"),
        to_ms=_epoch_ms(to_time, "to"),
    )
    entries, total = await parts.database.read(
        tenant.ledger_page, caller.account_id, wanted, limit=limit, offset=offset
    )
    return ok_answer({"entries": entries, "total": total, "limit": limit, "offset": offset})


def _epoch_ms(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-01"):
            moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        else:
            # in a query a "+" stands for a space: a time zone's is given back to it
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InputError("must be a date such as 2026-11-01, or an ISO 8601 time", field=name) from None
