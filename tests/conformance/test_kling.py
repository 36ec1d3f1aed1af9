"""Kling under the conformance suite: both generations, and both forms of its keys."""

from dataclasses import replace

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.base import SubmitRequest
from rushes.providers.families import kling
from rushes.testing import SUBMIT_KEY, FindCase, ProviderCase, Reply, conformance_suite

URL = "https://v1-kling.klingai.com/bs2/upload-kling/1.mp4?x=5f"
FRAME = "https://v1-kling.klingai.com/bs2/upload-kling/1.png?x=5f"
ID = "874201553212543065"
NEWER, OLDER = DEFAULT_CATALOGUE.get("kling-3.0"), DEFAULT_CATALOGUE.get("kling-2.6")


def answer(data: object) -> list[Reply]:
    return [Reply({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": data})]


def refusal(code: int, message: str, status: int) -> list[Reply]:
    return [Reply({"code": code, "message": message, "request_id": "r-1"}, status)]


def task(status: str, **fields: object) -> list[Reply]:
    return answer([{"id": ID, "status": status, "create_time": 1790000000000, **fields}])


def older(status: str, **fields: object) -> list[Reply]:
    return answer({"task_id": ID, "task_status": status, "created_at": 1790000000000, **fields})


GONE = refusal(1203, "Resource not found", 404)
NEWER_CASE = ProviderCase(
    name="kling",
    build=kling.build,
    request=SubmitRequest(NEWER.api_model, "a fox", NEWER.completed({}), wires=NEWER.wires),
    accepted=answer({"id": ID, "status": "submitted", "create_time": 1790000000000}),
    remote_task_id=ID,
    running=task("processing"),
    succeeded=task(
        "succeeded",
        outputs=[
            {"type": "video", "id": "v", "url": URL, "duration": "5"},
            {"type": "image", "id": "i", "url": FRAME},
        ],
        billing=[{"charge_type": "cash", "amount": "0.42", "currency": "USD"}],
    ),
    video_url=URL,
    further_files=[("image", FRAME)],
    failed=task("failed", message="the model failed"),
    failed_message="the model failed",
    moderated=task("failed", message="Failure to pass the risk control: content policy"),
    odd_fields=frozenset({"create_time", "message", "billing", "amount", "request_id", "duration"}),
    unknown_task=GONE,
    rejected=refusal(1201, "duration is invalid", 400),
    find=FindCase(found=task("processing", external_id=SUBMIT_KEY), never_taken=[*answer([]), *GONE, *GONE]),
)

TestNewer = conformance_suite(NEWER_CASE)
TestSigned = conformance_suite(
    replace(NEWER_CASE, key=lambda key, _host: f"access-1:{key}", key_in_headers=False)
)
TestOlder = conformance_suite(
    ProviderCase(
        name="kling",
        build=kling.build,
        request=SubmitRequest(OLDER.api_model, "a fox", OLDER.completed({}), wires=OLDER.wires),
        accepted=answer({"task_id": ID, "task_status": "submitted", "created_at": 1790000000000}),
        remote_task_id=f"text2video/{ID}",
        running=older("processing"),
        succeeded=older(
            "succeed",
            task_result={"videos": [{"id": "v", "url": URL, "duration": "5"}]},
            final_unit_deduction="1.5",
        ),
        video_url=URL,
        failed=older("failed", task_status_msg="the model failed"),
        failed_message="the model failed",
        moderated=older("failed", task_status_msg="Failure to pass the risk control: content policy"),
        odd_fields=frozenset({"created_at", "task_status_msg", "final_unit_deduction", "message"}),
        unknown_task=GONE,
        rejected=refusal(1301, "triggers the content security policy", 400),
        find=FindCase(
            found=[*answer([]), *older("processing", task_info={"external_task_id": SUBMIT_KEY})],
            never_taken=[*answer([]), *GONE, *GONE],
        ),
    )
)
