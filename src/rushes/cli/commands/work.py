"""`rushes worker` and `rushes tick`: working on whatever batches there are."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.exits import ExitCode
from rushes.cli.options import Json, LogLevel, Whole

if TYPE_CHECKING:
    import asyncio

    from rushes.library import Rushes

IDLE_LOOK_SECONDS = 0.5
"""How often `--until-idle` looks whether tasks are open."""

TICK_SECONDS_MAX = 3600.0
TICK_TASKS_MAX = 10_000


def worker(
    *,
    until_idle: Annotated[
        bool,
        Parameter(negative=(), help="Stop as soon as no task is open and no file is due."),
    ] = False,
    log_level: Annotated[LogLevel, Parameter(help="Log lines from this level on.")] = "info",
    json: Json = False,
) -> None:
    """Work on all open batches: submit, poll, settle, store videos.

    It runs until SIGTERM, SIGHUP or Ctrl-C; then submits under way end, within RUSHES_STOP_SECONDS. Any
    number of workers may share one PostgreSQL database. Logs go to stderr: lines for people on a terminal,
    JSON lines elsewhere.
    """

    import asyncio

    from rushes.cli.memory import long_lived
    from rushes.cli.session import configure_logs, opened, run_async, stop_on_signals
    from rushes.cli.show import print_json
    from rushes.concurrency import until_stopped

    async def work() -> None:
        async with opened(creates=True) as rushes:
            configure_logs(log_level, as_json=json or not sys.stderr.isatty())
            process, started_at = rushes.worker_process(), time.monotonic()
            running = process.worker
            with stop_on_signals() as stop:
                async with asyncio.TaskGroup() as group:
                    group.create_task(process.run(stop.event))
                    if until_idle:
                        group.create_task(until_stopped(stop.event, _stop_when_idle(rushes, stop.event)))
        if json:
            print_json(
                {
                    "worker_id": running.worker_id,
                    "settled_tasks": running.committer.settled_total,
                    "settled_batches": running.committer.closed_batches_total,
                    "duration_seconds": round(time.monotonic() - started_at, 3),
                }
            )

    run_async(long_lived(work()))


async def _stop_when_idle(rushes: "Rushes", stop: "asyncio.Event") -> None:
    import asyncio
    import contextlib

    from rushes.domain.errors import StoreError

    while not stop.is_set():
        with contextlib.suppress(StoreError):  # the worker says so itself, and waits
            if await rushes.open_task_count() + await rushes.due_file_count() == 0:
                stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_LOOK_SECONDS):
                await stop.wait()


def tick(
    *,
    budget_seconds: Annotated[
        float, Parameter(validator=Number(gt=0, lte=TICK_SECONDS_MAX), help="Time for the pass.")
    ] = 25.0,
    tasks_max: Annotated[
        Whole,
        Parameter(validator=Number(gte=1, lte=TICK_TASKS_MAX), help="Tasks to submit and to poll, at most."),
    ] = 200,
    json: Json = False,
) -> int:
    """Work on all open batches in one bounded pass: for cron and serverless platforms.

    It ends within its budget, also when the database does not answer; only a submit that is under way then
    is waited for, up to RUSHES_STOP_SECONDS.
    """

    from rushes.cli.session import opened, run_async, stop_on_signals
    from rushes.cli.show import print_json, print_line, say
    from rushes.settings import Settings

    async def pass_once() -> int:
        settings = Settings.load()
        # no transaction may take more than the whole pass
        seconds = max(1.0, min(settings.database_timeout_seconds, budget_seconds / 2))
        settings = settings.model_copy(update={"database_timeout_seconds": seconds})
        with stop_on_signals() as stop:
            async with opened(creates=True, settings=settings) as rushes:
                report = await rushes.worker_process().tick(
                    budget_seconds=budget_seconds, tasks_max=tasks_max, stop=stop.event
                )
        code = ExitCode.DONE if stop.signal_number is None else stop.exit_code
        if not report.ok:
            say("rushes: the database was away for a part of the pass; the next pass resumes there")
            code = code or ExitCode.ERROR
        if json:
            print_json(report.as_dict())
            return code
        for name in ("dispatch", "poll", "settle", "archive"):
            counts = ", ".join(f"{count} {word}" for word, count in getattr(report, name).items())
            print_line(f"{name}: {counts or 'nothing'}")
        print_line(f"took {report.duration_ms} ms")
        return code

    return run_async(pass_once())
