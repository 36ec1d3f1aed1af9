"""Replicate under the conformance suite: a model by its name, and one by a version."""

from dataclasses import replace

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import replicate
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite

URL = "https://replicate.delivery/xezq/1/tmp.mp4"
ID = "gm3qorzdhgbfurvjtvhg6dckhu"
MODEL = DEFAULT_CATALOGUE.get("replicate-veo3.1-fast")


def prediction(status: str, **fields: object) -> list[Reply]:
    base = {"id": ID, "model": "google/veo-3.1-fast", "status": status, "logs": "", "metrics": {}}
    return [Reply({**base, **fields})]


def problem(title: str, detail: str, status: int) -> list[Reply]:
    return [Reply({"title": title, "detail": detail, "status": status}, status)]


CASE = ProviderCase(
    name="replicate",
    build=replicate.build,
    request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
    accepted=[Reply(prediction("starting")[0].body, 201)],
    remote_task_id=ID,
    running=prediction("processing"),
    succeeded=prediction("succeeded", output=URL),
    video_url=URL,
    failed=prediction("failed", error="the model failed"),
    failed_message="the model failed",
    moderated=prediction("failed", error="The output was flagged as sensitive (E005)"),
    odd_fields=frozenset({"logs", "metrics", "model", "error"}),
    unknown_task=problem("Not found", "The requested prediction could not be found.", 404),
    rejected=problem("Input validation failed", "duration must be one of 4, 6, 8", 422),
    cancel=CancelCase(
        taken=[*prediction("starting"), *prediction("canceled")],
        refused=[[*prediction("starting"), *problem("Unprocessable", "too late", 422)]],
    ),
)
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"

TestByName = conformance_suite(CASE)
TestByVersion = conformance_suite(replace(CASE, request=replace(CASE.request, api_model=VERSION)))
