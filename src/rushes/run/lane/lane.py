"""A lane: one worker's attempts at one provider, from the claim to the verdict. One reads it downwards:

    claim_and_send → Claims.claim → submit → send → Committer.accepted → Poller.add
    poll → Poller.poll_once → Poller.apply → Committer.verdict

What a lane hands to the committer comes back as an answer: see `end` and `unname`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from rushes import telemetry
from rushes.domain.catalogue.model import Model
from rushes.domain.task import (
    Accepted,
    Failed,
    NotSent,
    Rejected,
    SubmitOutcome,
    Throttled,
    Unknown,
)
from rushes.domain.trouble import TroubleRow, in_one_line, kind_of
from rushes.providers.base import Provider, ProviderLimits, SubmitRequest
from rushes.providers.health import ProviderHealth
from rushes.providers.inputs import Inputs
from rushes.run.commit import SettleOutcome
from rushes.run.context import WorkerContext
from rushes.run.lane import claim
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.claim import Claims
from rushes.run.lane.poll import Poller
from rushes.run.lane.remote_task import NEVER, ModelTimes, RemoteTask, model_times
from rushes.run.lane.send import HELD_BACK, STOPPED, Sent, send
from rushes.store.tasks import ClaimedTask, OwnedTask

REFUSED_SECONDS = 60.0
"""How long a task whose verdict the database refused waits for its next poll."""

ACCEPTANCE_SECONDS_MAX = 120.0
"""How long after its intent was committed a task was accepted at the latest, where that is not known."""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider is: its `host` now, and `provider_at(host)`, the provider at a previous host.

    None when the host is not known, or when the provider cannot be asked there.
    """

    host: str | None = None
    provider_at: Callable[[str], Provider | None] = lambda _host: None


class Lane:
    """One provider's lane. A provider that is down, paused or full holds up nobody else's tasks."""

    def __init__(self, provider: Provider, context: WorkerContext, place: Place | None = None) -> None:
        self.provider = provider
        self.health = ProviderHealth()
        self.attempts = Attempts()
        self.submitted_total = 0
        self._context = context
        self._place = place or Place()
        self.claims = Claims(
            context,
            self.attempts,
            provider=provider,
            health=self.health,
            host=self._place.host,
        )
        self.poller = Poller(
            provider,
            context,
            self.attempts,
            health=self.health,
            provider_at=self._place.provider_at,
        )
        self._submits: set[asyncio.Task[None]] = set()

    @property
    def limits(self) -> ProviderLimits:
        """The provider's limits, for all workers together."""
        return self.provider.limits

    def use_rates(self, *, submits_per_second: float | None, polls_per_second: float | None) -> None:
        """Keep to these rates from now on: None for no limit, 0 for nothing."""
        self.poller.use_rate(polls_per_second)
        self.claims.use_rate(submits_per_second)

    # --- claim and send ---------------------------------------------------------------------------------

    async def claim_and_send(self) -> None:
        """Claim and submit until stopped.

        Stop it rather than cancel it. Cancelled, it leaves what a claim in hand brings to `finish_submits`.
        """
        while not self.claims.is_stopped:
            claimed = await self._claim()
            if not claimed or self.claims.room() <= 0:
                await self.claims.pause()

    async def claim_and_send_some(self, *, tasks_max: int, until: float) -> None:
        """Claim and submit about `tasks_max` tasks, none after `until`.

        Returns when all have an outcome, or it was stopped. Stop it rather than cancel it.
        """
        loop, claims = asyncio.get_running_loop(), self.claims
        while not claims.is_stopped and claims.claimed_total < tasks_max and loop.time() < until:
            claimed = await self._claim()
            if not claimed and (claims.found_nothing or claims.is_held() or claims.next_claim_at() >= until):
                break
            if not claimed or claims.room() <= 0:
                await claims.pause()
        while self._submits and not claims.is_stopped:
            under_way = set(self._submits)
            await asyncio.wait(under_way, timeout=claim.IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _claim(self) -> list[ClaimedTask]:
        """Claim what can leave now, and send each of it at once."""
        self.claims.start_looking()
        claimed = await self.claims.claim()
        for task in claimed:
            self._start(task)
        return claimed

    def _start(self, task: ClaimedTask) -> None:
        submit = asyncio.get_running_loop().create_task(self.submit(task))
        self._submits.add(submit)
        submit.add_done_callback(self._submits.discard)

    async def finish_submits(self, *, until: float, claims_until: float) -> None:
        """Wait for the submissions under way; those that do not end by `until` stay unconfirmed.

        What was claimed and not started is given back, where the claim is answered by `claims_until`.
        """
        await self.claims.return_unstarted(timeout_seconds=max(0.0, claims_until - self._now()))
        if self._submits:
            timeout_seconds = max(0.0, until - self._now())
            _, late = await asyncio.wait(set(self._submits), timeout=timeout_seconds)
            for submit in late:
                submit.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def submit(self, task: ClaimedTask) -> None:
        """Send one claimed attempt, once, and act on its outcome: whatever fails, that is known."""
        try:
            sent = await self._send(task)
            outcome = sent.outcome
            if sent.says_of_provider:
                outcome = self.health.on_submit(outcome, self._now())
            self._act(task, outcome)
        except Exception as error:
            log.exception(telemetry.SUBMIT_RAISED, task_id=task.task_id, error=type(error).__name__)
            self._act(task, Unknown(f"its submit raised {type(error).__name__}"))
            self.attempts.is_in_doubt = True  # what was handed over stands, and is looked up there
        finally:
            self.attempts.take_submitting(task.task_id)
            self.claims.wake_if_more()

    async def _send(self, task: ClaimedTask) -> Sent:
        context, claims = self._context, self.claims
        is_held = claims.is_stopped or not context.lease.permits_sending()
        if is_held or self.health.submits_permitted(self._now()) <= 0:
            claims.limit.give_back(1)
            return Sent(HELD_BACK, says_of_provider=False)
        claims.limit.use(self._now())
        self.attempts.start_sending(task)
        model = context.catalogue.get(task.model)  # a claim takes only what is listed
        opened = context.inputs.opened(self.provider, model, task.options)
        async with contextlib.AsyncExitStack() as stack:
            try:
                inputs = await stack.enter_async_context(opened)
            except asyncio.CancelledError:
                return Sent(STOPPED, says_of_provider=False)
            if isinstance(inputs, Throttled | Rejected):
                return Sent(inputs)
            return await self._send_with(task, model, inputs)

    async def _send_with(self, task: ClaimedTask, model: Model, inputs: Inputs) -> Sent:
        """The request leaves, with these files."""
        context = self._context
        try:
            request = SubmitRequest(
                api_model=task.api_model,
                prompt=task.prompt,
                options=model.without_media(task.options),
                callback_url=context.config.callback_url(self.provider.name, task.task_id, task.attempt),
                wires=model.wires,
                inputs=inputs,
                submit_key=task.submit_key,
            )
        except Exception as error:  # nothing has left; the next task's request would hardly fare better
            log.exception(telemetry.SUBMIT_RAISED, task_id=task.task_id, error=type(error).__name__)
            reason = f"its request could not be made: {type(error).__name__}"
            return Sent(NotSent(reason, pauses_provider=True))
        if not context.record.leaves(task.task_id, task.attempt):
            return Sent(HELD_BACK, says_of_provider=False)
        self.submitted_total += 1
        return await send(self.provider, request, lease=context.lease, meters=context.meters)

    def _act(self, task: ClaimedTask, outcome: SubmitOutcome) -> None:
        """The submit has ended: what is known of it is committed, and the attempt gets its next state."""
        if not self.attempts.take_submitting(task.task_id):
            return  # acted on already
        committer = self._context.committer
        match outcome:
            case Accepted(remote_task_id=remote_task_id):
                committer.accepted(task.task_id, task.attempt, remote_task_id)
                self.poller.add(self._remote_task(task, remote_task_id, accepted_at=self._now()))
            case Rejected(reason=reason, failure_type=failure_type):
                committer.refused(task.task_id, task.attempt, Failed(reason, failure_type))
            case Throttled(reason=reason) | NotSent(reason=reason):
                log.info(telemetry.SUBMIT_THROTTLED, task_id=task.task_id, reason=reason)
                if outcome is not HELD_BACK and outcome is not STOPPED:
                    committer.troubled([self._trouble(task, reason)])
                committer.returned(task.task_id, task.attempt)
            case Unknown(reason=reason):
                log.warning(telemetry.SUBMIT_UNKNOWN, task_id=task.task_id, reason=reason)
                committer.troubled([self._trouble(task, reason)])
                committer.unconfirmed(task.task_id, task.attempt)
                self._hold(task, dispatched_at_ms=task.dispatched_at_ms, host=self._place.host)
            case other:
                assert_never(other)

    def _trouble(self, task: ClaimedTask, reason: str) -> TroubleRow:
        """Why the attempt's submit did not end in an acceptance, to be shown on the item."""
        now_ms = self._context.now_ms()
        return TroubleRow(
            task.task_id,
            task.attempt,
            kind_of(reason),
            in_one_line(reason),
            since_ms=now_ms,
            at_ms=now_ms,
        )

    def _hold(self, task: ClaimedTask | RemoteTask, *, dispatched_at_ms: int, host: str | None) -> None:
        """From now on nobody knows whether the provider has the attempt."""
        self.attempts.hold_unconfirmed(
            OwnedTask(
                task_id=task.task_id,
                attempt=task.attempt,
                provider=self.provider.name,
                model=task.model,
                remote_task_id=None,
                progress=0,
                dispatched_at_ms=dispatched_at_ms,
                unconfirmed_at_ms=self._context.now_ms(),
                host=host,
            )
        )

    # --- poll -------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Poll what is due until cancelled."""
        await self.poller.run()

    async def poll_each_once(self, *, until: float) -> None:
        """Poll every task once, as many at a time as the provider allows connections."""
        waiting = list(self.attempts.polled.values())

        async def poll_in_turn() -> None:
            while waiting and not self._context.lease.is_ending:
                if not await self.poller.limit.acquire(until=until):
                    return
                if waiting:
                    await self.poller.poll_once(waiting.pop())

        await asyncio.gather(*(poll_in_turn() for _ in range(self.limits.connections_max)))

    def poll_found(self, task: OwnedTask, remote_task_id: str) -> None:
        """An unconfirmed attempt became known through its callback: a poll has to confirm it, now."""
        # it was accepted now, or before
        found = self._remote_task(task, remote_task_id, accepted_at=self._now(), is_adopted=True)
        self.poller.add(found, first_delay_seconds=0.0)

    def adopt(self, task: OwnedTask, *, first_delay_seconds: float) -> None:
        """Resume an attempt that the database says is this worker's."""
        if task.remote_task_id is None:
            self.attempts.hold_unconfirmed(task)
            return
        adopted = self._remote_task(task, task.remote_task_id, progress=task.progress, is_adopted=True)
        self.poller.add(adopted, first_delay_seconds=first_delay_seconds)
        if task.trouble is not None:
            self.poller.remember_trouble(task.task_id, task.trouble, self._context.now_ms())

    def _remote_task(
        self,
        task: ClaimedTask | OwnedTask,
        remote_task_id: str,
        *,
        progress: int = 0,
        accepted_at: float | None = None,
        is_adopted: bool = False,
    ) -> RemoteTask:
        """The task as it is polled. Progress shows that its provider has known it.

        Without `accepted_at` it is not known when it was accepted, but that was before its submit's time-out.
        """
        context, now = self._context, self._now()
        sent_at = now - max(0, context.now_ms() - task.dispatched_at_ms) / 1000
        if accepted_at is None:
            accepted_at = min(now, sent_at + ACCEPTANCE_SECONDS_MAX)
        return RemoteTask(
            task_id=task.task_id,
            attempt=task.attempt,
            times=self._times(task.model),
            remote_task_id=remote_task_id,
            progress=progress,
            sent_at=sent_at,
            is_adopted=is_adopted,
            not_found_from=NEVER if progress else accepted_at + context.config.not_found_grace_seconds,
            host=self._elsewhere(task) if isinstance(task, OwnedTask) else None,
        )

    def _times(self, name: str) -> ModelTimes:
        model = self._context.catalogue.find(name)
        if model is None:
            return model_times(name)
        return model_times(name, model.soft_deadline_seconds, model.hard_deadline_seconds)

    def provider_of(self, task: OwnedTask) -> Provider | None:
        """The provider at the host that the task was sent to; None when it cannot be asked there."""
        host = self._elsewhere(task)
        return self.provider if host is None else self._place.provider_at(host)

    def _elsewhere(self, task: OwnedTask) -> str | None:
        """The host that the task was sent to, where that is not the provider's host now."""
        return None if task.host == self._place.host else task.host

    # --- the committer's answers ------------------------------------------------------------------------

    def end(self, task_id: int, attempt: int, outcome: SettleOutcome) -> bool:
        """Act on the answer about an attempt's end; False when this lane does not poll the attempt."""
        if not self._polls(task_id, attempt):
            return False
        if outcome is SettleOutcome.KNOWN:
            return True  # it was to be given up when its remote id became known: it is followed under that
        if outcome is SettleOutcome.REFUSED:
            self.poller.poll_again(task_id, delay_seconds=REFUSED_SECONDS)
        else:
            self.poller.forget(task_id)
            self.claims.wake_if_more()
        return True

    def unname(self, task_id: int, attempt: int) -> None:
        """What is polled under the id is another attempt's, or it cannot be stored: this one is unconfirmed.

        Here at least: the database may have refused to hold it, too.
        """
        if not self._polls(task_id, attempt):
            return
        task, now_ms = self.attempts.polled[task_id], self._context.now_ms()
        self.poller.forget(task_id)
        sent_at_ms = now_ms - int((self._now() - task.sent_at) * 1000)
        self._hold(task, dispatched_at_ms=sent_at_ms, host=task.host or self._place.host)

    def _polls(self, task_id: int, attempt: int) -> bool:
        polled = self.attempts.polled.get(task_id)
        return polled is not None and polled.attempt == attempt

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
