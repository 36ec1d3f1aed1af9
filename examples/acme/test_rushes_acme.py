"""The provider keeps rushes' contract."""

from rushes.plugin import SubmitRequest
from rushes.testing import ProviderCase, Reply, conformance_suite
from rushes_acme import build

URL = "https://videos.acme.example/j-1.mp4"

TestAcme = conformance_suite(
    ProviderCase(
        name="acme",
        build=build,
        request=SubmitRequest("acme-1", "a fox", {"duration": 5}),
        accepted=[Reply({"job": "j-1"})],
        remote_task_id="j-1",
        running=[Reply({"job": "j-1", "state": "rendering", "percent": 40})],
        succeeded=[Reply({"job": "j-1", "state": "done", "video": {"href": URL}})],
        video_url=URL,
        failed=[Reply({"job": "j-1", "state": "broken", "reason": "out of memory"})],
        failed_message="out of memory",
        moderated=[Reply({"job": "j-1", "state": "forbidden", "reason": "no weapons"})],
        odd_fields=frozenset({"percent", "reason"}),
        unknown_task=[Reply({"reason": "no such job"}, status=404)],
        rejected=[Reply({"reason": "the text is too long"}, status=422)],
    )
)
