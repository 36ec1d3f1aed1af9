"""The files of a task out of the uploads, in the form in which they go with its submit."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes import telemetry
from rushes.domain.catalogue.media import SUFFIX_OF, UPLOAD_ID, MediaInput, same_input, way_of
from rushes.domain.catalogue.model import Model
from rushes.domain.errors import ArchiveUnavailable, NotFound, StoreError
from rushes.domain.input.uploads import Upload
from rushes.domain.task import FailureType, NotSent, Rejected, Throttled
from rushes.files.uploads import Uploads
from rushes.providers.base import Provider
from rushes.providers.inputs import InputFile, Inputs, TakesUploads
from rushes.run.inputs.source import NotReady, urls_of

LOAD_SECONDS_MAX: Final = 90.0
"""How long the files of one submit may take to be read and, where the service wants that, uploaded to it."""

RETRY_SECONDS: Final = 5.0
"""How long a provider's submits are held when a file could not be read or given to the service."""

WITH_BYTES_AT_ONCE_MAX: Final = 8
"""Submits of one worker whose files are in memory at the same time."""

CACHED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Files of a worker that are kept in memory: a batch often has one picture for all its items."""

GIVEN_SECONDS_MAX: Final = 3600.0
"""How long the address that a service gave for an uploaded file is used again; services keep them a day."""


log = telemetry.logger()


class _NotReady(Exception):
    def __init__(self, outcome: NotReady) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Given:
    """An address that a service gave for a file, until it is not to be used any more (loop time)."""

    url: str
    until: float


class UploadedInputs:
    """Files out of the uploads, each handed on the best way that the model's description allows.

    `link_of` makes a public address of an upload; None without a public base URL. What cannot be handed on
    was refused when the batch was accepted; a model's description may have changed since.
    """

    def __init__(self, uploads: Uploads, link_of: Callable[[Upload], str] | None) -> None:
        self._uploads = uploads
        self._link_of = link_of
        self._with_bytes = asyncio.Semaphore(WITH_BYTES_AT_ONCE_MAX)
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._given: dict[tuple[str, str], _Given] = {}
        self._giving: dict[tuple[str, str], asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def opened(
        self, provider: Provider, model: Model, options: Mapping[str, Any]
    ) -> AsyncIterator[Inputs | NotReady]:
        """The files; see `InputSource`."""
        media = model.media_of(options)
        if not any(UPLOAD_ID.fullmatch(value) for values in media.values() for value in values):
            yield urls_of(model, options)
            return
        async with self._with_bytes:
            yield await self._loaded(provider, model, media)

    async def _loaded(
        self, provider: Provider, model: Model, media: Mapping[str, tuple[str, ...]]
    ) -> Inputs | NotReady:
        try:
            async with asyncio.timeout(LOAD_SECONDS_MAX):
                return {
                    same_input(name): tuple(
                        [await self._file(provider, model.media[name], value) for value in values]
                    )
                    for name, values in media.items()
                }
        except _NotReady as error:
            return error.outcome
        except TimeoutError:
            return Throttled("its files take too long to be read", RETRY_SECONDS)
        except (ArchiveUnavailable, StoreError) as error:
            return Throttled(f"its files cannot be read: {error.message}", RETRY_SECONDS)

    async def _file(self, provider: Provider, spec: MediaInput, value: str) -> InputFile:
        if not UPLOAD_ID.fullmatch(value):
            return InputFile(url=value)
        upload = await self._uploads.kept(value)
        if upload is None:
            raise _NotReady(Rejected(f"the upload {value} is not kept any more", FailureType.PARAM_ERROR))
        way = way_of(spec, upload.facts, makes_links=self._link_of is not None)
        if way == "url" and self._link_of is not None:
            return InputFile(url=self._link_of(upload))
        if way is None:
            reason = f"{provider.name} does not take the upload {value} in any form that there is here"
            raise _NotReady(Rejected(reason, FailureType.PARAM_ERROR))
        if way == "own_upload":
            return await self._given_to(provider, upload)
        return await self._with_its_bytes(upload)

    async def _with_its_bytes(self, upload: Upload) -> InputFile:
        data = self._cached.get(upload.upload_id)
        if data is None:
            try:
                data = await self._uploads.bytes_of(upload)
            except NotFound:
                reason = f"the bytes of the upload {upload.upload_id} are not in the archive"
                raise _NotReady(Rejected(reason, FailureType.PARAM_ERROR)) from None
            self._cached[upload.upload_id] = data
            while len(self._cached) > 1 and sum(map(len, self._cached.values())) > CACHED_BYTES_MAX:
                self._cached.popitem(last=False)
        self._cached.move_to_end(upload.upload_id)
        content_type = upload.facts.content_type
        return InputFile(
            data=data, content_type=content_type, file_name=upload.sha256[:16] + SUFFIX_OF[content_type]
        )

    async def _given_to(self, provider: Provider, upload: Upload) -> InputFile:
        """The service gets the file once an hour, however many tasks have it."""
        if not isinstance(provider, TakesUploads):
            reason = f"{provider.name} takes no files before a submit"
            raise _NotReady(Rejected(reason, FailureType.PARAM_ERROR))
        key, now = (provider.name, upload.upload_id), asyncio.get_running_loop().time
        async with self._giving.setdefault(key, asyncio.Lock()):
            given = self._given.get(key)
            if given is not None and now() < given.until:
                return InputFile(url=given.url)
            file = await self._with_its_bytes(upload)
            try:
                answer = await provider.upload_input(file)
            except Exception as error:  # a provider must not raise; nothing of the submit has left
                log.error(telemetry.PROVIDER_RAISED, provider=provider.name, error=type(error).__name__)
                answer = NotSent(f"the provider raised {type(error).__name__}")
            if isinstance(answer, NotSent):
                raise _NotReady(Throttled(f"its file was not taken: {answer.reason}", RETRY_SECONDS))
            if isinstance(answer, Rejected):
                raise _NotReady(answer)
            self._given = {each: kept for each, kept in self._given.items() if now() < kept.until}
            self._given[key] = _Given(answer, now() + GIVEN_SECONDS_MAX)
            self._giving = {each: lock for each, lock in self._giving.items() if lock.locked()}
            return InputFile(url=answer)
