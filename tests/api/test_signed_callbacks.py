"""Callbacks of services that sign them: with the secret set, only what the service signed is a nudge."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from standardwebhooks import Webhook

from rushes.domain.callback_tokens import callback_token
from rushes.domain.errors import SettingsError
from rushes.providers.signatures import CallbackSignature
from rushes.simulator import running_simulator
from tests.api.harness import eventually
from tests.api.test_callbacks import KEY, called_back, task_row
from tests.harness import knobs

SECRET = "whsec_a2xpbmctc2VjcmV0LW9mLXRoaXMtdGVzdA=="
OTHER = "whsec_YW5vdGhlci1zZWNyZXQtb2YtdGhpcy10ZXN0"


def signed(body: bytes, secret: str = SECRET, *, minutes_ago: float = 0.0) -> dict[str, str]:
    """The heads of a signed callback."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
        "content-type": "application/json",
    }


def test_a_signature_is_checked_where_there_is_a_secret() -> None:
    check, body = CallbackSignature(SECRET, "KLING_WEBHOOK_SECRET").is_genuine, b'{"id":"t-1"}'
    assert check(body, signed(body))
    rotated = signed(body)
    rotated["webhook-signature"] += " " + signed(body, OTHER)["webhook-signature"]
    assert check(body, rotated), "during a change of the secret there are two"
    assert not check(b'{"id":"t-2"}', signed(body))
    assert not check(body, signed(body, OTHER))
    assert not check(body, signed(body, minutes_ago=10))
    assert not check(body, {})
    assert not check(body, {**signed(body), "webhook-timestamp": "soon"})
    assert CallbackSignature("", "KLING_WEBHOOK_SECRET").is_genuine(body, {})


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_a"])
def test_a_secret_that_is_none_is_named_by_its_variable(secret: str) -> None:
    with pytest.raises(SettingsError, match="KLING_WEBHOOK_SECRET is no secret") as caught:
        CallbackSignature(secret, "KLING_WEBHOOK_SECRET")
    assert secret not in caught.value.message.removeprefix("KLING_WEBHOOK_SECRET")


def test_only_what_the_service_signed_makes_a_poll(database_url: str) -> None:
    with running_simulator(knobs(render_seconds=0.1, callbacks=False)) as simulator:
        environment = {
            "KLING_API_KEY": "k",
            "KLING_HOST": simulator.base_url,
            "KLING_WEBHOOK_SECRET": SECRET,
        }
        with called_back(database_url, simulator, environment) as service:
            batch = service.tenant().batch("a fox", model="kling-3.0")["batch_id"]
            eventually(lambda: task_row(service, batch)["remote_task_id"], lambda name: name is not None)
            task = task_row(service, batch)
            token = callback_token(KEY, task_id=task["id"], attempt=task["attempt"])
            url = f"{service.base_url}/callbacks/kling/{token}"
            body = b'{"id":"%s","status":"succeeded"}' % task["remote_task_id"].encode()
            polls = simulator.report().polls
            for heads in ({"content-type": "application/json"}, signed(body, OTHER)):
                answer = httpx2.post(url, content=body, headers=heads, trust_env=False)
                assert answer.status_code == 404
            assert simulator.report().polls == polls
            answer = httpx2.post(url, content=body, headers=signed(body), trust_env=False)
            assert answer.status_code == 200
            eventually(lambda: task_row(service, batch)["status"], lambda status: status == "succeeded")
