"""Verdicts on clips: given by a person, and what they came to."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.bodies import read_object
from rushes.api.edge.ids import BatchId, item_index_of
from rushes.api.parts import Parts
from rushes.api.shapes import requests
from rushes.api.shapes import verdicts as shapes
from rushes.api.shapes.documents import BATCHES, answers, json_body
from rushes.domain.acceptance.judging import read_judgement
from rushes.money.judge import judge_item
from rushes.read.acceptance import reports
from rushes.read.scope import Scope
from rushes.read.views import item_id

BODY_BYTES_MAX = 4096
DAY_MS = 86_400_000

router = APIRouter(tags=[BATCHES])


@router.post(
    "/batches/{batch_id}/items/{item}/verdict",
    response_model=shapes.JudgedItem,
    summary="Judge a clip",
    responses=answers(400, 402, 404, 408, 409, 413, 415, 422),
    openapi_extra=json_body(requests.Judgement, {"verdict": "rejected", "reason": "six fingers"}),
)
async def judge(
    request: Request,
    batch_id: BatchId,
    item: Annotated[str, Path(description="The item's id, or its index.", examples=["3"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """A person's verdict on an item's newest clip: it stands before every other, once.

    Where the batch asked for it, a rejected clip's item buys another one, and the batch opens again: with a
    key that has a day's cap only in a batch that it made itself.
    """
    index = item_index_of(item, batch_id=batch_id)
    await parts.database.read(Scope(caller.account_id).batch_id, batch_id)  # before what is asked of it
    judgement = read_judgement(await read_object(request, bytes_max=BODY_BYTES_MAX))
    done = await parts.database.transact(
        judge_item,
        batch_id,
        index,
        judgement,
        person="",
        account_id=caller.account_id,
        key_id=caller.key_id,
        now_ms=parts.now_ms(),
        reprice=parts.catalogue.charge,
    )
    if done.buys:
        parts.on_accepted()
    return ok_answer(
        {
            "batch_id": batch_id,
            "item_id": item_id(batch_id, index),
            "verdict": judgement.verdict.value,
            "buys": done.buys,
        }
    )


@router.get(
    "/batches/{batch_id}/verdicts",
    response_model=shapes.BatchVerdicts,
    summary="Get a batch's verdicts",
    responses=answers(404),
)
async def get_verdicts(batch_id: BatchId, caller: Caller, parts: Parts) -> Response:
    """What the batch asked of its clips, what they came to, and what an accepted one cost."""
    return ok_answer(await parts.database.read(reports.batch_verdicts, Scope(caller.account_id), batch_id))


@router.get(
    "/models/accepted",
    response_model=shapes.AcceptedCosts,
    summary="Get the cost of accepted clips",
    responses=answers(422),
)
async def get_accepted(
    caller: Caller,
    parts: Parts,
    days: Annotated[int, Query(ge=1, le=3650, description="Of the last days.")] = 90,
) -> Response:
    """Your clips with a verdict by model, the cheapest for an accepted clip first."""
    since_ms = parts.now_ms() - days * DAY_MS
    found = await parts.database.read(reports.cost_by_model, Scope(caller.account_id), since_ms=since_ms)
    return ok_answer({"data": found})
