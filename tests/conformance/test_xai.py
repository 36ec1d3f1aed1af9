"""xAI under the conformance suite."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import xai
from rushes.testing import ProviderCase, Reply, conformance_suite

URL = "https://vidgen.x.ai/1.mp4"
ID = "d97415a1-5796-b7ec-379f-4e6819e08fdf"
MODEL = DEFAULT_CATALOGUE.get("grok-imagine-video-1.5")


def video(url: str, *, respects: bool) -> dict[str, object]:
    return {"url": url, "duration": 8, "respect_moderation": respects}


def done(**fields: object) -> list[Reply]:
    usage = {"cost_in_usd_ticks": 11_200_000_000}
    return [Reply({"status": "done", "model": MODEL.api_model, "usage": usage, "progress": 100, **fields})]


TestXai = conformance_suite(
    ProviderCase(
        name="xai",
        build=xai.build,
        request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
        accepted=[Reply({"request_id": ID})],
        remote_task_id=ID,
        running=[Reply({"status": "pending", "progress": 40})],
        succeeded=done(video=video(URL, respects=True)),
        video_url=URL,
        failed=[Reply({"status": "failed", "error": {"code": "internal_error", "message": "it broke"}})],
        failed_message="it broke",
        moderated=done(video=video("", respects=False)),
        answers_name_the_task=False,
        odd_fields=frozenset({"usage", "cost_in_usd_ticks", "progress", "model", "message", "duration"}),
        unknown_task=[Reply({"code": "Some requested entity was not found", "error": "not found"}, 404)],
        rejected=[Reply({"code": "Client specified an invalid argument", "error": "bad duration"}, 400)],
    )
)
