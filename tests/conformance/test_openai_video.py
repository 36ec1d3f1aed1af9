"""Servers with OpenAI's videos API, under the conformance suite."""

from rushes.providers.base import SubmitRequest
from rushes.providers.families import openai_video
from rushes.testing import ProviderCase, Reply, conformance_suite

VIDEO = {
    "id": "video_68d7",
    "object": "video",
    "created_at": 1758941485,
    "model": "sora-2",
    "seconds": "8",
    "size": "1280x720",
}


def video(**fields: object) -> list[Reply]:
    return [Reply({**VIDEO, **fields})]


TestOpenAIVideo = conformance_suite(
    ProviderCase(
        name="openai-video",
        build=openai_video.build,
        host_path="/v1",
        request=SubmitRequest("sora-2", "a fox", {"aspect_ratio": "16:9", "duration": 8}),
        accepted=video(status="queued", progress=0),
        remote_task_id="video_68d7",
        running=video(status="in_progress", progress=33),
        succeeded=video(status="completed", progress=100),
        video_url="{host}/v1/videos/video_68d7/content",
        failed=video(status="failed", progress=70, error={"code": "internal", "message": "out of memory"}),
        failed_message="out of memory",
        moderated=video(status="failed", error={"code": "moderation_blocked", "message": "Blocked."}),
        unknown_task=[
            Reply(
                {"error": {"message": "Video with id 'x' not found.", "type": "invalid", "code": None}}, 404
            )
        ],
        rejected=[Reply({"error": {"message": "Invalid size.", "code": "invalid_value"}}, 400)],
    )
)
