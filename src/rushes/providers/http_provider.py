"""What providers over HTTP share: each request is sent once, and whatever is not certain stays open.

A provider derives from `HttpProvider` and says what its service's 2xx answers mean; what it is given to
read with may raise `UNDECODABLE`. It changes `complaint`, `submit_refused` or `poll_refused` where its
service says more with other statuses than their numbers do.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from rushes.domain.task import NoAnswer, NotSent, PollResult, SubmitOutcome, Unknown
from rushes.providers.answers import UNDECODABLE, Words, no_answer, outcome_of_http_status
from rushes.providers.base import RESULT_LINK_SECONDS, ProviderConfig, ResultFiles, origin_of
from rushes.providers.transport import Response, TransportError


class HttpProvider:
    """One account at one service.

    `headers` go with every request to the service; `file_headers` with fetches of files at its own origin.
    """

    name: ClassVar[str]

    def __init__(
        self,
        config: ProviderConfig,
        *,
        headers: Mapping[str, str],
        file_headers: Mapping[str, str] | None = None,
        link_seconds: float = RESULT_LINK_SECONDS,
    ) -> None:
        self.limits = config.limits
        self.result_files = ResultFiles(link_seconds, file_headers or {}, origin_of(config.host))
        self.host = config.host.rstrip("/")
        self.words = Words(secret=config.api_key)
        self._transport = config.transport
        self._timeout_seconds = config.timeout_seconds
        self._poll_headers = dict(headers)
        self._submit_headers = {**headers, "content-type": "application/json"}

    async def send_submit(
        self,
        url: str,
        body: bytes,
        read: Callable[[bytes], SubmitOutcome],
        content_type: str = "application/json",
    ) -> SubmitOutcome:
        """POST once; `read` says what a 2xx answer's body means."""
        headers = {**self._submit_headers, "content-type": content_type}
        try:
            response = await self._transport.request(
                "POST", url, headers=headers, body=body, timeout_seconds=self._timeout_seconds
            )
        except TransportError as error:
            return Unknown(error.reason) if error.may_have_been_received else NotSent(error.reason)
        if not 200 <= response.status < 300:
            return self.submit_refused(response)
        try:
            return read(response.body)
        except UNDECODABLE as error:
            return Unknown(self.words.undecodable(error))

    async def send_poll(
        self,
        method: str,
        url: str,
        body: bytes | None,
        read: Callable[[bytes], PollResult],
        *,
        refused: Callable[[Response], PollResult] | None = None,
    ) -> PollResult:
        """Ask once, with JSON where there is a body; `read` says what a 2xx answer's body means.

        `refused` says what another status means, where it is not `poll_refused` that does.
        """
        headers = self._poll_headers if body is None else self._submit_headers
        try:
            response = await self._transport.request(
                method, url, headers=headers, body=body, timeout_seconds=self._timeout_seconds
            )
        except TransportError as error:
            return NoAnswer(error.reason)
        if not 200 <= response.status < 300:
            return (refused or self.poll_refused)(response)
        try:
            return read(response.body)
        except UNDECODABLE as error:
            return NoAnswer(self.words.undecodable(error), response.status)

    # --- what a service may say in its own way ------------------------------------------------------------

    def complaint(self, body: bytes) -> str | None:
        """What the body of a refusal says, for people; None when it says nothing that can be read."""
        return None

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """What a submit answered with another status than 2xx is."""
        return outcome_of_http_status(response, self.words, self.complaint(response.body))

    def poll_refused(self, response: Response) -> PollResult:
        """What a poll answered with another status than 2xx is; no verdict unless the service means one."""
        return no_answer(response)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """None: most services have no callback that names its task."""
        return None
