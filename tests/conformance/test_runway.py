"""Runway under the conformance suite."""

from rushes.providers.base import SubmitRequest
from rushes.providers.families import runway
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://dnznrvs05pmza.cloudfront.net/1.mp4?_jwt=ey"
ID = "497f6eca-6276-4993-bfeb-53cbbbba6f08"


def task(status: str, **fields: object) -> list[Reply]:
    return [Reply({"id": ID, "status": status, "createdAt": "2026-11-25T21:00:00.000Z", **fields})]


TestRunway = conformance_suite(
    ProviderCase(
        name="runway",
        build=runway.build,
        request=SubmitRequest("gen4.5", "a fox", {"aspect_ratio": "9:16"}),
        accepted=[Reply({"id": ID})],
        remote_task_id=ID,
        running=task("RUNNING", progress=0.4, estimatedCost={"credits": 60}),
        succeeded=task("SUCCEEDED", output=[URL], cost={"credits": 60}),
        video_url=URL,
        failed=task("FAILED", failure="low quality", failureCode="INTERNAL.BAD_OUTPUT.CODE01"),
        failed_message="low quality",
        moderated=task("FAILED", failure="no weapons", failureCode="SAFETY.INPUT.TEXT"),
        odd_fields=frozenset({"progress", "failure", "failureCode", "cost", "estimatedCost", "createdAt"}),
        unknown_task=[Reply({"error": "Task not found"}, 404)],
        rejected=[Reply({"error": "Validation of body failed"}, 400)],
        cancel=CancelCase(
            taken=[*task("THROTTLED"), Reply(b"", 204)],
            refused=[task("CANCELLED"), [Reply({"error": "Task not found"}, 404)]],
        ),
    )
)
