"""Providers of other packages: what they do wrong stays theirs, is named, and stops nobody else."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from rushes.domain.task import (
    Accepted,
    FailureType,
    NoAnswer,
    NotSent,
    Processing,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.provider_wiring import build_providers, catalogue_of, try_providers
from rushes.providers.base import Provider, SignsCallbacks, SubmitRequest
from rushes.providers.contained import within
from rushes.providers.inputs import InputFile, TakesUploads
from rushes.settings import Settings
from rushes.simulator import running_simulator
from tests.cli.process import Shell
from tests.harness import QUICK, knobs, rushes_on
from tests.plugins import ACME, install_plugin

KEY = "plug-in-canary-7d31"

GOOD = (
    ACME.replace("hard_deadline_seconds=3600.0", "hard_deadline_seconds=2.0")
    .replace("soft_deadline_seconds=600.0", "soft_deadline_seconds=1.0")
    .replace("render_time_p50_seconds=60.0", "render_time_p50_seconds=0.2")
    + """
import asyncio, sys, time
from rushes.domain.task import Accepted, Failed, FailureType, Processing, Rejected, Succeeded
from rushes.providers.base import ProviderLimits, ResultFiles

class Acme:
    name = "acme"

    def __init__(self, config):
        self.limits = config.limits
        self.result_files = ResultFiles()
        self.key = config.api_key

    async def submit(self, request):
        return Accepted(f"of {request.prompt}")

    async def poll_remote_task(self, remote_task_id):
        return Failed("acme says no", FailureType.MODEL_ERROR)

    def remote_task_id_of_callback(self, body):
        return None

def build(config):
    return Acme(config)
"""
)


def environment(**more: str) -> Mapping[str, str]:
    return {"RUSHES_PROVIDER_ACME_KEY": KEY, "RUSHES_REQUEST_TIMEOUT_SECONDS": "0.1", **more}


def with_build(body: str) -> str:
    return GOOD + f"\ndef build(config):\n    {body}\n"


def with_method(signature: str, body: str) -> str:
    return (
        GOOD
        + f"\n{signature}\n    {body}\nAcme.{signature.split('def ')[1].split('(')[0]} = "
        + (signature.split("def ")[1].split("(")[0] + "\n")
    )


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("raise ImportError('no module named acme_sdk')", "ImportError: no module named acme_sdk"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("build = 5\nMODELS = []", "TypeError: 'int' object is not callable"),
        (with_build("raise RuntimeError(f'bad key {config.api_key}')"), "RuntimeError: bad key ***"),
        (with_build("return None"), "TypeError: build gave a NoneType without the method submit"),
        (with_build("return object()"), "TypeError: build gave a object without the method submit"),
        (GOOD.replace('name = "acme"', 'name = "grsai"'), "TypeError: the provider calls itself 'grsai'"),
        (GOOD.replace("config.limits", "None"), "a NoneType where a ProviderLimits belongs"),
        (GOOD.replace("ResultFiles()", "{}"), "a dict where a ResultFiles belongs"),
    ],
)
def test_a_plug_in_that_cannot_be_built_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, trouble: str
) -> None:
    install_plugin(tmp_path, monkeypatch, "acme", code)
    settings = Settings.load(environment(GRSAI_API_KEY="k"), None)
    with structlog.testing.capture_logs() as logged:
        providers = build_providers(settings)
    assert list(providers) == ["grsai", "grsai-unified"]
    (line,) = logged
    assert (line["event"], line["provider"]) == ("provider.left_out", "acme")
    assert trouble in line["error"]
    assert KEY not in str(logged)
    catalogue = catalogue_of(settings, providers)
    assert catalogue.get("sora-2").takes_new_tasks(0.0)
    acme = catalogue.find("acme-1")
    assert acme is None or not acme.takes_new_tasks(0.0)


def test_a_plug_in_that_hangs_while_it_is_built_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "__kwdefaults__", {"seconds": 0.2})
    install_plugin(tmp_path, monkeypatch, "acme", with_build("time.sleep(5)"))
    providers, troubles = try_providers(Settings.load(environment(GRSAI_API_KEY="k"), None))
    assert list(providers) == ["grsai", "grsai-unified"]
    assert troubles == {"acme": "TimeoutError: it did not end within 0.2 s"}


def bad_once(misdeed: str) -> str:
    """The body of a poll that does wrong once for each task, and well after that."""
    return f"""seen = self.__dict__.setdefault("seen", set())
    if remote_task_id not in seen:
        seen.add(remote_task_id)
        {misdeed}
    return Failed("acme says no", FailureType.MODEL_ERROR)"""


SUBMIT, POLL = "async def submit(self, request):", "async def poll_remote_task(self, remote_task_id):"


def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Provider:
    install_plugin(tmp_path, monkeypatch, "acme", code)
    providers, troubles = try_providers(Settings.load(environment(), None))
    assert troubles == {}
    return providers["acme"]


MISDEEDS = [
    ("raise RuntimeError(f'no {self.key}')", "raised RuntimeError: no ***"),
    ("raise asyncio.CancelledError", "raised CancelledError"),
    ("raise SystemExit(2)", "raised SystemExit: 2"),
    ("await asyncio.sleep(60)", "did not answer within 0.3 s"),
    ("return None", "answered with NoneType"),
    ("return {'ok': True}", "answered with dict"),
]


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        *MISDEEDS,
        ("return Accepted(5)", "Expected `str`, got `int` - at `$.remote_task_id`"),
        ("return Accepted('')", "accepted without a usable id"),
        ("return Processing(5)", "answered with Processing"),
    ],
)
def test_what_a_plug_in_does_wrong_at_a_submit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, trouble: str
) -> None:
    provider = built(tmp_path, monkeypatch, with_method(SUBMIT, body))
    outcome = asyncio.run(provider.submit(SubmitRequest("acme-1", "a fox")))
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith("the provider acme ")
    assert trouble in outcome.reason
    assert KEY not in outcome.reason


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        *MISDEEDS,
        ("return Processing('5')", "Expected `int | null`, got `str` - at `$.progress`"),
        ("return Succeeded('')", "reported a success without a URL"),
        ("return Succeeded('https://x/' + 'a' * 8192)", "reported a success with an invalid URL"),
        ("return Succeeded('https://x/\\0')", "reported a success with an invalid URL"),
        ("return Processing(150)", "reported a progress outside 0 to 100"),
        ("return Processing(-1)", "reported a progress outside 0 to 100"),
        ("return Processing(10**30)", "reported a progress outside 0 to 100"),
        ("return Processing(None, True, '3')", "Expected `int | null`, got `str` - at `$.queue_position`"),
        ("return Processing(None, 1, 3)", "Expected `bool`, got `int` - at `$.is_queued`"),
        ("return Processing(None, True, -1)", "reported a queue position outside 0 to 1000000"),
        ("return Processing(None, True, 10**7)", "reported a queue position outside 0 to 1000000"),
        ("return Processing(None, False, 3)", "reported a queue position of a task that is not queued"),
        ("return Failed('no', 'model error')", "at `$.failure_type`"),
        ("return Accepted('1')", "answered with Accepted"),
    ],
)
def test_what_a_plug_in_does_wrong_at_a_poll_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, trouble: str
) -> None:
    provider = built(tmp_path, monkeypatch, with_method(POLL, body))
    result = asyncio.run(provider.poll_remote_task("acme-1"))
    assert isinstance(result, NoAnswer)
    assert result.error.startswith("the provider acme ")
    assert trouble in result.error
    assert KEY not in result.error


@pytest.mark.parametrize(
    ("cost", "is_kept"),
    [
        ("2.5, 'USD'", True),
        ("10 ** 400, 'USD'", False),
        ("float('nan'), 'USD'", False),
        ("float('inf'), 'USD'", False),
        ("-1, 'USD'", False),
        ("True, 'USD'", False),
        ("{'amount': 3}, 'USD'", False),
        ("2.5, 5", False),
    ],
)
def test_an_odd_cost_of_a_plug_in_is_none_and_its_verdict_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: str, is_kept: bool
) -> None:
    code = with_method(POLL, f"return Succeeded('https://x/1.mp4', 10 ** 30, {cost})")
    result = asyncio.run(built(tmp_path, monkeypatch, code).poll_remote_task("acme-1"))
    expected = (2.5, "USD") if is_kept else (None, None)
    assert result == Succeeded("https://x/1.mp4", 100, *expected)


SIGNED = "def callback_is_genuine(self, body, headers):"


@pytest.mark.parametrize(
    ("body", "is_genuine"),
    [
        ("return headers['x-acme'] == body.decode()", True),
        ("return headers['x-other'] == body.decode()", False),
        ("return 'yes'", False),
        ("raise SystemExit(2)", False),
    ],
)
def test_a_plug_in_says_which_callbacks_are_its_service_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, is_genuine: bool
) -> None:
    provider = built(tmp_path, monkeypatch, with_method(SIGNED, body))
    assert isinstance(provider, SignsCallbacks)
    assert provider.callback_is_genuine(b"1", {"x-acme": "1"}) is is_genuine


def test_a_plug_in_without_signatures_checks_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(built(tmp_path, monkeypatch, GOOD), SignsCallbacks)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("inf", 3600.0), ("1e300", 3600.0), ("-inf", 0.0), ("-5", 0.0), ("nan", None), ("17", 17.0)],
)
def test_a_plug_in_can_ask_for_no_longer_wait_than_any_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, wait: float | None
) -> None:
    busy = "\nfrom rushes.domain.task import NoAnswer, Throttled\n"
    code = with_method(POLL, f"return NoAnswer('busy', 503, float('{asked}'))") + busy
    code += f"{SUBMIT}\n    return Throttled('busy', float('{asked}'))\nAcme.submit = submit\n"
    provider = built(tmp_path, monkeypatch, code)
    assert asyncio.run(provider.poll_remote_task("acme-1")) == NoAnswer("busy", 503, wait)
    assert asyncio.run(provider.submit(SubmitRequest("acme-1", "a fox"))) == Throttled("busy", wait)


def test_a_plug_in_that_is_not_even_asynchronous_is_contained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = built(tmp_path, monkeypatch, with_method("def submit(self, request):", "return Accepted('1')"))
    assert isinstance(asyncio.run(provider.submit(SubmitRequest("acme-1", "a fox"))), Unknown)


UPLOAD = "async def upload_input(self, file):"


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        *MISDEEDS,
        ("return 5", "answered with int"),
        ("return ''", "gave an address for a file that is none"),
        ("return 'a\\nb'", "gave an address for a file that is none"),
    ],
)
def test_a_file_that_a_plug_in_does_not_take_properly_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, trouble: str
) -> None:
    provider = built(tmp_path, monkeypatch, with_method(UPLOAD, body))
    assert isinstance(provider, TakesUploads)
    outcome = asyncio.run(provider.upload_input(InputFile(data=b"1")))
    assert isinstance(outcome, NotSent)
    assert trouble in outcome.reason
    assert KEY not in outcome.reason


def test_a_plug_in_may_take_files_before_a_submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = built(tmp_path, monkeypatch, with_method(UPLOAD, "return f'acme://{file.data.decode()}'"))
    assert isinstance(provider, TakesUploads)
    assert asyncio.run(provider.upload_input(InputFile(data=b"1"))) == "acme://1"


def test_a_cancelled_submit_of_a_plug_in_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = built(tmp_path, monkeypatch, with_method(SUBMIT, "await asyncio.sleep(60)"))

    async def cancel() -> None:
        task = asyncio.ensure_future(provider.submit(SubmitRequest("acme-1", "a fox")))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancel())


@pytest.mark.parametrize("body", ["raise KeyError('id')", "return 5", "return ''", "return body"])
def test_a_callback_that_a_plug_in_cannot_read_names_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    code = with_method("def remote_task_id_of_callback(self, body):", body)
    assert built(tmp_path, monkeypatch, code).remote_task_id_of_callback(b"{}") is None


def test_what_a_good_plug_in_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = built(tmp_path, monkeypatch, with_method(POLL, "return Processing(None)"))
    assert asyncio.run(provider.submit(SubmitRequest("acme-1", "a fox"))) == Accepted("of a fox")
    assert asyncio.run(provider.poll_remote_task("acme-1")) == Processing(None)


@pytest.mark.parametrize(
    ("code", "error", "failure_type"),
    [
        (GOOD, "acme says no", FailureType.MODEL_ERROR),
        (with_method(SUBMIT, "await asyncio.sleep(60)"), "SUBMIT_OUTCOME_UNKNOWN", FailureType.UNKNOWN),
        (with_method(POLL, bad_once("raise RuntimeError")), "acme says no", FailureType.MODEL_ERROR),
        (with_method(POLL, bad_once("await asyncio.sleep(60)")), "acme says no", FailureType.MODEL_ERROR),
        (with_method(POLL, bad_once("return {}")), "acme says no", FailureType.MODEL_ERROR),
    ],
    ids=["good", "hangs at submit", "raises at a poll", "hangs at a poll", "answers nonsense at a poll"],
)
def test_in_one_batch_a_bad_plug_in_hurts_only_its_own_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, error: str, failure_type: FailureType
) -> None:
    install_plugin(tmp_path, monkeypatch, "acme", code)

    async def scenario(host: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        more = environment(RUSHES_REQUEST_TIMEOUT_SECONDS="0.4")
        async with rushes_on(f"sqlite:///{tmp_path}/r.db", host, more) as rushes, asyncio.timeout(30):
            models = ["acme-1", "sora-2", "veo-flash"] * 3
            batch = await rushes.create_batch([{"prompt": f"p{n}", "model": m} for n, m in enumerate(models)])
            batch = await rushes.run(batch["batch_id"])
            assert (await rushes.audit()).ok
            return batch, await rushes.items(batch["batch_id"])

    with running_simulator(knobs(render_seconds=0.2)) as simulator:
        batch, items = asyncio.run(scenario(simulator.base_url))
    assert (batch["succeeded_count"], batch["failed_count"]) == (6, 3)
    for item in items:
        if item["model"] == "acme-1":
            assert (item["error"], item["failure_type"]) == (error, failure_type.value)
        else:
            assert item["status"] == "succeeded"


def test_a_run_that_needs_a_plug_in_that_cannot_be_built_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    shell = Shell(folder, {**QUICK, "GRSAI_HOST": "http://127.0.0.1:1", "RUSHES_PROVIDER_ACME_KEY": KEY})
    install_plugin(tmp_path, monkeypatch, "acme", with_build("raise RuntimeError('no luck')"))
    shell.write("prompts.txt", "a fox\n")
    ended = shell.call("run", "prompts.txt", "--model", "acme-1", "--grant", "10")
    assert ended.code == 1
    assert "the provider acme cannot be used: RuntimeError: no luck" in ended.one_line_error()
    warnings = shell.call("doctor", "--json").document["warnings"]
    assert "the provider acme cannot be used: RuntimeError: no luck" in warnings
