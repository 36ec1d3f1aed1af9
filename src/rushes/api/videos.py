"""One video at a time, in the shapes of the OpenAI SDK: `client.videos.*` works unmodified."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection
from starlette.datastructures import FormData
from starlette.responses import Response

from rushes.api.accepting import (
    IdempotencyKey,
    accept_and_answer,
    keep_files,
    known_uploads,
    replay_of,
    request_id_of_batch,
    scope_of,
)
from rushes.api.auth import Caller
from rushes.api.edge.answering import json_answer
from rushes.api.edge.bodies import (
    UPLOAD_BODY_BYTES_MAX,
    media_type_of,
    object_of,
    read_body,
    require_json,
    unsupported_media_type,
)
from rushes.api.edge.ids import public_id, video_place, without_date
from rushes.api.edge.problems import Refusal, unknown_field
from rushes.api.media.forms import read_form
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import openai_models, requests
from rushes.api.shapes.batch_bodies import read_label
from rushes.api.shapes.documents import VIDEOS, answers, body_schema
from rushes.api.video_files import (
    FILE_ANSWERS,
    file_name_of,
    file_response,
    further_name,
    kept_response,
    refuse_unkept,
)
from rushes.domain.acceptance.best_of import Acceptance
from rushes.domain.archive import ArchiveState
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import MEDIA_ROLES
from rushes.domain.catalogue.options import NOWHERE, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft, check_metadata, check_prompt, options_in
from rushes.domain.input.strict_json import parse_json
from rushes.domain.task import FURTHER_FILES_MAX
from rushes.files.uploads import check_given_files
from rushes.money import accept
from rushes.money.accept import BatchRequest
from rushes.read import videos
from rushes.read.scope import Scope
from rushes.store.keys import KeyOwner
from rushes.store.tasks import items

PAGE_MAX: Final = 100
FORM_FIELDS_MAX: Final = 64
FORM_FIELD_BYTES_MAX: Final = 64 * 1024
POLL_AFTER_MS: Final = 1000
"""How often the OpenAI SDK's `create_and_poll` asks; it takes the time from a header."""

VIDEO_FIELDS: Final = frozenset(
    {"prompt", "model", "seconds", "size", "input_reference", "options", "metadata", "user"}
)
"""OpenAI's parameters, and `options` with those of the model; these may stand beside them too."""

USER_CHARACTERS_MAX: Final = 512

_METADATA_FORM_FIELD: Final = re.compile(r"metadata\[([^\]]{1,64})\]")
_OPTION_FORM_FIELD: Final = re.compile(r"(?:options\[([a-z0-9_]{1,64})\]|([a-z0-9_]{1,64}))(\[\])?")
"""How the SDK's forms write an option: by its name or below `options`, with `[]` for each value of a list."""
_REFERENCE_FORM_FIELDS: Final = {f"input_reference[{key}]": key for key in ("image_url", "file_id")}

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
    schema = body_schema(requests.NewVideo)
    content = {
        "application/json": {"schema": schema, "example": _EXAMPLE},
        "multipart/form-data": {"schema": schema},
    }
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "",
    response_model=openai_models.Video,
    summary="Create a video",
    responses=answers(400, 402, 408, 413, 415, 422),
    openapi_extra=_body_document(),
)
async def create_video(
    request: Request, caller: Caller, parts: Parts, idempotency_key: IdempotencyKey = None
) -> Response:
    """A batch of one. The body may be JSON or, as the SDK sends it, a multipart form."""
    fields = await _fields(request)
    now_ms = parts.now_ms()
    written = video_as_written(fields, parts.catalogue, is_form=media_type_of(request) != "application/json")
    request_id = request_id_of_batch(None, idempotency_key)
    try:
        draft = draft_of_video(written, parts.catalogue, now_ms)
        given = await asyncio.to_thread(
            check_given_files,
            [draft],
            parts.catalogue.fields,
            account=caller.account,
            folder=None,
            bytes_max=parts.uploads.bytes_max,
        )
        known = await known_uploads(caller, parts, given)
        priced = validate_drafts(given.drafts, parts.catalogue, now_ms / 1000, known, fit_lengths=True)
        gate = parts.gate.read(None)
    except InputError as error:
        refused = _in_openais_words(error, written)
        accepted = await replay_of(caller, parts, refused, request_id, [written], "video")
        return await _video(caller, parts, accepted["batch_id"])
    new_id = parts.new_video_id()
    wanted = BatchRequest(
        account_id=caller.account_id,
        request_scope=scope_of(caller),
        request_id=request_id or new_id,
        request_hash=accept.request_hash([written], "video"),
        tasks=accept.priced_tasks(priced),
        acceptance=Acceptance(gate),
        uploads_kept_ms=parts.uploads.keep_ms,
    )
    await keep_files(caller, parts, given, wanted)
    accepted = await parts.database.transact(accept_and_answer, wanted, public_id=new_id, now_ms=now_ms)
    if not accepted["idempotent_replay"]:
        parts.on_accepted()
    return await _video(caller, parts, accepted["batch_id"])


async def _video(caller: KeyOwner, parts: ApiParts, batch_id: str) -> Response:
    found = await parts.database.read(videos.find, Scope(caller.account_id), batch_id, None)
    return json_answer(videos.video_view(found))


@router.get("", response_model=openai_models.VideoPage, summary="List videos", responses=answers(404, 422))
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
        Scope(caller.account_id),
        limit=limit,
        after=None if after is None else public_id(after),
        ascending=order == "asc",
    )
    data = [videos.video_view(row) for row in rows]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return json_answer(
        {"object": "list", "data": data, "first_id": None, "last_id": None, **ends, "has_more": has_more}
    )


@router.get("/{video_id}", response_model=openai_models.Video, summary="Get a video", responses=answers(404))
async def get_video(video_id: VideoId, caller: Caller, parts: Parts) -> Response:
    """Its status and progress; `completed` and `failed` are final."""
    place = video_place(video_id)
    found = await parts.database.read(videos.find, Scope(caller.account_id), *place)
    return json_answer(videos.video_view(found), headers={"openai-poll-after-ms": str(POLL_AFTER_MS)})


@router.delete(
    "/{video_id}",
    response_model=openai_models.DeletedVideo,
    summary="Delete a video",
    responses=answers(404, 409),
)
async def delete_video(video_id: VideoId, caller: Caller, parts: Parts) -> Response:
    """Hides a finished video permanently: no list or item links to it, and its file is removed.

    Its batch and its ledger entries stay: they are the books.
    """
    place = video_place(video_id)
    scope, now_ms = Scope(caller.account_id), parts.now_ms()

    def delete(connection: Connection) -> str:
        video = videos.find_finished(connection, scope, *place)
        items.mark_deleted(connection, video.row["batch_id"], video.row["item_index"], now_ms=now_ms)
        return video.video_id

    deleted = await parts.database.transact(delete)
    return json_answer({"id": deleted, "object": "video.deleted", "deleted": True})


@router.api_route("/{video_id}/remix", methods=["POST"], include_in_schema=False)
async def remix_video(video_id: VideoId, caller: Caller, parts: Parts) -> Response:
    """No model here changes a finished video: always refused, so that programs read why."""
    await parts.database.read(videos.find, Scope(caller.account_id), *video_place(video_id))
    raise _not_offered("no model here changes a finished video; describe the new one and create it")


@router.api_route("/edits", methods=["POST"], include_in_schema=False)
@router.api_route("/extensions", methods=["POST"], include_in_schema=False)
async def edit_video(caller: Caller) -> Response:
    """No model here edits or extends a video: always refused, so that programs read why."""
    raise _not_offered("no model here edits or extends a video")


def _not_offered(message: str) -> Refusal:
    return Refusal(501, "NOT_SUPPORTED", message, headers={"x-should-retry": "false"})


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
    file: Annotated[
        int | None,
        Query(ge=1, le=FURTHER_FILES_MAX, description="One of the item's `further_files`, from 1 on."),
    ] = None,
) -> Response:
    """The file's bytes, from the archive once it is stored and from the provider until then.

    Range requests work in both cases; what is stored has a strong `ETag`.
    """
    place = video_place(video_id)
    if file is not None:
        return await _further_file(video_id, place, file, request, caller, parts)
    provider, url, kept = await parts.database.read(videos.file_of_video, Scope(caller.account_id), *place)
    if kept is not None:
        refuse_unkept(kept)
    if kept is not None and kept["state"] == ArchiveState.STORED:
        name = file_name_of(video_id, variant)
        return await kept_response(parts, kept, variant, file_name=name, request_headers=request.headers)
    if variant != "video":
        raise Refusal(404, "NOT_FOUND", "no picture is kept of this video")
    name = f"{video_id}.mp4"
    return await file_response(parts, provider, url, file_name=name, request_headers=request.headers)


async def _further_file(
    video_id: str, place: tuple[str, int | None], number: int, request: Request, caller: Caller, parts: Parts
) -> Response:
    scope = Scope(caller.account_id)
    provider, url, kept = await parts.database.read(videos.further_of_video, scope, *place, number)
    refuse_unkept(kept)
    name = further_name(video_id, kept)
    if kept["state"] == ArchiveState.STORED:
        return await kept_response(parts, kept, "video", file_name=name, request_headers=request.headers)
    return await file_response(parts, provider, url, file_name=name, request_headers=request.headers)


# --- bodies ---------------------------------------------------------------------------------------------


async def _fields(request: Request) -> Mapping[str, Any]:
    """The body's fields, from JSON or a form; a form's file becomes a data URI."""
    kind = media_type_of(request)
    if kind not in ("application/json", "multipart/form-data"):
        raise unsupported_media_type("application/json, multipart/form-data")
    raw = await read_body(request, bytes_max=UPLOAD_BODY_BYTES_MAX)
    if kind == "application/json":
        require_json(request)
        return object_of(raw)

    form_read = read_form(request, raw, fields_max=FORM_FIELDS_MAX, field_bytes_max=FORM_FIELD_BYTES_MAX)
    async with form_read as form:
        fields = await _form_fields(form, raw)
    for name, key in _REFERENCE_FORM_FIELDS.items():
        if name in fields:
            fields["input_reference"] = {key: fields.pop(name)}
    return fields


async def _form_fields(form: FormData, raw: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for written, value in form.multi_items():
        option = _OPTION_FORM_FIELD.fullmatch(written)
        name, is_list = (option[1] or option[2], bool(option[3])) if option else (written, False)
        if name in fields and not (is_list and isinstance(fields[name], list)):
            raise InputError(f"{quoted(name)} is there twice")
        if isinstance(value, str):
            if value.encode() not in raw:  # the parser read what is not UTF-8 as another alphabet
                raise Refusal(400, "INVALID_FORM", "the form is not UTF-8")
            label = _METADATA_FORM_FIELD.fullmatch(name)
            if label is not None:
                fields.setdefault("metadata", {})[label[1]] = value
            elif is_list:
                fields.setdefault(name, []).append(value)
            else:
                fields[name] = value
            continue
        if name != "input_reference":
            shown = str(name)[:100]
            raise InputError("must be text, not a file", field=shown if shown.isprintable() else None)
        fields[name] = f"data:application/octet-stream;base64,{b64encode(await value.read()).decode()}"
    return fields


def _in_openais_words(refused: InputError, written: TaskDraft) -> InputError:
    """The same refusal under the parameter's own name, where it is about the reference."""
    field = refused.field or ""
    if written.options.get("reference_url") is None or field.partition("[")[0] not in MEDIA_ROLES:
        return refused
    message = refused.message.removeprefix(f"{field}: ")
    return type(refused)(message, field="input_reference")


def video_as_written(fields: Mapping[str, Any], catalogue: Catalogue, *, is_form: bool) -> TaskDraft:
    """The video in OpenAI's parameters and options of rushes. Raises `InputError` for what no model takes."""
    model = without_date(read_label(fields, "model") or catalogue.default_model, catalogue)
    names = catalogue.fields.names - VIDEO_FIELDS
    read_label(fields, "user", characters_max=USER_CHARACTERS_MAX)  # whom it is for: nothing here needs it
    if is_form:
        fields = {name: _cell(name, value, catalogue, model, names) for name, value in fields.items()}
    return TaskDraft(
        prompt=check_prompt(fields.get("prompt"), NOWHERE),
        model=model,
        options={
            "seconds": fields.get("seconds"),
            "size": fields.get("size"),
            "reference_url": _reference_url(fields.get("input_reference")),
            **options_in(fields, VIDEO_FIELDS, names, NOWHERE),
        },
        metadata=None if fields.get("metadata") is None else check_metadata(fields["metadata"], NOWHERE),
    )


def _cell(name: str, text: object, catalogue: Catalogue, model: str, names: frozenset[str]) -> object:
    try:
        if name in names and isinstance(text, str):
            return catalogue.fields.read_cell(name, text, model)
        if name in ("options", "metadata") and isinstance(text, str):
            return parse_json(text)
        return text
    except ValueError as error:
        raise InputError(str(error), field=name) from None


def draft_of_video(written: TaskDraft, catalogue: Catalogue, now_ms: int) -> TaskDraft:
    """The same in the options of the model that would make it."""
    _alias, (model, *_others) = catalogue.candidates(written.model, now_ms / 1000)
    own = dict(written.options)
    seconds, size, reference_url = own.pop("seconds"), own.pop("size"), own.pop("reference_url")
    if "duration" in own and seconds is not None:
        raise InputError("give seconds or duration, not both", field="duration")
    found = videos.options_of(model, seconds=seconds, size=size, reference_url=reference_url)
    return replace(written, options={**found, **own})


def _reference_url(reference: object) -> str | None:
    """What `input_reference` names: the text itself, its `image_url` (a URL or data URI), or its `file_id`,
    which is an upload's id here. Raises `InputError`.
    """
    if isinstance(reference, Mapping):
        for name in reference:
            if name not in ("image_url", "file_id"):
                raise unknown_field(name, frozenset({"image_url", "file_id"}), path="input_reference")
        reference = reference.get("image_url") or reference.get("file_id")
    if reference is None:
        return None
    if not isinstance(reference, str):
        raise InputError(f"must be a URL or {{image_url}}, not {quoted(reference)}", field="input_reference")
    return reference
