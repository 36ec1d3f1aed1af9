"""Paths of the earlier service that have other names here; its clients name requests by `x-request-id`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from rushes.api import operators
from rushes.api.auth import Caller
from rushes.api.batches import EARLIER_ID, new_batch
from rushes.api.parts import Parts

router = APIRouter(include_in_schema=False)


@router.api_route("/api/enterprise/video-batch", methods=["POST"], status_code=201)
@router.api_route("/api/video/batch", methods=["POST"], status_code=201)
async def create_batch(request: Request, caller: Caller, parts: Parts) -> Response:
    """`POST /v1/batches`; `x-request-id` is the request's id where the request gives no other."""
    return await new_batch(
        request,
        caller,
        parts,
        idempotency_key=request.headers.get("idempotency-key"),
        or_key=request.headers.get(EARLIER_ID),
    )


router.add_api_route("/api/internal/batch-worker", operators.batch_worker, methods=["POST"])
