"""Ark under the conformance suite."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import ark
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://ark-content-generation-cn-beijing.tos-cn-beijing.volces.com/1.mp4?X-Tos-Signature=5f"
FRAME = "https://ark-content-generation-cn-beijing.tos-cn-beijing.volces.com/1.png?X-Tos-Signature=5f"
ID = "cgt-20261129024500-7xk2p"
MODEL = DEFAULT_CATALOGUE.get("seedance-2.0")


def task(status: str, **fields: object) -> list[Reply]:
    return [Reply({"id": ID, "model": MODEL.api_model, "status": status, "created_at": 1790000000, **fields})]


def error(code: str, message: str, status: int) -> list[Reply]:
    return [Reply({"error": {"code": code, "message": message, "param": "", "type": "BadRequest"}}, status)]


def failed(code: str, message: str) -> list[Reply]:
    return task("failed", error={"code": code, "message": message})


TestArk = conformance_suite(
    ProviderCase(
        name="ark",
        build=ark.build,
        host_path="/api/v3",
        request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
        accepted=[Reply({"id": ID})],
        remote_task_id=ID,
        running=task("running"),
        succeeded=task(
            "succeeded",
            content={"video_url": URL, "last_frame_url": FRAME},
            usage={"completion_tokens": 108_000},
        ),
        video_url=URL,
        further_files=[("last_frame", FRAME)],
        failed=failed("InternalServiceError", "the service met an unexpected error"),
        failed_message="the service met an unexpected error",
        moderated=failed("OutputVideoSensitiveContentDetected.PolicyViolation", "may be protected"),
        odd_fields=frozenset({"usage", "completion_tokens", "model", "created_at", "message"}),
        unknown_task=error("ResourceNotFound", "the task is not found", 404),
        cancel=CancelCase(
            taken=[*task("queued"), Reply({})],
            refused=[
                task("cancelled"),
                [*task("queued"), *error("TaskRunningCannotCancel", "the task is running", 400)],
                error("ResourceNotFound", "the task is not found", 404),
            ],
        ),
        rejected=error("InvalidParameter", "the parameter duration is not valid", 400),
    )
)
