"""Files that a service gives besides the video: read as far as they can be, and they never cost a verdict."""

from typing import Any

import pytest

from rushes.domain.task import FURTHER_FILES_MAX, OutputFile, OutputKind, Succeeded, poll_result_as_dict
from rushes.providers.answers import kind_of_file
from rushes.providers.families import ark, fal, kling, replicate, runway
from tests.providers.service import Reply, Service

URL = "https://files.example/clip.mp4"
SECOND = "https://files.example/second.mp4"
FRAME = "https://files.example/last.png"
FAL = "fal-ai/veo3.1/requests/r-1"

CASES = {
    "ark": (ark.build, "t-1", "/contents/generations/tasks/t-1", "ark"),
    "kling": (kling.build, "t-1", "/tasks?task_ids=t-1", "kling"),
    "older kling": (kling.build, "text2video/t-1", "/v1/videos/text2video/t-1", "older"),
    "runway": (runway.build, "t-1", "/v1/tasks/t-1", "runway"),
    "replicate": (replicate.build, "t-1", "/v1/predictions/t-1", "replicate"),
    "fal": (fal.build, FAL, f"/{FAL}", "fal"),
}


def answer_with(form: str, further: Any) -> dict[str, Any]:
    """A success of the service's form, with this in the place of what comes besides the video."""
    match form:
        case "ark":
            content = {"video_url": URL, "last_frame_url": further}
            return {"id": "t-1", "status": "succeeded", "content": content}
        case "kling":
            outputs = [{"type": "video", "url": URL}, {"type": "image", "url": further}]
            return {"code": 0, "data": [{"id": "t-1", "status": "succeeded", "outputs": outputs}]}
        case "older":
            videos = [{"url": URL}, {"url": further}]
            task = {"task_id": "t-1", "task_status": "succeed", "task_result": {"videos": videos}}
            return {"code": 0, "data": task}
        case "runway":
            return {"id": "t-1", "status": "SUCCEEDED", "output": [URL, further]}
        case "replicate":
            return {"id": "t-1", "status": "succeeded", "output": [URL, further]}
        case _:
            return {"video": {"url": URL}, "audio": {"url": further, "content_type": "audio/mpeg"}, "seed": 5}


def polled(case: str, further: Any) -> object:
    build, remote_id, path, form = CASES[case]
    replies = {path: Reply(answer_with(form, further))}
    if case == "fal":
        replies[f"{path}/status"] = Reply({"status": "COMPLETED", "request_id": "r-1"})
    result, _ = Service(build, replies).poll(remote_id)
    return result


@pytest.mark.parametrize(
    ("case", "kind", "url"),
    [
        ("ark", OutputKind.LAST_FRAME, FRAME),
        ("kling", OutputKind.IMAGE, FRAME),
        ("older kling", OutputKind.VIDEO, SECOND),
        ("runway", OutputKind.VIDEO, SECOND),
        ("replicate", OutputKind.IMAGE, FRAME),
        ("replicate", OutputKind.VIDEO, SECOND),
        ("fal", OutputKind.AUDIO, "https://files.example/sound.mp3"),
    ],
)
def test_what_comes_besides_the_video_is_named(case: str, kind: OutputKind, url: str) -> None:
    result = polled(case, url)
    assert result == Succeeded(URL, further_files=(OutputFile(kind, url),))
    assert isinstance(result, Succeeded)
    assert poll_result_as_dict(result)["further_files"] == [{"kind": kind.value, "url": url}]


@pytest.mark.parametrize("odd", [None, "", 5, {"a": 1}, "a\nb", "x" * 9000])
@pytest.mark.parametrize("case", ["ark", "kling", "older kling", "runway", "fal"])
def test_what_is_no_file_there_is_none_and_the_verdict_stands(case: str, odd: object) -> None:
    assert polled(case, odd) == Succeeded(URL)


def test_they_are_bounded() -> None:
    outputs = [URL, *(f"https://files.example/{n}.mp4" for n in range(40))]
    answer = {"id": "t-1", "status": "SUCCEEDED", "output": outputs}
    result, _ = Service(runway.build, {"/v1/tasks/t-1": Reply(answer)}).poll("t-1")
    assert isinstance(result, Succeeded)
    assert [file.url for file in result.further_files] == outputs[1 : 1 + FURTHER_FILES_MAX]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("last_frame", OutputKind.LAST_FRAME),
        ("https://f.example/a.MP4?x=1", OutputKind.VIDEO),
        ("image/webp", OutputKind.IMAGE),
        ("thumbnail", OutputKind.IMAGE),
        ("audio", OutputKind.AUDIO),
        ("https://f.example/a.zip", OutputKind.FILE),
        (None, OutputKind.FILE),
    ],
)
def test_a_file_is_what_the_service_calls_it(name: object, kind: OutputKind) -> None:
    assert kind_of_file(name) is kind
