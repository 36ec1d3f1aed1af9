"""A stop while PostgreSQL says nothing: the batch as last seen, soon, and never an error in its place."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proofs.silent_proxy import SilentProxy

from rushes.concurrency import until_stopped
from rushes.domain.errors import DatabaseUnreachable
from rushes.library.last_look import LAST_LOOK_SECONDS, last_look
from rushes.simulator import running_simulator
from tests.cli.process import QUICK as QUICK_COMMANDS
from tests.cli.process import Running, Shell
from tests.harness import items, knobs, rushes_on

LATE_SECONDS = 2.5
"""What a busy machine adds."""

QUIET = {"RUSHES_ARCHIVE_URL": "none", "RUSHES_DATABASE_TIMEOUT_SECONDS": "8", "RUSHES_STOP_SECONDS": "1"}
"""Reads of a silent database take 10 seconds, and a stop of the worker takes one."""


def test_a_run_that_is_stopped_returns_the_batch_as_last_seen(
    silent_database: tuple[SilentProxy, str],
) -> None:
    proxy, url = silent_database

    async def scenario() -> tuple[float, dict[str, Any], dict[str, Any]]:
        with running_simulator(knobs(render_seconds=60.0)) as simulator:
            async with rushes_on(url, simulator.base_url, QUIET) as rushes:
                batch_id = (await rushes.create_batch(items(4)))["batch_id"]
                shown: list[dict[str, Any]] = []
                stop, at_provider = asyncio.Event(), asyncio.Event()

                def hear(batch: dict[str, Any], _troubles: dict[str, str]) -> None:
                    shown.append(batch)
                    if batch["processing_count"] == 4:
                        at_provider.set()

                running = asyncio.create_task(rushes.run(batch_id, stop=stop, on_progress=hear))
                await at_provider.wait()
                proxy.hush()
                await asyncio.sleep(1.0)
                stopped = time.monotonic()
                stop.set()
                batch = await running
                seconds = time.monotonic() - stopped
                proxy.speak()
                return seconds, batch, shown[-1]

    seconds, batch, shown = asyncio.run(scenario())
    assert proxy.silenced_links > 0
    assert batch == {name: value for name, value in shown.items() if name not in ("files", "verdicts")}
    assert seconds < 1.0 + LAST_LOOK_SECONDS + LATE_SECONDS


def test_a_run_that_is_stopped_before_it_saw_the_batch_says_so(
    silent_database: tuple[SilentProxy, str],
) -> None:
    proxy, url = silent_database

    async def scenario() -> float:
        async with rushes_on(url, "http://127.0.0.1:1", QUIET) as rushes:
            batch_id = (await rushes.create_batch(items(1)))["batch_id"]
            stop, started = asyncio.Event(), time.monotonic()
            stop.set()
            proxy.hush()
            with pytest.raises(DatabaseUnreachable, match="before the stop"):
                await rushes.run(batch_id, stop=stop)
            seconds = time.monotonic() - started
            proxy.speak()
            return seconds

    assert asyncio.run(scenario()) < LAST_LOOK_SECONDS + LATE_SECONDS


def test_a_look_is_given_up_for_a_stop_and_the_last_one_after_its_time() -> None:
    async def scenario() -> None:
        async def silent() -> str:
            await asyncio.sleep(60)
            return "late"

        async def away() -> str:
            raise DatabaseUnreachable("away")

        async def answering() -> str:
            return "now"

        stop = asyncio.Event()
        assert await until_stopped(stop, answering()) == "now"
        with pytest.raises(DatabaseUnreachable):
            await until_stopped(stop, away())
        asyncio.get_running_loop().call_later(0.1, stop.set)
        assert await until_stopped(stop, silent()) is None
        assert await last_look(answering(), "before") == "now"
        assert await last_look(away(), "before") == "before"
        started = time.monotonic()
        assert await last_look(silent(), "before") == "before"
        assert LAST_LOOK_SECONDS <= time.monotonic() - started < LAST_LOOK_SECONDS + LATE_SECONDS

    asyncio.run(scenario())


@pytest.fixture
def shell(tmp_path: Path, silent_database: tuple[SilentProxy, str]) -> Iterator[Shell]:
    """A shell over the database, and a service that renders for a minute."""
    _, url = silent_database
    with running_simulator(knobs(render_seconds=60.0)) as simulator:
        hosts = {"GRSAI_HOST": simulator.base_url, "RUSHES_DATABASE_URL": url}
        yield Shell(tmp_path, {**QUICK_COMMANDS, **QUIET, **hosts})


def stopped_in_silence(running: Running, proxy: SilentProxy, *, counts: str) -> dict[str, Any]:
    """What it prints when Ctrl-C comes after the database fell silent; it must end as a stop ends."""
    running.wait_until(lambda said: counts in said, counts)
    proxy.hush()
    time.sleep(1.5)
    running.signal(signal.SIGINT)
    ended = running.end()
    assert proxy.silenced_links > 0
    assert ended.code == 130, ended
    assert "nothing is lost" in ended.stderr
    document: dict[str, Any] = ended.document
    return document


def test_a_watch_that_is_stopped_prints_the_batch_as_last_seen(
    shell: Shell, silent_database: tuple[SilentProxy, str]
) -> None:
    proxy, _ = silent_database
    shell.grant(100)
    batch_id = shell.ask(lambda rushes: rushes.create_batch(items(3, ["sora-2"])))["batch_id"]
    watching = shell.start("batch", "watch", batch_id, "--json")
    document = stopped_in_silence(watching, proxy, counts="3 pending")
    assert (document["batch_id"], document["total"], document["succeeded"]) == (batch_id, 3, 0)
    assert document["failures"] is None, "nobody said which there are"


def test_a_run_on_the_command_line_that_is_stopped_prints_the_batch_as_last_seen(
    shell: Shell, silent_database: tuple[SilentProxy, str]
) -> None:
    proxy, _ = silent_database
    shell.grant(100)
    shell.write("prompts.txt", "a paper boat\na kite\n")
    running = shell.start("run", "prompts.txt", "--yes", "--json")
    document = stopped_in_silence(running, proxy, counts="2 processing")
    assert (document["total"], document["succeeded"], document["failures"]) == (2, 0, None)


def test_a_stopped_run_prints_the_files_as_last_seen(
    tmp_path: Path, silent_database: tuple[SilentProxy, str]
) -> None:
    proxy, url = silent_database
    stalled = knobs(render_seconds=0.3, file_slow=1.0, file_slow_seconds=60.0)
    with running_simulator(stalled) as simulator:
        hosts = {"GRSAI_HOST": simulator.base_url, "RUSHES_DATABASE_URL": url}
        archive = {"RUSHES_ARCHIVE_URL": f"file://{tmp_path}/archive"}
        shell = Shell(tmp_path, {**QUICK_COMMANDS, **QUIET, **hosts, **archive})
        shell.grant(100)
        shell.write("prompts.txt", "a paper boat\na kite\n")
        running = shell.start("run", "prompts.txt", "--yes", "--json")
        document = stopped_in_silence(running, proxy, counts="2 succeeded")
    assert (document["succeeded"], document["files"]["due"]) == (2, 2)
