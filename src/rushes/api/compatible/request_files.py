"""A file of requests for OpenAI's Batch API: JSON Lines, each a video to be made."""

import re
from dataclasses import dataclass, replace
from typing import Final

from rushes.api.shapes.batch_bodies import read_label
from rushes.api.videos import draft_of_video, video_as_written
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.options import Origin, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import BATCH_ITEMS_MAX, TaskDraft, collect
from rushes.domain.input.strict_json import parse_json
from rushes.files.uploads import GivenUploads, check_given_files

ENDPOINT: Final = "/v1/videos"
LINE_FIELDS: Final = frozenset({"custom_id", "method", "url", "body"})
WINDOW_SECONDS_MAX: Final = 30 * 86_400
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,3})([hd])")
_SECONDS_OF: Final = {"h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class FileOfRequests:
    """What a file asks for; `given` is the `InputError` that refuses it by now, if something does."""

    written: list[TaskDraft]
    given: GivenUploads | InputError


def read_requests(
    data: bytes,
    file_name: str,
    catalogue: Catalogue,
    now_ms: int,
    *,
    account: str,
    upload_bytes_max: int,
) -> FileOfRequests:
    """The videos that the file asks for. Pure computation, some of it long: call it on a thread.

    Raises `InputError` with the file's name and the line of the first fault.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8", source=file_name) from None
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not numbered:
        raise InputError("has no requests", source=file_name)
    if len(numbered) > BATCH_ITEMS_MAX:
        raise InputError(f"has more than {BATCH_ITEMS_MAX} requests; split it", source=file_name)
    line_of_id: dict[str, int] = {}

    def written_of(row: tuple[int, str]) -> TaskDraft:
        number, line = row
        origin = Origin(file_name, number)
        draft = _written(line, origin, catalogue)
        first = line_of_id.setdefault(str(draft.custom_id), number)
        if first != number:
            raise origin.error(f"{quoted(draft.custom_id)} is already used by line {first}", "custom_id")
        return draft

    written = collect(numbered, written_of)
    given: GivenUploads | InputError
    try:
        drafts = collect(written, lambda draft: _of_model(draft, catalogue, now_ms))
        given = check_given_files(
            drafts, catalogue.fields, account=account, folder=None, bytes_max=upload_bytes_max
        )
    except InputError as refused:
        given = refused
    return FileOfRequests(written, given)


def priced_requests(
    found: FileOfRequests, catalogue: Catalogue, uploads: KnownUploads, now_ms: int
) -> list[PricedDraft] | InputError:
    """Its videos with their prices, or the error that refuses them. Pure, as above."""
    if isinstance(found.given, InputError):
        return found.given
    try:
        return validate_drafts(found.given.drafts, catalogue, now_ms / 1000, uploads, fit_lengths=True)
    except InputError as refused:
        return refused


def _written(line: str, origin: Origin, catalogue: Catalogue) -> TaskDraft:
    try:
        request = parse_json(line)
    except ValueError as error:
        raise origin.error(str(error)) from None
    if not isinstance(request, dict):
        raise origin.error(f"must be an object, not {quoted(request)}")
    for name in request:
        if name not in LINE_FIELDS:
            raise origin.error(f"unknown field {quoted(name)}; known: {', '.join(sorted(LINE_FIELDS))}")
    if request.get("method", "POST") != "POST":
        raise origin.error(f"must be POST, not {quoted(request['method'])}", "method")
    if request.get("url") != ENDPOINT:
        raise origin.error(f"must be {ENDPOINT}, not {quoted(request.get('url'))}", "url")
    body = request.get("body")
    if not isinstance(body, dict):
        raise origin.error(f"must be an object, not {quoted(body)}", "body")
    try:
        custom_id = read_label(request, "custom_id")
        if custom_id is None:
            raise origin.error("missing", "custom_id")
    except InputError as error:
        raise error if error.line else origin.error(error.message) from None
    inside = Origin(origin.source, origin.line, "body")
    try:
        draft = video_as_written(body, catalogue, is_form=False)
    except InputError as error:
        raise _placed(error, inside) from None
    return replace(draft, custom_id=custom_id, origin=inside)


def _of_model(draft: TaskDraft, catalogue: Catalogue, now_ms: int) -> TaskDraft:
    try:
        return draft_of_video(draft, catalogue, now_ms)
    except InputError as error:
        raise _placed(error, draft.origin) from None


def _placed(error: InputError, origin: Origin) -> InputError:
    """The same fault, in its line of the file."""
    if error.line is not None:
        return error
    message = error.message.removeprefix(f"{error.field}: ") if error.field else error.message
    placed = origin.error(message, error.field, type(error))
    placed.facts.update({name: value for name, value in error.facts.items() if name not in placed.facts})
    return placed


def window_seconds(window: object) -> int:
    """The seconds of `24h` or `7d`. Raises `InputError`."""
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    seconds = 0 if found is None else int(found[1]) * _SECONDS_OF[found[2]]
    if not 0 < seconds <= WINDOW_SECONDS_MAX:
        raise InputError(
            f'must be hours or days up to 30, such as "24h", not {quoted(window)}', field="completion_window"
        )
    return seconds
