"""A revoked key is of no use after two seconds, also in answers that are under way, in every process."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from rushes.service import revoke_key
from tests.api.harness import RunningService, Tenant, eventually, running_service

SECONDS_MAX = 2.0
SPARE_SECONDS = 3.0
"""For a machine with other work; a stream that was not ended would go on for an hour."""


def revoke(service: RunningService, tenant: Tenant) -> None:
    (row,) = service.rows(
        "SELECT k.id FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE a.name = :name",
        name=tenant.account,
    )
    service.ask(lambda rushes: revoke_key(rushes, row["id"]))


def seconds_until_cut(chunks: Iterator[bytes]) -> float:
    """How long bytes go on to come; fails when they come to their proper end."""
    started = time.monotonic()
    with pytest.raises(httpx2.HTTPError):
        for _ in chunks:
            pass
    return time.monotonic() - started


def test_a_stream_ends_with_its_key_and_others_go_on(idle_service: RunningService) -> None:
    leaked, other = idle_service.tenant(), idle_service.tenant()
    with contextlib.ExitStack() as stack:
        streams = []
        for tenant in (leaked, other):
            path = f"/v1/batches/{tenant.batch()['batch_id']}/events"
            streams.append(stack.enter_context(tenant.http.stream("GET", path)).iter_raw())
            assert next(streams[-1])
        time.sleep(0.6)
        revoke(idle_service, leaked)
        assert seconds_until_cut(streams[0]) < SECONDS_MAX + SPARE_SECONDS
        eventually(lambda: leaked.request("GET", "/v1/batches").status_code, lambda status: status == 401)
        assert other.get("/v1/batches")["data"]
        service = idle_service.service
        assert service is not None
        eventually(lambda: service.events.listener_count, lambda count: count == 1)


def test_what_had_not_answered_yet_is_refused_like_the_next_request(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    batch_id = tenant.batch()["batch_id"]
    timer = threading.Timer(0.6, revoke, (idle_service, tenant))
    timer.start()
    refused = tenant.request("GET", f"/v1/batches/{batch_id}?wait=30")
    timer.join()
    assert (refused.status_code, refused.json()["error"]) == (401, "INVALID_API_KEY")
    assert refused.elapsed.total_seconds() < 0.6 + SECONDS_MAX + SPARE_SECONDS


def test_a_download_under_way_is_cut(idle_service: RunningService) -> None:
    """It waits for its client to read on, as a download of a large file mostly does."""
    tenant = idle_service.tenant()
    batch_id = tenant.batch(*("x" * 3900 for _ in range(4000)))["batch_id"]
    with tenant.http.stream("GET", f"/v1/batches/{batch_id}/export") as answer:
        chunks = answer.iter_raw()
        assert next(chunks)
        revoke(idle_service, tenant)
        time.sleep(SECONDS_MAX)
        assert seconds_until_cut(chunks) < SPARE_SECONDS


def test_a_stream_ends_when_another_process_revokes_its_key(
    new_database_url: Callable[[str], str],
) -> None:
    url = new_database_url("sqlite")
    with (
        running_service(url, with_worker=False) as one,
        running_service(url, with_worker=False) as two,
    ):
        tenant = one.tenant()
        path = f"/v1/batches/{tenant.batch()['batch_id']}/events"
        with tenant.http.stream("GET", path) as answer:
            chunks = answer.iter_raw()
            assert next(chunks)
            revoke(two, tenant)
            assert seconds_until_cut(chunks) < SECONDS_MAX + SPARE_SECONDS
