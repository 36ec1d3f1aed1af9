"""The simulated service as one pure, synchronous object: a request and the time in, an answer out.

No socket, no clock, no global randomness. A task's fate depends on the seed, its model, its prompt and how
often that prompt came, a fault on the seed, the task and the number of its request: the same seed is the
same service whatever the client's concurrency, over HTTP (server.py) and in virtual time (transport.py).
"""

import dataclasses
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import assert_never

from rushes.simulator import control
from rushes.simulator.beside import Beside
from rushes.simulator.callbacks import (
    Callback,
    CallbackKind,
    CallbackQueue,
    callback_body,
)
from rushes.simulator.draws import Lane, bits, id_of, seed_of, uniform
from rushes.simulator.families.wire import (
    CancelCall,
    FileCall,
    FindCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    TokenCall,
    Wire,
)
from rushes.simulator.families.wires import all_wires
from rushes.simulator.fate import Outcome, draw_fate
from rushes.simulator.faults import (
    CLEAR_REFUSALS,
    SPOILING,
    UNHANDLED,
    UNSEEN,
    Fault,
    FaultTable,
    SlidingLimit,
    out_of_service,
    struck,
    throttled,
)
from rushes.simulator.files import FileHost, task_id_of_path
from rushes.simulator.gateways import (
    Dialect,
    content_in,
    failed_in,
    refused_in,
    task_id_in,
)
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import FILES_PREFIX, RESET, SimRequest, SimResponse
from rushes.simulator.poll_answers import MixUps, honest_view, note_poll, reworded
from rushes.simulator.report import Counts, PromptCounts, SimulatorReport, snapshot
from rushes.simulator.work import SimTask, TaskView

_NO_SUCH_PATH = SimResponse(404, b'{"message":"no such path"}')
_FULL = SimResponse(503, b'{"message":"the simulator is full of unfetched tasks: raise the knob tasks_max"}')


class SimulatorCore:
    """A video service. `base_url` starts the result files' URLs; `started_at` is the zero of the outage
    and of the report's times (the first request's time when None). `id_salt` makes the task ids other than
    those of another service with the same seed; fates and faults do not follow it. Not thread-safe."""

    def __init__(
        self,
        knobs: SimulatorKnobs,
        *,
        base_url: str = "http://simulator.invalid",
        started_at: float | None = None,
        wires: Sequence[Wire] | None = None,
        id_salt: str = "",
    ) -> None:
        self.base_url = base_url
        self.counts = Counts()
        self._id_salt = [id_salt] if id_salt else []
        self._started_at = started_at
        self._wires: tuple[Wire, ...] = all_wires() if wires is None else tuple(wires)
        self._wire_by_name = {wire.name: wire for wire in self._wires}
        self._tasks: dict[str, SimTask] = {}
        self._beside = Beside(self.counts)
        self._prompts: dict[tuple[str, str], PromptCounts] = {}
        self._mixups = MixUps()
        self._fetched: deque[str] = deque()
        self._callbacks = CallbackQueue()
        self.use(knobs)

    @property
    def knobs(self) -> SimulatorKnobs:
        """The knobs in force."""
        return self._knobs

    def use(self, knobs: SimulatorKnobs) -> None:
        """Change the knobs; tasks that were accepted keep their fates and planned callbacks."""
        self._knobs = knobs
        self._submit_faults = FaultTable("submit", knobs)
        self._poll_faults = FaultTable("poll", knobs)
        self._beside.use(knobs)
        self._submit_limit = SlidingLimit(knobs.submits_per_second_max)
        self._poll_limit = SlidingLimit(knobs.polls_per_second_max)
        self._files = FileHost(knobs)

    def start(self, now: float, *, base_url: str) -> None:
        """Set the zero of time and the start of the files' URLs, once they are known."""
        self._started_at, self.base_url = now, base_url

    # --- requests

    def handle(self, request: SimRequest, now: float) -> SimResponse:
        """Answer one request at `now` (seconds, any zero, never going back)."""
        if self._started_at is None:
            self._started_at = now
        path = request.path
        if path.startswith(control.PREFIX):
            return self._controlled(request, now)
        self.counts.requests += 1
        if self._knobs.outage_start_seconds is not None and self._is_out(now):
            return self._outage_answer()
        for task in self._beside.queues.advance(now):
            self._callbacks.plan(task, self._knobs)
        for wire in self._wires:
            if wire.match(request.method, path):
                return self._call(wire, request, now)
        if path.startswith(FILES_PREFIX) and request.method in ("GET", "HEAD"):
            return self._file(task_id_of_path(path), request, now)
        return _NO_SUCH_PATH

    def _controlled(self, request: SimRequest, now: float) -> SimResponse:
        response, knobs = control.answer(
            request, self._knobs, report=lambda tasks: self.report(now, tasks=tasks)
        )
        if knobs is not None:
            self.use(knobs)
        return response

    def _is_out(self, now: float) -> bool:
        start = self._knobs.outage_start_seconds
        assert start is not None
        assert self._started_at is not None
        return start <= now - self._started_at < start + self._knobs.outage_seconds

    def _outage_answer(self) -> SimResponse:
        self.counts.faults["outage"] += 1
        return out_of_service(self._knobs.outage_kind)

    def _call(self, wire: Wire, request: SimRequest, now: float) -> SimResponse:
        if not self._beside.admits(wire, request, now):
            self.counts.faults["unauthorised"] += 1
            return wire.refused(Refusal.UNAUTHORISED, Refusal.UNAUTHORISED.value)
        call = wire.read(request)
        match call:
            case PollCall():
                response = self._poll(wire, call, now)
            case SubmitCall():
                response = self._submit(wire, call, now)
            case FileCall():
                return self._content(call.task_id, request, now)
            case CancelCall():
                response = self._beside.cancel(wire, call, self._tasks.get(call.task_id), now)
            case FindCall():
                response = self._beside.find(wire, call, now, self._view)
            case TokenCall():
                response = self._beside.grant(now)
            case MalformedCall():
                response = self._malformed(wire, call)
            case other:
                assert_never(other)
        low, high = self._knobs.latency_min_seconds, self._knobs.latency_max_seconds
        if not high:
            return response
        # the only draw that follows the order of requests: it moves an answer, never a fate
        latency = low + (high - low) * uniform(self._knobs.seed, Lane.LATENCY, self.counts.requests)
        return dataclasses.replace(response, delay_seconds=response.delay_seconds + latency)

    def _malformed(self, wire: Wire, call: MalformedCall) -> SimResponse:
        if not call.submit:
            self.counts.faults["malformed_poll"] += 1
            return dataclasses.replace(wire.refused(Refusal.MALFORMED, call.reason), status=400)
        self.counts.submits += 1
        self.counts.submits_refused[Refusal.MALFORMED.name.lower()] += 1
        return wire.refused(Refusal.MALFORMED, call.reason)

    # --- submits

    def _submit(self, wire: Wire, call: SubmitCall, now: float) -> SimResponse:
        knobs, counts = self._knobs, self.counts
        prompt = self._prompt_counts(call)
        prompt.submits += 1
        seed = seed_of(knobs.seed, "submit", call.model, call.prompt)
        fault = self._submit_faults.draw(seed, Lane.SUBMIT_FAULT, prompt.submits)
        variant = 0 if fault is None else bits(seed, Lane.FAULT_VARIANT, prompt.submits)
        mixed_up = self._mixups.acceptance(wire.name, now) if fault is Fault.SWAPPED else None
        if fault is Fault.SWAPPED and mixed_up is None:
            fault = None
        if fault not in UNSEEN:
            counts.submits += 1
            if not self._submit_limit.takes(now):
                counts.submits_refused["rate_limit"] += 1
                return throttled(knobs.retry_after_seconds)
        if fault is not None:
            counts.faults[f"submit_{fault.value}"] += 1
        if fault in UNHANDLED:
            counts.submits_unclear += fault not in CLEAR_REFUSALS
            dialect = self._dialect(wire, seed, prompt.submits)
            said = None if dialect is None else failed_in(dialect, fault)
            return said or struck(fault, RESET, knobs=knobs, variant=variant)
        is_duplicate = self._beside.knows(wire, call.submit_key)
        if refusal := Refusal.DUPLICATE if is_duplicate else self._refusal(seed, prompt.submits, fault):
            counts.submits_refused[refusal.name.lower()] += 1
            response = self._refused(wire, refusal, prompt, seed)
        else:
            task = self._accept(wire, call, prompt, now)
            if task is None:
                counts.submits_refused["full"] += 1
                return _FULL
            task.answered = fault not in SPOILING
            counts.accepted_unanswered += not task.answered
            response = mixed_up or wire.accepted(task, self.base_url)
            if fault in (None, Fault.DOUBLED):
                self._mixups.note_acceptance(wire.name, response, now)
        counts.submits_unclear += fault in SPOILING
        return response if fault is None else struck(fault, response, knobs=knobs, variant=variant)

    def _refused(self, wire: Wire, refusal: Refusal, prompt: PromptCounts, seed: int) -> SimResponse:
        dialect = self._dialect(wire, seed, prompt.submits) if refusal is Refusal.PROMPT else None
        if dialect is None:
            return wire.refused(refusal, refusal.value)
        response, reason = refused_in(dialect)
        prompt.refusals.append(reason)
        return response

    def _dialect(self, wire: Wire, seed: int, number: int = 0) -> Dialect | None:
        """How a gateway says things to the submit, or of the task, with this seed."""
        seed += number
        spoken = wire.has_dialects and uniform(seed, Lane.DIALECT) < self._knobs.gateway
        return Dialect(seed) if spoken else None

    def _prompt_counts(self, call: SubmitCall) -> PromptCounts:
        key = (call.model, call.prompt)
        prompt = self._prompts.get(key)
        if prompt is None:
            if len(self._prompts) >= self._knobs.tasks_max:
                del self._prompts[next(iter(self._prompts))]
            prompt = self._prompts[key] = PromptCounts()
        return prompt

    def _refusal(self, seed: int, number: int, fault: Fault | None) -> Refusal | None:
        """Why the submit is refused; a spoilt one is never refused for its prompt: its knob says accepted."""
        knobs = self._knobs
        if knobs.key_disabled:
            return Refusal.KEY_DISABLED
        if knobs.balance_submits is not None and self.counts.accepted >= knobs.balance_submits:
            return Refusal.BALANCE_EXHAUSTED
        if knobs.submit_rejected and fault not in SPOILING:
            return Refusal.PROMPT if uniform(seed, Lane.REJECTION, number) < knobs.submit_rejected else None
        return None

    def _accept(self, wire: Wire, call: SubmitCall, prompt: PromptCounts, now: float) -> SimTask | None:
        knobs = self._knobs
        if not self._make_room():
            return None
        ordinal = prompt.accepted + 1
        while (
            plain_id := id_of(knobs.seed, call.model, call.prompt, ordinal, *self._id_salt)
        ) in self._tasks:
            ordinal += 1  # the prompt's count was dropped, its tasks were not
        prompt.accepted = ordinal
        seed = seed_of(knobs.seed, call.model, call.prompt, ordinal)
        dialect = self._dialect(wire, seed)
        task_id = plain_id if dialect is None else task_id_in(dialect, plain_id)
        task = SimTask(
            id=task_id,
            wire=wire.name,
            model=call.model,
            family=call.family,
            prompt=call.prompt,
            marker=call.marker,
            callback_url=call.callback_url,
            portrait=call.portrait,
            duration_seconds=call.duration_seconds,
            resolution=call.resolution,
            input_images=call.input_images,
            ordinal=ordinal,
            seed=seed,
            fate=draw_fate(seed, call.family, wire.outcomes, knobs),
            submitted_at=now,
            submit_key=call.submit_key,
            videos=call.videos,
            wants_last_frame=call.wants_last_frame,
            is_inline=call.is_inline,
            callback_progress=call.callback_progress,
            dialect=dialect,
        )
        self._tasks[task_id] = task
        self._beside.note(task)
        self.counts.accepted += 1
        self.counts.outcomes[task.fate.outcome.value] += 1
        for started in self._beside.queues.add(task, now):
            self._callbacks.plan(started, self._knobs)
        return task

    def _make_room(self) -> bool:
        while len(self._tasks) >= self._knobs.tasks_max:
            if not self._fetched:
                return False
            self._beside.forget(self._tasks.pop(self._fetched.popleft()))
            self.counts.tasks_dropped += 1
        return True

    # --- polls

    def _poll(self, wire: Wire, call: PollCall, now: float) -> SimResponse:
        knobs, counts = self._knobs, self.counts
        task = self._tasks.get(call.task_id)
        fault = None
        if task is not None and task.wire == wire.name:
            task.requests += 1
            fault = self._poll_faults.draw(task.seed, Lane.POLL_FAULT, task.requests)
        if fault not in UNSEEN:
            counts.polls += 1
            if not self._poll_limit.takes(now):
                counts.faults["poll_rate_limit"] += 1
                return throttled(knobs.retry_after_seconds)
        if task is None or task.wire != wire.name:
            counts.polls_of_unknown_tasks += 1
            return wire.no_such_task(call.task_id, call.detail)
        if call.first and fault not in UNSEEN:
            note_poll(task, now)
        question = (wire.name, call.first)
        if fault is Fault.SWAPPED:
            mixed_up = self._mixups.poll(question, task) if wire.answers_name_the_task else None
            if mixed_up is not None:
                counts.faults["poll_swapped"] += 1
                return mixed_up
            fault = None
        view = self._view(task, now)
        if fault is not None:
            view, fault = reworded(view, fault)
        response = wire.result(view, call.detail)
        if fault is not None:
            counts.faults[f"poll_{fault.value}"] += 1
            variant = bits(task.seed, Lane.FAULT_VARIANT, task.requests)
            response = struck(fault, response, knobs=knobs, variant=variant)
            if fault not in (Fault.SLOW, Fault.DOUBLED):
                return response
        elif knobs.poll_swapped:
            self._mixups.note_poll(question, task, response, is_final=view.outcome is not None)
        if view.outcome is not None:
            if call.tells is None or view.outcome in call.tells:
                self._tell_final(task, view.outcome, now)
        elif view.progress is not None:
            task.progress_seen = view.progress
        return response

    def _tell_final(self, task: SimTask, outcome: Outcome, now: float) -> None:
        if task.final_answer is not None:
            self.counts.polls_after_final_answer += 1
            return
        charged = self._wire_by_name[task.wire].charge_of(task, outcome)
        task.final_answer, task.final_answer_at, task.charged = outcome, now, charged
        self._fetched.append(task.id)
        if outcome is Outcome.SUCCEEDED:
            self.counts.deliveries += 1
        else:
            self.counts.failures[outcome.value] += 1

    def _view(self, task: SimTask, now: float) -> TaskView:
        url = self.base_url + self._wire_by_name[task.wire].video_path(task.id)
        waits, position = self._beside.queues.waits(task, now), self._beside.queues.position(task)
        return honest_view(
            task, now, self._knobs.forget_after_seconds, waits=waits, position=position, video_url=url
        )

    # --- files

    def _file(self, task_id: str | None, request: SimRequest, now: float) -> SimResponse:
        task = self._tasks.get(task_id or "")
        response, fault = self._files.answer(task, request, now)
        self.counts.downloads += response.status in (200, 206)
        if fault:
            self.counts.faults[fault] += 1
        return response

    def _content(self, task_id: str, request: SimRequest, now: float) -> SimResponse:
        task = self._tasks.get(task_id)
        if task is None or task.dialect is None:
            return self._file(task_id, request, now)
        asked_before, task.content_requests = task.content_requests, task.content_requests + 1
        url = f"{self.base_url}{FILES_PREFIX}{task_id}.mp4"
        return content_in(task.dialect, url, asked_before, lambda: self._file(task_id, request, now))

    # --- callbacks

    def next_callback_at(self) -> float | None:
        """When `due_callbacks` will next have something to give."""
        return self._callbacks.next_at

    def due_callbacks(self, now: float) -> list[Callback]:
        """The callbacks to send by `now`, in order; each is given once."""
        return list(self._callbacks.take_due(now, self._tasks, self._callback_body, self.counts.callbacks))

    def _callback_body(self, task: SimTask, kind: CallbackKind, due_at: float) -> bytes | None:
        wire, url = self._wire_by_name[task.wire], f"{self.base_url}{FILES_PREFIX}forged.mp4"
        return callback_body(wire, task, kind, forged_url=url, honest=partial(self._view, task, due_at))

    # --- the report

    def report(self, now: float, *, tasks: bool = True) -> SimulatorReport:
        """A snapshot at `now`; without tasks it leaves out the lists of tasks and prompts."""
        seed, origin = self._knobs.seed, now if self._started_at is None else self._started_at
        held, prompts = list(self._tasks.values()), self._prompts
        return snapshot(
            self.counts, seed=seed, origin=origin, now=now, held=held, prompts=prompts, with_lists=tasks
        )
