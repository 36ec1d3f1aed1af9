"""For whoever runs the service: health, metrics, the tick; and providers' callbacks."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Request
from sqlalchemy import Connection
from starlette.responses import Response

from rushes.api import models
from rushes.api.answering import json_answer, ok_answer
from rushes.api.auth import same_secret
from rushes.api.bodies import SMALL_BODY_BYTES_MAX, object_of, read_body
from rushes.api.documents import OPERATORS, answers
from rushes.api.parts import ApiParts, Parts
from rushes.api.problems import Refusal
from rushes.domain.errors import NotFound, StoreError
from rushes.engine.callbacks import attempt_of_token
from rushes.engine.gauges import has_live_worker
from rushes.metrics import METRICS_TYPE
from rushes.store import migrate, nudges

READY_SECONDS_MAX: Final = 5.0

router = APIRouter(tags=[OPERATORS])


@router.get(
    "/healthz", response_model=models.Healthy, summary="Is the process alive?", responses=answers(keyed=False)
)
async def healthz() -> Response:
    """Asks nothing but the process itself."""
    return ok_answer({})


@router.get(
    "/readyz",
    response_model=models.Ready,
    summary="Can the service do its work?",
    responses=answers(503, keyed=False),
)
async def readyz(parts: Parts) -> Response:
    """The database answers, its schema is this version's, and some worker is alive."""

    def look(connection: Connection) -> tuple[str | None, str | None, bool]:
        revision = migrate.current(connection)
        problem = migrate.mismatch(revision)  # reads files: not on the event loop
        return revision, problem, problem is None and has_live_worker(connection, parts.now_ms())

    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            revision, problem, has_worker = await parts.database.read(look)
    except (StoreError, TimeoutError):
        raise _not_ready("the database does not answer", database="unreachable") from None
    if problem is not None:
        raise _not_ready(problem, database="ok", schema_revision=revision, schema_head=migrate.head())
    if not has_worker:
        raise _not_ready("no worker is alive", database="ok", schema_revision=revision, live_worker=False)
    return ok_answer({"database": "ok", "schema_revision": revision, "live_worker": True})


def _not_ready(message: str, **facts: Any) -> Refusal:
    return Refusal(503, "NOT_READY", message, **facts)


@router.get(
    "/metrics",
    response_class=Response,
    summary="Metrics for Prometheus",
    responses=answers(
        401,
        503,
        keyed=False,
        ok={200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    ),
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Open, unless RUSHES_METRICS_TOKEN is set: then as `Authorization: Bearer …`."""
    if parts.metrics_token is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not same_secret(given, parts.metrics_token):
            raise Refusal(401, "METRICS_UNAUTHORIZED", "send the metrics token as Authorization: Bearer …")
    return Response(await parts.metrics.render(), media_type=METRICS_TYPE)


@router.post(
    "/internal/batch-worker",
    response_model=models.Tick,
    summary="Run one bounded pass",
    responses=answers(401, 409, 503, keyed=False),
)
async def batch_worker(
    parts: Parts,
    x_worker_secret: Annotated[str | None, Header(description="The operator's secret.")] = None,
) -> Response:
    """Dispatch, poll and settle once: for cron and serverless platforms."""
    if parts.worker_secret is None:
        raise Refusal(503, "WORKER_SECRET_NOT_SET", "the operator has set no RUSHES_WORKER_SECRET")
    if not same_secret(x_worker_secret or "", parts.worker_secret):
        raise Refusal(401, "WORKER_UNAUTHORIZED", "the worker secret is missing or wrong")
    if parts.ticking.locked():
        raise Refusal(409, "TICK_IN_PROGRESS", "this process is at a pass already")
    async with parts.ticking:
        return json_answer(await parts.tick())


@router.post(
    "/callbacks/{provider}/{token}",
    response_model=models.CallbackTaken,
    summary="Take a provider's callback",
    responses=answers(400, 404, 408, 413, keyed=False),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": {"id": "remote-1"}}},
        }
    },
)
async def take_callback(
    provider: Annotated[str, Path(examples=["grsai"])],
    token: Annotated[str, Path(description="The attempt's token, from the callback URL.")],
    request: Request,
    parts: Parts,
) -> Response:
    """A reason to poll the task now. Nothing else of the body is used, but the remote id it names."""
    reader = parts.callback_readers.get(provider)
    attempt_named = None if parts.callback_key is None else attempt_of_token(parts.callback_key, token)
    if reader is None or attempt_named is None:
        raise NotFound("there is no such callback")
    body = await read_body(request, bytes_max=SMALL_BODY_BYTES_MAX)
    object_of(body)
    await _nudge(parts, provider, *attempt_named, reader(body))
    return json_answer({"success": True})


async def _nudge(
    parts: ApiParts, provider: str, task_id: int, attempt: int, remote_task_id: str | None
) -> None:
    """Offer it to this process's worker; leave it in the database for another's."""
    if not await parts.database.read(nudges.is_in_flight, task_id, attempt=attempt, provider=provider):
        return  # too late, or of an attempt that was given up: there is nothing to poll
    if parts.on_callback(task_id, attempt, remote_task_id):
        return
    await parts.database.transact(
        nudges.put, task_id, attempt=attempt, remote_task_id=remote_task_id, now_ms=parts.now_ms()
    )
