"""Result files: real MP4s of the asked-for shape and length, and each way a file can be bad."""

import hashlib
import http.client
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS, judged
from rushes.files.gate.measuring import measured
from rushes.simulator import (
    SimRequest,
    SimulatorCore,
    SimulatorKnobs,
    SimulatorThread,
    running_simulator,
)
from tests.simulator.simulator_client import (
    GENERATE,
    SORA,
    UNIFIED_RESULT,
    VEO,
    Answer,
    call,
    core_call,
    core_poll,
    core_submit,
    minimax_body,
    sora_body,
    submit_sora,
    veo_body,
)

FINISHED = SimulatorKnobs(render_seconds=0)
CONTAINERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, bytes]]:
    """Type, offset and payload of every box, those inside containers too; a broken size is an error."""
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        assert 8 <= size <= end - start, f"{kind!r} at {start} does not fit"
        yield kind, start, data[start + 8 : start + size]
        if kind in CONTAINERS:
            yield from boxes(data, start + 8, start + size)
        start += size


def facts(video: bytes) -> dict[str, object]:
    """What a player reads: size in pixels, seconds, frames, and that the frames lie inside mdat."""
    found = {kind: (offset, payload) for kind, offset, payload in boxes(video)}
    order = [kind for kind, _, _ in boxes(video) if kind in (b"ftyp", b"moov", b"mdat")]
    assert order == [b"ftyp", b"moov", b"mdat"]
    movie_scale, movie_ticks = struct.unpack_from(">II", found[b"mvhd"][1], 12)
    track_scale, track_ticks = struct.unpack_from(">II", found[b"mdhd"][1], 12)
    frames, frame_ticks = struct.unpack_from(">II", found[b"stts"][1], 8)
    width, height = struct.unpack_from(">II", found[b"tkhd"][1], 76)
    (edited_ticks,) = struct.unpack_from(">I", found[b"elst"][1], 8)
    (first_chunk,) = struct.unpack_from(">I", found[b"stco"][1], 8)
    sizes = struct.unpack_from(f">{frames}I", found[b"stsz"][1], 12)
    mdat, payload = found[b"mdat"]
    assert mdat + 8 <= first_chunk
    assert first_chunk + sum(sizes) <= mdat + 8 + len(payload)
    assert frames * frame_ticks == track_ticks
    assert edited_ticks == movie_ticks
    assert track_ticks / track_scale == movie_ticks / movie_scale
    return {"pixels": (width >> 16, height >> 16), "seconds": movie_ticks / movie_scale, "frames": frames}


def file_of(
    simulator: SimulatorThread, task_id: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    return call(simulator.base_url, method, f"/files/{task_id}.mp4", headers=headers)


@pytest.mark.parametrize(
    ("path", "body", "pixels", "seconds"),
    [
        (SORA, sora_body(), (90, 160), 10),
        (SORA, sora_body(aspectRatio="16:9", duration=15), (160, 90), 15),
        (VEO, veo_body(), (160, 90), 8),
        (VEO, veo_body(aspectRatio="9:16"), (90, 160), 8),
        (GENERATE, minimax_body(duration=1, aspectRatio="portrait"), (90, 160), 1),
        (GENERATE, minimax_body(duration=7), (160, 90), 7),
    ],
)
def test_the_file_has_the_asked_for_shape_and_length(
    path: str, body: object, pixels: tuple[int, int], seconds: int
) -> None:
    core = SimulatorCore(FINISHED)
    answer = core_call(core, 0.0, "POST", path, body)
    task_id = answer.get("id") or answer["data"]["id"]
    video = core.handle(SimRequest("GET", f"/files/{task_id}.mp4"), 1.0)
    assert facts(video.body) == {"pixels": pixels, "seconds": seconds, "frames": 48}
    assert len(video.body) < 10_000


def test_files_differ_by_task_and_are_the_same_each_time() -> None:
    with running_simulator(FINISHED) as simulator:
        ids = [submit_sora(simulator.base_url, "same prompt") for _ in range(3)]
        hashes = {hashlib.sha256(file_of(simulator, task_id).body).hexdigest() for task_id in ids * 2}
        assert len(hashes) == 3
        assert simulator.report().downloads == 6


def test_a_file_exists_only_once_its_task_has_succeeded() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=10, sora_render_sigma=0))
    task_id = core_submit(core, 0.0, "a")
    request = SimRequest("GET", f"/files/{task_id}.mp4")
    assert core.handle(request, 9.9).status == 404
    assert core.handle(request, 10.1).status == 200
    failing = SimulatorCore(SimulatorKnobs(render_seconds=0, output_moderation=1))
    task_id = core_submit(failing, 0.0, "a")
    assert failing.handle(SimRequest("GET", f"/files/{task_id}.mp4"), 9.0).status == 404
    for path in ("/files/", "/files/x.mp4", "/files/../x.mp4", f"/files/{task_id}"):
        assert core.handle(SimRequest("GET", path), 99.0).status == 404


@pytest.mark.parametrize(
    ("value", "status", "part"),
    [
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=0-99999999", 206, slice(0, None)),
        ("bytes=-99999999", 206, slice(0, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=5-2", 200, slice(0, None)),
        ("bytes=0-1,5-6", 200, slice(0, None)),
        ("bytes=x-1", 200, slice(0, None)),
        ("lines=0-1", 200, slice(0, None)),
        ("bytes=-", 200, slice(0, None)),
    ],
)
def test_ranges_are_served(value: str, status: int, part: slice) -> None:
    with running_simulator(FINISHED) as simulator:
        task_id = submit_sora(simulator.base_url)
        whole = file_of(simulator, task_id)
        answer = file_of(simulator, task_id, headers={"range": value})
    assert whole.headers["accept-ranges"] == "bytes"
    assert (answer.status, answer.body) == (status, whole.body[part])
    if status == 206:
        first = whole.body.index(answer.body)
        last = first + len(answer.body) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole.body)}"


def test_head_tells_the_length_without_a_body() -> None:
    with running_simulator(FINISHED) as simulator:
        task_id = submit_sora(simulator.base_url)
        head, whole = file_of(simulator, task_id, method="HEAD"), file_of(simulator, task_id)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(whole.body)


def test_file_server_error_lasts_its_seconds() -> None:
    core = SimulatorCore(FINISHED.replaced({"file_server_error": 1, "file_server_error_seconds": 60}))
    task_id = core_submit(core, 0.0, "a")
    request = SimRequest("GET", f"/files/{task_id}.mp4")
    assert [core.handle(request, now).status for now in (1.0, 59.0, 61.0)] == [500, 500, 200]
    assert core.report(99.0).faults == {"file_server_error": 2}


@pytest.mark.parametrize("status", [403, 404, 410])
def test_links_die_after_their_expiry(status: int) -> None:
    knobs = FINISHED.replaced({"file_expiry_seconds": 7200, "file_expired_status": status})
    core = SimulatorCore(knobs)
    task_id = core_submit(core, 0.0, "a")
    request = SimRequest("GET", f"/files/{task_id}.mp4")
    assert [core.handle(request, now).status for now in (7199.0, 7200.0)] == [200, status]
    assert core_poll(core, 8000.0, task_id)["data"]["status"] == "succeeded"


def test_truncated_file_is_whole_http_but_no_whole_mp4() -> None:
    with running_simulator(FINISHED.replaced({"file_truncated": 1})) as simulator:
        answer = file_of(simulator, submit_sora(simulator.base_url))
    assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")
    with pytest.raises(AssertionError, match="does not fit"):
        list(boxes(answer.body))


def test_cut_file_is_whole_at_the_third_try() -> None:
    with running_simulator(FINISHED.replaced({"file_cut_body": 1})) as simulator:
        task_id = submit_sora(simulator.base_url)
        for _ in range(2):
            with pytest.raises(http.client.IncompleteRead):
                file_of(simulator, task_id)
        assert facts(file_of(simulator, task_id).body)["seconds"] == 10


def test_html_and_empty_files_claim_to_be_videos() -> None:
    for knob, start in (("file_html", b"<!DOCTYPE html>"), ("file_empty", b"")):
        with running_simulator(FINISHED.replaced({knob: 1})) as simulator:
            answer = file_of(simulator, submit_sora(simulator.base_url))
            assert simulator.report().faults == {knob: 1}
        assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")
        assert answer.body[:15] == start


def test_oversize_file_streams_a_valid_container_of_its_size() -> None:
    size = 30_000_000
    with running_simulator(FINISHED.replaced({"file_oversize": 1, "file_oversize_bytes": size})) as simulator:
        answer = file_of(simulator, submit_sora(simulator.base_url))
        assert (len(answer.body), int(answer.headers["content-length"])) == (size, size)
        assert facts(answer.body)["seconds"] == 10
        # a client that gives up early does not harm the server
        address = urlsplit(simulator.base_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
        connection.request("GET", f"/files/{submit_sora(simulator.base_url, 'b')}.mp4")
        assert connection.getresponse().read(1000)
        connection.close()
        assert call(simulator.base_url, "GET", "/_sim/health").status == 200


def test_a_pipelined_answer_waits_for_the_end_of_an_oversize_file() -> None:
    size = 20_000_000
    with running_simulator(FINISHED.replaced({"file_oversize": 1, "file_oversize_bytes": size})) as simulator:
        task_id = submit_sora(simulator.base_url)
        address = urlsplit(simulator.base_url)
        received = bytearray()
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            for path, more in ((f"/files/{task_id}.mp4", ""), ("/_sim/health", "connection: close\r\n")):
                connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode())
            time.sleep(0.2)  # the server's buffers fill before the first byte is read
            while part := connection.recv(1 << 20):
                received += part
    head_end = received.index(b"\r\n\r\n") + 4
    rest = bytes(received[head_end + size :])
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert rest.endswith(b'{"ok":true}')
    assert received.count(b"HTTP/1.1") == 2


def test_slow_file_stalls_half_way() -> None:
    with running_simulator(FINISHED.replaced({"file_slow": 1, "file_slow_seconds": 0.4})) as simulator:
        task_id = submit_sora(simulator.base_url)
        start = time.monotonic()
        assert facts(file_of(simulator, task_id).body)["seconds"] == 10
        assert time.monotonic() - start >= 0.4


def test_redirected_file_names_a_private_address() -> None:
    with running_simulator(FINISHED.replaced({"file_redirect": 1})) as simulator:
        answer = file_of(simulator, submit_sora(simulator.base_url))
    assert (answer.status, answer.headers["location"]) == (302, "http://169.254.169.254/")


def test_generation_2_names_the_same_files() -> None:
    with running_simulator(FINISHED) as simulator:
        task_id = call(simulator.base_url, "POST", GENERATE, minimax_body()).json["id"]
        answer = call(simulator.base_url, "GET", f"{UNIFIED_RESULT}?id={task_id}").json
        url = urlsplit(answer["results"][0]["url"])
        assert facts(call(simulator.base_url, "GET", url.path).body)["pixels"] == (160, 90)


@pytest.mark.parametrize("shape", ["16:9", "9:16"])
@pytest.mark.parametrize("defect", ["black", "frozen"])
def test_bad_clips_are_whole_videos_that_the_gate_knows(tmp_path: Path, shape: str, defect: str) -> None:
    with running_simulator(FINISHED.replaced({f"clip_{defect}": 1})) as simulator:
        task_id = submit_sora(simulator.base_url, aspectRatio=shape)
        answer = file_of(simulator, task_id)
    assert facts(answer.body)["frames"] == 48
    path = tmp_path / "clip.mp4"
    path.write_bytes(answer.body)
    measures = measured(path)
    if measures is not None:  # PyAV is there
        _, reasons = judged(measures, DEFAULT_THRESHOLDS, {"aspect_ratio": shape})
        assert [reason.value for reason in reasons] == [defect]
