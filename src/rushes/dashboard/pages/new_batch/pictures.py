"""Files that are dropped on the form of a new batch: kept as uploads of the account that pays."""

import asyncio
import json
import tempfile
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from rushes.dashboard.acting import carry_out, storable
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr
from rushes.domain.errors import RushesError
from rushes.domain.input.uploads import Upload
from rushes.files.uploads import check_file
from rushes.read import ledger


async def answer_upload(request: Request, visit: Visit) -> Response:
    """`{upload_id, said}` of the file that is the request's body, or `{error}` with what is wrong with it."""
    account = storable(request.query_params.get("account", ""))
    if not visit.may(Role.OPERATOR):
        return _json({"error": tr("Your role may not do this")}, 403)
    with tempfile.NamedTemporaryFile(prefix="rushes-upload-") as scratch:
        try:
            upload = await _kept(request, visit, account, Path(scratch.name))
        except (RushesError, ValueError) as error:
            return _json({"error": getattr(error, "message", str(error))}, 422)
    facts = upload.facts
    size = f"{facts.width} × {facts.height}" if facts.width and facts.height else facts.content_type
    return _json({"upload_id": upload.upload_id, "said": size}, 201)


async def _kept(request: Request, visit: Visit, account: str, path: Path) -> Upload:
    """Keep the file for the account. Raises `NotFound`, `ArchiveUnavailable` and `ValueError`."""
    uploads = visit.parts.uploads
    account_id = await visit.parts.read(ledger.account_row_id, account)
    count = 0
    with path.open("wb") as sink:
        async for chunk in request.stream():
            count += len(chunk)
            if count > uploads.bytes_max:
                raise ValueError(tr("The file is too large."))
            sink.write(chunk)
    checked = await asyncio.to_thread(check_file, path, bytes_max=uploads.bytes_max)
    upload = await uploads.keep(account_id, account, checked)
    facts = {"account": account, "content_type": upload.facts.content_type, "bytes": upload.facts.bytes}
    await carry_out(visit, "upload.keep", upload.upload_id, facts, lambda _connection: None)
    return upload


def _json(document: dict[str, str], status: int) -> Response:
    return Response(json.dumps(document), status, media_type="application/json")
