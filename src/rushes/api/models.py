"""Models: what may be asked for, in OpenAI's shape, and how well it goes."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.compatible import model_views
from rushes.api.edge.answering import json_answer, ok_answer
from rushes.api.parts import Parts
from rushes.api.shapes import models, openai_models
from rushes.api.shapes.documents import MODELS, answers
from rushes.read.acceptance import pass_rates
from rushes.read.scope import Scope

router = APIRouter(prefix="/models", tags=[MODELS])


@router.get("", response_model=openai_models.ModelList, summary="List models", responses=answers(422))
async def list_models(caller: Caller, parts: Parts) -> Response:
    """Models and aliases, with price, options, and why one takes no new tasks."""
    data = model_views.all_models(parts.catalogue, parts.now_ms() / 1000)
    return json_answer({"object": "list", "data": data})


@router.get(
    "/stats",
    response_model=models.PassRates,
    summary="Get pass rates",
    responses=answers(422),
)
async def get_pass_rates(
    caller: Caller,
    parts: Parts,
    days: Annotated[int, Query(ge=1, le=pass_rates.DAYS_MAX)] = 7,
    prompts: Annotated[int, Query(ge=0, le=pass_rates.PROMPTS_MAX, description="How many.")] = 20,
) -> Response:
    """How often your tries pass, by model and by prompt."""
    found = await parts.database.read(
        pass_rates.pass_rates,
        Scope(caller.account_id),
        days=days,
        prompts_max=prompts,
        now_ms=parts.now_ms(),
    )
    return ok_answer(found)


@router.get(
    "/{model:path}", response_model=openai_models.Model, summary="Get a model", responses=answers(404, 422)
)
async def get_model(
    model: Annotated[str, Path(description="A model's name, or an alias.", examples=["sora-2"])],
    caller: Caller,
    parts: Parts,
) -> Response:
    """One model or alias."""
    return json_answer(model_views.one_model(parts.catalogue, model, parts.now_ms() / 1000))
