"""Google's Gemini API under the conformance suite: interactions and long-running operations."""

from rushes.providers.base import SubmitRequest
from rushes.providers.families import google
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

NAME = "models/veo-3.1-generate-preview/operations/iepvp28hqrmj"
INTERACTION = "v1_ChdXS0l4Y"
URI = "https://generativelanguage.googleapis.com/v1beta/files/abc123:download?alt=media"
NOT_FOUND = {"error": {"code": 404, "message": "Not found.", "status": "NOT_FOUND"}}
INVALID = {"error": {"code": 400, "message": "Unsupported duration.", "status": "INVALID_ARGUMENT"}}


def operation(**fields: object) -> list[Reply]:
    return [Reply({"name": NAME, **fields})]


def videos(**fields: object) -> list[Reply]:
    return operation(done=True, response={"generateVideoResponse": fields})


TestVeo = conformance_suite(
    ProviderCase(
        name="google",
        build=google.build,
        request=SubmitRequest("veo-3.1-generate-preview", "a fox", {"duration": 8}),
        accepted=operation(),
        remote_task_id=NAME,
        running=operation(metadata={"@type": "type.googleapis.com/x"}),
        succeeded=videos(generatedSamples=[{"video": {"uri": URI}}]),
        video_url=URI,
        failed=operation(done=True, error={"code": 13, "message": "internal trouble"}),
        failed_message="internal trouble",
        moderated=videos(raiMediaFilteredCount=1, raiMediaFilteredReasons=["We can't make that."]),
        odd_fields=frozenset({"metadata", "code", "message"}),
        unknown_task=[Reply(NOT_FOUND, 404)],
        rejected=[Reply(INVALID, 400)],
    )
)


def interaction(status: str, **fields: object) -> list[Reply]:
    return [Reply({"id": INTERACTION, "object": "interaction", "status": status, **fields})]


TestOmni = conformance_suite(
    ProviderCase(
        name="google",
        build=google.build,
        request=SubmitRequest("gemini-omni-1.2-flash", "a fox", {"duration": 8, "resolution": "720p"}),
        accepted=interaction("in_progress"),
        remote_task_id=f"interactions/{INTERACTION}",
        running=interaction("in_progress"),
        succeeded=interaction(
            "completed",
            steps=[
                {"type": "user_input", "content": [{"type": "text", "text": "a fox"}]},
                {
                    "type": "model_output",
                    "content": [{"type": "video", "mime_type": "video/mp4", "uri": URI}],
                },
            ],
        ),
        video_url=URI,
        failed=interaction("failed", errors=[{"code": "internal", "message": "internal trouble"}]),
        failed_message="internal trouble",
        odd_fields=frozenset({"object", "errors", "message"}),
        moderated=interaction("failed", errors=[{"message": "It may violate our policies."}]),
        unknown_task=[Reply(NOT_FOUND, 404)],
        rejected=[Reply(INVALID, 400)],
        cancel=CancelCase(
            taken=[*interaction("queued"), *interaction("cancelled")],
            refused=[[*interaction("queued"), Reply(INVALID, 400)], interaction("cancelled")],
        ),
    )
)
