"""Stored files by their links, for browsers: a link is its own key, and ends soon."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from rushes.api.documents import VIDEOS, answers
from rushes.api.parts import Parts
from rushes.api.video_files import FILE_ANSWERS, file_name_of, kept_response, refuse_unkept
from rushes.domain.errors import NotFound
from rushes.engine import videos
from rushes.engine.file_links import FileLinks

router = APIRouter(tags=[VIDEOS])


@router.get(
    "/files/{token}",
    response_class=Response,
    summary="Get a stored file by its link",
    responses=answers(
        404,
        410,
        416,
        503,
        keyed=False,
        ok=FILE_ANSWERS,
    ),
)
async def get_file(
    token: Annotated[
        str, Path(description="From an item's `video_url`, say.", examples=["17-video-1795442400-5b0c7a1e"])
    ],
    request: Request,
    parts: Parts,
) -> Response:
    """No key is needed: items name such links, which live for one to two hours."""
    found = parts.links.read(token, now_ms=parts.now_ms())
    if found is None:
        raise NotFound("there is no such file, or its link has ended; ask for the item again")
    task_id, variant = found
    kept = await parts.database.read(videos.kept_file, task_id)
    refuse_unkept(kept)
    name = file_name_of(f"video-{task_id}", variant)
    return await kept_response(parts, kept, variant, file_name=name, request_headers=request.headers)


def links_for(request: Request, parts: Parts) -> FileLinks:
    """Links that lead to this service: by its public URL, or else by the name it was asked under."""
    return parts.links if parts.links.base else parts.links.at(str(request.base_url).rstrip("/"))
