"""Stored files by their links, for browsers: a link is its own key, and ends soon."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from rushes.api.parts import Parts
from rushes.api.shapes.documents import UPLOADS, VIDEOS, answers
from rushes.api.video_files import FILE_ANSWERS, file_name_of, further_name, kept_response, refuse_unkept
from rushes.domain.errors import NotFound
from rushes.files.links import FURTHER_VARIANT, FileLinks
from rushes.read import videos

_ANY_FILE: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("application/octet-stream", "image/*", "video/*", "audio/*")
}

router = APIRouter()


@router.get(
    "/files/{token}",
    response_class=Response,
    summary="Get a stored file by its link",
    tags=[VIDEOS],
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
    if variant.startswith(FURTHER_VARIANT):
        number = int(variant.removeprefix(FURTHER_VARIANT))
        kept = await parts.database.read(videos.kept_further_file, task_id, number)
        refuse_unkept(kept)
        name = further_name(f"video-{task_id}", kept)
        return await kept_response(parts, kept, "video", file_name=name, request_headers=request.headers)
    kept = await parts.database.read(videos.kept_file, task_id)
    refuse_unkept(kept)
    name = file_name_of(f"video-{task_id}", variant)
    return await kept_response(parts, kept, variant, file_name=name, request_headers=request.headers)


@router.get(
    "/uploads/{token}",
    response_class=Response,
    summary="Get an upload by its link",
    tags=[UPLOADS],
    responses=answers(
        404,
        422,
        503,
        keyed=False,
        ok={200: {"description": "The file.", "content": _ANY_FILE}},
    ),
)
async def get_linked_upload(
    token: Annotated[str, Path(max_length=200, description="What an upload's link ends with.")],
    parts: Parts,
) -> Response:
    """For video services, which get such links with a task; no key is needed, and a link ends in days."""
    upload_id = parts.links.read_upload(token, now_ms=parts.now_ms())
    upload = None if upload_id is None else await parts.uploads.kept(upload_id)
    if upload is None:
        raise NotFound("there is no such upload, or its link has ended")
    return StreamingResponse(
        parts.uploads.chunks_of(upload),
        media_type=upload.facts.content_type,
        headers={
            "content-length": str(upload.facts.bytes),
            "etag": f'"{upload.sha256}"',
            "content-disposition": "inline",
            "cache-control": "private, max-age=3600",
        },
    )


def links_for(request: Request, parts: Parts) -> FileLinks:
    """Links that lead to this service: by its public URL, or else by the name it was asked under."""
    return parts.links if parts.links.base else parts.links.at(str(request.base_url).rstrip("/"))
