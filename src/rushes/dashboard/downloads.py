"""What the pages let one save: a batch's export, and its signed statement."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from rushes.dashboard.acting import storable
from rushes.dashboard.pages.batch.actions import indexes_of
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.zips import zip_of
from rushes.domain.errors import NotFound
from rushes.money.statements.statement import BatchUnsound, make_statement
from rushes.read.board.files import stored_videos
from rushes.read.exports import export_head, export_rows
from rushes.read.items import export_page
from rushes.read.scope import OPERATOR
from rushes.read.views import OPERATOR_EXPORT_FIELDS

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def download_routes(parts: DashboardParts, answering: Callable[[Endpoint], Endpoint]) -> list[Route]:
    """Their routes, behind the gate like the pages. `answering` makes pages of what they raise."""

    async def export(request: Request) -> Response:
        """Every item, a row each, with the columns of `rushes batch export`."""
        batch_id = storable(request.path_params["batch_id"])
        kind: Literal["csv", "jsonl"] = "csv" if request.query_params.get("format") == "csv" else "jsonl"
        try:
            first = await parts.read(export_page, OPERATOR, batch_id, from_index=0, valuation=parts.valuation)
        except NotFound as error:
            return PlainTextResponse(error.message, 404)

        async def rows() -> AsyncIterator[bytes]:
            page = first
            yield export_head(OPERATOR_EXPORT_FIELDS, kind)
            while page:
                yield export_rows(page, kind)
                page = await parts.read(
                    export_page,
                    OPERATOR,
                    batch_id,
                    from_index=page[-1]["index"] + 1,
                    valuation=parts.valuation,
                )

        return StreamingResponse(
            rows(), media_type=_MEDIA_TYPES[kind], headers=_saved_as(f"{batch_id}.{kind}")
        )

    async def statement(request: Request) -> Response:
        """The statement that `rushes audit verify` checks."""
        batch_id = storable(request.path_params["batch_id"])
        key = await asyncio.to_thread(parts.signing_key)
        try:
            content = await parts.database.read(make_statement, batch_id, key, now_ms=parts.now_ms())
        except NotFound as error:
            return PlainTextResponse(error.message, 404)
        except BatchUnsound as error:
            return PlainTextResponse(error.message, 409)
        return Response(
            content, media_type="application/json", headers=_saved_as(f"{batch_id}.statement.json")
        )

    return [
        Route("/batches/{batch_id}/zip", answering(_zip_endpoint(parts))),
        Route("/batches/{batch_id}/export", answering(export)),
        Route("/batches/{batch_id}/statement", answering(statement)),
    ]


def _saved_as(name: str) -> dict[str, str]:
    """Only ids that exist come here, so the name holds nothing strange."""
    return {"content-disposition": f'attachment; filename="{name}"'}


def _zip_endpoint(parts: DashboardParts) -> Endpoint:
    async def videos(request: Request) -> Response:
        """The stored videos of the selected items in one ZIP, which is made while it is sent."""
        batch_id = storable(request.path_params["batch_id"])
        if parts.objects is None:
            return PlainTextResponse("there is no archive here: RUSHES_ARCHIVE_URL is none", 409)
        indexes = indexes_of(",".join(request.query_params.getlist("items")))
        try:
            found, missing = await parts.read(stored_videos, batch_id, indexes)
        except NotFound as error:
            return PlainTextResponse(error.message, 404)
        if not found:
            return PlainTextResponse("none of these items has a stored video", 404)
        return StreamingResponse(
            zip_of(parts.objects, found, missing),
            media_type="application/zip",
            headers=_saved_as(f"{batch_id}.zip"),
        )

    return videos
