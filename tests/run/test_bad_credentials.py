"""An account's bad credentials and rights, line by line: each named for what it is, and no credit is lost.

Regions, empty accounts and unknown models are in test_bad_accounts.py.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.errors import NotAuthorised
from rushes.simulator import all_wires
from tests.cli.process import QUICK, Shell
from tests.harness import items, run_a_while, run_for, rushes_on
from tests.providers.local_http import Exchange, http1_server

MODEL = "projects/simulated/locations/us-central1/publishers/google/models/veo-3.1-lite-generate-001"
OPERATION = f"{MODEL}/operations/1"
NO_RIGHTS = (
    "rushes@simulated.example does not have storage.objects.create access to gs://rushes-simulator/out"
)


def ark(url: str) -> dict[str, str]:
    return {"ARK_API_KEY": "a-key", "ARK_HOST": f"{url}/api/v3"}


def dashscope(url: str) -> dict[str, str]:
    return {"DASHSCOPE_API_KEY": "a-key", "DASHSCOPE_HOST": f"{url}/api/v1"}


def kling(url: str) -> dict[str, str]:
    return {"KLING_API_KEY": "access:secret-key-of-mine", "KLING_HOST": url}


def vertex(url: str) -> dict[str, str]:
    wire = next(wire for wire in all_wires() if wire.name == "vertex")
    return dict(wire.exports(url, "a-key"))


def google_error(status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": 403, "status": status, "message": message}}


def two_hours_ago() -> str:
    return format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)


FORBIDDEN = google_error("PERMISSION_DENIED", "no aiplatform.endpoints.predict")
NOT_OPEN = {"error": {"code": "ModelNotOpen", "message": "not activated", "type": "NotFound"}}
TOKEN = {"/vertex/token": (200, {"access_token": "ya29.granted-token", "expires_in": 3600})}
HELD: dict[str, tuple[str, Callable[[str], dict[str, str]], dict[str, tuple[int, Any]], str]] = {
    "an account without the service": (
        "wan-3.0",
        dashscope,
        {"video-synthesis": (403, {"code": "AccessDenied.Unpurchased", "message": "Access denied"})},
        "activate Model Studio for the account",
    ),
    "a service account that may not use the API": (
        "vertex-veo3.1-lite",
        vertex,
        {
            **TOKEN,
            ":predictLongRunning": (403, FORBIDDEN),
        },
        "no aiplatform.endpoints.predict",
    ),
    "a service account that is not known any more": (
        "vertex-veo3.1-lite",
        vertex,
        {"/vertex/token": (400, {"error": "invalid_grant", "error_description": "account not found"})},
        "no access token: HTTP 400: invalid_grant",
    ),
    "a clock that is off for a token that we sign": (
        "kling-3.0-turbo",
        kling,
        {"/text-to-video": (401, {"code": 1003, "message": "Authorization is not valid yet"})},
        "s ahead of the service's: set it right",
    ),
}
REFUSED: dict[str, tuple[str, Callable[[str], dict[str, str]], dict[str, tuple[int, Any]], str]] = {
    "a model that is not activated": (
        "seedance-2.0-mini",
        ark,
        {"/tasks": (404, NOT_OPEN)},
        "activate the model in Ark's console: not activated (ModelNotOpen)",
    ),
    "oss:// without rights": (
        "wan-3.0",
        dashscope,
        {"video-synthesis": (400, {"code": "InvalidURL", "message": "no access to oss://bucket/first.png"})},
        "no access to oss://bucket/first.png (InvalidURL)",
    ),
    "gs:// without rights": (
        "vertex-veo3.1-lite",
        vertex,
        {
            **TOKEN,
            ":predictLongRunning": (200, {"name": OPERATION}),
            ":fetchPredictOperation": (
                200,
                {"name": OPERATION, "done": True, "error": {"code": 7, "message": NO_RIGHTS}},
            ),
        },
        NO_RIGHTS,
    ),
}


def saying(answers: Mapping[str, tuple[int, Any]]) -> Callable[[Exchange], Any]:
    async def answer(exchange: Exchange) -> None:
        place = next(place for place in answers if place in exchange.path)
        status, body = answers[place]
        await exchange.answer(status, json.dumps(body).encode(), {"date": two_hours_ago()})

    return answer


@pytest.mark.parametrize("what", HELD)
def test_what_is_wrong_with_the_account_holds_the_tasks_and_is_named(
    new_database_url: Callable[[str], str], what: str
) -> None:
    model, environ_at, answers, words = HELD[what]

    async def scenario() -> None:
        async with http1_server(saying(answers)) as server:
            url = new_database_url("sqlite")
            async with rushes_on(url, server.url, environ_at(server.url)) as rushes:
                batch_id = (await rushes.create_batch(items(2, (model,))))["batch_id"]
                said = ""
                for _ in range(20):
                    try:
                        await run_a_while(rushes, batch_id, seconds=1.5)
                    except NotAuthorised as refused:
                        said = str(refused)
                    said += str([item["last_submit"] for item in await rushes.items(batch_id)])
                    if words in said:
                        break
                assert words in said
                batch = await rushes.batch(batch_id)
                assert (batch["pending_count"], batch["failed_count"]) == (2, 0)
                assert (await rushes.balance())["reserved"] == batch["credits_reserved"] > 0
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


@pytest.mark.parametrize("what", REFUSED)
def test_what_only_the_item_meets_refuses_it_by_name_and_gives_its_credits_back(
    new_database_url: Callable[[str], str], what: str
) -> None:
    model, environ_at, answers, words = REFUSED[what]

    async def scenario() -> None:
        async with http1_server(saying(answers)) as server:
            url = new_database_url("sqlite")
            async with rushes_on(url, server.url, environ_at(server.url)) as rushes:
                batch_id = (await rushes.create_batch(items(1, (model,))))["batch_id"]
                batch = await run_for(rushes, batch_id)
                assert batch["status"] == "failed"
                assert batch["credits_refunded"] == batch["credits_reserved"] > 0
                for item in await rushes.items(batch_id):
                    assert words in item["error"]
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


@pytest.mark.parametrize("as_base64", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "VERTEX_CREDENTIALS: the key file cannot be read: No such file or directory"),
        (b'{"type": "service_account", "private', "VERTEX_CREDENTIALS: no key file of a service account"),
        (b'{"type": "authorized_user"}', "VERTEX_CREDENTIALS: no key file of a service account"),
    ],
)
def test_a_broken_key_file_of_a_service_account_is_named_before_anything_is_reserved(
    tmp_path: Path, content: bytes | None, words: str, as_base64: bool
) -> None:
    if as_base64 and content is None:
        return
    file = tmp_path / "robot.json"
    if content is not None:
        file.write_bytes(content)
    key = b64encode(content).decode() if as_base64 and content else str(file)
    folder = tmp_path / "work"
    folder.mkdir()
    shell = Shell(folder, {**QUICK, **vertex("http://127.0.0.1:9"), "VERTEX_CREDENTIALS": key})
    shell.write("prompts.txt", "a fox\n")
    ended = shell.call("run", "prompts.txt", "--model", "vertex-veo3.1-lite", "--grant", "1000")
    assert ended.code == 1
    assert words in ended.one_line_error()
    assert "default" not in shell.call("credits", "balance").stdout, "there is no account yet"
