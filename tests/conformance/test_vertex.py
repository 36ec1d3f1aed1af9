"""Vertex AI under the conformance suite, with a service account whose tokens the suite grants."""

import json
from base64 import b64encode

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import vertex
from rushes.testing import CancelCase, ProviderCase, Reply, conformance_suite
from tests.providers.test_credentials import KEY, pem

NAME = (
    "projects/p-1/locations/us-central1/publishers/google/models/veo-3.1-fast-generate-001/operations/1f-2a"
)
MODEL = DEFAULT_CATALOGUE.get("vertex-veo3.1-fast")
NOT_FOUND = {"error": {"code": 404, "message": "Not found.", "status": "NOT_FOUND"}}
INVALID = {"error": {"code": 400, "message": "Unsupported duration.", "status": "INVALID_ARGUMENT"}}


def account(token_uri: str) -> str:
    fields = {
        "type": "service_account",
        "project_id": "p-1",
        "private_key": pem(KEY),
        "client_email": "robot@p-1.example",
        "token_uri": token_uri,
    }
    return b64encode(json.dumps(fields).encode()).decode()


def operation(**fields: object) -> list[Reply]:
    return [Reply({"name": NAME, **fields})]


def videos(**fields: object) -> list[Reply]:
    return operation(done=True, response={"@type": "x", **fields})


TestVertex = conformance_suite(
    ProviderCase(
        name="vertex",
        build=vertex.build,
        key=lambda _key, host: account(f"{host}/token"),
        token_path="/token",
        request=SubmitRequest(MODEL.api_model, "a fox", MODEL.completed({}), wires=MODEL.wires),
        accepted=operation(),
        remote_task_id=NAME,
        running=operation(metadata={"@type": "x"}),
        succeeded=videos(videos=[{"gcsUri": "gs://b-1/o/1.mp4", "mimeType": "video/mp4"}]),
        video_url="{host}/storage/v1/b/b-1/o/o%2F1.mp4?alt=media",
        failed=operation(done=True, error={"code": 13, "message": "internal trouble"}),
        failed_message="internal trouble",
        moderated=videos(raiMediaFilteredCount=1, raiMediaFilteredReasons=["We can't make that."]),
        odd_fields=frozenset({"metadata", "code", "message", "mimeType", "@type"}),
        unknown_task=[Reply(NOT_FOUND, 404)],
        rejected=[Reply(INVALID, 400)],
    )
)


INTERACTION = "v1_Ab-9"
OMNI = DEFAULT_CATALOGUE.get("vertex-omni")


def interaction(status: str, **fields: object) -> list[Reply]:
    return [Reply({"id": INTERACTION, "object": "interaction", "status": status, **fields})]


def answering(*contents: object) -> list[dict[str, object]]:
    return [{"type": "user_input"}, {"type": "model_output", "content": list(contents)}]


TestOmni = conformance_suite(
    ProviderCase(
        name="vertex",
        build=vertex.build,
        key=lambda _key, host: account(f"{host}/token"),
        token_path="/token",
        request=SubmitRequest(OMNI.api_model, "a fox", {"duration": 12, "resolution": "1080p", "seed": 7}),
        accepted=interaction("in_progress"),
        remote_task_id=f"projects/p-1/locations/us-central1/interactions/{INTERACTION}",
        running=interaction("in_progress"),
        succeeded=interaction(
            "completed",
            steps=answering({"type": "video", "mime_type": "video/mp4", "uri": "gs://b-1/o/1.mp4"}),
        ),
        video_url="{host}/storage/v1/b/b-1/o/o%2F1.mp4?alt=media",
        failed=interaction("failed", errors=[{"code": "internal", "message": "internal trouble"}]),
        failed_message="internal trouble",
        odd_fields=frozenset({"object", "errors", "message", "mime_type"}),
        moderated=interaction("failed", errors=[{"message": "It may violate our policies."}]),
        unknown_task=[Reply(NOT_FOUND, 404)],
        rejected=[Reply(INVALID, 400)],
        cancel=CancelCase(
            taken=[*interaction("queued"), *interaction("cancelled")],
            refused=[[*interaction("queued"), Reply(INVALID, 400)], interaction("cancelled")],
        ),
    )
)
