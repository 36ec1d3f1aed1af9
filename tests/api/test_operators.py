"""Health, metrics and the tick: what an operator sees and runs."""

import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from proofs.silent_proxy import SilentProxy
from sqlalchemy import create_engine, text

from rushes import telemetry
from rushes.api.shapes import models
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import SECRETS, RunningService, assert_problem, eventually, running_service
from tests.harness import knobs


def get(service: RunningService, path: str, **headers: str) -> httpx2.Response:
    """Without a key."""
    return httpx2.get(service.base_url + path, headers=headers, trust_env=False, verify=False)


def test_a_service_with_a_worker_is_ready(service: RunningService) -> None:
    assert get(service, "/healthz").json() == {"ok": True}
    answer = eventually(lambda: get(service, "/readyz"), lambda answer: answer.status_code == 200)
    models.Ready.model_validate(answer.json())


def test_without_a_worker_it_is_alive_but_not_ready(idle_service: RunningService) -> None:
    assert get(idle_service, "/healthz").status_code == 200
    answer = get(idle_service, "/readyz")
    assert answer.status_code == 503
    problem = assert_problem(answer)
    assert (problem["error"], problem["live_worker"]) == ("NOT_READY", False)


def test_an_old_or_a_newer_schema_is_not_ready(
    new_database_url: Callable[[str], str], simulator: SimulatorThread
) -> None:
    with running_service(new_database_url("postgresql"), simulator.base_url) as running:
        eventually(lambda: get(running, "/readyz").status_code, lambda status: status == 200)

        for revision, advice in (("0001", "run `rushes migrate`"), ("9999", "install that version")):

            async def set_revision(rushes: object, revision: str = revision) -> None:
                await rushes.database.transact(  # type: ignore[attr-defined]
                    lambda connection: connection.execute(
                        text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
                    )
                )

            running.ask(set_revision)
            problem = assert_problem(get(running, "/readyz"))
            assert (problem["status"], problem["schema_revision"]) == (503, revision)
            assert advice in problem["message"]


def test_while_the_database_is_away_it_is_not_ready_and_then_goes_on(
    new_database_url: Callable[[str], str], postgresql_uri: str, simulator: SimulatorThread
) -> None:
    url = new_database_url("postgresql")
    name = urlsplit(url).path.removeprefix("/")
    server = create_engine(
        postgresql_uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
    )
    with running_service(url, simulator.base_url) as running, server.connect() as operator:
        tenant = running.tenant()
        eventually(lambda: get(running, "/readyz").status_code, lambda status: status == 200)
        operator.execute(text(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"))
        operator.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        problem = assert_problem(get(running, "/readyz"))
        assert (problem["status"], problem["error"], problem["database"]) == (503, "NOT_READY", "unreachable")
        assert get(running, "/healthz").status_code == 200
        refused = tenant.http.get("/v1/batches")
        assert (refused.status_code, assert_problem(refused)["error"]) == (503, "DATABASE_UNREACHABLE")
        assert int(refused.headers["retry-after"]) >= 1
        operator.execute(text(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"))
        eventually(lambda: get(running, "/readyz").status_code, lambda status: status == 200)
        assert tenant.finished(tenant.batch("a")["batch_id"])["status"] == "succeeded"
    server.dispose()


def metrics_of(service: RunningService) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Samples by name."""
    answer = get(service, "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(samples: list[tuple[dict[str, str], float]], **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(number for given, number in samples if labels.items() <= given.items())


def test_metrics_tell_of_tasks_credits_polls_and_settling(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.2, error=0.5, seed=3)) as simulator,
        running_service(database_url, simulator.base_url) as service,
    ):
        tenant = service.tenant(credits=1000)
        batch = tenant.finished(tenant.batch(*(f"p{n}" for n in range(20)))["batch_id"])
        found = eventually(
            lambda: metrics_of(service),
            lambda found: value(found["rushes_tasks"], status="processing") == 0,
        )
        assert value(found["rushes_tasks"], status="succeeded") == batch["succeeded_count"]
        assert value(found["rushes_tasks"], status="failed") == batch["failed_count"] > 0
        moved = found["rushes_credits_total"]
        assert value(moved, type="purchase") == 1000
        assert value(moved, type="reserve") == 200
        assert value(moved, type="settle") + value(moved, type="refund") == 200
        assert value(moved, type="expire") == 0
        assert value(found["rushes_submits_total"], outcome="accepted") == 20
        assert value(found["rushes_polls_total"], outcome="succeeded") == batch["succeeded_count"]
        assert value(found["rushes_poll_lateness_seconds_count"]) >= 20
        assert value(found["rushes_settle_group_size_sum"]) >= 40
        assert value(found["rushes_settle_seconds_count"]) >= 1
        assert value(found["rushes_provider_state"], provider="grsai", state="closed") == 1
        assert value(found["rushes_live_workers"]) == 1
        routes = {labels["route"] for labels, _ in found["rushes_http_requests_total"]}
        assert "/batches/{batch_id}" in routes
        assert not any(batch["batch_id"] in route for route in routes)


def test_metrics_tell_of_deliveries_and_of_the_age_of_every_queue(idle_service: RunningService) -> None:
    name = "rushes_webhook_deliveries"  # it has no samples until there is one
    before = value(metrics_of(idle_service).get(name, []))
    tenant = idle_service.tenant()
    batch_id = tenant.batch("a", webhook_url="http://127.0.0.1:1/closed")["batch_id"]
    tenant.post(f"/v1/batches/{batch_id}/cancel")
    found = eventually(
        lambda: metrics_of(idle_service),
        lambda found: value(found.get(name, [])) >= before + 2,
    )
    ages = {labels["queue"]: seconds for labels, seconds in found["rushes_queue_age_seconds"]}
    assert ages.keys() == {"pending_tasks", "unconfirmed_submits", "webhook_deliveries", "archive_files"}
    assert ages["webhook_deliveries"] > 0
    tenant.batch("waits for ever")
    eventually(
        lambda: value(metrics_of(idle_service)["rushes_queue_age_seconds"], queue="pending_tasks"),
        lambda seconds: seconds > 0.5,
    )


def test_every_metric_name_stands_in_telemetry(service: RunningService) -> None:
    names = {text for name, text in vars(telemetry).items() if name.startswith("METRIC_")}
    families = re.findall(r"^# TYPE (\w+) ", get(service, "/metrics").text, re.MULTILINE)
    assert {family.removesuffix("_total") for family in families} == names


def test_metrics_come_without_the_database_while_it_says_nothing(
    silent_database: tuple[SilentProxy, str], simulator: SimulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.metrics.DATABASE_SECONDS_MAX", 1.0)
    monkeypatch.setattr("rushes.metrics.REMEMBERED_SECONDS", 0.0)
    proxy, url = silent_database
    with running_service(url, simulator.base_url, {"RUSHES_DATABASE_TIMEOUT_SECONDS": "6"}) as running:
        before = eventually(
            lambda: metrics_of(running), lambda found: value(found["rushes_live_workers"]) == 1
        )
        assert value(before["rushes_database_up"]) == 1
        proxy.hush()
        started = time.monotonic()
        found = metrics_of(running)
        assert time.monotonic() - started < 4
        proxy.speak()
        assert value(found["rushes_database_up"]) == 0
        assert value(found["rushes_http_requests_total"], route="/metrics") >= 1
        assert value(found["rushes_provider_state"], provider="grsai", state="closed") == 1
        assert "rushes_tasks" not in found, "nothing of a while ago passes for now"
        eventually(
            lambda: metrics_of(running), lambda found: value(found["rushes_database_up"]) == 1, seconds_max=30
        )


TOKEN = "scrape-me-every-15-s"


def test_a_metrics_token_closes_the_page(new_database_url: Callable[[str], str]) -> None:
    with running_service(
        new_database_url("sqlite"), environment={"RUSHES_METRICS_TOKEN": TOKEN}, with_worker=False
    ) as running:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer"}):
            answer = get(running, "/metrics", **headers)
            assert (answer.status_code, assert_problem(answer)["error"]) == (401, "METRICS_UNAUTHORIZED")
        assert get(running, "/metrics", authorization=f"Bearer {TOKEN}").status_code == 200


# --- the tick -------------------------------------------------------------------------------------------


def tick(service: RunningService, secret: str | None) -> httpx2.Response:
    """One pass."""
    headers = [] if secret is None else [(b"x-worker-secret", secret.encode())]
    return httpx2.post(
        f"{service.base_url}/internal/batch-worker",
        headers=headers,
        timeout=30,
        trust_env=False,
        verify=False,
    )


def test_ticks_alone_run_a_batch_to_its_end(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.3)) as simulator,
        running_service(database_url, simulator.base_url, with_worker=False) as service,
    ):
        tenant = service.tenant()
        batch_id = tenant.batch("a", "b")["batch_id"]
        first = tick(service, SECRETS["RUSHES_WORKER_SECRET"]).json()
        models.Tick.model_validate(first)
        assert first["dispatch"]["submitted"] == 2
        eventually(
            lambda: (tick(service, SECRETS["RUSHES_WORKER_SECRET"]), tenant.get(f"/v1/batches/{batch_id}"))[
                1
            ],
            lambda batch: batch["status"] == "succeeded",
        )


@pytest.mark.parametrize("secret", [None, "", "wrong", "☃", SECRETS["RUSHES_WORKER_SECRET"] + "x"])
def test_a_tick_needs_the_operators_secret(idle_service: RunningService, secret: str | None) -> None:
    answer = tick(idle_service, secret)
    assert (answer.status_code, assert_problem(answer)["error"]) == (401, "WORKER_UNAUTHORIZED")


def test_without_a_worker_secret_there_is_no_tick(new_database_url: Callable[[str], str]) -> None:
    with running_service(
        new_database_url("sqlite"), environment={"RUSHES_WORKER_SECRET": ""}, with_worker=False
    ) as running:
        answer = tick(running, "anything")
        assert (answer.status_code, assert_problem(answer)["error"]) == (503, "WORKER_SECRET_NOT_SET")


# --- an item and the video that was made for it ---------------------------------------------------------


def adopt(service: RunningService, item_id: str, body: object, secret: str | None = None) -> httpx2.Response:
    """With the operator's secret, unless another one is given."""
    return httpx2.post(
        f"{service.base_url}/internal/items/{item_id}/adopt",
        headers={"x-worker-secret": SECRETS["RUSHES_WORKER_SECRET"] if secret is None else secret},
        json=body,
        timeout=30,
        trust_env=False,
        verify=False,
    )


def test_an_item_whose_submits_answer_was_lost_gets_its_video(database_url: str) -> None:
    with (
        running_simulator(knobs(render_seconds=0.2, submit_accepted_then_reset=1.0)) as simulator,
        running_service(database_url, simulator.base_url) as service,
    ):
        tenant = service.tenant(credits=100)
        item_id = tenant.lost_item("a boat")
        available = tenant.get("/v1/credits/balance")["available"]
        simulator.use(knobs(render_seconds=0.2))
        (made,) = simulator.report().tasks or ()
        for secret in ("", "wrong"):
            answer = adopt(service, item_id, {"remote_task_id": made.id}, secret)
            assert (answer.status_code, assert_problem(answer)["error"]) == (401, "WORKER_UNAUTHORIZED")
        answer = adopt(service, item_id, {"remote_task_id": made.id, "account": tenant.account})
        assert answer.status_code == 200, answer.text
        batch = models.Batch.model_validate(answer.json())
        assert (batch.status, batch.succeeded_count, batch.failed_count) == ("succeeded", 1, 0)
        (item,) = tenant.get(f"/v1/batches/{batch.batch_id}/items")["items"]
        assert item["status"] == "succeeded"
        assert tenant.get("/v1/credits/balance")["available"] == available - batch.credits_settled
        assert service.ask(lambda rushes: rushes.audit()).ok
        again = adopt(service, item_id, {"remote_task_id": made.id})
        assert (again.status_code, assert_problem(again)["error"]) == (400, "ITEM_NOT_ADOPTABLE")


@pytest.mark.parametrize(
    ("item", "body", "status", "code", "message"),
    [
        ("{item}", {"remote_task_id": "no-such"}, 404, "NOT_FOUND", "knows no such remote task"),
        ("{item}", {"remote_task_id": "x", "account": "nobody"}, 404, "NOT_FOUND", "no account"),
        ("{item}", {"remote_task_id": ""}, 422, "INVALID_INPUT", "remote_task_id"),
        ("{item}", {"remote_task_id": 7}, 422, "INVALID_INPUT", "remote_task_id"),
        ("{item}", {"remote_task_id": "x" * 100_000}, 422, "INVALID_INPUT", "remote_task_id"),
        ("{item}", {"remote_id": "x"}, 422, "INVALID_INPUT", "remote_id"),
        ("{item}", {"remote_task_id": "x", "account": 7}, 422, "INVALID_INPUT", "account"),
        ("{item}", ["x"], 422, "INVALID_INPUT", "must be a JSON object"),
        ("{item}9", {"remote_task_id": "x"}, 404, "NOT_FOUND", "no item 9"),
        ("bat_none-0", {"remote_task_id": "x"}, 404, "NOT_FOUND", "no batch"),
        ("bat_none", {"remote_task_id": "x"}, 404, "NOT_FOUND", "no item with this id"),
    ],
)
def test_what_cannot_be_adopted_is_refused_with_its_reason(
    lost: tuple[RunningService, str], item: str, body: object, status: int, code: str, message: str
) -> None:
    service, item_id = lost
    before = service.rows("SELECT * FROM video_tasks")
    answer = adopt(service, item.format(item=item_id).replace("-09", "-9"), body)
    problem = assert_problem(answer)
    assert (answer.status_code, problem["error"]) == (status, code), problem
    assert message in problem["message"]
    assert service.rows("SELECT * FROM video_tasks") == before


@pytest.fixture(scope="module")
def lost(
    session_database_url: Callable[[str], str],
) -> Iterator[tuple[RunningService, str]]:
    """A service and an item of it whose submit's answer was lost."""
    with (
        running_simulator(knobs(render_seconds=0.2, submit_accepted_then_reset=1.0)) as simulator,
        running_service(session_database_url("sqlite"), simulator.base_url) as service,
    ):
        item_id = service.tenant().lost_item("a boat")
        simulator.use(knobs(render_seconds=0.2))
        yield service, item_id


def test_without_a_worker_secret_nothing_is_adopted(new_database_url: Callable[[str], str]) -> None:
    with running_service(
        new_database_url("sqlite"), environment={"RUSHES_WORKER_SECRET": ""}, with_worker=False
    ) as running:
        answer = adopt(running, "bat_none-0", {"remote_task_id": "x"})
        assert (answer.status_code, assert_problem(answer)["error"]) == (503, "WORKER_SECRET_NOT_SET")


def test_a_provider_is_paused_and_resumed_over_the_api(service: RunningService) -> None:
    secret = {"x-worker-secret": SECRETS["RUSHES_WORKER_SECRET"]}

    def post(path: str, body: object = None, headers: dict[str, str] = secret) -> httpx2.Response:
        return httpx2.post(
            f"{service.base_url}/internal/providers/{path}", json=body, headers=headers, trust_env=False
        )

    for wrong, status in ((None, 422), ({"reason": 7}, 422), ({"reason": " "}, 422), ({"why": "x"}, 422)):
        assert assert_problem(post("grsai/pause", wrong))["status"] in (status, 400, 415)
    assert post("grsai/pause", {"reason": "x"}, {"x-worker-secret": "wrong"}).status_code == 401
    assert post("nobody/pause", {"reason": "x"}).status_code == 404
    assert post("nobody/resume").status_code == 404
    answer = post("grsai/pause", {"reason": "every render is black"})
    models.ProviderState.model_validate(answer.json())
    assert (answer.json()["paused"], answer.json()["changed"]) == (True, True)
    assert post("grsai/pause", {"reason": "again"}).json()["changed"] is False
    tenant = service.tenant()
    batch_id = tenant.batch("waits for the provider")["batch_id"]
    reason = eventually(
        lambda: tenant.get(f"/v1/batches/{batch_id}")["eta_reason"], lambda found: found is not None
    )
    assert reason == "held: grsai is paused", "a tenant hears neither who nor why"
    assert tenant.get(f"/v1/batches/{batch_id}")["pending_count"] == 1
    resumed = post("grsai/resume").json()
    assert (resumed["paused"], resumed["changed"]) == (False, True)
    assert post("grsai/resume").json()["changed"] is False
    assert tenant.finished(batch_id)["succeeded_count"] == 1
