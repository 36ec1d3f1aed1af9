"""The poll path: polls per second of the whole engine, against the bare HTTP client and against its peers.

The engine follows tasks in flight and polls each as soon as it was answered: `running` four times, then
`succeeded`. All of it is durable: every task is settled in the database, with its ledger entry, counters
and event. The bare loop is the same HTTP client with the same number of connections, asking the same
server the same questions, and doing nothing with the answers: a copy of commit 518294f's client, so that the
aim stays where it was. So does a loop of pyreqwest, the fastest client library that was found, to compare
with. They take turns in one process.

`unsettled` is the engine while nothing ends, `learned` the same with the schedule that production polls by.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvloop
from pyreqwest.client import ClientBuilder

from benchmarks import _peers
from benchmarks._bare.http import HttpTransport
from benchmarks._installation import (
    AT_ONCE,
    Spent,
    Stopwatch,
    fresh_database,
    grsai_at,
    median,
    new_worker,
    postgresql_server,
    require_settled,
    seed_in_flight,
)
from benchmarks._server import ALWAYS_RUNNING, RunningServer, ceiling_per_s, running_server
from benchmarks.report import write_section
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.polling.schedule import PollSchedule
from rushes.providers.base import ProviderLimits
from rushes.store.database import Database

POLLS_PER_TASK = 5
HEADERS = {"authorization": "Bearer key", "content-type": "application/json"}
TIMEOUT_SECONDS = 30.0
CONNECTIONS = ProviderLimits().connections_max
RATIO_TO_BARE_MIN = {
    "http, sqlite": 0.6,
    "http, postgresql": 0.5,
    "https, sqlite": 0.5,
    "https, postgresql": 0.5,
}
"""With `POLLS_PER_TASK` polls a task, each settled."""
PATHS = tuple(RATIO_TO_BARE_MIN)
MANY_POLLS_PER_TASK = 20
MANY_POLLS_RATIO_MIN = 0.72
UNSETTLED_RATIO_MIN = 0.85
LEARNED_RATIO_MIN = 0.75
UNSETTLED_TASKS = 2_000
UNSETTLED_SECONDS = 2.0
AT_ONCE_SECONDS = 1e-6
"""Floor and ceiling of the learned schedule: it decides as in production, and each poll is due at once."""
RATIO_TO_PEER_MIN = 25.0
TASKS = 12_000
ROUNDS = 2
BARE_SECONDS = 1.5
PEER_TASKS = 300
FAR_LATENCY_SECONDS = 0.02
FAR_CONNECTIONS = 256
FAR_PEER_TASKS = 20
NOTHING_SETTLED_SECONDS_MAX = 60.0


def run(
    *,
    tasks: int = TASKS,
    rounds: int = ROUNDS,
    bare_seconds: float = BARE_SECONDS,
    only_peers: tuple[str, ...] = tuple(_peers.PEERS),
    peer_tasks: int = PEER_TASKS,
    running_paths: tuple[str, ...] = PATHS,
) -> dict[str, Any]:
    """Print the tables and write the section `poll`; returns it."""
    paths: dict[str, Any] = {}
    with postgresql_server() as uri:
        for scheme in ("http", "https"):
            with running_server(running_answers=ALWAYS_RUNNING, tls=scheme == "https") as server:
                ceiling = uvloop.run(ceiling_per_s(server, seconds=bare_seconds))
            print(f"{scheme}: the server alone answers {ceiling:,.0f} polls/s")
            for dialect in ("sqlite", "postgresql"):
                name, tls = f"{scheme}, {dialect}", scheme == "https"
                path = uvloop.run(_path(dialect, uri, tls=tls, tasks=tasks, rounds=rounds, bare=bare_seconds))
                path["server_ceiling_per_s"] = ceiling
                paths[name] = path
                _print_path(name, path, least=RATIO_TO_BARE_MIN[name])
        many = _many_polls(uri, tasks=tasks, rounds=rounds, bare=bare_seconds)
        running = _running_sections(
            uri, running_paths, rounds=rounds, seconds=min(UNSETTLED_SECONDS, bare_seconds * 2)
        )
        found = _peers.run_all(uri, tasks=peer_tasks, only=only_peers)
        far_away = _far_away(uri, tasks=tasks, peer_tasks=min(peer_tasks, FAR_PEER_TASKS))
        data = _summary(paths, found) | running | {"many_polls": many, "far_away": far_away}
    write_section("poll", data)
    return data


def _far_away(uri: str, *, tasks: int, peer_tasks: int) -> dict[str, float]:
    """The engine and the sequential loop, both on PostgreSQL, against a server that answers after 20 ms."""
    peer = _peers.run_all(
        uri, tasks=peer_tasks, only=(_peers.SEQUENTIAL,), latency_seconds=FAR_LATENCY_SECONDS
    )[_peers.SEQUENTIAL]["polls_per_s"]
    with (
        running_server(running_answers=POLLS_PER_TASK - 1, latency_seconds=FAR_LATENCY_SECONDS) as server,
        fresh_database("postgresql", server_uri=uri) as database,
    ):
        seed_in_flight(database, tasks)
        limits = ProviderLimits(connections_max=FAR_CONNECTIONS)
        polls, spent = uvloop.run(engine_polls(database, server, tasks, limits))
        require_settled(database, tasks)
    engine = polls / spent.seconds
    print(f"  a server {FAR_LATENCY_SECONDS * 1000:.0f} ms away: engine {engine:,.0f} polls/s")
    print(f"  {'':31} sequential loop {peer:,.0f}: {engine / peer:.0f} x")
    return {
        "latency_seconds": FAR_LATENCY_SECONDS,
        "engine_polls_per_s": engine,
        "sequential_polls_per_s": peer,
        "ratio": engine / peer,
    }


def _many_polls(uri: str, *, tasks: int, rounds: int, bare: float) -> dict[str, Any]:
    """A fourth of the tasks with `MANY_POLLS_PER_TASK` polls each, over HTTP."""
    print(f"{MANY_POLLS_PER_TASK} polls a task:")
    found: dict[str, Any] = {}
    for dialect in ("sqlite", "postgresql"):
        found[dialect] = uvloop.run(
            _path(
                dialect,
                uri,
                tls=False,
                tasks=tasks // 4,
                rounds=rounds,
                bare=bare,
                polls_per_task=MANY_POLLS_PER_TASK,
            )
        )
        _print_path(f"http, {dialect}", found[dialect], least=MANY_POLLS_RATIO_MIN)
    return found


def _print_path(name: str, path: Mapping[str, float], *, least: float) -> None:
    verdict = "met" if path["ratio_to_bare_client"] >= least else "MISSED"
    print(
        f"  {name:17} engine {path['engine_polls_per_s']:8,.0f} polls/s"
        f" at {path['engine_cpu_us_per_poll']:5.1f} us of CPU each;"
        f" bare client {path['bare_client_polls_per_s']:8,.0f} at {path['bare_cpu_us_per_poll']:5.1f} us;"
        f" server {path['server_cpu_us_per_poll']:4.1f} us"
    )
    cpu = path["engine_cpu_us_per_poll"] / path["bare_cpu_us_per_poll"]
    print(
        f"  {'':17} ratio {path['ratio_to_bare_client']:.2f}, at least {least}: {verdict};"
        f" {cpu:.2f} x its CPU"
    )
    print(
        f"  {'':17} a loop of pyreqwest {path['pyreqwest_polls_per_s']:8,.0f} polls/s"
        f" at {path['pyreqwest_cpu_us_per_poll']:5.1f} us: ratio {path['ratio_to_pyreqwest']:.2f}"
    )


def _summary(paths: Mapping[str, Any], peers: Mapping[str, Any]) -> dict[str, Any]:
    """The headline is plain HTTP on PostgreSQL, where the peers run too."""
    headline = paths["http, postgresql"]
    rates = {name: found["polls_per_s"] for name, found in peers.items() if "polls_per_s" in found}
    best = max(rates.values(), default=0.0)
    ratio = headline["engine_polls_per_s"] / best if best else None
    queues = max((rate for name, rate in rates.items() if name != _peers.SEQUENTIAL), default=0.0)
    to_queues = headline["engine_polls_per_s"] / queues if queues else None
    for name, found in peers.items():
        if name in rates:
            print(f"  {name:34} {rates[name]:8,.0f} polls/s")
        else:
            print(f"  {name:34} skipped: {found['skipped']}")
    if ratio is not None:
        verdict = "met" if ratio >= RATIO_TO_PEER_MIN else "MISSED"
        print(f"  the engine does {ratio:.1f} x the best of them, at least {RATIO_TO_PEER_MIN:g}: {verdict}")
    if to_queues is not None:
        verdict = "met" if to_queues >= RATIO_TO_PEER_MIN else "MISSED"
        print(f"  and {to_queues:.1f} x the best of the frameworks: {verdict}")
    return {
        "engine_polls_per_s": headline["engine_polls_per_s"],
        "bare_client_polls_per_s": headline["bare_client_polls_per_s"],
        "ratio_to_bare_client": headline["ratio_to_bare_client"],
        "ratio_to_pyreqwest": headline["ratio_to_pyreqwest"],
        "paths": dict(paths),
        "peers": rates,
        "peers_skipped": {name: found["skipped"] for name, found in peers.items() if name not in rates},
        "ratio_to_best_peer": ratio,
        "ratio_to_best_framework": to_queues,
        "python": sys.version.split()[0],
    }


# --- the engine and the bare client, in turns ---------------------------------------------------------


async def _path(
    dialect: str,
    uri: str,
    *,
    tls: bool,
    tasks: int,
    rounds: int,
    bare: float,
    polls_per_task: int = POLLS_PER_TASK,
) -> dict[str, Any]:
    """One database over one transport: medians over the rounds."""
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        with running_server(running_answers=polls_per_task - 1, tls=tls) as server:
            library, library_cpu = await _library(server, seconds=bare)
            before, cpu_before = await _bare(server, seconds=bare)
            with fresh_database(dialect, server_uri=uri) as database:
                seed_in_flight(database, tasks)
                at_start = server.stats()
                polls, spent = await engine_polls(database, server, tasks)
                at_end = server.stats()
                require_settled(database, tasks)
            after, cpu_after = await _bare(server, seconds=bare)
        engine_per_s, bare_per_s = polls / spent.seconds, (before + after) / 2
        served = at_end["requests"] - at_start["requests"]
        found.append(
            {
                "engine_polls_per_s": engine_per_s,
                "engine_cpu_us_per_poll": spent.cpu_seconds / polls * 1e6,
                "bare_client_polls_per_s": bare_per_s,
                "bare_cpu_us_per_poll": (cpu_before + cpu_after) / 2 * 1e6,
                "server_cpu_us_per_poll": (at_end["cpu_seconds"] - at_start["cpu_seconds"]) / served * 1e6,
                "ratio_to_bare_client": engine_per_s / bare_per_s,
                "pyreqwest_polls_per_s": library,
                "pyreqwest_cpu_us_per_poll": library_cpu * 1e6,
                "ratio_to_pyreqwest": engine_per_s / library,
            }
        )
    return {name: median([each[name] for each in found]) for name in found[0]} | {"rounds": found}


def _running_sections(uri: str, names: tuple[str, ...], *, rounds: int, seconds: float) -> dict[str, Any]:
    """The sections `unsettled` and `learned`: HTTP with SQLite, and the other paths under `paths`."""
    schedules: dict[str, tuple[Callable[[], PollSchedule], float]] = {
        "unsettled": (lambda: AT_ONCE, UNSETTLED_RATIO_MIN),
        "learned": (
            lambda: LearnedSchedule(AT_ONCE_SECONDS, AT_ONCE_SECONDS, catalogue=DEFAULT_CATALOGUE),
            LEARNED_RATIO_MIN,
        ),
    }
    sections: dict[str, Any] = {}
    for name, (schedule, least) in schedules.items():
        paths = {}
        for path in names:
            scheme, dialect = path.split(", ")
            with running_server(running_answers=ALWAYS_RUNNING, tls=scheme == "https") as server:
                found = [_one_running(server, dialect, uri, schedule(), seconds) for _ in range(rounds)]
            paths[path] = {key: median([each[key] for each in found]) for key in found[0]}
            ratio = paths[path]["ratio_to_bare_client"]
            verdict = "met" if ratio >= least else "MISSED"
            cpu = paths[path]["engine_cpu_us_per_poll"], paths[path]["bare_cpu_us_per_poll"]
            print(
                f"  {name:9} {path:17} {cpu[0]:5.1f} us of CPU a poll, bare {cpu[1]:5.1f};"
                f" ratio {ratio:.2f}, at least {least}: {verdict}"
            )
        sections[name] = paths["http, sqlite"] | {"paths": paths}
    return sections


def _one_running(
    server: RunningServer, dialect: str, uri: str, schedule: PollSchedule, seconds: float
) -> dict[str, float]:
    """One round of the engine with tasks that do not end, between two of the bare client."""
    before, cpu_before = uvloop.run(_bare(server, seconds=seconds / 2))
    with fresh_database(dialect, server_uri=uri) as database:
        seed_in_flight(database, UNSETTLED_TASKS)
        engine, engine_cpu = uvloop.run(_unsettled_polls(database, server, schedule, seconds))
    after, cpu_after = uvloop.run(_bare(server, seconds=seconds / 2))
    bare, bare_cpu = (before + after) / 2, (cpu_before + cpu_after) / 2
    return {
        "engine_polls_per_s": engine,
        "engine_cpu_us_per_poll": engine_cpu * 1e6,
        "bare_client_polls_per_s": bare,
        "bare_cpu_us_per_poll": bare_cpu * 1e6,
        "ratio_to_bare_client": engine / bare,
        "cpu_ratio_to_bare_client": engine_cpu / bare_cpu,
    }


async def _unsettled_polls(
    database: Database, server: RunningServer, schedule: PollSchedule, seconds: float
) -> tuple[float, float]:
    """Polls per second, and CPU seconds per poll, while no task ends."""
    worker = new_worker(database, grsai_at(server), schedule=schedule, begins_at_once=True)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    counts = worker.lanes["grsai"].poller.counts
    while counts.scanned < UNSETTLED_TASKS * 2:  # adopted, connected, warm
        await asyncio.sleep(0.02)
        if running.done():
            await running
    begun, stopwatch = counts.scanned, Stopwatch()
    await asyncio.sleep(seconds)
    spent, polls = stopwatch.read(), counts.scanned - begun
    stop.set()
    await running
    return polls / spent.seconds, spent.cpu_seconds / polls


async def engine_polls(
    database: Database, server: RunningServer, tasks: int, limits: ProviderLimits | None = None
) -> tuple[int, Spent]:
    """A worker from its start, with adopting the tasks, to the last one settled; polls and what it took."""
    worker = new_worker(database, grsai_at(server, limits))
    stop = asyncio.Event()
    stopwatch = Stopwatch()
    running = asyncio.create_task(worker.run(stop))
    settled, settled_at = 0, 0.0
    while worker.committer.settled_total < tasks:
        await asyncio.sleep(0.02)
        if running.done():
            await running
        now = asyncio.get_running_loop().time()
        if worker.committer.settled_total > settled:
            settled, settled_at = worker.committer.settled_total, now
        elif settled and now - settled_at > NOTHING_SETTLED_SECONDS_MAX:
            raise AssertionError(f"stuck with {settled} of {tasks} tasks settled")
    spent = stopwatch.read()
    polls = sum(lane.poller.counts.scanned for lane in worker.lanes.values())
    stop.set()
    await running
    return polls, spent


async def _bare(server: RunningServer, *, seconds: float) -> tuple[float, float]:
    """Polls per second, and CPU seconds per poll, of the engine's HTTP client alone."""
    client = HttpTransport(connections_max=CONNECTIONS, root_certificates_pem=server.certificate_pem)
    url = f"{server.base_url}/v1/draw/result"

    async def ask(body: bytes) -> None:
        await client.request("POST", url, headers=HEADERS, body=body, timeout_seconds=TIMEOUT_SECONDS)

    found = await _loop(ask, seconds=seconds)
    await client.close()
    return found


async def _library(server: RunningServer, *, seconds: float) -> tuple[float, float]:
    """The same of pyreqwest, without a time-out."""
    builder = ClientBuilder().no_proxy().follow_redirects(False).max_connections(CONNECTIONS)
    if server.certificate_pem is not None:
        builder = builder.add_root_certificate_pem(server.certificate_pem)
    client = builder.build()
    url = f"{server.base_url}/v1/draw/result"

    async def ask(body: bytes) -> None:
        response = await client.post(url).headers(HEADERS).body_bytes(body).build().send()
        await response.bytes()

    found = await _loop(ask, seconds=seconds)
    await client.close()
    return found


async def _loop(ask: Callable[[bytes], Awaitable[None]], *, seconds: float) -> tuple[float, float]:
    """As many questions at a time as there are connections, each followed by the next."""
    loop = asyncio.get_running_loop()
    polls = 0

    async def poll_on(number: int) -> None:
        nonlocal polls
        body = b'{"id":"bare-%07d"}' % number
        while loop.time() < until:
            await ask(body)
            polls += 1

    until = loop.time() + 0.2  # connect, and warm up
    await asyncio.gather(*(poll_on(number) for number in range(CONNECTIONS)))
    polls = 0
    until = loop.time() + seconds
    stopwatch = Stopwatch()
    await asyncio.gather(*(poll_on(number) for number in range(CONNECTIONS)))
    spent = stopwatch.read()
    return polls / spent.seconds, spent.cpu_seconds / polls
