"""Model Studio (DashScope) under the conformance suite."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import dashscope
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/1.mp4?Expires=1790000000"
ID = "0385dc79-5ff8-4d82-bcb6-7aa2f2d2f2f3"
MODEL = DEFAULT_CATALOGUE.get("wan-3.0")


def task(status: str, usage: object = None, **fields: object) -> list[Reply]:
    output = {"task_id": ID, "task_status": status, "submit_time": "2026-11-29 10:00:00.000", **fields}
    return [Reply({"request_id": "r-1", "output": output, **({"usage": usage} if usage else {})})]


TestDashScope = conformance_suite(
    ProviderCase(
        name="dashscope",
        build=dashscope.build,
        host_path="/api/v1",
        request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
        accepted=[Reply({"output": {"task_id": ID, "task_status": "PENDING"}, "request_id": "r-1"})],
        remote_task_id=ID,
        running=task("RUNNING"),
        succeeded=task("SUCCEEDED", usage={"duration": 5, "SR": 720}, video_url=URL),
        video_url=URL,
        failed=task("FAILED", code="InternalError.Algo", message="the algorithm failed"),
        failed_message="the algorithm failed",
        moderated=task("FAILED", code="DataInspectionFailed", message="Output data may be inappropriate."),
        odd_fields=frozenset({"usage", "duration", "SR", "submit_time", "message", "request_id"}),
        unknown_task=task("UNKNOWN"),
        cancel=CancelCase(
            taken=[*task("PENDING"), Reply({"request_id": "r-2"})],
            refused=[
                task("CANCELED"),
                task("UNKNOWN"),
                [*task("PENDING"), Reply({"code": "UnsupportedOperation", "message": "it runs"}, 400)],
            ],
        ),
        rejected=[Reply({"code": "InvalidParameter", "message": "bad", "request_id": "r-1"}, 400)],
    )
)
