"""Accepting a batch, or answering as before to a request that made one: for batches and for videos."""

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Header, Request
from sqlalchemy import Connection

from rushes.api.edge.bodies import BATCH_BODY_BYTES_MAX, read_body, require_json
from rushes.api.edge.problems import Refusal
from rushes.api.parts import ApiParts
from rushes.api.shapes.batch_bodies import BatchBody, NewBatch, new_batch, read_batch_body, read_label
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.errors import ArchiveUnavailable, InputError
from rushes.domain.input.prompts import TaskDraft
from rushes.files.uploads import GivenUploads
from rushes.money import accept
from rushes.money.accept import BatchRequest
from rushes.read.batches import accepted_view
from rushes.store.keys import KeyOwner, request_scope_of

SHORT_BODY_BYTES: Final = 32 * 1024
"""Bodies up to this are read on the event loop: a hop to a thread would take longer."""

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="The same as `request_id` in the body."),
]


def accept_and_answer(
    connection: Connection, request: BatchRequest, *, public_id: str, now_ms: int
) -> dict[str, Any]:
    """Accept the batch, or find it if this request made it before."""
    accepted = accept.accept_batch(connection, request, public_id=public_id, now_ms=now_ms)
    return accepted_view(connection, accepted, now_ms=now_ms)


def _replay_answer(
    connection: Connection,
    request_scope: str,
    request_id: str | None,
    drafts: Sequence[TaskDraft],
    *facts: object,
    now_ms: int,
) -> dict[str, Any] | None:
    found = accept.find_replay(connection, request_scope, request_id, drafts, *facts)
    return None if found is None else accepted_view(connection, found, now_ms=now_ms)


async def replay_of(
    caller: KeyOwner,
    parts: ApiParts,
    refused: InputError,
    request_id: str | None,
    drafts: Sequence[TaskDraft],
    *facts: object,
) -> dict[str, Any]:
    """The batch that this request made when it was not `refused` yet; else raises that."""
    found = await parts.database.read(
        _replay_answer, scope_of(caller), request_id, drafts, *facts, now_ms=parts.now_ms()
    )
    if found is None:
        raise refused
    return found


async def known_uploads(caller: KeyOwner, parts: ApiParts, given: GivenUploads | InputError) -> KnownUploads:
    """The account's uploads that the drafts name, and those that they bring along."""
    if isinstance(given, InputError):
        return KnownUploads({})
    return await parts.uploads.known(caller.account_id, given)


async def keep_files(caller: KeyOwner, parts: ApiParts, given: GivenUploads, request: BatchRequest) -> None:
    """Store the files of a batch that can be paid, before it is accepted."""
    if not given.files:
        return
    required = 0 if request.reuse else request.required_credits
    await parts.database.read(accept.require_credits, caller.account_id, required, now_ms=parts.now_ms())
    try:
        await parts.uploads.keep_all(caller.account_id, caller.account, given.files.values())
    except ArchiveUnavailable as error:
        raise Refusal(503, "ARCHIVE_UNAVAILABLE", error.message, headers={"retry-after": "5"}) from error


def scope_of(caller: KeyOwner) -> str:
    """Where request ids are unique: idempotency is per API key."""
    return request_scope_of(caller.key_id)


def request_id_of_batch(
    in_body: str | None, in_header: str | None, *, header: str = "Idempotency-Key"
) -> str | None:
    """The request's id, from the body or the header of this name; both must agree. Raises `InputError`."""
    if in_header is None:
        return in_body
    try:
        text = in_header.encode("latin-1").decode()  # the server reads all headers as Latin-1
    except UnicodeDecodeError:
        raise InputError("must be UTF-8", field=header) from None
    checked = read_label({header: text}, header)
    if in_body is not None and in_body != checked:
        raise InputError(f"the {header} header says another id", field="request_id")
    return checked


async def read_json_of_batch(request: Request) -> bytes:
    """The request's whole body, not looked at yet."""
    require_json(request)
    return await read_body(request, bytes_max=BATCH_BODY_BYTES_MAX)


@contextmanager
def collecting_after(raw: bytes) -> Iterator[None]:
    """Hold Python's garbage collector back while a long body is worked on.

    A large batch makes a hundred thousand objects, all of them in use until it is accepted. Each time there
    are some more, the collector would go through them, and through all the rest of the process, for nothing:
    a quarter of the processor time of a batch of 10,000 items. A body that comes meanwhile does not prolong
    the pause.
    """
    pauses = len(raw) > SHORT_BODY_BYTES and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        yield
    finally:
        if pauses:
            gc.enable()


async def read_batch(
    raw: bytes, caller: KeyOwner, parts: ApiParts
) -> tuple[BatchBody, NewBatch | InputError]:
    """The batch in a body, and what it comes to here, or the error that refuses it.

    Long bodies are checked on a thread, a few at a time.
    """
    read = partial(
        read_batch_body,
        raw,
        parts.catalogue,
        account=caller.account,
        upload_bytes_max=parts.uploads.bytes_max,
    )
    check = partial(
        new_batch, now_ms=parts.now_ms(), allow_private_urls=parts.files.allow_private, gate=parts.gate
    )
    if len(raw) <= SHORT_BODY_BYTES:
        body = read()
        new = check(body, parts.catalogue, await known_uploads(caller, parts, body.given))
        return body, await _taken_here(caller, parts, new)
    async with parts.long_bodies:
        body = await asyncio.to_thread(read)
        known = await known_uploads(caller, parts, body.given)
        new = await asyncio.to_thread(check, body, parts.catalogue, known)
    return body, await _taken_here(caller, parts, new)


async def _taken_here(caller: KeyOwner, parts: ApiParts, new: NewBatch | InputError) -> NewBatch | InputError:
    """The batch, or the error for what this service does not do, or not by the time to finish by."""
    if isinstance(new, InputError):
        return new
    if new.webhook_url is not None and parts.webhook_secrets is None:
        return InputError(
            "this service sends no webhooks: its operator has not turned them on", field="webhook_url"
        )
    if new.reuse and parts.objects is None:
        return InputError("this service keeps no files that could be reused", field="reuse")
    if new.acceptance.auto is None or new.acceptance.auto.finish_by_ms is None:
        return new
    try:
        await parts.database.read(
            parts.forecaster.check_reachable, new.drafts, caller.account_id, parts.now_ms()
        )
    except InputError as refused:
        return refused
    return new
