"""Callbacks in: a reason to look now, never a fact, whoever sends them and however often."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from rushes.api import operators
from rushes.domain.callback_tokens import callback_token
from rushes.run import nudges
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import SECRETS, RunningService, assert_problem, eventually, running_service
from tests.harness import knobs

CALLBACKS = 600
"""How many forged and replayed ones are sent."""

KEY = SECRETS["RUSHES_WEBHOOK_SECRET"].encode()

SLEEPY = {
    "RUSHES_POLL_INTERVAL_MIN_SECONDS": "30",
    "RUSHES_POLL_INTERVAL_MAX_SECONDS": "30",
    "RUSHES_UNCONFIRMED_GRACE_SECONDS": "60",
}
"""So slow to poll by itself that whatever happens sooner is a callback's doing."""


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def called_back(
    database_url: str, simulator: SimulatorThread, environment: dict[str, str] | None = None, **options: Any
) -> Iterator[RunningService]:
    """A service whose public address is its own."""
    port = free_port()
    variables = {**SLEEPY, "RUSHES_BASE_URL": f"http://127.0.0.1:{port}", **(environment or {})}
    with running_service(database_url, simulator.base_url, variables, port=port, **options) as running:
        yield running


def task_row(service: RunningService, batch_id: str) -> dict[str, Any]:
    """The only task of a batch."""
    (row,) = service.rows(
        "SELECT t.* FROM video_tasks t JOIN batches b ON b.id = t.batch_id WHERE b.public_id = :id",
        id=batch_id,
    )
    return row


def call_back(
    service: RunningService, task: dict[str, Any], document: object, provider: str = "grsai"
) -> httpx2.Response:
    """A callback of this task's current attempt."""
    token = callback_token(KEY, task_id=task["id"], attempt=task["attempt"])
    return httpx2.post(f"{service.base_url}/callbacks/{provider}/{token}", json=document, trust_env=False)


@pytest.fixture
def called_back_at_ms(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """When the last callback of each task came, by the task's id; filled while the test runs."""
    came: dict[int, float] = {}
    nudge = operators._nudge

    async def noting(parts: Any, provider: str, task_id: int, *arguments: Any) -> None:
        came[task_id] = time.time() * 1000
        await nudge(parts, provider, task_id, *arguments)

    monkeypatch.setattr(operators, "_nudge", noting)
    return came


def assert_seen_within_a_second(service: RunningService, called_back_at_ms: dict[int, float]) -> None:
    """Every task was settled less than a second after its callback, and no task lacked one."""
    ended = {row["id"]: row["completed_at_ms"] for row in service.rows("SELECT * FROM video_tasks")}
    assert ended.keys() == called_back_at_ms.keys()
    lags = [at_ms - called_back_at_ms[task_id] for task_id, at_ms in ended.items()]
    assert max(lags) < 1000, lags


def test_completion_is_seen_within_a_second_of_the_callback(
    database_url: str, called_back_at_ms: dict[int, float]
) -> None:
    with (
        running_simulator(knobs(render_seconds=1.0, callback_progress=False)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch(*(f"p{n}" for n in range(20)))["batch_id"]
        assert tenant.finished(batch_id, seconds_max=15)["status"] == "succeeded"
        assert_seen_within_a_second(service, called_back_at_ms)


CALLS_BACK = {
    "seedance-2.0-mini": ("ARK_API_KEY", "ARK_HOST", "/api/v3"),
    "minimax-h3-max": ("MINIMAX_API_KEY", "MINIMAX_HOST", ""),
}


@pytest.mark.parametrize("model", CALLS_BACK)
def test_a_callback_without_a_signature_hurries_the_poll_of_its_task(
    database_url: str, called_back_at_ms: dict[int, float], model: str
) -> None:
    key, host, path = CALLS_BACK[model]
    with running_simulator(knobs(render_seconds=1.0, callback_progress=False)) as simulator:
        account = {key: "a-key", host: simulator.base_url + path}
        with called_back(database_url, simulator, account) as service:
            tenant = service.tenant()
            items = [{"prompt": f"p{n}", "model": model} for n in range(5)]
            batch_id = tenant.post("/v1/batches", {"items": items}, status=201)["batch_id"]
            assert tenant.finished(batch_id, seconds_max=15)["status"] == "succeeded"
            assert_seen_within_a_second(service, called_back_at_ms)


def test_a_callback_to_one_process_reaches_the_worker_in_another_within_a_second(
    new_database_url: Callable[[str], str], called_back_at_ms: dict[int, float]
) -> None:
    url = new_database_url("postgresql")
    with (
        running_simulator(knobs(render_seconds=1.0, callback_progress=False)) as simulator,
        called_back(url, simulator, with_worker=False) as api,
        running_service(url, simulator.base_url, {**SLEEPY, "RUSHES_BASE_URL": api.base_url}),
    ):
        tenant = api.tenant()
        batch_id = tenant.batch(*(f"p{n}" for n in range(20)))["batch_id"]
        assert tenant.finished(batch_id, seconds_max=15)["status"] == "succeeded"
        assert_seen_within_a_second(api, called_back_at_ms)
        eventually(lambda: api.rows("SELECT * FROM callback_nudges"), lambda rows: rows == [], seconds_max=10)


def test_lost_callbacks_cost_nothing_but_time(database_url: str) -> None:
    awake = {"RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.1", "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.3"}
    with (
        running_simulator(knobs(render_seconds=0.5, callback_lost=1.0, callback_progress=False)) as simulator,
        called_back(database_url, simulator, awake) as service,
    ):
        tenant = service.tenant()
        assert tenant.finished(tenant.batch("a")["batch_id"])["status"] == "succeeded"


def test_an_unconfirmed_submit_is_found_through_its_callback(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=1.5, submit_accepted_then_reset=1.0)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch("a", "b")["batch_id"]
        batch = tenant.finished(batch_id, seconds_max=12)
        assert (batch["status"], batch["credits_settled"]) == ("succeeded", 20)
        assert simulator.report().accepted == 2, "bought once each"


def test_a_forged_id_is_never_adopted(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=60.0)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        other = tenant.batch("the other")["batch_id"]
        theirs = eventually(lambda: task_row(service, other), lambda row: row["remote_task_id"] is not None)
        simulator.use(knobs(render_seconds=60.0, submit_server_error=1.0))
        mine = tenant.batch("mine")["batch_id"]
        unknown = eventually(
            lambda: task_row(service, mine), lambda row: row["unconfirmed_at_ms"] is not None
        )
        for forged in ("no-such-task", theirs["remote_task_id"], "x" * 500, "new\nline", ""):
            answer = call_back(
                service, unknown, {"id": forged, "status": "succeeded", "url": "https://evil/"}
            )
            assert (answer.status_code, answer.json()) == (200, {"success": True})
            time.sleep(nudges.CHECK_SECONDS)
        time.sleep(1.5)
        row = task_row(service, mine)
        assert (row["remote_task_id"], row["status"], row["video_url"]) == (None, "processing", None)
        assert tenant.get("/v1/credits/balance")["reserved"] == 20


def test_forged_and_replayed_callbacks_change_nothing(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=60.0)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch("a")["batch_id"]
        task = eventually(lambda: task_row(service, batch_id), lambda row: row["remote_task_id"] is not None)
        token = callback_token(KEY, task_id=task["id"], attempt=task["attempt"])
        lie = {
            "id": task["remote_task_id"],
            "status": "succeeded",
            "progress": 100,
            "url": "https://evil/v.mp4",
        }
        before = everything(service)
        polls_before = simulator.report().polls
        started = time.monotonic()
        with (
            httpx2.Client(base_url=service.base_url, trust_env=False, verify=False) as http,
            ThreadPoolExecutor(8) as pool,
        ):

            def forge(n: int) -> int:
                wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
                paths = [
                    f"/callbacks/grsai/{token}",
                    f"/callbacks/grsai/{wrong}",
                    f"/callbacks/grsai/{callback_token(b'another key', task_id=task['id'], attempt=1)}",
                    f"/callbacks/grsai/{callback_token(KEY, task_id=task['id'], attempt=7)}",
                    f"/callbacks/grsai/{callback_token(KEY, task_id=10**15, attempt=1)}",
                ]
                return http.post(paths[n % 5], json=lie).status_code

            answers = list(pool.map(forge, range(CALLBACKS)))
        seconds = time.monotonic() - started
        assert sorted(set(answers)) == [200, 404]
        assert answers[1::5] == [404] * (CALLBACKS // 5)
        time.sleep(1.0)
        assert everything(service) == before
        polls = simulator.report().polls - polls_before
        assert 1 <= polls <= (seconds + 2) / nudges.NUDGE_INTERVAL_SECONDS + 2, "polls are bounded by time"
        assert len(service.rows("SELECT * FROM callback_nudges")) <= 1


def everything(service: RunningService) -> dict[str, list[dict[str, Any]]]:
    """All that is known of money and tasks, but for progress."""
    tables = (
        "accounts",
        "credit_lots",
        "batches",
        "batch_reservations",
        "task_resolutions",
        "ledger_entries",
    )
    found = {table: service.rows(f"SELECT * FROM {table}") for table in tables}
    found["video_tasks"] = [
        {**row, "progress": None} for row in service.rows("SELECT * FROM video_tasks ORDER BY id")
    ]
    return found


def test_a_late_callback_leaves_no_trace(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.2)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch("a")["batch_id"]
        tenant.finished(batch_id)
        before = everything(service)
        answer = call_back(service, task_row(service, batch_id), {"id": "x", "status": "failed"})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert service.rows("SELECT * FROM callback_nudges") == []
        assert everything(service) == before


def test_nudges_of_tasks_that_have_ended_are_swept(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudges, "SWEEP_SECONDS", 0.2)
    with (
        running_simulator(knobs(render_seconds=0.2)) as simulator,
        called_back(database_url, simulator) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch("a")["batch_id"]
        tenant.finished(batch_id)
        task = task_row(service, batch_id)

        async def leave(rushes: Any) -> None:
            from sqlalchemy import text

            await rushes.database.transact(
                lambda connection: connection.execute(
                    text(
                        "INSERT INTO callback_nudges (task_id, attempt, received_count, received_at_ms)"
                        " VALUES (:id, 1, 1, 1)"
                    ),
                    {"id": task["id"]},
                )
            )

        service.ask(leave)
        eventually(lambda: service.rows("SELECT * FROM callback_nudges"), lambda rows: rows == [])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/callbacks/grsai/{token}", b"{}", 200),
        ("/callbacks/grsai/{token}", b'{"id": 7}', 200),
        ("/callbacks/grsai/{token}", b"", 400),
        ("/callbacks/grsai/{token}", b"{", 400),
        ("/callbacks/grsai/{token}", b"\xff", 400),
        ("/callbacks/grsai/{token}", b"[" * 50_000, 400),
        ("/callbacks/grsai/{token}", b"[]", 422),
        ("/callbacks/grsai/{token}", b"x" * 300_000, 413),
        ("/callbacks/grsai-unified/{token}", b"{}", 200),
        ("/callbacks/nobody/{token}", b"{}", 404),
        ("/callbacks/grsai/1-1-", b"{}", 404),
        ("/callbacks/grsai/-1-1-00", b"{}", 404),
        ("/callbacks/grsai/" + "9" * 500, b"{}", 404),
        ("/callbacks/grsai/%00", b"{}", 404),
        ("/callbacks/grsai/%F0%9F%92%A5", b"{}", 404),
        ("/callbacks/grsai/", b"{}", 404),
    ],
)
def test_a_callback_is_taken_if_it_is_well_formed_and_its_token_is_ours(
    idle_service: RunningService, path: str, body: bytes, status: int
) -> None:
    token = callback_token(KEY, task_id=10**9, attempt=1)
    answer = httpx2.post(
        idle_service.base_url + path.format(token=token), content=body, trust_env=False, verify=False
    )
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json() == {"success": True}
    else:
        problem = assert_problem(answer)
        assert token not in json.dumps(problem)


def test_a_service_that_tries_the_address_gets_its_challenge_back(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=60.0)) as simulator,
        called_back(database_url, simulator, with_worker=False) as service,
    ):
        batch_id = service.tenant().batch("a boat")["batch_id"]
        task = task_row(service, batch_id)
        answer = call_back(service, task, {"challenge": "1a3cs1j-601a-118y-ch52-o48911eabc3u"})
        assert answer.json() == {"success": True, "challenge": "1a3cs1j-601a-118y-ch52-o48911eabc3u"}
        for odd in ("x" * 513, 5, None):
            assert call_back(service, task, {"challenge": odd}).json() == {"success": True}
        forged = httpx2.post(f"{service.base_url}/callbacks/grsai/t-1", json={"challenge": "a"})
        assert forged.status_code == 404
        assert service.rows("SELECT COUNT(*) AS count FROM callback_nudges") == [{"count": 0}]


def test_without_a_secret_there_are_no_callbacks(new_database_url: Callable[[str], str]) -> None:
    with running_service(
        new_database_url("sqlite"), environment={"RUSHES_WEBHOOK_SECRET": ""}, with_worker=False
    ) as service:
        token = callback_token(b"", task_id=1, attempt=1)
        answer = httpx2.post(f"{service.base_url}/callbacks/grsai/{token}", json={}, trust_env=False)
        assert answer.status_code == 404
