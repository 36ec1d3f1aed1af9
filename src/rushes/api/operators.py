"""For whoever runs the service: health, metrics, the tick; and providers' callbacks."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Request
from sqlalchemy import Connection
from starlette.responses import Response

from rushes.api.auth import is_one_of, slow_down
from rushes.api.edge.answering import json_answer, ok_answer
from rushes.api.edge.bodies import SMALL_BODY_BYTES_MAX, object_of, read_body, read_object
from rushes.api.edge.ids import item_place
from rushes.api.edge.problems import Refusal
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import models, requests
from rushes.api.shapes.documents import OPERATORS, answers, json_body
from rushes.domain.callback_tokens import attempt_of_token
from rushes.domain.errors import InputError, NotFound, StoreError
from rushes.metrics import METRICS_TYPE
from rushes.store import nudges, workers
from rushes.store.action_log import Actor
from rushes.store.migrations import revisions
from rushes.store.tasks import pauses

READY_SECONDS_MAX: Final = 5.0

CHALLENGE_CHARACTERS_MAX: Final = 512
"""Of the text with which a service tries a callback's address."""

router = APIRouter(tags=[OPERATORS])

_ACTOR: Final = Actor("operator", "api")
"""Whoever has the worker's secret, in the log of actions."""


@router.get(
    "/healthz",
    response_model=models.Healthy,
    summary="Is the process alive?",
    responses=answers(414, keyed=False),
)
async def healthz() -> Response:
    """Asks nothing but the process itself."""
    return ok_answer({})


@router.get(
    "/readyz",
    response_model=models.Ready,
    summary="Can the service do its work?",
    responses=answers(414, 503, keyed=False),
)
async def readyz(parts: Parts) -> Response:
    """The database answers, its schema is this version's, and some worker is alive."""

    def look(connection: Connection) -> tuple[str | None, str | None, bool]:
        revision = revisions.current(connection)
        problem = revisions.mismatch(revision)  # reads files: not on the event loop
        return revision, problem, problem is None and workers.any_alive(connection, parts.now_ms())

    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            revision, problem, has_worker = await parts.database.read(look)
    except (StoreError, TimeoutError):
        raise _not_ready("the database does not answer", database="unreachable") from None
    if problem is not None:
        raise _not_ready(problem, database="ok", schema_revision=revision, schema_head=revisions.head())
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
        429,
        keyed=False,
        ok={200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    ),
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Open, unless RUSHES_METRICS_TOKEN is set: then as `Authorization: Bearer …`.

    While the database does not answer, `rushes_database_up` is 0 and what is read from it is missing.
    """
    if parts.metrics_tokens:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not is_one_of(given, parts.metrics_tokens):
            await slow_down(request, parts.secret_brake, "metrics token")
            raise Refusal(401, "METRICS_UNAUTHORIZED", "send the metrics token as Authorization: Bearer …")
    return Response(await parts.metrics.render(), media_type=METRICS_TYPE)


async def require_operator(
    request: Request,
    parts: Parts,
    x_worker_secret: Annotated[str | None, Header(description="The operator's secret.")] = None,
) -> None:
    """Refuse whoever does not send the operator's secret."""
    if not parts.worker_secrets:
        raise Refusal(503, "WORKER_SECRET_NOT_SET", "the operator has set no RUSHES_WORKER_SECRET")
    if not is_one_of(x_worker_secret or "", parts.worker_secrets):
        await slow_down(request, parts.secret_brake, "worker secret")
        raise Refusal(401, "WORKER_UNAUTHORIZED", "the worker secret is missing or wrong")


_FOR_OPERATORS: Final = [Depends(require_operator)]


@router.post(
    "/internal/batch-worker",
    dependencies=_FOR_OPERATORS,
    response_model=models.Tick,
    summary="Run one bounded pass",
    responses=answers(401, 409, 429, 503, keyed=False),
)
async def batch_worker(parts: Parts) -> Response:
    """Dispatch, poll and settle once: for cron and serverless platforms."""
    if parts.ticking.locked():
        raise Refusal(409, "TICK_IN_PROGRESS", "this process is at a pass already")
    async with parts.ticking:
        return json_answer(await parts.tick())


@router.post(
    "/internal/items/{item_id}/adopt",
    dependencies=_FOR_OPERATORS,
    response_model=models.Batch,
    summary="Give an item the remote task that was bought for it",
    responses=answers(400, 401, 402, 404, 408, 413, 415, 422, 429, 503, keyed=False),
    openapi_extra=json_body(requests.Adoption, {"remote_task_id": "1a2b3c4d-remote"}),
)
async def adopt_item(
    item_id: Annotated[str, Path(description="The item's id.", examples=["bat_5f1c0a9d3e7b24680f13579a-3"])],
    request: Request,
    parts: Parts,
) -> Response:
    """For an item that is unconfirmed, or failed as `SUBMIT_OUTCOME_UNKNOWN`, timed out or not found.

    The remote task is polled once. If it succeeded, the item is settled with it, a failed one with a new
    reservation; an unconfirmed item may follow one that is still rendering.
    """
    body = await read_object(request)
    batch_id, index = item_place(item_id)
    return ok_answer(await parts.adopt(batch_id, index, *_remote_task_of(body)))


def _remote_task_of(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """The remote task's id and, where it is named, the account that the item must be of."""
    _only(body, "remote_task_id", "account")
    remote_task_id, account = body.get("remote_task_id"), body.get("account")
    if not isinstance(remote_task_id, str):
        raise InputError("must be the provider's own id of the task, as text", field="remote_task_id")
    if account is not None and not isinstance(account, str):
        raise InputError("must be an account's name, as text", field="account")
    return remote_task_id, account


@router.post(
    "/internal/providers/{provider}/pause",
    dependencies=_FOR_OPERATORS,
    response_model=models.ProviderState,
    summary="Send a provider nothing new",
    responses=answers(400, 401, 404, 408, 413, 415, 422, 429, 503, keyed=False),
    openapi_extra=json_body(requests.ProviderPause, {"reason": "every render comes back black"}),
)
async def pause_provider(
    provider: Annotated[str, Path(description="The provider's name.", examples=["grsai"])],
    request: Request,
    parts: Parts,
) -> Response:
    """No worker claims tasks for it until it is resumed. What it has is polled to its end and settled."""
    reason = reason_of(await read_object(request))
    parts.catalogue.require_provider(provider)
    changed = await parts.database.transact(
        pauses.pause, provider, reason=reason, actor=_ACTOR, now_ms=parts.now_ms()
    )
    pause = (await parts.database.read(pauses.all_pauses)).get(provider)
    return ok_answer(
        {
            "provider": provider,
            "paused": pause is not None,
            "reason": None if pause is None else pause.reason,
            "changed": changed,
        }
    )


@router.post(
    "/internal/providers/{provider}/resume",
    dependencies=_FOR_OPERATORS,
    response_model=models.ProviderState,
    summary="Send a paused provider tasks again",
    responses=answers(401, 404, 429, 503, keyed=False),
)
async def resume_provider(
    provider: Annotated[str, Path(description="The provider's name.", examples=["grsai"])],
    parts: Parts,
) -> Response:
    """Its waiting tasks are claimed again, at once."""
    changed = await parts.database.transact(pauses.resume, provider, actor=_ACTOR, now_ms=parts.now_ms())
    if not changed:
        parts.catalogue.require_provider(provider)
    parts.on_accepted()
    return ok_answer({"provider": provider, "paused": False, "reason": None, "changed": changed})


def _only(body: Mapping[str, Any], *known: str) -> None:
    """Raises `InputError` for a field that is none of these."""
    unknown = sorted(body.keys() - set(known))
    if unknown:
        raise InputError("unknown field", field=unknown[0])


def reason_of(body: Mapping[str, Any]) -> str:
    """The reason of a pause. Raises `InputError`."""
    _only(body, "reason")
    reason = body.get("reason")
    if not isinstance(reason, str):
        raise InputError("must be text: why nothing is to be sent", field="reason")
    return reason.strip()


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
    """A reason to poll the task now. Nothing else of the body is used, but the remote id it names.

    A service that tries the address first posts a `challenge`, which is sent back.
    """
    reader = parts.callback_readers.get(provider)
    secrets = parts.callback_secrets
    attempt_named = attempt_of_token(secrets[0], token, older=secrets[1:]) if secrets else None
    if reader is None or attempt_named is None:
        raise NotFound("there is no such callback")
    body = await read_body(request, bytes_max=SMALL_BODY_BYTES_MAX)
    challenge = object_of(body).get("challenge")
    if isinstance(challenge, str) and len(challenge) <= CHALLENGE_CHARACTERS_MAX:
        return json_answer({"success": True, "challenge": challenge})
    check = parts.callback_checks.get(provider)
    if check is not None and not check(body, request.headers):
        raise NotFound("there is no such callback")
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
