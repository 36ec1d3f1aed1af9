"""The OpenAPI document: complete, and kept to by every answer, whatever schemathesis thinks up."""

import contextlib
import importlib
import json
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from rushes import telemetry
from rushes.api import shapes as shapes_package
from rushes.api.shapes.events import Event
from rushes.api.shapes.examples import ANSWER_EXAMPLES
from tests.api.harness import SECRETS, RunningService, Tenant

BATCH_EXAMPLES_FACTOR = 10
"""Few batches with drawn options are sound: a model takes only its own, and more examples find some."""

EXAMPLES_MAX = int(os.environ.get("RUSHES_TEST_EXAMPLES", "6"))
"""For each operation as many sound and as many faulty ones, on each database."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    missing_required_header,
    unsupported_method,
]


def _without_examples(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_examples(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _without_examples(each) for name, each in part.items() if name not in ("example", "examples")
    }


def test_every_operation_is_described(idle_tenant: Tenant) -> None:
    document = idle_tenant.get("/openapi.json")
    tags = {tag["name"] for tag in document["tags"]}
    seen = set()
    identifiers: list[str] = []
    for path, operations in document["paths"].items():
        assert not path.startswith("/api/")
        for method, operation in operations.items():
            name = f"{method} {path}"
            assert operation["summary"], name
            assert operation["description"], name
            assert set(operation["tags"]) <= tags, name
            seen |= set(operation["tags"])
            for status, answer in operation["responses"].items():
                assert answer["description"], (name, status)
                if int(status) >= 400:
                    content = answer["content"]["application/problem+json"]
                    shape = (
                        "OpenAIProblem"
                        if path.startswith(("/v1/videos", "/v1/models", "/openai/"))
                        else "Problem"
                    )
                    assert content["schema"] == {"$ref": f"#/components/schemas/{shape}"}
                    assert isinstance(content["example"]["error"], dict) == (shape == "OpenAIProblem")
                    assert content["example"]["status"] == int(status)
            if "206" in operation["responses"]:
                assert "304" in operation["responses"], name
            if path.startswith(("/v1/", "/openai/v1/")):
                assert operation["security"] == [{"apiKey": []}, {"bearer": []}], name
                assert {"401", "429", "500", "503"} <= operation["responses"].keys(), name
            else:
                assert operation["security"] in ([], [{"workerSecret": []}]), name
            identifiers.append(operation["operationId"])
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]
                assert "example" in content.get("application/json", {"example": "a form has none"}), name
    assert len(set(identifiers)) == len(identifiers)
    described = [document["components"]["schemas"], _without_examples(document["paths"])]
    assert '"default": null' not in json.dumps(described)
    assert document["servers"][0]["url"] == "/"
    assert seen == tags
    assert len(document["paths"]) >= 18


def test_every_json_answer_has_an_example_that_its_model_takes(idle_tenant: Tenant) -> None:
    document = idle_tenant.get("/openapi.json")
    used = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                assert parameter["description"], (method, path, parameter["name"])
            for status, answer in operation["responses"].items():
                content = answer.get("content", {}).get("application/json")
                if content is None or "$ref" not in content["schema"]:
                    continue
                name = content["schema"]["$ref"].rpartition("/")[2]
                if name == "Tick":
                    continue  # counts by stage, which the stages name
                assert "example" in content, f"{method} {path} {status}: add {name} to api/shapes/examples.py"
                used.add(name)
    places = pkgutil.iter_modules(shapes_package.__path__, f"{shapes_package.__name__}.")
    shapes = [importlib.import_module(place.name) for place in places]
    for name, example in ANSWER_EXAMPLES.items():
        module = next(each for each in shapes if hasattr(each, name))
        getattr(module, name).model_validate(example)
    assert used == ANSWER_EXAMPLES.keys()


def test_webhooks_are_described_with_every_event_that_there_is(idle_tenant: Tenant) -> None:
    document = idle_tenant.get("/openapi.json")
    post = document["webhooks"]["event"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Event"}
    Event.model_validate(content["example"])
    names = set(document["components"]["schemas"]["Event"]["properties"]["type"]["enum"])
    assert names == {text for text in vars(telemetry).values() if str(text).startswith(("batch.", "video."))}
    refs = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert refs <= document["components"]["schemas"].keys(), "no reference leads nowhere"


def test_the_documentation_page_is_there(idle_tenant: Tenant) -> None:
    assert idle_tenant.request("GET", "/docs").status_code == 200


def _known_ids(tenant: Tenant) -> dict[str, str]:
    """Ids that exist, so that not every path leads nowhere; of a finished batch, whose stream has an end."""
    batch_id = tenant.batch("a", "b", webhook_url="http://127.0.0.1:1/hook")["batch_id"]
    assert tenant.finished(batch_id)["status"] == "succeeded", "nothing of it can be retried"
    return {
        "batch_id": batch_id,
        "item": "0",
        "video_id": tenant.post("/v1/videos", {"prompt": "a"})["id"],
        "delivery_id": f"msg_{batch_id}_1",
    }


def _examples(operation: Any, mode: schemathesis.GenerationMode, act: Callable[[Any], None]) -> None:
    """Let schemathesis make requests of that kind, always the same ones."""

    @settings(
        max_examples=EXAMPLES_MAX * (BATCH_EXAMPLES_FACTOR if operation.label == "POST /v1/batches" else 1),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def example(case: Any) -> None:
        act(case)

    # an operation that takes nothing has nothing wrong that could be sent
    with contextlib.suppress(Unsatisfiable):
        example()


def test_no_example_finds_a_crash_or_an_answer_that_is_not_documented(service: RunningService) -> None:
    tenant = service.tenant(credits=10_000_000)
    known = _known_ids(tenant)
    schema = schemathesis.openapi.from_url(f"{service.base_url}/openapi.json")
    headers = {"x-api-key": tenant.key, "x-worker-secret": SECRETS["RUSHES_WORKER_SECRET"]}
    tried: dict[str, Counter[int]] = {}

    def act(case: Any) -> None:
        counts = tried.setdefault(f"{case.method} {case.path}", Counter())
        if counts.total() % 2:  # every second time, things that are there
            case.path_parameters = {
                name: known.get(name, made) for name, made in (case.path_parameters or {}).items()
            }
        response = case.call(headers=headers, timeout=10)
        counts[response.status_code] += 1
        case.validate_response(response, checks=CHECKS, headers=headers)

    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _examples(operation, mode, act)
    assert len(tried) >= 20
    statuses = Counter(dict.fromkeys((200, 201, 404, 415, 422), 0))
    for counts in tried.values():
        statuses.update(counts)
    assert all(statuses[status] for status in (200, 201, 404, 422)), statuses
    assert not any(status >= 500 and status != 503 for status in statuses), tried
