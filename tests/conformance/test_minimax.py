"""MiniMax' own API under the conformance suite."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import minimax
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://public-cdn-video.minimax.io/1.mp4?Signature=5f"
ID = "424010985738629"
MODEL = DEFAULT_CATALOGUE.get("minimax-h3-official")


def task(status: str, **fields: object) -> list[Reply]:
    return [Reply({"task": {"id": ID, "model": "MiniMax-H3", "status": status, **fields}})]


def error(kind: str, message: str, status: int) -> list[Reply]:
    said = {"type": kind, "message": message, "http_code": str(status)}
    return [Reply({"type": "error", "error": said, "request_id": "02"}, status)]


TestMiniMax = conformance_suite(
    ProviderCase(
        name="minimax",
        build=minimax.build,
        request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
        accepted=[Reply({"task_id": ID})],
        remote_task_id=ID,
        running=task("running"),
        succeeded=task("succeeded", content={"url": URL}, usage={"total_seconds": 5}),
        video_url=URL,
        failed=task("failed", error={"code": "1000", "message": "internal error"}),
        failed_message="internal error",
        moderated=task("failed", error={"code": "1027", "message": "sensitive"}),
        odd_fields=frozenset({"usage", "total_seconds", "model", "message"}),
        unknown_task=error("server_error", "record not found (1000)", 500),
        rejected=error("bad_request_error", "invalid params (2013)", 400),
        cancel=CancelCase(
            taken=[*task("queued"), Reply({"task_id": ID, "status": "cancelled"})],
            refused=[[*task("queued"), *error("bad_request_error", "the task is running (2013)", 400)]],
        ),
    )
)
