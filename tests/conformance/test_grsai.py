"""Grsai, both generations, under the conformance suite."""

from rushes.providers.base import SubmitRequest
from rushes.providers.families import grsai, grsai_unified
from rushes.testing import ProviderCase, Reply, conformance_suite

URL = "https://files.example/1.mp4"
ID = "14-8e2b1c7e"


def enveloped(**data: object) -> list[Reply]:
    return [Reply({"code": 0, "msg": "success", "data": {"id": ID, **data}})]


GONE = [Reply({"code": -22, "msg": "task does not exist"})]
REFUSED = [Reply({"code": -4, "msg": "the prompt was refused"})]

TestSora = conformance_suite(
    ProviderCase(
        name="grsai",
        build=grsai.build,
        request=SubmitRequest("sora-2", "a fox", {"duration": 10}),
        accepted=enveloped(),
        remote_task_id=ID,
        running=enveloped(status="running", progress=40),
        succeeded=enveloped(
            status="succeeded",
            progress=100,
            results=[{"url": URL, "removeWatermark": True, "pid": "s_1"}],
            failure_reason="",
            error="",
        ),
        video_url=URL,
        failed=enveloped(status="failed", progress=7, failure_reason="error", error="system error"),
        failed_message="error",
        moderated=enveloped(status="failed", progress=7, failure_reason="output_moderation", error=""),
        odd_fields=frozenset({"progress", "msg", "failure_reason", "error", "removeWatermark", "pid"}),
        unknown_task=GONE,
        rejected=REFUSED,
    )
)

TestVeo = conformance_suite(
    ProviderCase(
        name="grsai",
        build=grsai.build,
        request=SubmitRequest("veo3.1-fast", "a fox"),
        accepted=enveloped(),
        remote_task_id=ID,
        running=enveloped(status="running", progress=40, url=""),
        succeeded=enveloped(status="succeeded", progress=100, url=URL),
        video_url=URL,
        failed=enveloped(status="failed", progress=7, failure_reason="error", error="system error"),
        failed_message="error",
        moderated=enveloped(status="failed", progress=7, failure_reason="input_moderation", error=""),
        odd_fields=frozenset({"progress", "msg", "failure_reason", "error", "removeWatermark", "pid"}),
        unknown_task=GONE,
        rejected=REFUSED,
    )
)


def bare(**fields: object) -> list[Reply]:
    return [Reply({"id": ID, **fields})]


TestUnified = conformance_suite(
    ProviderCase(
        name="grsai-unified",
        build=grsai_unified.build,
        request=SubmitRequest("minimax-h3", "a fox", {"resolution": "768p"}),
        accepted=bare(status="running"),
        remote_task_id=ID,
        running=bare(status="running", progress=40),
        succeeded=bare(status="succeeded", progress=100, results=[{"url": URL}]),
        video_url=URL,
        failed=bare(status="failed", failure_reason="error", error="system error"),
        failed_message="error",
        moderated=bare(status="violation", error="no weapons"),
        odd_fields=frozenset({"progress", "failure_reason", "error"}),
        unknown_task=bare(status="failed", code=-22, error="task does not exist"),
        rejected=[Reply({"id": "", "status": "failed", "error": "insufficient credits"})],
    )
)
