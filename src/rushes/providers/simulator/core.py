"""The simulated service as one pure, synchronous object: a request and the time in, an answer out.

No socket, no clock, no task, no global randomness. A task's fate depends on the seed, its model, its
prompt and how often that prompt came before, never on the order of other requests; a fault depends on
the seed, the task and the number of the request for it. So the same seed gives the same service
whatever the client's concurrency, over real HTTP (server.py) and in virtual time (transport.py).
"""

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import assert_never

from rushes.providers.simulator import control
from rushes.providers.simulator.callbacks import (
    Callback,
    CallbackKind,
    CallbackQueue,
    forged_id,
    forged_outcome,
    plan_callbacks,
)
from rushes.providers.simulator.draws import Lane, bits, digest_of, seed_of, uniform
from rushes.providers.simulator.fate import Outcome, draw_fate
from rushes.providers.simulator.faults import (
    CLEAR_REFUSALS,
    SPOILING,
    UNHANDLED,
    UNKNOWN_STATUS_WORD,
    UNSEEN,
    Fault,
    FaultTable,
    SlidingLimit,
    server_error,
    struck,
    throttled,
)
from rushes.providers.simulator.files import FileHost, task_id_of_path
from rushes.providers.simulator.knobs import SimulatorKnobs
from rushes.providers.simulator.message import REFUSED, RESET, SimRequest, SimResponse
from rushes.providers.simulator.report import Counts, PromptCounts, SimulatorReport, snapshot
from rushes.providers.simulator.wire import (
    FILES_PREFIX,
    FileCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
)
from rushes.providers.simulator.wires import all_wires
from rushes.providers.simulator.work import SimTask, TaskView

_NO_SUCH_PATH = SimResponse(404, b'{"message":"no such path"}')
_FULL = SimResponse(503, b'{"message":"the simulator is full of unfetched tasks: raise the knob tasks_max"}')
_HANG_SECONDS = 3_600.0


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
        self._prompts: dict[tuple[str, str], PromptCounts] = {}
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
            return control.answer(self, request, now)
        self.counts.requests += 1
        if self._knobs.outage_start_seconds is not None and self._is_out(now):
            return self._outage_answer()
        for wire in self._wires:
            if wire.match(request.method, path):
                return self._call(wire, request, now)
        if path.startswith(FILES_PREFIX) and request.method in ("GET", "HEAD"):
            return self._file(task_id_of_path(path), request, now)
        return _NO_SUCH_PATH

    def _is_out(self, now: float) -> bool:
        start = self._knobs.outage_start_seconds
        assert start is not None
        assert self._started_at is not None
        return start <= now - self._started_at < start + self._knobs.outage_seconds

    def _outage_answer(self) -> SimResponse:
        self.counts.faults["outage"] += 1
        match self._knobs.outage_kind:
            case "reset":
                return RESET
            case "refused":
                return REFUSED
            case "hang":
                return dataclasses.replace(server_error(3), delay_seconds=_HANG_SECONDS)
            case _:
                return server_error(2)

    def _call(self, wire: Wire, request: SimRequest, now: float) -> SimResponse:
        if self._knobs.api_key and wire.key(request) != self._knobs.api_key:
            self.counts.faults["unauthorised"] += 1
            return wire.refused(Refusal.UNAUTHORISED, Refusal.UNAUTHORISED.value)
        call = wire.read(request)
        match call:
            case PollCall():
                response = self._poll(wire, call, now)
            case SubmitCall():
                response = self._submit(wire, call, now)
            case FileCall():
                return self._file(call.task_id, request, now)
            case MalformedCall():
                response = self._malformed(wire, call)
            case other:
                assert_never(other)
        if self._knobs.latency_max_seconds:
            response = self._delayed(response)
        return response

    def _malformed(self, wire: Wire, call: MalformedCall) -> SimResponse:
        if not call.submit:
            self.counts.faults["malformed_poll"] += 1
            return dataclasses.replace(wire.refused(Refusal.MALFORMED, call.reason), status=400)
        self.counts.submits += 1
        self.counts.submits_refused[Refusal.MALFORMED.name.lower()] += 1
        return wire.refused(Refusal.MALFORMED, call.reason)

    def _delayed(self, response: SimResponse) -> SimResponse:
        low, high = self._knobs.latency_min_seconds, self._knobs.latency_max_seconds
        # the only draw that follows the order of requests: it moves an answer, never a fate
        latency = low + (high - low) * uniform(self._knobs.seed, Lane.LATENCY, self.counts.requests)
        return dataclasses.replace(response, delay_seconds=response.delay_seconds + latency)

    # --- submits

    def _submit(self, wire: Wire, call: SubmitCall, now: float) -> SimResponse:
        knobs, counts = self._knobs, self.counts
        prompt = self._prompt_counts(call)
        prompt.submits += 1
        seed = seed_of(knobs.seed, "submit", call.model, call.prompt)
        fault = self._submit_faults.draw(seed, Lane.SUBMIT_FAULT, prompt.submits)
        variant = 0 if fault is None else bits(seed, Lane.FAULT_VARIANT, prompt.submits)
        if fault not in UNSEEN:
            counts.submits += 1
            if not self._submit_limit.takes(now):
                counts.submits_refused["rate_limit"] += 1
                return throttled(knobs.retry_after_seconds)
        if fault is not None:
            counts.faults[f"submit_{fault.value}"] += 1
        if fault in UNHANDLED:
            counts.submits_unclear += fault not in CLEAR_REFUSALS
            return struck(fault, RESET, knobs=knobs, variant=variant)
        if refusal := self._refusal(seed, prompt.submits, fault):
            counts.submits_refused[refusal.name.lower()] += 1
            response = wire.refused(refusal, refusal.value)
        else:
            task = self._accept(wire, call, prompt, now)
            if task is None:
                counts.submits_refused["full"] += 1
                return _FULL
            task.answered = fault not in SPOILING
            counts.accepted_unanswered += not task.answered
            response = wire.accepted(task, self.base_url)
        counts.submits_unclear += fault in SPOILING
        return response if fault is None else struck(fault, response, knobs=knobs, variant=variant)

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
        while (task_id := self._task_id(call, ordinal)) in self._tasks:
            ordinal += 1  # the prompt's count was dropped, its tasks were not
        prompt.accepted = ordinal
        seed = seed_of(knobs.seed, call.model, call.prompt, ordinal)
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
            ordinal=ordinal,
            seed=seed,
            fate=draw_fate(seed, call.family, wire.outcomes, knobs),
            submitted_at=now,
        )
        self._tasks[task_id] = task
        self.counts.accepted += 1
        self.counts.outcomes[task.fate.outcome.value] += 1
        if task.callback_url is not None and knobs.callbacks:
            for due_at, kind in plan_callbacks(task, progress=call.callback_progress, knobs=knobs):
                self._callbacks.plan(due_at, task_id, kind)
        return task

    def _task_id(self, call: SubmitCall, ordinal: int) -> str:
        digest = digest_of(self._knobs.seed, "id", call.model, call.prompt, ordinal, *self._id_salt).hex()
        return f"{digest[:2]}-{digest[2:10]}-{digest[10:14]}-{digest[14:18]}-{digest[18:32]}"

    def _make_room(self) -> bool:
        while len(self._tasks) >= self._knobs.tasks_max:
            if not self._fetched:
                return False
            del self._tasks[self._fetched.popleft()]
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
            _note_poll(task, now)
        view = self._view(task, now)
        if fault is not None:
            view, fault = _reworded(view, fault)
        response = wire.result(view, call.detail)
        if fault is not None:
            counts.faults[f"poll_{fault.value}"] += 1
            variant = bits(task.seed, Lane.FAULT_VARIANT, task.requests)
            response = struck(fault, response, knobs=knobs, variant=variant)
            if fault is not Fault.SLOW:
                return response
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
        task.final_answer, task.final_answer_at = outcome, now
        self._fetched.append(task.id)
        if outcome is Outcome.SUCCEEDED:
            self.counts.deliveries += 1
        else:
            self.counts.failures[outcome.value] += 1

    def _view(self, task: SimTask, now: float) -> TaskView:
        """What an honest service says of the task at `now`."""
        finished_at = task.finished_at
        if finished_at is None or now < finished_at:
            return TaskView(task, None, task.progress_at(now))
        outcome, forget_after = task.fate.outcome, self._knobs.forget_after_seconds
        if forget_after is not None and now >= finished_at + forget_after:
            outcome = Outcome.FORGOTTEN
        if outcome is Outcome.SUCCEEDED:
            return TaskView(task, outcome, 100, video_url=self._video_url(task))
        return TaskView(
            task, outcome, 100 if outcome is Outcome.SUCCEEDED_WITHOUT_URL else task.progress_at(now)
        )

    # --- files

    def _video_url(self, task: SimTask) -> str:
        return self.base_url + self._wire_by_name[task.wire].video_path(task.id)

    def _file(self, task_id: str | None, request: SimRequest, now: float) -> SimResponse:
        task = self._tasks.get(task_id or "")
        response, fault = self._files.answer(task, request, now)
        self.counts.downloads += response.status in (200, 206)
        if fault:
            self.counts.faults[fault] += 1
        return response

    # --- callbacks

    def next_callback_at(self) -> float | None:
        """When `due_callbacks` will next have something to give."""
        return self._callbacks.next_at

    def due_callbacks(self, now: float) -> list[Callback]:
        """The callbacks to send by `now`, in order; each is given once."""
        due = []
        for due_at, task_id, kind in self._callbacks.take_due(now):
            task = self._tasks.get(task_id)
            body = None if task is None else self._callback_body(task, kind, due_at)
            if task is not None and task.callback_url is not None and body is not None:
                self.counts.callbacks[kind.value] += 1
                due.append(Callback(due_at, task.callback_url, body, task_id, kind))
        return due

    def _callback_body(self, task: SimTask, kind: CallbackKind, due_at: float) -> bytes | None:
        wire = self._wire_by_name[task.wire]
        match kind:
            case CallbackKind.FORGED_RESULT | CallbackKind.FORGED_ID:
                posed = (
                    task
                    if kind is CallbackKind.FORGED_RESULT
                    else dataclasses.replace(task, id=forged_id(task))
                )
                outcome = forged_outcome(task)
                url = f"{self.base_url}{FILES_PREFIX}forged.mp4" if outcome is Outcome.SUCCEEDED else None
                return wire.callback_body(TaskView(posed, outcome, 100, video_url=url))
            case CallbackKind.PROGRESS | CallbackKind.OUT_OF_ORDER:
                return wire.callback_body(TaskView(task, None, 50))
            case CallbackKind.FINAL | CallbackKind.LATE | CallbackKind.DUPLICATE:
                return wire.callback_body(self._view(task, due_at))

    # --- the report

    def report(self, now: float, *, tasks: bool = True) -> SimulatorReport:
        """A snapshot at `now`; without tasks it leaves out the lists of tasks and prompts."""
        return snapshot(
            self.counts,
            seed=self._knobs.seed,
            origin=now if self._started_at is None else self._started_at,
            now=now,
            held=list(self._tasks.values()),
            prompts=self._prompts,
            with_lists=tasks,
        )


def _note_poll(task: SimTask, now: float) -> None:
    task.polls += 1
    if task.last_poll_at is not None:
        gap = now - task.last_poll_at
        if task.poll_gap_min_seconds is None or gap < task.poll_gap_min_seconds:
            task.poll_gap_min_seconds = gap
    task.last_poll_at = now


def _reworded(view: TaskView, fault: Fault) -> tuple[TaskView, Fault | None]:
    """The view as a fault of words tells it; such a fault that has nothing to change is None."""
    task = view.task
    match fault:
        case Fault.UNKNOWN_STATUS:
            if view.outcome in (Outcome.BUSINESS_CODE, Outcome.FORGOTTEN):
                return view, None  # these answers have no status to spoil
            return dataclasses.replace(view, status=UNKNOWN_STATUS_WORD), fault
        case Fault.BACKWARDS:
            if task.final_answer is not None:
                return view, None
            return TaskView(task, None, task.progress_seen // 2), fault
        case Fault.PROGRESS_MISSING:
            if view.outcome is not None:
                return view, None
            return dataclasses.replace(view, progress=None), fault
        case _:
            return view, fault
