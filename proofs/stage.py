"""What every proof needs: prompts, batches of them, a provider, a folder, and the comparison at the end."""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from proofs.books import Peek
from proofs.equalities import Accounting, Circumstances, Comparison
from proofs.processes import Process, Site, wait_until
from proofs.result import ProofResult
from proofs.service import Service
from rushes.domain.callback_tokens import callback_token
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import StoreError
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN
from rushes.library import Rushes
from rushes.settings import Settings

MODELS = ("sora-2", "veo-flash", "veo-pro", "minimax-h3")
"""The models that take turns: both generations of the wire protocol."""

CALLBACK_BASE_URL = "http://127.0.0.1:9"
"""Nothing listens there, and the simulated provider sends nothing; the URLs only mark the attempts."""

CALLBACK_SECRET = "a-secret-of-the-proofs"

FINISH_SECONDS_MAX = 300.0
"""How long the work may go on after the last fault."""

OPEN_TASKS_MIN = 150
"""With fewer open tasks another batch is added before the next fault."""

START_SECONDS_MAX = 60.0
"""How long a worker may take to start, on a busy machine."""

WEATHER = (
    "output_moderation=0.05",
    "input_moderation=0.03",
    "error=0.03",
    "business_code=0.02",
    "succeeded_without_url=0.02",
    "submit_server_error=0.01",
    "submit_accepted_then_error=0.01",
    "submit_accepted_then_reset=0.01",
    "submit_reset_after=0.01",
    "submit_rejected=0.01",
    "poll_server_error=0.03",
    "poll_html=0.02",
    "poll_cut_json=0.02",
    "poll_reset_after=0.02",
    "poll_unknown_status=0.02",
    "poll_backwards=0.03",
    "latency_min_seconds=0.005",
    "latency_max_seconds=0.06",
)
"""The provider's own faults while ours are at work: each kind, each seldom, so that the work goes on."""

EVENTS = ("worker.started", "worker.lease_lost", "settle.stale", "database.trouble", "settle.refused")


def own_prompts(count: int) -> list[str]:
    """Made-up prompts with repeats, commas, quotes and other scripts, as real lists have them."""
    scenes = ("a paper boat, slowly", 'a sign that says "open"', "纸船顺流而下", "ein Zug im Regen")
    return [f"{scenes[n % len(scenes)]}, take {n % max(1, count * 9 // 10)}" for n in range(count)]


def read_prompts(path: Path | None, count: int) -> list[str]:
    """That many prompts: the file's, one a line and again from its start, or made-up ones without a file."""
    if path is None:
        return own_prompts(count)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list(itertools.islice(itertools.cycle(lines), count))


@dataclass(frozen=True, slots=True)
class Pace:
    """How quick and how crowded a run is: times in seconds, tasks in flight at each provider."""

    lease: float = 1.0
    grace: float = 2.0
    render: float = 1.0
    in_flight_max: int = 100

    def environment(self) -> dict[str, str]:
        """The settings of the processes."""
        return {
            "RUSHES_LEASE_SECONDS": str(self.lease),
            "RUSHES_UNCONFIRMED_GRACE_SECONDS": str(self.grace),
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.1",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.4",
            "RUSHES_REQUEST_TIMEOUT_SECONDS": "5",
            "RUSHES_IN_FLIGHT_TASKS_MAX": str(self.in_flight_max),
            "RUSHES_BASE_URL": CALLBACK_BASE_URL,
            "RUSHES_WEBHOOK_SECRET": CALLBACK_SECRET,
        }


@dataclass(slots=True)
class Work:
    """Batches of the same prompts, as many as the faults need: `feed` adds one when little is left."""

    prompts: Sequence[str]
    folder: Path
    models: Sequence[str] = MODELS
    granted: int = 0
    batches: int = 0
    credits: int = field(init=False)

    def __post_init__(self) -> None:
        prices = [DEFAULT_CATALOGUE.get(model).typical_credits for model in self.models]
        self.credits = sum(itertools.islice(itertools.cycle(prices), len(self.prompts)))

    def items(self) -> list[dict[str, str]]:
        """The models in turn."""
        return [
            {"prompt": prompt, "model": model}
            for prompt, model in zip(self.prompts, itertools.cycle(self.models), strict=False)
        ]

    def next_run(self) -> tuple[str, ...]:
        """The command that accepts one more batch and works on it; the same command again goes on with it."""
        self.batches += 1
        self.granted += self.credits
        path = self.folder / "prompts.jsonl"
        if not path.exists():
            lines = [json.dumps(item, ensure_ascii=False) for item in self.items()]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return (
            "run",
            path.name,
            "--yes",
            "--grant",
            str(self.credits),
            "--request-id",
            f"proof-{self.batches}",
        )

    def accept(self, environment: Mapping[str, str]) -> None:
        """Accept one more batch from this process, with the same request id until the database answers."""
        self.batches += 1
        self.granted += self.credits
        settings = Settings.load(environment, env_file=None)
        deadline = time.monotonic() + FINISH_SECONDS_MAX
        while True:
            try:
                asyncio.run(self._accept(settings, f"proof-{self.batches}"))
                return
            except StoreError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    async def _accept(self, settings: Settings, request_id: str) -> None:
        async with Rushes(settings) as rushes:
            await rushes.create_batch(self.items(), request_id=request_id, grant=self.credits)


@dataclass(slots=True)
class Stage:
    """A provider and a site at one database, and the result that is being made."""

    result: ProofResult
    service: Service
    site: Site
    peek: Peek
    work: Work
    random: random.Random

    def is_short_of_work(self) -> bool:
        """Whether so few tasks are open that a fault might meet none."""
        return (self.peek.open_tasks() or 0) < min(OPEN_TASKS_MIN, len(self.work.prompts) // 2)

    def feed(self) -> None:
        """Accept one more batch when work is short."""
        if self.is_short_of_work():
            self.work.accept(self.site.environment)

    def start_workers(self, count: int) -> list[Process]:
        """Start `count` workers and wait until each has its lease."""
        workers = [self.site.start("worker") for _ in range(count)]
        self.wait_for_leases(workers)
        return workers

    def wait_for_leases(self, workers: Sequence[Process]) -> None:
        """Wait until each of these has a worker's row. A process that starts into trouble ends instead."""
        wait_until(
            lambda: all(self.peek.registered(worker.pid) for worker in workers),
            "workers to register",
            seconds_max=START_SECONDS_MAX,
        )

    def finish_with_a_last_worker(self) -> None:
        """Start a worker that ends by itself when no task is open; taking too long is a difference."""
        last = self.site.start("worker", "--until-idle")
        try:
            last.wait(FINISH_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            self.result.differ([str(error)])

    def finish(self, workers: Sequence[Process], *, seconds_max: float = FINISH_SECONDS_MAX) -> None:
        """Let the workers end the work, stop them as SIGTERM does; what takes too long is a difference."""
        try:
            wait_until(
                lambda: self.peek.open_tasks() == 0 or not any(worker.running for worker in workers),
                "the end of all tasks",
                seconds_max=seconds_max,
                every=0.25,
            )
            for process in workers:
                process.stop()
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            self.result.differ([str(error)])

    def not_given_up(self, under_way: set[tuple[int, int]]) -> list[str]:
        """Nobody knows what became of a submit whose process died, so it must end as unknown.

        But for one that was certainly never sent: its task goes back.
        """
        came = {task.marker for task in self.service.report().tasks or ()}
        now_at = {task.task_id: task for task in self.peek.books().tasks}
        found = []
        for task_id, attempt in sorted(under_way):
            task = now_at[task_id]
            if task.attempt == attempt and task.error != SUBMIT_OUTCOME_UNKNOWN:
                found.append(
                    f"task {task_id} was being submitted at a kill and ended as {task.status} ({task.error})"
                )
            elif task.attempt != attempt and self.marker(task_id, attempt) in came:
                found.append(f"task {task_id} was on its way at a kill and was sent again")
        return found

    def marker(self, task_id: int, attempt: int) -> str:
        """The callback URL by which the provider tells the attempt from all others, where it is given one."""
        provider = self.peek.rows("SELECT provider FROM video_tasks WHERE id = :id", id=task_id)[0][0]
        token = callback_token(CALLBACK_SECRET.encode(), task_id=task_id, attempt=attempt)
        return f"{CALLBACK_BASE_URL}/callbacks/{provider}/{token}"

    def compare(self, *, lossless: bool, callbacks: bool = True) -> Accounting:
        """Audit the books, compare them with the provider's report, and put it all into the result."""
        result = self.result
        audit = self.site.document("audit")
        if not audit["ok"]:
            result.differ(f"audit: {violation}" for violation in audit["violations"])
        circumstances = Circumstances(
            granted=self.work.granted,
            service_url=self.service.url,
            lossless=lossless,
            callback_base_url=CALLBACK_BASE_URL if callbacks else None,
            callback_key=CALLBACK_SECRET.encode(),
        )
        books, report = self.peek.books(), self.service.report()
        comparison = Comparison(books, report, circumstances)
        for name, evidence in (("books", books), ("report", report)):
            (self.site.folder / f"{name}.json").write_bytes(msgspec.json.encode(evidence))
        result.differ(comparison.differences)
        result.differ(self.site.faults())
        counted = comparison.accounting
        result.fact("tasks", counted.tasks)
        result.fact("succeeded / delivered by the provider", f"{counted.succeeded:,} / {report.deliveries:,}")
        result.fact(
            "failed there / failures told by it", f"{counted.failed_remotely:,} / {report.failures_total:,}"
        )
        result.fact("rejected at the submit", counted.rejected)
        result.fact("submit outcome unknown, refunded", counted.unknown)
        result.fact("· accepted, the answer spoilt by the provider", counted.broken)
        result.fact("· accepted, the answer lost with its reader", counted.unrecorded)
        if counted.told_in_vain:
            result.fact("·· and its verdict too", counted.told_in_vain)
        result.fact("· not accepted, the outcome unclear", counted.unclear)
        result.fact("· claimed and never arrived, or refused unheard", counted.never_arrived)
        result.fact("attempts / submits that arrived", f"{counted.attempts:,} / {counted.submits:,}")
        result.fact("faults injected by the provider", sum(report.faults.values()))
        for name, count in self.site.events(EVENTS).items():
            if count:
                result.fact(f"log lines {name}", count)
        return counted


@contextlib.contextmanager
def stage(
    name: str,
    options: argparse.Namespace,
    *,
    database_url: str | None,
    pace: Pace,
    weather: Sequence[str] = WEATHER,
    preset: str = "calm",
    models: Sequence[str] = MODELS,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Stage]:
    """Set everything up; by default on a SQLite file in a folder that is kept only when something differs."""
    started = time.monotonic()
    result = ProofResult(name)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(_folder(name, result)))
        url = database_url or f"sqlite:///{folder / 'proof.db'}"
        knobs = (f"render_seconds={pace.render}", *weather)
        service = stack.enter_context(
            Service(folder / "simulator", preset=preset, knobs=knobs, seed=options.seed)
        )
        variables = {
            **pace.environment(),
            "RUSHES_DATABASE_URL": url,
            **service.exports,
            "RUSHES_ARCHIVE_URL": "none",  # these proofs are about money; `archive` is about files
            **(environment or {}),
        }
        site = stack.enter_context(Site(folder / "site", variables))
        work = Work(read_prompts(options.prompts, options.tasks), site.folder, models)
        yield Stage(result, service, site, Peek(url), work, random.Random(options.seed))
        result.seconds = time.monotonic() - started


@contextlib.contextmanager
def _folder(name: str, result: ProofResult) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix=f"rushes-proof-{name}-")
    ended_well = False
    try:
        yield folder
        ended_well = result.ok
    finally:
        if ended_well:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept for a look: {folder}", file=sys.stderr)
