"""One video at a time, in the shapes of the OpenAI SDK: `client.videos.*` works unmodified."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from rushes.api import models
from rushes.api.answering import json_answer
from rushes.api.auth import Caller
from rushes.api.batch_bodies import DEFAULT_MODEL, read_label
from rushes.api.batches import IdempotencyKey, replay_of, request_id_of_batch, scope_of
from rushes.api.bodies import (
    UPLOAD_BODY_BYTES_MAX,
    media_type_of,
    object_of,
    read_body,
    require_json,
    unsupported_media_type,
)
from rushes.api.documents import VIDEOS, answers
from rushes.api.ids import public_id, video_place
from rushes.api.parts import ApiParts, Parts
from rushes.api.problems import Refusal, unknown_field
from rushes.api.video_files import FILE_ANSWERS, file_name_of, file_response, kept_response, refuse_unkept
from rushes.domain.archive import ArchiveState
from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import InputError
from rushes.domain.options import NOWHERE, quoted
from rushes.domain.prompts import TaskDraft, check_prompt, validate_drafts
from rushes.domain.retries import NO_RETRIES
from rushes.engine import accept, tenant, videos
from rushes.engine.accept import BatchRequest
from rushes.store.keys import KeyOwner

PAGE_MAX: Final = 100
FORM_FIELDS_MAX: Final = 20
FORM_FIELD_BYTES_MAX: Final = 64 * 1024
POLL_AFTER_MS: Final = 1000
"""How often the OpenAI SDK's `create_and_poll` asks; it takes the time from a header."""

VIDEO_FIELDS: Final = frozenset({"prompt", "model", "seconds", "size", "input_reference"})
_REFERENCE_FORM_FIELD: Final = "input_reference[image_url]"

router = APIRouter(prefix="/videos", tags=[VIDEOS])

VideoId = Annotated[
    str,
    Path(
        description="A video's id, or any item's.",
        examples=["video_5f1c0a9d3e7b24680f13579a", "bat_5f1c0a9d3e7b24680f13579a-3"],
    ),
]
_EXAMPLE: Final = {"model": "sora-2", "prompt": "a paper boat on a puddle", "size": "1280x720"}


def _body_document() -> dict[str, Any]:
    schema = models.NewVideo.model_json_schema()
    content = {
        "application/json": {"schema": schema, "example": _EXAMPLE},
        "multipart/form-data": {"schema": schema},
    }
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "",
    response_model=models.Video,
    summary="Create a video",
    responses=answers(400, 402, 408, 413, 415, 422),
    openapi_extra=_body_document(),
)
async def create_video(
    request: Request, caller: Caller, parts: Parts, idempotency_key: IdempotencyKey = None
) -> Response:
    """A batch of one. The body may be JSON or, as the SDK sends it, a multipart form."""
    fields = await _fields(request)
    for name in fields:
        if name not in VIDEO_FIELDS:
            raise unknown_field(name, VIDEO_FIELDS)
    now_ms = parts.now_ms()
    written = _as_written(fields)
    request_id = request_id_of_batch(None, idempotency_key)
    try:
        draft = _draft(written, parts.catalogue, now_ms)
        priced = validate_drafts([draft], parts.catalogue, now_ms / 1000)
    except InputError as refused:
        accepted = await replay_of(caller, parts, refused, request_id, [written], "video")
        return await _video(caller, parts, accepted["batch_id"])
    new_id = parts.new_video_id()
    wanted = BatchRequest(
        account_id=caller.account_id,
        request_scope=scope_of(caller),
        request_id=request_id or new_id,
        request_hash=accept.request_hash([written], "video"),
        tasks=accept.priced_tasks(priced),
    )
    accepted = await parts.database.transact(
        tenant.create_batch, wanted, public_id=new_id, retry_policy=NO_RETRIES, now_ms=now_ms
    )
    if not accepted["idempotent_replay"]:
        parts.on_accepted()
    return await _video(caller, parts, accepted["batch_id"])


async def _video(caller: KeyOwner, parts: ApiParts, batch_id: str) -> Response:
    found = await parts.database.read(videos.find, caller.account_id, batch_id, None)
    return json_answer(videos.video_view(found))


@router.get("", response_model=models.VideoPage, summary="List videos", responses=answers(404, 422))
async def list_videos(
    caller: Caller,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
) -> Response:
    """Those made here, newest first; items of batches are listed with their batches."""
    rows, has_more = await parts.database.read(
        videos.page,
        caller.account_id,
        limit=limit,
        after=None if after is None else public_id(after),
        ascending=order == "asc",
    )
    data = [videos.video_view(row) for row in rows]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return json_answer(
        {"object": "list", "data": data, "first_id": None, "last_id": None, **ends, "has_more": has_more}
    )


@router.get("/{video_id}", response_model=models.Video, summary="Get a video", responses=answers(404))
async def get_video(video_id: VideoId, caller: Caller, parts: Parts) -> Response:
    """Its status and progress; `completed` and `failed` are final."""
    place = video_place(video_id)
    found = await parts.database.read(videos.find, caller.account_id, *place)
    return json_answer(videos.video_view(found), headers={"openai-poll-after-ms": str(POLL_AFTER_MS)})


@router.delete(
    "/{video_id}",
    response_model=models.DeletedVideo,
    summary="Delete a video",
    responses=answers(404, 409),
)
async def delete_video(video_id: VideoId, caller: Caller, parts: Parts) -> Response:
    """Hides a finished video for ever: no list or item links to it any more, and its file is removed.

    Its batch and its ledger entries stay: they are the books.
    """
    place = video_place(video_id)
    deleted = await parts.database.transact(videos.delete, caller.account_id, *place, now_ms=parts.now_ms())
    return json_answer({"id": deleted, "object": "video.deleted", "deleted": True})


@router.get(
    "/{video_id}/content",
    response_class=Response,
    summary="Download a video",
    responses=answers(
        400,
        404,
        409,
        410,
        416,
        422,
        502,
        ok=FILE_ANSWERS,
    ),
)
async def download_video(
    video_id: VideoId,
    request: Request,
    caller: Caller,
    parts: Parts,
    variant: Annotated[
        Literal["video", "thumbnail", "spritesheet"],
        Query(description="Pictures are JPEG, and there only once the video is stored."),
    ] = "video",
) -> Response:
    """The file's bytes, from the archive once it is stored and from the provider until then.

    Range requests work in both cases; what is stored has a strong `ETag`.
    """
    place = video_place(video_id)
    provider, url, kept = await parts.database.read(videos.file_of_video, caller.account_id, *place)
    if kept is not None:
        refuse_unkept(kept)
    if kept is not None and kept["state"] == ArchiveState.STORED:
        name = file_name_of(video_id, variant)
        return await kept_response(parts, kept, variant, file_name=name, request_headers=request.headers)
    if variant != "video":
        raise Refusal(404, "NOT_FOUND", "no picture is kept of this video")
    name = f"{video_id}.mp4"
    return await file_response(parts, provider, url, file_name=name, request_headers=request.headers)


# --- bodies ---------------------------------------------------------------------------------------------


async def _fields(request: Request) -> Mapping[str, Any]:
    """The body's fields, from JSON or a form; an uploaded file is refused, for providers fetch URLs."""
    kind = media_type_of(request)
    if kind not in ("application/json", "multipart/form-data"):
        raise unsupported_media_type("application/json, multipart/form-data")
    raw = await read_body(request, bytes_max=UPLOAD_BODY_BYTES_MAX)
    if kind == "application/json":
        require_json(request)
        return object_of(raw)

    async def chunks() -> AsyncIterator[bytes]:
        yield raw
        yield b""

    parser = MultiPartParser(
        request.headers,
        chunks(),  # type: ignore[arg-type]
        max_files=1,
        max_fields=FORM_FIELDS_MAX,
        max_part_size=FORM_FIELD_BYTES_MAX,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        message = error.message if isinstance(error, MultiPartException) else "not a multipart form"
        raise Refusal(400, "INVALID_FORM", message[:300]) from None
    try:
        fields = _text_fields(form)
        raw.decode()  # the parser would read what is not UTF-8 as another alphabet
    except UnicodeDecodeError:
        raise Refusal(400, "INVALID_FORM", "the form is not UTF-8") from None
    finally:
        await form.close()
    if _REFERENCE_FORM_FIELD in fields:
        fields["input_reference"] = fields.pop(_REFERENCE_FORM_FIELD)
    return fields


def _text_fields(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if not isinstance(value, str):
            raise InputError(
                "uploads are not taken: providers fetch images by their URL; send {image_url}",
                field=str(name)[:100] if str(name).isprintable() else None,
            )
        if name in fields:
            raise InputError(f"{quoted(name)} is there twice")
        fields[name] = value
    return fields


def _as_written(fields: Mapping[str, Any]) -> TaskDraft:
    """The video in OpenAI's parameters. Raises `InputError` for what no model takes."""
    return TaskDraft(
        prompt=check_prompt(fields.get("prompt"), NOWHERE),
        model=read_label(fields, "model") or DEFAULT_MODEL,
        options={
            "seconds": fields.get("seconds"),
            "size": fields.get("size"),
            "reference_url": _reference_url(fields.get("input_reference")),
        },
    )


def _draft(written: TaskDraft, catalogue: Catalogue, now_ms: int) -> TaskDraft:
    """The same in the options of the model that would make it."""
    _alias, (model, *_others) = catalogue.candidates(written.model, now_ms / 1000)
    return replace(written, options=videos.options_of(model, **written.options))


def _reference_url(reference: object) -> str | None:
    """The URL in `input_reference`: the text itself, or its `image_url`. Raises `InputError`."""
    if isinstance(reference, Mapping):
        for name in reference:
            if name != "image_url":
                raise unknown_field(name, frozenset({"image_url"}), path="input_reference")
        reference = reference.get("image_url")
    if reference is None:
        return None
    if not isinstance(reference, str):
        raise InputError(f"must be a URL or {{image_url}}, not {quoted(reference)}", field="input_reference")
    return reference
