"""What providers over HTTP share: each request is sent once, and whatever is not certain stays open.

A provider derives from `HttpProvider` and says what its service's 2xx answers mean; what it is given to
read with may raise `UNDECODABLE`. It changes `complaint`, `submit_refused` or `poll_refused` where its
service says more with other statuses than their numbers do.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, TypeVar

import msgspec

from rushes.domain.task import (
    CancelRefused,
    CancelResult,
    CancelTaken,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    SubmitOutcome,
    Succeeded,
    Unknown,
)
from rushes.providers.answers import (
    ABOUT_ANOTHER_TASK,
    BYTE_ORDER_MARK,
    UNDECODABLE,
    AboutAnotherTask,
    Complaint,
    Unnamed,
    Words,
    complaint_of,
    no_answer,
    outcome_of_http_status,
    path_segment,
)
from rushes.providers.base import RESULT_LINK_SECONDS, ProviderConfig, ResultFiles, origin_of
from rushes.providers.credentials import Credentials, NoCredentials
from rushes.providers.http.line import HasLines, Line
from rushes.providers.http.transport import Response, TransportError
from rushes.providers.odd_json import contradiction_in, read_over_oddities, without_oddities

T = TypeVar("T")


class HttpProvider:
    """One account at one service.

    `headers` go with every request to the service; `file_headers` with fetches of files at its own origin.
    `credentials(words)` makes those that renew themselves, whose headers go along as well.
    """

    name: str
    asks_over_lines: ClassVar[bool] = False
    """Whether it has a `poll_question` and `verdict_in`: one question and one answer make a poll."""

    def __init__(
        self,
        config: ProviderConfig,
        *,
        headers: Mapping[str, str],
        file_headers: Mapping[str, str] | None = None,
        link_seconds: float = RESULT_LINK_SECONDS,
        credentials: Callable[[Words], Credentials] | None = None,
    ) -> None:
        if config.instance is not None:
            self.name = config.instance
        self.limits = config.limits
        self.result_files = ResultFiles(link_seconds, file_headers or {}, origin_of(config.host))
        self.host = config.host.rstrip("/")
        self.words = Words(config.api_key, *config.secrets)
        self._credentials = None if credentials is None else credentials(self.words)
        self._transport = config.transport
        self._timeout_seconds = config.timeout_seconds
        self._polls_over_lines = config.polls_over_lines
        self._poll_headers = dict(headers)
        self._submit_headers = {**headers, "content-type": "application/json"}

    async def prepare_submits(self, count: int) -> int:
        """Open connections for `count` submits; how many there are. A failure shows at the submits."""
        try:
            return await self._transport.prepare(self.host, count)
        except TransportError:
            return count  # each submit will say so

    async def send_submit(
        self,
        url: str,
        body: bytes,
        read: Callable[[bytes], SubmitOutcome],
        content_type: str = "application/json",
    ) -> SubmitOutcome:
        """POST once, over a fresh connection; `read` says what a 2xx answer's body means.

        On a connection that was used before, the late answer to another request could be taken for this
        one's, and its id cannot be compared with anything.
        """
        headers = {**self._submit_headers, "content-type": content_type}
        try:
            response = await self._request("POST", url, headers, body, fresh=True, is_submit=True)
        except NoCredentials as error:
            return NotSent(error.reason, pauses_provider=True, key_refused=error.key_refused)
        except TransportError as error:
            return Unknown(error.reason) if error.may_have_been_received else NotSent(error.reason)
        if not 200 <= response.status < 300:
            return self.submit_refused(response)
        try:
            outcome = read_over_oddities(read, response.body)
        except UNDECODABLE as error:
            return Unknown(self.words.undecodable(error))
        why_not = contradiction_in(response.body)
        return outcome if why_not is None else Unknown(self.words.clean(why_not))

    async def send_poll(
        self,
        method: str,
        url: str,
        body: bytes | None,
        read: Callable[[bytes], PollResult | Unnamed],
        *,
        refused: Callable[[Response], PollResult] | None = None,
        check: Callable[[Response], None] | None = None,
        fresh: bool = False,
    ) -> PollResult:
        """Ask once, with JSON where there is a body; `read` says what a 2xx answer's body means.

        `read` raises `AboutAnotherTask` for an answer that names another task: no answer, and the connection
        is closed; so may `check`, which sees every answer's head. `refused` says what another status means,
        where it is not `poll_refused` that does. A verdict that names no task (`Unnamed`, and every one by
        `refused`) counts only when it came over a fresh connection: otherwise the question is asked once
        more, over one. `fresh` asks so at once, for answers that name no task at all.
        """
        headers = self._poll_headers if body is None else self._submit_headers
        try:
            response = await self._request(method, url, headers, body, fresh=fresh)
        except TransportError as error:
            return NoAnswer(error.reason)
        result = self._read(response, read, refused=refused, check=check, fresh=fresh)
        if not isinstance(result, Unnamed):
            return result
        if response.is_first or fresh:
            return result.verdict
        response.drop_connection()
        return await self.send_poll(method, url, body, read, refused=refused, check=check, fresh=True)

    async def poll_by_id(
        self, tasks_url: str, remote_task_id: str, verdict: Callable[[bytes, str], PollResult | Unnamed]
    ) -> PollResult:
        """`send_poll` for a task that is at the URL of all tasks and its id, which `verdict` gets as well."""
        try:
            url = f"{tasks_url}/{path_segment(remote_task_id)}"
        except ValueError as error:
            return NoAnswer(f"the remote task id cannot be asked for: {error}")
        return await self.send_poll("GET", url, None, lambda body: verdict(body, remote_task_id))

    def _read(
        self,
        response: Response,
        read: Callable[[bytes], PollResult | Unnamed],
        *,
        refused: Callable[[Response], PollResult] | None = None,
        check: Callable[[Response], None] | None = None,
        fresh: bool = False,
    ) -> PollResult | Unnamed:
        """What an answer to a poll says; see `send_poll`."""
        try:
            if check is not None:
                check(response)
            if 200 <= response.status < 300:
                result = read_over_oddities(read, response.body)
                return self._unless_contradicted(_with_its_name(result, is_fresh=fresh), response)
            said = (refused or self.poll_refused)(response)
            return Unnamed(said) if isinstance(said, Failed) else said
        except AboutAnotherTask:
            response.drop_connection()
            return NoAnswer(ABOUT_ANOTHER_TASK, response.status, is_about_another_task=True)
        except UNDECODABLE as error:
            response.drop_connection()
            return NoAnswer(self.words.undecodable(error), response.status)

    def _unless_contradicted(self, result: PollResult | Unnamed, response: Response) -> PollResult | Unnamed:
        """The result; a verdict of an answer that also says something else is none."""
        if isinstance(result, Processing | NoAnswer):
            return result
        why_not = contradiction_in(response.body)
        if why_not is None:
            return result
        response.drop_connection()
        return NoAnswer(self.words.clean(why_not), response.status)

    # --- polls over a line --------------------------------------------------------------------------------

    @property
    def lines_max(self) -> int:
        """How many polls at once can go over lines; 0 where none can."""
        transport = self._transport
        if (
            not (self.asks_over_lines and self._polls_over_lines)
            or self._credentials is not None
            or not isinstance(transport, HasLines)
        ):
            return 0
        return transport.lines_max

    def poll_line(self) -> Line | None:
        """A line to ask polls over one after the other; None where there is none now."""
        transport = self._transport
        return transport.line(self.host) if isinstance(transport, HasLines) else None

    def poll_question(self, remote_task_id: str) -> bytes | None:
        """The whole request that asks about a task; None for an id that cannot be asked about."""
        raise NotImplementedError

    def poll_answer(self, remote_task_id: str, response: Response) -> PollResult | None:
        """What the answer to `poll_question` says; None: ask again, over a fresh connection."""
        if response.status == 200:
            try:  # nearly always it renders or is done, and says nothing odd
                said = self.verdict_in(response.body, remote_task_id)
            except (AboutAnotherTask, *UNDECODABLE):
                pass  # what it says is found out below
            else:
                if type(said) is Processing:
                    return said
                if type(said) is Succeeded and contradiction_in(response.body) is None:
                    return said
        result = self._read(_plain(response), partial(self.verdict_in, asked=remote_task_id))
        if not isinstance(result, Unnamed):
            return result
        return result.verdict if response.is_first else None

    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        """What the body of a 2xx answer to a poll means; for providers with a `poll_question`."""
        raise NotImplementedError

    @property
    def timeout_seconds(self) -> float:
        """The time for one request."""
        return self._timeout_seconds

    async def send_question(
        self, method: str, url: str, body: bytes | None, read: Callable[[Response], T]
    ) -> T | NoAnswer:
        """Ask once something that is no poll, over a fresh connection; `read` sees the answer of any status.

        It may raise `AboutAnotherTask` and `UNDECODABLE`.
        """
        headers = self._poll_headers if body is None else self._submit_headers
        try:
            response = await self._request(method, url, headers, body, fresh=True)
        except TransportError as error:
            return NoAnswer(error.reason)
        try:
            answer = read_over_oddities(partial(_read_as, read, response), response.body)
        except AboutAnotherTask:
            return NoAnswer(ABOUT_ANOTHER_TASK, response.status, is_about_another_task=True)
        except UNDECODABLE as error:
            return NoAnswer(self.words.undecodable(error), response.status)
        why_not = contradiction_in(response.body)
        return answer if why_not is None else NoAnswer(self.words.clean(why_not), response.status)

    async def cancel_if_waiting(
        self,
        status_url: str,
        standing: Callable[[bytes], str | None],
        cancel: tuple[str, str, bytes | None],
        *,
        too_late: Collection[int] = (),
    ) -> CancelResult:
        """Ask how the task stands and, only while it waits, for its end: method, URL and body of `cancel`.

        `standing` reads a 200 and returns why the task is left alone, None while it waits. Statuses of the
        cancel that are `too_late` mean that it has started or ended meanwhile.
        """

        def waits(response: Response) -> CancelResult:
            if response.status == 404:
                return CancelRefused(self.words.clean(_refusal_in(response)))
            if not 200 <= response.status < 300:
                return self.no_answer(response)
            why_not = standing(response.body)
            return CancelTaken() if why_not is None else CancelRefused(why_not)

        def taken(response: Response) -> CancelResult:
            if 200 <= response.status < 300:
                return CancelTaken()
            if response.status in too_late:
                return CancelRefused(self.words.clean(_refusal_in(response)))
            return self.no_answer(response)

        found = await self.send_question("GET", status_url, None, waits)
        return await self.send_question(*cancel, taken) if isinstance(found, CancelTaken) else found

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        fresh: bool,
        is_submit: bool = False,
    ) -> Response:
        """Raises `TransportError`. A question that a token is refused for is asked again with a new one."""
        credentials = self._credentials
        own: Mapping[str, str] = {}
        if credentials is not None:
            own = await credentials.headers()
            headers = {**headers, **own}
        response = await self._transport.request(
            method,
            url,
            headers=headers,
            body=body,
            timeout_seconds=self._timeout_seconds,
            fresh=fresh,
        )
        if credentials is not None and response.status == 401 and credentials.refused(own):
            if is_submit:
                raise TransportError("the token was refused; a new one is made", may_have_been_received=False)
            return await self._request(method, url, headers, body, fresh=fresh)
        return _plain(response)

    # --- what a service may say in its own way ------------------------------------------------------------

    def complaint(self, body: bytes) -> Complaint | str | None:
        """What the body of a refusal says; None when it says nothing that can be read."""
        return complaint_of(body)

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """What a submit answered with another status than 2xx is."""
        return outcome_of_http_status(response, self.words, self.complaint(response.body))

    def poll_refused(self, response: Response) -> PollResult:
        """What a poll answered with another status than 2xx is; no verdict unless the service means one."""
        return self.no_answer(response)

    def no_answer(self, response: Response) -> NoAnswer:
        """No verdict, with what the body says."""
        said = complaint_of(response.body)
        return no_answer(response, self.words.clean(said.text) if said else "")

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """None: most services have no callback that names its task."""
        return None


def _read_as(read: Callable[[Response], T], response: Response, body: bytes) -> T:
    return read(response if body is response.body else msgspec.structs.replace(response, body=body))


def _plain(response: Response) -> Response:
    """The answer without a byte order mark and, where it is no success, without odd values in its JSON."""
    body = response.body.removeprefix(BYTE_ORDER_MARK)
    if not 200 <= response.status < 300:
        body = without_oddities(body) or body
    return response if body is response.body else msgspec.structs.replace(response, body=body)


def _with_its_name(result: PollResult | Unnamed, *, is_fresh: bool) -> PollResult | Unnamed:
    """A verdict that is not `Unnamed` names its task, unless the service's answers name none (`fresh`)."""
    if isinstance(result, Failed) and result.failure_type is FailureType.NOT_FOUND and not is_fresh:
        return replace(result, names_task=True)
    return result


def _refusal_in(response: Response) -> str:
    said = complaint_of(response.body)
    return f"HTTP {response.status}: {said.text}" if said else f"HTTP {response.status}"
