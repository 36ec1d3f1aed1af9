"""The conformance suite finds what it is there for: who does one thing wrong fails a promise."""

import dataclasses
import json
from typing import Any

import pytest

from rushes.domain.task import (
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.answers import Unnamed
from rushes.providers.base import ProviderLimits, ResultFiles, SubmitRequest
from rushes.providers.families.grsai import GrsaiProvider
from rushes.providers.http.transport import Response
from rushes.testing import ProviderConformance, conformance_suite
from tests.conformance.test_grsai import TestSora as Sora


class _Named(GrsaiProvider):
    name = "sora"


class _Unlimited(GrsaiProvider):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.limits = ProviderLimits()


class _AsksTooOften(GrsaiProvider):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.limits = dataclasses.replace(config.limits, poll_interval_min_seconds=1.0)


class _TrustsAnother(GrsaiProvider):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.result_files = ResultFiles(trusted_origin="https://files.example:443")


class _ShowsItsKey(GrsaiProvider):
    def __repr__(self) -> str:
        return f"Provider({self._poll_headers})"


class _KeyInTheAddress(GrsaiProvider):
    async def send_submit(self, url: str, *arguments: Any, **more: Any) -> SubmitOutcome:
        key = self._poll_headers["authorization"].removeprefix("Bearer ")
        return await super().send_submit(f"{url}?key={key}", *arguments, **more)


class _SendsTwice(GrsaiProvider):
    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        outcome = await super().submit(request)
        return await super().submit(request) if isinstance(outcome, Unknown) else outcome


class _CallsTheUnclearNotSent(GrsaiProvider):
    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        outcome = await super().submit(request)
        return NotSent(outcome.reason) if isinstance(outcome, Unknown) else outcome


class _IgnoresRetryAfter(GrsaiProvider):
    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        outcome = await super().submit(request)
        return Throttled(outcome.reason) if isinstance(outcome, Throttled) else outcome


class _RejectsWhatItCannotRead(GrsaiProvider):
    def _outcome(self, body: bytes) -> SubmitOutcome:
        try:
            return super()._outcome(body)
        except ValueError:
            return Rejected("what?", FailureType.UNKNOWN)


class _GuessesTheId(GrsaiProvider):
    def _outcome(self, body: bytes) -> SubmitOutcome:
        return Accepted(str((json.loads(body).get("data") or {}).get("id")))


class _PassesEverything(GrsaiProvider):
    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        return await super().submit(dataclasses.replace(request, options={}))


class _GuessesTheUrl(GrsaiProvider):
    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        answer = json.loads(body)
        urls = [word for word in json.dumps(answer).split('"') if word.startswith("https:")]
        return Succeeded(urls[0]) if urls else super().verdict_in(body, asked)


class _TakesModerationForSuccess(GrsaiProvider):
    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        result = super().verdict_in(body, asked)
        moderated = isinstance(result, Failed) and result.failure_type is FailureType.OUTPUT_MODERATION
        return Succeeded("https://x.example/") if moderated else result


class _FailsWhatItCannotRead(GrsaiProvider):
    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        result = await super().poll_remote_task(remote_task_id)
        return Failed(result.error, FailureType.NETWORK) if isinstance(result, NoAnswer) else result


class _TakesA404ForAVerdict(GrsaiProvider):
    def poll_refused(self, response: Response) -> PollResult:
        if response.status == 404:
            return Failed("gone", FailureType.NOT_FOUND)
        return super().poll_refused(response)


class _DoesNotQuote(GrsaiProvider):
    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        url = f"{self.host}/tasks/{remote_task_id}"
        return await self.send_poll("GET", url, None, lambda body: self.verdict_in(body, remote_task_id))


class _KeepsTextsAsTheyAre(GrsaiProvider):
    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        result = super().verdict_in(body, asked)
        if isinstance(result, Failed):
            return Failed(json.loads(body)["data"]["failure_reason"], result.failure_type)
        return result


class _DoesNotCompareIds(GrsaiProvider):
    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        data = json.loads(body).get("data") or {}
        return super().verdict_in(body, data.get("id", asked))


class _ProgressDecides(GrsaiProvider):
    def verdict_in(self, body: bytes, asked: str) -> PollResult | Unnamed:
        if not isinstance((json.loads(body).get("data") or {}).get("progress"), int):
            return NoAnswer("undecodable answer: progress")
        return super().verdict_in(body, asked)


class _RefusesWhatIsOdd(GrsaiProvider):
    def _outcome(self, body: bytes) -> SubmitOutcome:
        odd = set(json.loads(body).get("data") or {}) - {"id"}
        return Unknown("what is this?") if odd else super()._outcome(body)


class _RaisesOnNoise(GrsaiProvider):
    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        named: str | None = json.loads(body)["id"]
        return named


@pytest.mark.parametrize(
    ("build", "promise"),
    [
        (_Named, "test_it_is_named_keeps_limits_and_shows_no_key"),
        (_Unlimited, "test_it_is_named_keeps_limits_and_shows_no_key"),
        (_AsksTooOften, "test_it_is_named_keeps_limits_and_shows_no_key"),
        (_TrustsAnother, "test_it_is_named_keeps_limits_and_shows_no_key"),
        (_ShowsItsKey, "test_it_is_named_keeps_limits_and_shows_no_key"),
        (_KeyInTheAddress, "test_a_submit_is_one_request_with_the_key_in_a_header"),
        (_SendsTwice, "test_a_submit_that_the_service_read_is_unknown_and_one_that_never_left_is_not_sent"),
        (_CallsTheUnclearNotSent, "test_a_submit_s_http_status_is_certain_or_unknown"),
        (_IgnoresRetryAfter, "test_a_submit_s_http_status_is_certain_or_unknown"),
        (_RejectsWhatItCannotRead, "test_a_submit_s_answer_that_is_not_understood_is_unknown"),
        (_GuessesTheId, "test_a_submit_s_answer_that_is_not_understood_is_unknown"),
        (_PassesEverything, "test_what_the_service_does_not_take_is_rejected_before_it_is_sent"),
        (_TakesModerationForSuccess, "test_each_answer_to_a_poll_is_what_it_means"),
        (_GuessesTheUrl, "test_a_poll_s_answer_that_is_not_understood_ends_nothing"),
        (_DoesNotCompareIds, "test_an_answer_about_another_task_is_no_answer"),
        (_ProgressDecides, "test_a_field_that_decides_nothing_changes_no_verdict"),
        (_RefusesWhatIsOdd, "test_a_readable_id_is_an_acceptance_whatever_else_the_answer_says"),
        (_FailsWhatItCannotRead, "test_what_the_network_does_to_a_poll_is_no_answer"),
        (_TakesA404ForAVerdict, "test_another_http_status_of_a_poll_is_no_answer"),
        (_DoesNotQuote, "test_no_remote_task_id_leads_to_another_address"),
        (_KeepsTextsAsTheyAre, "test_texts_of_the_service_are_kept_without_our_key"),
        (_RaisesOnNoise, "test_noise_raises_nothing_and_means_nothing"),
    ],
)
def test_a_provider_that_does_it_wrong_fails(build: Any, promise: str) -> None:
    suite: ProviderConformance = conformance_suite(dataclasses.replace(Sora.case, build=build))()
    with pytest.raises((AssertionError, ValueError, KeyError, TypeError)):
        getattr(suite, promise)()


def test_a_provider_of_a_service_without_ids_says_so() -> None:
    """`answers_name_the_task=False` leaves that one check out, and no other."""
    case = dataclasses.replace(Sora.case, build=_DoesNotCompareIds, answers_name_the_task=False)
    conformance_suite(case)().test_an_answer_about_another_task_is_no_answer()


def test_a_refusal_that_is_not_the_service_s_own_fails() -> None:
    case = dataclasses.replace(Sora.case, rejected=Sora.case.accepted)
    with pytest.raises(AssertionError, match="it answered Accepted"):
        conformance_suite(case)().test_a_refused_submit_is_rejected_with_its_reason()
