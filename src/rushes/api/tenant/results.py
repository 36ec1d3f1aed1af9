"""What a batch came to, as files to take away: its export, and the manifest of its videos."""

from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response, StreamingResponse

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.ids import BatchId
from rushes.api.files import links_for
from rushes.api.parts import Parts
from rushes.api.shapes import results as shapes
from rushes.api.shapes.documents import BATCHES, answers
from rushes.domain.input.prompts import BATCH_ITEMS_MAX
from rushes.read import items
from rushes.read.exports import export_head, export_rows
from rushes.read.scope import Scope
from rushes.read.tenant.manifest import manifest
from rushes.read.views import EXPORT_FIELDS

OFFSET_MAX: Final = 1_000_000

router = APIRouter(tags=[BATCHES])


@router.get(
    "/batches/{batch_id}/export",
    response_class=StreamingResponse,
    summary="Export a batch",
    responses=answers(
        404,
        422,
        ok={
            200: {
                "description": "Every item, a row each.",
                "content": {
                    "text/csv": {"schema": {"type": "string"}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            }
        },
    ),
)
async def export_batch(
    request: Request,
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    format: Annotated[Literal["csv", "jsonl"], Query()] = "jsonl",
    raw: Annotated[bool, Query(description="CSV with exact values, not safe for a spreadsheet.")] = False,
) -> Response:
    """The columns of `rushes batch export`.

    In CSV, text that a spreadsheet would run as a formula gets an apostrophe before it; `raw=true` leaves it
    exact, as JSON Lines always are.
    """
    base = links_for(request, parts).base

    def page_from(connection: Connection, index: int) -> tuple[bytes, int | None]:
        """The rows from there on, made on the thread that reads them, and where the next ones start."""
        scope = Scope(caller.account_id)
        page = items.export_page(connection, scope, batch_id, from_index=index, base=base)
        return export_rows(page, format, raw=raw), page[-1]["index"] + 1 if page else None

    first = await parts.database.read(page_from, 0)

    async def rows() -> AsyncIterator[bytes]:
        page, index = first
        yield export_head(EXPORT_FIELDS, format)
        while index is not None:
            yield page
            page, index = await parts.database.read(page_from, index)

    return StreamingResponse(
        rows(),
        media_type="text/csv" if format == "csv" else "application/x-ndjson",
        headers={"content-disposition": f'attachment; filename="{batch_id}.{format}"'},
    )


@router.get(
    "/batches/{batch_id}/manifest",
    response_model=shapes.BatchManifest,
    summary="Get a batch's manifest",
    responses=answers(404, 422),
)
async def get_manifest(
    request: Request,
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=BATCH_ITEMS_MAX)] = BATCH_ITEMS_MAX,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Response:
    """Each item's video with its address, checksum and size, or the reason why it has none."""
    found = await parts.database.read(
        manifest,
        Scope(caller.account_id),
        batch_id,
        limit=limit,
        offset=offset,
        base=links_for(request, parts).base,
    )
    return ok_answer(found)
