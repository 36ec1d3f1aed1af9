"""The conformance suite: one class of checks over a `ProviderCase`. Needs no pytest, only runs in it."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final

from rushes.domain.task import (
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.base import Provider, ProviderLimits, ResultFiles, origin_of
from rushes.testing.asked import require_cancels, require_finds
from rushes.testing.case import HOST, ProviderCase, Replies, Reply
from rushes.testing.requirements import faults, may_come_of_a_success, other_id, require, require_kept
from rushes.testing.service import KEY, Service, carries_credentials, provider_at, serving
from rushes.testing.spoiled import (
    GARBAGE,
    Spoiling,
    cut,
    noise,
    spoiled,
    with_extras,
    with_odd,
    with_texts,
)

CHECK_SECONDS_MAX: Final = 60.0
_UNCLEAR_STATUSES: Final = (408, 418, 499, 500, 502, 503, 504, 520, 599)
_KEY_REFUSED: Final = (401, 403)
_POLL_STATUSES: Final = (301, 307, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 599)
_MODERATIONS: Final = (FailureType.INPUT_MODERATION, FailureType.OUTPUT_MODERATION)
_ODD_IDS: Final = ("", "\ud800", "a/../b?c=1#d", "../../x", ".", "..", "a b\r\nx: y", "ä%2F\x00", "x" * 5000)

Check = Callable[[Service, Provider], Awaitable[None]]


def conformance_suite(case: ProviderCase) -> type["ProviderConformance"]:
    """The suite for one provider; give it a name that starts with `Test`, and pytest finds it."""
    return type("Conformance", (ProviderConformance,), {"case": case})


class ProviderConformance:
    """What every provider promises. Each method is one promise."""

    case: ClassVar[ProviderCase]

    # --- what it is --------------------------------------------------------------------------------------

    def test_it_is_named_keeps_limits_and_shows_no_key(self) -> None:
        """Name, limits and result files are of the right types; the operator's limits are not exceeded."""
        limits = ProviderLimits(
            submits_per_second=2.0,
            polls_per_second=3.0,
            poll_interval_min_seconds=4.0,
            in_flight_tasks_max=5,
            connections_max=6,
        )

        async def check() -> None:
            async with provider_at(self.case, "http://127.0.0.1:9", limits) as provider:
                require(provider.name == self.case.name, f"its name is {provider.name!r}")
                given = dataclasses.asdict(limits)
                for field, value in dataclasses.asdict(provider.limits).items():
                    stricter = max if field == "poll_interval_min_seconds" else min
                    kept = value is not None and stricter(value, given[field]) == value
                    require(kept, f"{field} is {value}, and the operator's {given[field]}")
                files = provider.result_files
                require(type(files) is ResultFiles, f"its result files are {files!r}")
                require(files.link_seconds > 0, f"its links live {files.link_seconds} s")
                own = origin_of("http://127.0.0.1:9")
                require(files.trusted_origin in (None, own), f"it trusts {files.trusted_origin}")
                require(not files.headers or files.trusted_origin == own, "its file headers have no origin")
                require(KEY not in repr(provider) + repr(files), "its repr shows the key")

        asyncio.run(check())

    # --- submits -----------------------------------------------------------------------------------------

    def test_a_submit_is_one_request_with_the_key_in_a_header(self) -> None:
        """It names the task, carries the prompt, and puts the key where no log of addresses has it."""

        async def check(service: Service, provider: Provider) -> None:
            service.say(self.case.accepted)
            outcome = await provider.submit(self.case.request)
            require(outcome == Accepted(self.case.remote_task_id), f"it answered {outcome}")
            (request,) = service.requests
            require(carries_credentials(self.case, request), "no header carries the key")
            require(KEY not in request.path + request.query, "the key is in the address")
            prompt = self.case.request.prompt.encode()
            require(prompt in request.body or not self.case.prompt_in_body, "the prompt is not in the body")

        self._run(check)

    def test_a_refused_submit_is_rejected_with_its_reason(self) -> None:
        """`Rejected` is final, so only the service's own refusal may be one."""
        rejected = self.case.rejected

        async def check(service: Service, provider: Provider) -> None:
            if rejected is not None:
                service.say(rejected)
                outcome = await provider.submit(self.case.request)
                require(isinstance(outcome, Rejected) and bool(outcome.reason), f"it answered {outcome}")

        self._run(check)

    def test_a_submit_s_http_status_is_certain_or_unknown(self) -> None:
        """429 is throttled for as long as it says, a refused key pauses, and what is unclear is Unknown."""

        async def check(service: Service, provider: Provider) -> None:
            async def outcome_of(status: int, body: object = b"", **headers: str) -> SubmitOutcome:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                service.say([Reply(body, status, named)])
                return await provider.submit(self.case.request)

            for headers, wait in (({"retry_after": "7"}, 7.0), ({}, None)):
                outcome = await outcome_of(429, **headers)
                throttled = isinstance(outcome, Throttled) and outcome.retry_after_seconds == wait
                require(throttled, f"429 with {headers} is {outcome}")
            for status in _KEY_REFUSED:
                outcome = await outcome_of(status)
                paused = isinstance(outcome, NotSent) and outcome.pauses_provider and outcome.key_refused
                require(paused, f"HTTP {status} is {outcome}")
            for body in (b"", self.case.accepted[-1].body):
                for status in _UNCLEAR_STATUSES:
                    outcome = await outcome_of(status, body)
                    require(isinstance(outcome, Unknown), f"HTTP {status} is {outcome}")
                for status in (301, 307, 404):
                    outcome = await outcome_of(status, body)
                    clear = isinstance(outcome, NotSent | Unknown)
                    require(clear, f"HTTP {status} without the service's own words is {outcome}")

        self._run(check)

    def test_a_submit_s_answer_that_is_not_understood_is_unknown(self) -> None:
        """Nothing is guessed: another id, or a refusal, that the service did not mean would cost a video."""

        async def check(service: Service, provider: Provider) -> None:
            bodies = [*GARBAGE.values(), *(each.replies[-1].body for each in cut(self.case.accepted))]
            for body in bodies:
                service.say([Reply(body)])
                outcome = await provider.submit(self.case.request)
                require(isinstance(outcome, Unknown), f"{body[:60]!r} is {outcome}")
            for each in spoiled(self.case.accepted, but=self.case.remote_task_id):
                service.say(each.replies)
                outcome = await provider.submit(self.case.request)
                allowed = outcome == Accepted(self.case.remote_task_id) or isinstance(outcome, Unknown)
                if each.kind is Spoiling.RETYPED and isinstance(outcome, Accepted):  # a number is its text
                    allowed = allowed or outcome.remote_task_id.endswith("5")
                require(allowed, f"{each.what} is {outcome}")

        self._run(check)

    def test_a_readable_id_is_an_acceptance_whatever_else_the_answer_says(self) -> None:
        """A status in other words or a progress in another form beside it loses no video."""

        async def check(service: Service, provider: Provider) -> None:
            answers = [*with_extras(self.case.accepted, self.case.remote_task_id)]
            answers += [each.replies for each in with_odd(self.case.accepted, self.case.odd_fields)]
            for replies in answers:
                service.say(replies)
                outcome = await provider.submit(self.case.request)
                accepted = outcome == Accepted(self.case.remote_task_id)
                require(accepted, f"{replies[-1].body} is {outcome}")

        self._run(check)

    def test_a_submit_that_the_service_read_is_unknown_and_one_that_never_left_is_not_sent(self) -> None:
        """And in no case is it sent twice."""

        async def check(service: Service, provider: Provider) -> None:
            for fault in faults(self.case.accepted, service):
                outcome = await provider.submit(self.case.request)
                require(isinstance(outcome, Unknown), f"{fault} is {outcome}")
                require(len(service.requests) == 1, f"{fault}: {len(service.requests)} requests")
            async with provider_at(self.case, "http://127.0.0.1:1") as nowhere:
                outcome = await nowhere.submit(self.case.request)
                require(isinstance(outcome, NotSent), f"a refused connection is {outcome}")

        self._run(check)

    def test_what_the_service_does_not_take_is_rejected_before_it_is_sent(self) -> None:
        """An option that the API does not have, and text that no JSON can carry."""

        async def check(service: Service, provider: Provider) -> None:
            service.say(self.case.accepted)
            request = self.case.request
            for bad in (
                dataclasses.replace(request, options={**request.options, "no_such_option": 1}),
                dataclasses.replace(request, prompt="\ud800"),
            ):
                outcome = await provider.submit(bad)
                require(isinstance(outcome, Rejected), f"{bad} is {outcome}")
                require(not service.requests, f"{bad} was sent")

        self._run(check)

    # --- polls -------------------------------------------------------------------------------------------

    def test_each_answer_to_a_poll_is_what_it_means(self) -> None:
        """Rendering, a success with its URL, a failure, a moderation as one, a task that is not there."""

        async def check(service: Service, provider: Provider) -> None:
            async def result_of(replies: Replies) -> PollResult:
                service.say(replies)
                return await provider.poll_remote_task(self.case.remote_task_id)

            running = await result_of(self.case.running)
            require(isinstance(running, Processing), f"running is {running}")
            succeeded = await result_of(self.case.succeeded)
            url = self._video_url(service)
            require(isinstance(succeeded, Succeeded) and succeeded.video_url == url, f"it is {succeeded}")
            if isinstance(succeeded, Succeeded):
                files = [(file.kind.value, file.url) for file in succeeded.further_files]
                wanted = [(kind, at.replace(HOST, service.url)) for kind, at in self.case.further_files]
                require(files == wanted, f"the files besides the video are {files}")
            keyed = all(carries_credentials(self.case, asked) for asked in service.requests)
            require(keyed, "a poll without the key")
            failed = await result_of(self.case.failed)
            is_named = isinstance(failed, Failed) and self.case.failed_message in failed.error_message
            require(is_named, f"a failure is {failed}")
            if self.case.moderated is not None:
                moderated = await result_of(self.case.moderated)
                refused = isinstance(moderated, Failed) and moderated.failure_type in _MODERATIONS
                require(refused, f"a moderation is {moderated}")
            if self.case.unknown_task is not None:
                unknown = await result_of(self.case.unknown_task)
                gone = isinstance(unknown, Failed) and unknown.failure_type is FailureType.NOT_FOUND
                require(gone, f"a task that is not there is {unknown}")

        self._run(check)

    def test_another_http_status_of_a_poll_is_no_answer(self) -> None:
        """Whatever the body says, unless it is the service's own word for a task that is not there."""

        async def check(service: Service, provider: Provider) -> None:
            for status in _POLL_STATUSES:
                for body in (b"", self.case.succeeded[-1].body):
                    service.say([Reply(body, status, {"retry-after": "17"})])
                    result = await provider.poll_remote_task(self.case.remote_task_id)
                    unanswered = isinstance(result, NoAnswer) and result.http_status == status
                    require(unanswered, f"HTTP {status} is {result}")
                    if isinstance(result, NoAnswer) and status in (429, 503):
                        require(result.retry_after_seconds == 17.0, f"HTTP {status} loses its Retry-After")

        self._run(check)

    def test_a_poll_s_answer_that_is_not_understood_ends_nothing(self) -> None:
        """No verdict that the service did not give, and no URL but the service's."""

        async def check(service: Service, provider: Provider) -> None:
            async def result_of(replies: Replies) -> PollResult:
                service.say(replies)
                return await provider.poll_remote_task(self.case.remote_task_id)

            for name, body in GARBAGE.items():
                result = await result_of([Reply(body)])
                open_ = isinstance(result, NoAnswer) or (isinstance(result, Processing) and body == b"{}")
                require(open_, f"{name} is {result}")
            for sample in (self.case.succeeded, self.case.failed, self.case.running):
                for each in cut(sample):
                    result = await result_of(each.replies)
                    require(isinstance(result, NoAnswer), f"{each.what} is {result}")
            url = self._video_url(service)
            for each in spoiled(self.case.succeeded, but=self.case.video_url):
                result = await result_of(each.replies)
                require(may_come_of_a_success(each, result, url), f"of a success, {each.what} is {result}")
            for each in spoiled(self.case.running, but=""):
                result = await result_of(each.replies)
                require(isinstance(result, Processing | NoAnswer), f"of one running, {each.what} is {result}")
            for sample in filter(None, (self.case.failed, self.case.moderated)):
                for each in spoiled(sample, but=""):
                    result = await result_of(each.replies)
                    require(not isinstance(result, Succeeded), f"of a failure, {each.what} is {result}")

        self._run(check)

    def test_an_answer_about_another_task_is_no_answer(self) -> None:
        """A gateway that writes an answer twice would give one customer another one's video."""

        async def check(service: Service, provider: Provider) -> None:
            asked = other_id(self.case.remote_task_id)
            samples = (self.case.running, self.case.succeeded, self.case.failed, self.case.moderated)
            for sample in filter(None, samples):
                service.say(sample)
                result = await provider.poll_remote_task(asked)
                require(isinstance(result, NoAnswer), f"asked for {asked}, {sample[0].body} is {result}")

        if self.case.answers_name_the_task:
            self._run(check)

    def test_a_field_that_decides_nothing_changes_no_verdict(self) -> None:
        """A progress that is missing, a fraction, a text or out of range is clamped or dropped."""

        async def check(service: Service, provider: Provider) -> None:
            url = self._video_url(service)
            samples = (
                (self.case.running, Processing),
                (self.case.succeeded, Succeeded),
                (self.case.failed, Failed),
            )
            for sample, kind in samples:
                for each in with_odd(sample, self.case.odd_fields):
                    service.say(each.replies)
                    result = await provider.poll_remote_task(self.case.remote_task_id)
                    require(isinstance(result, kind), f"{each.what} is {result}")
                    if isinstance(result, Succeeded):
                        require(result.video_url == url, f"{each.what} is {result}")
                    if isinstance(result, Processing | Succeeded):
                        require(0 <= (result.progress or 0) <= 100, f"{each.what} is {result}")

        self._run(check)

    def test_what_the_network_does_to_a_poll_is_no_answer(self) -> None:
        """A reset, a hang, a body cut short or far too long, and nobody there."""

        async def check(service: Service, provider: Provider) -> None:
            for fault in faults(self.case.succeeded, service):
                result = await provider.poll_remote_task(self.case.remote_task_id)
                require(isinstance(result, NoAnswer), f"{fault} is {result}")
            async with provider_at(self.case, "http://127.0.0.1:1") as nowhere:
                result = await nowhere.poll_remote_task(self.case.remote_task_id)
                require(isinstance(result, NoAnswer), f"a refused connection is {result}")

        self._run(check)

    def test_no_remote_task_id_leads_to_another_address(self) -> None:
        """An id is quoted, or not asked about at all; it never raises."""

        async def check(service: Service, provider: Provider) -> None:
            service.say(self.case.running)
            await provider.poll_remote_task(self.case.remote_task_id)
            depth = service.requests[0].path.count("/")
            for odd in _ODD_IDS:
                service.say(self.case.running)
                result = await provider.poll_remote_task(odd)
                require(isinstance(result, Processing | NoAnswer), f"the id {odd[:20]!r} is {result}")
                for asked in service.requests:
                    strayed = asked.path.count("/") != depth or "c=1" in asked.query
                    require(not strayed, f"the id {odd[:20]!r} leads to {asked.path}?{asked.query}")

        self._run(check)

    # --- what not every service can -----------------------------------------------------------------------

    def test_a_lost_submit_is_found_by_its_key(self) -> None:
        """Where the service can be asked so, no submit stays of unknown outcome; a guess would be worse."""
        find, case = self.case.find, self.case
        if find is not None:
            self._run(lambda service, provider: require_finds(case, find, service, provider))

    def test_a_cancel_drops_what_waits_and_nothing_else(self) -> None:
        """What renders is billed and must not lose its video; what is unclear is asked again."""
        cancel, case = self.case.cancel, self.case
        if cancel is not None:
            self._run(lambda service, provider: require_cancels(case, cancel, service, provider))

    # --- texts, secrets, noise ---------------------------------------------------------------------------

    def test_texts_of_the_service_are_kept_without_our_key(self) -> None:
        """One printable line, bounded; a key that the service repeats is masked."""

        async def check(service: Service, provider: Provider) -> None:
            def soil(text: str) -> str:
                return f"{text} a\x00b\n{KEY} " + "x" * 5000

            samples: Sequence[Replies | None] = (
                self.case.failed,
                self.case.moderated,
                self.case.unknown_task,
            )
            for sample in filter(None, samples):
                for replies in with_texts(sample, soil):
                    service.say(replies)
                    result = await provider.poll_remote_task(self.case.remote_task_id)
                    require(KEY not in repr(result), f"the key is in {result}")
                    if isinstance(result, Failed):
                        require_kept(result.error_message)
            for replies in with_texts(self.case.rejected or (), soil):
                service.say(replies)
                outcome = await provider.submit(self.case.request)
                require(KEY not in repr(outcome), f"the key is in {outcome}")
                if isinstance(outcome, Rejected):
                    require_kept(outcome.reason)
            for status in (200, 400, 401, 404, 429, 500):
                page = Reply(f"<html>{KEY}</html>".encode(), status, {"location": f"/?k={KEY}"})
                service.say([page])
                answers = (
                    await provider.submit(self.case.request),
                    await provider.poll_remote_task(self.case.remote_task_id),
                )
                require(KEY not in repr(answers), f"the key is in {answers}")

        self._run(check)

    def test_noise_raises_nothing_and_means_nothing(self) -> None:
        """Bytes and tokens at random are neither a success nor an accepted task."""

        async def check(service: Service, provider: Provider) -> None:
            for status, body in noise(300):
                service.say([Reply(body, status)])
                outcome = await provider.submit(self.case.request)
                known = isinstance(outcome, Rejected | Throttled | NotSent | Unknown)
                require(known, f"{status} {body!r} is {outcome}")
                result = await provider.poll_remote_task(self.case.remote_task_id)
                known = isinstance(result, NoAnswer | Processing | Failed)
                require(known, f"{status} {body!r} is {result}")
                named = provider.remote_task_id_of_callback(body)
                require(named is None or isinstance(named, str), f"a callback of {body!r} names {named!r}")

        self._run(check)

    # --- how -----------------------------------------------------------------------------------------------

    def _run(self, check: Check) -> None:
        async def run() -> None:
            async with (
                asyncio.timeout(CHECK_SECONDS_MAX),
                serving() as service,
                provider_at(self.case, service.url) as provider,
            ):
                service.token_path = self.case.token_path
                await check(service, provider)

        asyncio.run(run())

    def _video_url(self, service: Service) -> str:
        return self.case.video_url.replace(HOST, service.url)
