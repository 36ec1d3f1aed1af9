"""fal under the conformance suite: a model with a variant for images, and one without."""

from rushes.providers.base import SubmitRequest
from rushes.providers.families import fal
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://v3b.fal.media/files/b/1.mp4"
SOUND = "https://v3b.fal.media/files/b/1.mp3"
REQUEST_ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
COMPLETED = Reply(
    {"status": "COMPLETED", "request_id": REQUEST_ID, "logs": None, "metrics": {"inference_time": 3.4}}
)

QUEUED = Reply({"status": "IN_QUEUE", "request_id": REQUEST_ID, "queue_position": 4})


def refused(kind: str, message: str) -> Reply:
    return Reply({"detail": [{"loc": ["body", "prompt"], "msg": message, "type": kind}]}, 422)


def case(request: SubmitRequest, app: str) -> ProviderCase:
    remote_task_id = f"{app}/requests/{REQUEST_ID}"
    return ProviderCase(
        name="fal",
        build=fal.build,
        request=request,
        accepted=[
            Reply({"request_id": REQUEST_ID, "response_url": f"https://queue.fal.run/{remote_task_id}"})
        ],
        remote_task_id=remote_task_id,
        running=[Reply({"status": "IN_PROGRESS", "request_id": REQUEST_ID, "logs": None})],
        succeeded=[
            COMPLETED,
            Reply({"video": {"url": URL, "content_type": "video/mp4"}, "audio": {"url": SOUND}}),
        ],
        video_url=URL,
        further_files=[("audio", SOUND)],
        failed=[COMPLETED, refused("no_media_generated", "nothing was made")],
        failed_message="nothing was made",
        moderated=[COMPLETED, refused("content_policy_violation", "flagged by a content checker")],
        unknown_task=[Reply({"detail": "Request was not found"}, 404)],
        rejected=[refused("content_policy_violation", "flagged by a content checker")],
        cancel=CancelCase(
            taken=[QUEUED, Reply({"status": "CANCELLATION_REQUESTED"}, 202)],
            refused=[
                [QUEUED, Reply({"status": "ALREADY_COMPLETED"}, 400)],
                [Reply({"detail": "Request was not found"}, 404)],
            ],
        ),
    )


TestVeo = conformance_suite(
    case(SubmitRequest("fal-ai/veo3.1/fast", "a fox", {"duration": 8}), "fal-ai/veo3.1")
)
TestKling = conformance_suite(
    case(SubmitRequest("fal-ai/kling-video/v3/pro/text-to-video", "a fox"), "fal-ai/kling-video")
)
