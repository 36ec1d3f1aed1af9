"""Whatever falls silent, a stop and a pass end within their bounds, and a pass says that it was not whole."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from proofs.silent_proxy import SilentProxy
from sqlalchemy import Connection, text

from rushes.database_wiring import wall_clock_ms
from rushes.domain.errors import DatabaseUnreachable
from rushes.files.gate.deciding import record_stored
from rushes.files.guard.client import GuardedHttp
from rushes.library import Rushes
from rushes.money.settle import apply_group
from rushes.notify.notifier import Notifier
from rushes.notify.secrets import WebhookSecrets
from rushes.run.lane.fairness import claim_fairly
from rushes.run.process import WorkerProcess
from rushes.simulator import running_simulator
from rushes.store import archive, deliveries, workers
from rushes.store.acceptance import judging
from rushes.store.database import Database
from rushes.store.inputs import last_frames, uploads
from rushes.store.tasks import turns
from tests.harness import FAST, items, knobs, rushes_on

LATE_SECONDS = 3.0
"""What the client's side of a transaction's bound, and a busy machine, add."""

BUDGET_SECONDS = 2.0
SLOW = knobs(render_seconds=30.0, latency_min_seconds=0.8, latency_max_seconds=0.9)
SHORT = knobs(render_seconds=0.3)


def fall_silent_before(
    asked: Callable[..., object], rushes: Rushes, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> asyncio.Event:
    """Once `asked` is about to run in a transaction or a read, the database answers nothing any more."""
    silent = asyncio.Event()

    def listening(run: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def listened(function: object, /, *arguments: object, **options: object) -> object:
            if function is asked:
                proxy.hush()
                silent.set()
            return await run(function, *arguments, **options)

        return listened

    monkeypatch.setattr(rushes.database, "transact", listening(rushes.database.transact))
    monkeypatch.setattr(rushes.database, "read", listening(rushes.database.read))
    return silent


@contextlib.contextmanager
def silent_port() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port that takes connections and says nothing, with those that it took."""
    listening, taken = socket.create_server(("127.0.0.1", 0), backlog=200), list[socket.socket]()

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listening.accept()[0])

    threading.Thread(target=take, daemon=True).start()
    try:
        yield listening.getsockname()[1], taken
    finally:
        listening.close()
        for each in taken:
            each.close()


@pytest.fixture
def silent_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """`s3://bucket` answers nothing; gives the connections that were made to it."""
    with silent_port() as (port, taken):
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield taken


def add_expired_upload(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO uploads (account_id, public_id, sha256, content_type, bytes, object_key,"
            " created_at_ms, expires_at_ms)"
            " SELECT id, 'upl_' || id || '_1', 'ab', 'image/png', 10, 'k/1.png', 1, 2 FROM accounts"
        )
    )


async def seconds_to_stop(stop: asyncio.Event, work: "asyncio.Task[Any]") -> float:
    """Set `stop`, and wait for the work's end."""
    started = time.monotonic()
    stop.set()
    await work
    return time.monotonic() - started


# --- passes -------------------------------------------------------------------------------------------------


async def timed_tick(rushes: Rushes) -> tuple[float, bool]:
    """How long a pass took, and whether it was whole."""
    started = time.monotonic()
    try:
        ok = (await rushes.worker_process().tick(budget_seconds=4.0)).ok
    except DatabaseUnreachable:
        ok = False
    return time.monotonic() - started, ok


@pytest.mark.parametrize("silent_after_seconds", [0.0, 0.3, 1.0])
def test_a_pass_ends_within_its_budget_although_the_database_falls_silent(
    silent_database: tuple[SilentProxy, str], silent_after_seconds: float
) -> None:
    async def scenario() -> None:
        silent, url = silent_database
        with running_simulator(knobs(render_seconds=30.0)) as simulator:
            more = {"RUSHES_DATABASE_TIMEOUT_SECONDS": "1", "RUSHES_ARCHIVE_URL": "none"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                if silent_after_seconds:
                    asyncio.get_running_loop().call_later(silent_after_seconds, silent.hush)
                else:
                    silent.hush()
                seconds, ok = await timed_tick(rushes)
                silent.speak()
        assert seconds < 4.0 + LATE_SECONDS
        assert not ok or silent_after_seconds, "a pass without a database says so"

    asyncio.run(scenario())


async def seconds_of_a_pass(
    rushes: Rushes, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch, asked: Callable[..., object]
) -> float:
    """Of a pass with a budget of two seconds, in which the database falls silent; it must say so."""
    fall_silent_before(asked, rushes, proxy, monkeypatch)
    started = time.monotonic()
    report = await rushes.worker_process().tick(budget_seconds=BUDGET_SECONDS)
    seconds = time.monotonic() - started
    proxy.speak()
    assert proxy.silenced_links > 0
    assert not report.ok
    return seconds


@pytest.mark.parametrize("asked", [turns.count_waiting, claim_fairly, apply_group, workers.release])
def test_a_pass_waits_for_no_answer_beyond_its_last_commit(
    silent_database: tuple[SilentProxy, str], monkeypatch: pytest.MonkeyPatch, asked: Callable[..., object]
) -> None:
    async def scenario() -> float:
        silent, url = silent_database
        with running_simulator(SLOW) as simulator:
            more = {"RUSHES_DATABASE_TIMEOUT_SECONDS": "4", "RUSHES_ARCHIVE_URL": "none"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                return await seconds_of_a_pass(rushes, silent, monkeypatch, asked)

    assert asyncio.run(scenario()) < BUDGET_SECONDS + LATE_SECONDS


@pytest.mark.parametrize(
    "asked",
    [
        uploads.mark_removed_if_expired,
        archive.any_due,
        archive.claim_if_due,
        record_stored,
        last_frames.any_ready,
    ],
)
def test_a_pass_waits_for_no_answer_about_files_beyond_its_budget(
    silent_database: tuple[SilentProxy, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    asked: Callable[..., object],
) -> None:
    async def scenario() -> float:
        silent, url = silent_database
        with running_simulator(SHORT) as simulator:
            more = {
                "RUSHES_DATABASE_TIMEOUT_SECONDS": "6",
                "RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive",
            }
            async with rushes_on(url, simulator.base_url, more) as rushes:
                await rushes.create_batch(items(20))
                await rushes.worker_process().tick(budget_seconds=1.0)
                await asyncio.sleep(0.5)
                return await seconds_of_a_pass(rushes, silent, monkeypatch, asked)

    assert asyncio.run(scenario()) < BUDGET_SECONDS + LATE_SECONDS


def test_a_pass_says_that_the_database_was_silent_about_the_judges_clips(
    silent_database: tuple[SilentProxy, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> tuple[float, bool]:
        silent, url = silent_database
        with running_simulator(FAST) as simulator:
            more = {"RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive", "RUSHES_JUDGE_COMMAND": "sh -c true"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                fall_silent_before(judging.any_due, rushes, silent, monkeypatch)
                started = time.monotonic()
                report = await rushes.worker_process().tick(budget_seconds=8.0)
                seconds = time.monotonic() - started
                silent.speak()
        return seconds, report.ok

    seconds, ok = asyncio.run(scenario())
    assert seconds < 8.0 + LATE_SECONDS
    assert not ok


def test_a_stopped_pass_gives_back_files_under_way(
    new_database_url: Callable[[str], str], tmp_path: Path
) -> None:
    async def scenario() -> float:
        stalled = knobs(render_seconds=0.3, file_slow=1.0, file_slow_seconds=60.0)
        with running_simulator(stalled) as simulator:
            more = {"RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive"}
            async with rushes_on(new_database_url("sqlite"), simulator.base_url, more) as rushes:
                await rushes.create_batch(items(4))
                await rushes.worker_process().tick(budget_seconds=1.0)
                await asyncio.sleep(0.5)
                process, stop = rushes.worker_process(), asyncio.Event()
                assert process.archiver is not None
                passing = asyncio.create_task(process.tick(budget_seconds=25.0, stop=stop))
                while not process.archiver._fetching:
                    await asyncio.sleep(0.05)
                seconds = await seconds_to_stop(stop, passing)
                assert passing.result().ok, "a stop is no trouble"
        return seconds

    assert asyncio.run(scenario()) < 7.0 + LATE_SECONDS


def test_a_stopped_pass_waits_for_no_judge(
    new_database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> float:
        with running_simulator(SHORT) as simulator:
            more = {"RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive", "RUSHES_JUDGE_COMMAND": "sleep 60"}
            async with rushes_on(new_database_url("sqlite"), simulator.base_url, more) as rushes:
                process, stop, asked = rushes.worker_process(), asyncio.Event(), asyncio.Event()

                async def thinking(*, budget_seconds: float) -> int:
                    asked.set()
                    await asyncio.sleep(budget_seconds)
                    return 1

                monkeypatch.setattr(process.asking, "tick", thinking)
                passing = asyncio.create_task(process.tick(budget_seconds=20.0, stop=stop))
                await asked.wait()
                return await seconds_to_stop(stop, passing)

    assert asyncio.run(scenario()) < LATE_SECONDS


# --- the parts of a process ---------------------------------------------------------------------------------


def one_pass(process: WorkerProcess, stop: asyncio.Event) -> Coroutine[Any, Any, object]:
    return process.tick(budget_seconds=20.0, stop=stop)


@pytest.mark.parametrize(("work", "stop_seconds"), [(one_pass, 0.0), (WorkerProcess.run, 2.0)])
def test_a_stopped_process_waits_for_no_bucket(
    new_database_url: Callable[[str], str],
    silent_bucket: list[socket.socket],
    work: Callable[[WorkerProcess, asyncio.Event], Coroutine[Any, Any, object]],
    stop_seconds: float,
) -> None:
    async def scenario() -> float:
        with running_simulator(FAST) as simulator:
            more = {"RUSHES_ARCHIVE_URL": "s3://bucket/prefix", "RUSHES_STOP_SECONDS": "2"}
            async with rushes_on(new_database_url("sqlite"), simulator.base_url, more) as rushes:
                await rushes.database.transact(add_expired_upload)
                stop = asyncio.Event()
                working = asyncio.create_task(work(rushes.worker_process(), stop))
                while not silent_bucket:
                    await asyncio.sleep(0.05)
                return await seconds_to_stop(stop, working)

    assert asyncio.run(scenario()) < stop_seconds + LATE_SECONDS


def test_a_stopping_archiver_waits_for_no_answer(
    silent_database: tuple[SilentProxy, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario() -> float:
        silent, url = silent_database
        with running_simulator(FAST) as simulator:
            more = {"RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive"}
            async with rushes_on(url, simulator.base_url, more) as rushes:
                process, stop = rushes.worker_process(), asyncio.Event()
                assert process.archiver is not None
                is_silent = fall_silent_before(archive.any_due, rushes, silent, monkeypatch)
                running = asyncio.create_task(process.archiver.run(stop))
                await is_silent.wait()
                seconds = await seconds_to_stop(stop, running)
                silent.speak()
        return seconds

    assert asyncio.run(scenario()) < 1.0 + LATE_SECONDS


def test_a_stopping_notifier_waits_for_a_webhook_alone(
    silent_database: tuple[SilentProxy, str],
) -> None:
    def name_webhook(connection: Connection, port: int) -> None:
        row = connection.execute(text("SELECT id, account_id FROM batches")).one()
        url = f"http://127.0.0.1:{port}/"
        deliveries.open_feed(connection, row.id, account_id=row.account_id, url=url, now_ms=wall_clock_ms())

    async def scenario() -> float:
        silent, url = silent_database
        with running_simulator(FAST) as simulator, silent_port() as (port, taken):
            async with rushes_on(url, simulator.base_url, {"RUSHES_ARCHIVE_URL": "none"}) as rushes:
                batch = await rushes.create_batch(items(2))
                await rushes.database.transact(name_webhook, port)
                await rushes.cancel(batch["batch_id"])
                http, stop = GuardedHttp(allow_private=True), asyncio.Event()
                notifier = Notifier(
                    rushes.database,
                    http=http,
                    secrets=WebhookSecrets("s" * 32),
                    now_ms=wall_clock_ms,
                    timeout_seconds=2.0,
                )
                running = asyncio.create_task(notifier.run(stop))
                while not taken:
                    await asyncio.sleep(0.02)
                silent.hush()
                await asyncio.sleep(0.6)
                seconds = await seconds_to_stop(stop, running)
                await http.close()
                silent.speak()
        return seconds

    assert asyncio.run(scenario()) < 1.0 + 2.0 + LATE_SECONDS


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_closed_database_waits_for_no_answer(
    silent_database: tuple[SilentProxy, str], is_connected: bool
) -> None:
    def look(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT 1").all()

    async def scenario() -> float:
        silent, url = silent_database
        database = Database(url)
        if is_connected:
            await database.transact(look)
        silent.hush()
        asking = asyncio.create_task(database.transact(look))
        await asyncio.sleep(0.2)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        started = time.monotonic()
        database.close()
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 2.0 + LATE_SECONDS
