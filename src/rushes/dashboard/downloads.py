"""What the pages let one save: a batch's export, and its signed statement."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from rushes.dashboard.parts import DashboardParts
from rushes.domain.errors import NotFound
from rushes.engine import operator_reads
from rushes.engine.statement import BatchUnsound, make_statement
from rushes.engine.views import EXPORT_FIELDS

_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def add_downloads(app: FastAPI, parts: DashboardParts) -> None:
    """Register them; they stand behind the gate, like the pages."""

    @app.get("/batches/{batch_id}/export", include_in_schema=False)
    async def export(batch_id: str, format: Literal["csv", "jsonl"] = "jsonl") -> Response:
        """Every item, a row each, with the columns of `rushes batch export`."""
        try:
            first = await parts.read(operator_reads.export_page, batch_id, from_index=0)
        except NotFound as error:
            return PlainTextResponse(error.message, 404)
        encode = _csv_rows if format == "csv" else _jsonl_rows

        async def rows() -> AsyncIterator[bytes]:
            page = first
            if format == "csv":
                yield _csv_rows([dict(zip(EXPORT_FIELDS, EXPORT_FIELDS, strict=True))])
            while page:
                yield encode(page)
                page = await parts.read(
                    operator_reads.export_page, batch_id, from_index=page[-1]["index"] + 1
                )

        return StreamingResponse(
            rows(), media_type=_MEDIA_TYPES[format], headers=_saved_as(f"{batch_id}.{format}")
        )

    @app.get("/batches/{batch_id}/statement", include_in_schema=False)
    async def statement(batch_id: str) -> Response:
        """The statement that `rushes audit verify` checks."""

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


def _saved_as(name: str) -> dict[str, str]:
    """Only ids that exist come here, so the name holds nothing strange."""
    return {"content-disposition": f'attachment; filename="{name}"'}


def _jsonl_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _csv_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(row.values() for row in rows)
    return buffer.getvalue().encode()
