"""Keys, rate limits, and the wall between accounts."""

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from rushes.api.edge import limits
from rushes.api.edge.limits import RateLimits
from rushes.api.edge.problems import Refusal
from rushes.domain.api_key import KEY_RANDOM_BYTES, api_key_from, api_key_hash, is_api_key
from rushes.service import create_key, list_keys, revoke_key
from rushes.store import keys, ledger
from rushes.store.database import Database
from rushes.store.keys import KeyOwner
from tests.api.harness import RunningService, Tenant, assert_problem, eventually, running_service

# --- keys -----------------------------------------------------------------------------------------------


def test_a_key_has_a_checksum_that_tells_every_single_wrong_character() -> None:
    key = api_key_from(bytes(range(KEY_RANDOM_BYTES)))
    assert is_api_key(key)
    for place in range(len(key)):
        wrong = key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :]
        assert not is_api_key(wrong), place
    assert api_key_from(b"\0" * KEY_RANDOM_BYTES) != key
    assert len(api_key_from(b"\xff" * KEY_RANDOM_BYTES)) == len(key)


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": ""}, {"authorization": "Basic abc"}, {"authorization": "Bearer"}]
)
def test_a_request_without_a_key_is_told_so(idle_service: RunningService, headers: dict[str, str]) -> None:
    answer = httpx2.get(f"{idle_service.base_url}/v1/batches", headers=headers, trust_env=False)
    assert (answer.status_code, assert_problem(answer)["error"]) == (401, "MISSING_API_KEY")


def test_a_wrong_key_is_told_so(idle_service: RunningService) -> None:
    nobodys = api_key_from(b"n" * KEY_RANDOM_BYTES)
    for key in ("x", nobodys, nobodys[:-1], "rsh_", "💥".encode().decode("latin-1"), "x" * 10_000):
        answer = httpx2.get(
            f"{idle_service.base_url}/v1/batches",
            headers=[(b"x-api-key", key.encode("latin-1"))],
            trust_env=False,
        )
        assert (answer.status_code, assert_problem(answer)["error"]) == (401, "INVALID_API_KEY")
        assert key not in answer.text or key == "x"


def test_a_key_works_as_a_bearer_token_too(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    answer = httpx2.get(
        f"{idle_service.base_url}/v1/credits/balance",
        headers={"authorization": f"Bearer {tenant.key}"},
        trust_env=False,
    )
    assert answer.json()["account"] == tenant.account


def test_a_revoked_key_stops_within_seconds_and_others_go_on(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    other = idle_service.ask(lambda rushes: create_key(rushes, account=tenant.account))
    (mine,) = [
        key
        for key in idle_service.ask(lambda rushes: list_keys(rushes, account=tenant.account))
        if tenant.key.startswith(key["shown"].rstrip("…"))
    ]
    assert tenant.request("GET", "/v1/batches").status_code == 200
    idle_service.ask(lambda rushes: revoke_key(rushes, mine["key_id"]))
    answer = eventually(
        lambda: tenant.request("GET", "/v1/batches"), lambda answer: answer.status_code == 401, seconds_max=4
    )
    assert answer.json()["error"] == "INVALID_API_KEY"
    with Tenant(tenant.base_url, tenant.account, other["key"]).http as http:
        assert http.get("/v1/batches").status_code == 200


def test_of_a_key_only_its_hash_is_stored(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    (row,) = idle_service.rows("SELECT * FROM api_keys WHERE key_hash = :hash", hash=api_key_hash(tenant.key))
    assert tenant.key not in str(row)
    assert len(row["shown"]) < 15


# --- rate limits ----------------------------------------------------------------------------------------


def test_the_limit_is_held_and_the_headers_say_how_it_stands(idle_service: RunningService) -> None:
    tenant = idle_service.tenant(rate_limit_per_min=5)
    if time.time() % 60 > 55:
        time.sleep(6)  # the window must not turn in the middle
    answers = [tenant.request("GET", "/v1/batches") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == [
        "r=4", "r=3", "r=2", "r=1", "r=0",
    ]  # fmt: skip
    refused = answers[-1]
    assert refused.json()["error"] == "RATE_LIMIT_EXCEEDED"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-policy"] == '"default";q=5;w=60'


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000 * 60_000

    def __call__(self) -> int:
        return self.now_ms


def _owner(database: Database, limit: int) -> KeyOwner:
    def make(connection: Any) -> KeyOwner:
        account_id = ledger.ensure_account(connection, "limited", 1)
        key_id = keys.create(
            connection, account_id, name="", shown="rsh_", key_hash="h", rate_limit_per_min=limit, now_ms=1
        )
        return KeyOwner(key_id, account_id, "limited", limit)

    return database.run(make)


async def _admitted(process: RateLimits, owner: KeyOwner, tries: int) -> int:
    async def one() -> int:
        try:
            await process.admit(owner)
        except Refusal:
            return 0
        return 1

    return sum(await asyncio.gather(*(one() for _ in range(tries))))


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
def test_several_processes_together_never_pass_the_limit(database: Database, limit: int) -> None:
    clock = Clock()

    async def scenario() -> None:
        owner = _owner(database, limit)
        processes = [RateLimits(database, now_ms=clock) for _ in range(3)]
        admitted = sum(await asyncio.gather(*(_admitted(process, owner, limit) for process in processes)))
        lot = max(1, limit // limits.LOTS_PER_WINDOW)
        assert limit - 3 * lot <= admitted <= limit
        assert await _admitted(processes[0], owner, 3 * lot) <= limit - admitted
        clock.now_ms += 60_000
        assert await _admitted(processes[1], owner, limit) == limit, "a new minute"
        assert await _admitted(processes[1], owner, 1) == 0

    asyncio.run(scenario())


def test_a_process_whose_clock_is_behind_takes_from_the_newer_minute(database: Database) -> None:
    ahead, behind = Clock(), Clock()
    ahead.now_ms += 60_000

    async def scenario() -> None:
        owner = _owner(database, 4)
        assert await _admitted(RateLimits(database, now_ms=ahead), owner, 3) == 3
        assert await _admitted(RateLimits(database, now_ms=behind), owner, 3) == 1

    asyncio.run(scenario())


def test_minutes_that_are_long_over_are_forgotten_and_the_newest_still_counts(database: Database) -> None:
    clock = Clock()

    async def scenario() -> None:
        owner = _owner(database, 4)
        assert await _admitted(RateLimits(database, now_ms=clock), owner, 4) == 4
        clock.now_ms += keys.WINDOW_KEPT_SECONDS * 1000
        assert await database.transact(keys.forget_windows, now_ms=clock.now_ms) == 0
        assert await _admitted(RateLimits(database, now_ms=clock), owner, 3) == 3, "a minute of its own"
        clock.now_ms += keys.WINDOW_KEPT_SECONDS * 1000
        assert await database.transact(keys.forget_windows, now_ms=clock.now_ms) == 0
        assert await _admitted(RateLimits(database, now_ms=clock), owner, 4) == 4
        clock.now_ms += keys.WINDOW_KEPT_SECONDS * 1000 + 1
        assert await database.transact(keys.forget_windows, now_ms=clock.now_ms) == 1
        assert await _admitted(RateLimits(database, now_ms=clock), owner, 5) == 4

    asyncio.run(scenario())


def test_the_limit_is_one_for_two_services_on_one_database(new_database_url: Callable[[str], str]) -> None:
    url = new_database_url("postgresql")
    with running_service(url, with_worker=False) as one, running_service(url, with_worker=False) as two:
        tenant = one.tenant(rate_limit_per_min=20)
        there = Tenant(two.base_url, tenant.account, tenant.key)
        if time.time() % 60 > 50:
            time.sleep(11)
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda n: (tenant if n % 2 else there).request("GET", "/v1/batches").status_code,
                    range(40),
                )
            )
        there.http.close()
        assert answers.count(200) == 20
        assert answers.count(429) == 20


# --- the wall between accounts --------------------------------------------------------------------------


def test_no_route_finds_anything_of_another_account(idle_service: RunningService) -> None:
    """The cross-tenant matrix: every route of the document, with another account's ids."""
    owner, stranger = idle_service.tenant(), idle_service.tenant()
    batch_id = owner.batch("a", webhook_url="http://127.0.0.1:9/hook")["batch_id"]
    video_id = owner.post("/v1/videos", {"prompt": "a"})["id"]
    made = owner.post("/v1/webhooks/endpoints", {"url": "https://example.com/hook"}, status=201)
    for one in (batch_id, video_id):  # at their end, so that no stream is endless
        owner.post(f"/v1/batches/{one}/cancel")
    eventually(lambda: owner.get("/v1/webhooks/deliveries")["data"], lambda found: len(found) >= 2)
    before = idle_service.rows("SELECT * FROM video_tasks ORDER BY id")
    matrix = _requests_with_ids(
        stranger.get("/openapi.json")["paths"],
        {
            "batch_id": [batch_id, video_id],
            "item": ["0", f"{batch_id}-0"],
            "video_id": [video_id, f"{batch_id}-0", batch_id],
            "delivery_id": [f"msg_{batch_id}_1"],
            "endpoint_id": [made["endpoint"]["endpoint_id"]],
            "key_id": [str(owner.post("/v1/keys", {}, status=201)["key_id"])],
        },
    )
    assert len(matrix) >= 40
    for method, path in matrix:
        answer = stranger.request(method, path)
        assert answer.status_code == 404, (method, path, answer.text)
    for path in ("/v1/batches", "/v1/videos"):
        assert stranger.request("GET", path, params={"after": batch_id}).status_code == 404
    assert stranger.request("GET", "/v1/credits/ledger", params={"batch_id": batch_id}).status_code == 404
    answer = stranger.request("GET", "/v1/webhooks/deliveries", params={"after": f"msg_{batch_id}_1"})
    assert answer.status_code == 404
    for path, list_name in (
        ("/v1/batches", "data"),
        ("/v1/videos", "data"),
        ("/v1/credits/ledger", "entries"),
        ("/v1/webhooks/deliveries", "data"),
    ):
        assert batch_id not in str(stranger.get(path)[list_name])
    assert idle_service.rows("SELECT * FROM video_tasks ORDER BY id") == before
    # the ids are right: to their owner the same requests are known
    for method, path in matrix:
        if method == "DELETE" or f"/batches/{video_id}/items/{batch_id}" in path:
            continue  # gone after the first time; an item of the other batch
        answer = owner.request(method, path)
        assert answer.status_code != 404, (method, path, answer.text)


OF_NO_ACCOUNT = ("/v1/models/", "/v1/uploads/")
"""Paths with ids of everybody; and uploads, which this service does not take (see `test_uploads`)."""


def _requests_with_ids(paths: dict[str, Any], values: dict[str, list[str]]) -> list[tuple[str, str]]:
    """`(method, path)` of each route that takes an id, under both prefixes, with every value of its ids."""
    found = []
    for path, operations in paths.items():
        if not path.startswith("/v1/") or "{" not in path or path.startswith(OF_NO_ACCOUNT):
            continue
        names = re.findall(r"{(\w+)}", path)
        assert values.keys() >= set(names), f"{path} has a parameter that this test does not know"
        for chosen in itertools.product(*(values[name] for name in names)):
            filled = path.format(**dict(zip(names, chosen, strict=True)))
            found += [(method.upper(), at + filled) for method in operations for at in ("", "/api")]
    return found
