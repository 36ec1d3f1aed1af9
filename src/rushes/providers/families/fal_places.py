"""fal's other places: its queue's second name, and its storage, where files go before the submit.

    place    POST {rest}/storage/upload/initiate?storage_type=gcs {file_name, content_type}
             -> {upload_url, file_url}
    file     PUT  {upload_url}, without the key

The place for files is at another host than the queue, and the file at a third one. Checked against
fal-client 1.0.3.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from rushes.domain.task import NotSent, Rejected, SubmitOutcome
from rushes.providers.answers import UNDECODABLE, Words
from rushes.providers.base import origin_of
from rushes.providers.described import body_of
from rushes.providers.http.transport import Response, TransportError
from rushes.providers.inputs import InputFile

REST_HOST: Final = "https://rest.fal.ai"
QUEUE_HOST: Final = "https://queue.fal.run"

Ask = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Response]]
"""Sends a request: its method, URL, headers and body. Raises `TransportError`."""


BACKUP_HOSTS: Final = {QUEUE_HOST: "https://queue.falrun.com"}
"""Another name of the same queue, as fal's own client has it."""

BACKUP_SECONDS: Final = 60.0
"""How long the other name is asked first, once the first one could not be reached."""


class Queue:
    """The hosts of one queue. Only what certainly was not sent to one is sent to the other."""

    def __init__(self, host: str, now: Callable[[], float]) -> None:
        self._host, self._backup = host, BACKUP_HOSTS.get(host)
        self._now, self._backup_until = now, 0.0

    async def ask(self, url: str, ask: Callable[[str], Awaitable[Response]]) -> Response:
        """The answer of the first host that can be reached. Raises `TransportError`."""
        if self._backup is None or not url.startswith(f"{self._host}/"):
            return await ask(url)
        hosts = [self._host, self._backup]
        if self._now() < self._backup_until:
            hosts.reverse()
        first, second = (host + url.removeprefix(self._host) for host in hosts)
        try:
            return await ask(first)
        except TransportError as error:
            if error.may_have_been_received:
                raise
            response = await ask(second)
        self._backup_until = self._now() + BACKUP_SECONDS if hosts[0] == self._host else 0.0
        return response


class _Place(msgspec.Struct, frozen=True):
    upload_url: str
    file_url: str


_decode_place = msgspec.json.Decoder(_Place).decode


def storage_host_of(host: str) -> str:
    """Where the storage of that queue is: any other host than fal's own has both."""
    return REST_HOST if host == QUEUE_HOST else host


async def give(
    file: InputFile,
    host: str,
    headers: Mapping[str, str],
    ask: Ask,
    refused: Callable[[Response], SubmitOutcome],
    words: Words,
) -> str | NotSent | Rejected:
    """Give fal a file; its URL there. `headers` are those of a submit, `refused` what its refusals mean."""
    question = body_of({"file_name": file.file_name, "content_type": file.content_type})
    place_url = f"{storage_host_of(host)}/storage/upload/initiate?storage_type=gcs"
    try:
        response = await ask("POST", place_url, headers, question)
        if not 200 <= response.status < 300:
            outcome = refused(response)
            if isinstance(outcome, NotSent | Rejected):
                return outcome
            return NotSent(f"HTTP {response.status}")
        place = _decode_place(response.body)
        if not place.upload_url.startswith("https://") and origin_of(place.upload_url) != origin_of(host):
            return NotSent("the place for files is no https URL")
        given = await ask("PUT", place.upload_url, {"content-type": file.content_type}, file.data or b"")
    except TransportError as error:
        return NotSent(error.reason)
    except UNDECODABLE as error:
        return NotSent(words.undecodable(error))
    if not 200 <= given.status < 300:
        return NotSent(f"the place for files answered HTTP {given.status}")
    return place.file_url
