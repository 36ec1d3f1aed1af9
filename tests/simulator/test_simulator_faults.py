"""Over real sockets: each transport fault is what its knob says; the report counts what the client saw."""

import http.client
import json
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from rushes.simulator import PRESETS, SimulatorKnobs, parse_knobs, running_simulator
from tests.simulator.simulator_client import (
    GENERATE,
    RESULT,
    SORA,
    Answer,
    call,
    minimax_body,
    poll,
    poll_until_final,
    sora_body,
    submit_sora,
)


def sora(base_url: str, prompt: str = "a fox", timeout: float = 10.0) -> Answer:
    return call(base_url, "POST", SORA, sora_body(prompt), timeout=timeout)


def test_a_task_goes_from_submit_to_its_file_over_http() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0.1)) as simulator:
        task_id = submit_sora(simulator.base_url)
        data = poll_until_final(simulator.base_url, task_id)
        url = data["results"][0]["url"]
        assert url == f"{simulator.base_url}/files/{task_id}.mp4"
        video = call(simulator.base_url, "GET", urlsplit(url).path)
        assert (video.status, video.headers["content-type"]) == (200, "video/mp4")
        report = simulator.report()
    assert (report.submits, report.accepted, report.deliveries, report.downloads) == (1, 1, 1, 1)
    assert report.tasks is not None
    assert report.tasks[0].final_answer_seen


# --- submits


def submit_under(knob: str, *, timeout: float = 10.0, **more: object) -> tuple[Answer | Exception, int, int]:
    """The client's view of one submit under a fault, tasks accepted, submits unclear to the client."""
    knobs = SimulatorKnobs(render_seconds=1).replaced({knob: 1.0, **more})
    with running_simulator(knobs) as simulator:
        seen: Answer | Exception
        try:
            seen = sora(simulator.base_url, timeout=timeout)
        except (OSError, http.client.HTTPException) as error:
            seen = error
        report = simulator.report()
        assert report.faults == {knob: 1}
    return seen, report.accepted, report.submits_unclear


def test_submit_server_error_is_5xx_and_takes_no_task() -> None:
    seen, accepted, unclear = submit_under("submit_server_error")
    assert isinstance(seen, Answer)
    assert (500 <= seen.status < 600, accepted, unclear) == (True, 0, 1)


def test_submit_html_is_a_page_with_status_200() -> None:
    seen, accepted, unclear = submit_under("submit_html")
    assert isinstance(seen, Answer)
    assert (seen.status, accepted, unclear) == (200, 0, 1)
    assert seen.headers["content-type"].startswith("text/html")
    assert seen.body.startswith(b"<!DOCTYPE html>")


def test_submit_cut_json_is_accepted_but_does_not_parse() -> None:
    seen, accepted, unclear = submit_under("submit_cut_json")
    assert isinstance(seen, Answer)
    assert (seen.status, accepted, unclear) == (200, 1, 1)
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)


def test_submit_cut_body_is_accepted_but_the_connection_closes() -> None:
    seen, accepted, unclear = submit_under("submit_cut_body")
    assert isinstance(seen, http.client.IncompleteRead)
    assert (accepted, unclear) == (1, 1)


@pytest.mark.parametrize(
    ("knob", "accepted", "unclear"),
    [
        ("submit_reset_before", 0, 1),
        ("submit_reset_after", 0, 1),
        ("submit_accepted_then_reset", 1, 1),
        ("submit_refused", 0, 0),
    ],
)
def test_submit_resets_are_resets(knob: str, accepted: int, unclear: int) -> None:
    seen = submit_under(knob)
    assert type(seen[0]) is ConnectionResetError  # RemoteDisconnected, a mere close, is a subclass
    assert seen[1:] == (accepted, unclear)


def test_submit_accepted_then_error_answers_500_and_keeps_the_task() -> None:
    seen, accepted, unclear = submit_under("submit_accepted_then_error")
    assert isinstance(seen, Answer)
    assert (seen.status, accepted, unclear) == (500, 1, 1)


def test_submit_slow_answers_after_its_seconds() -> None:
    start = time.monotonic()
    seen, accepted, unclear = submit_under("submit_slow", slow_seconds=0.4)
    assert isinstance(seen, Answer)
    assert (seen.status, accepted, unclear) == (200, 1, 0)
    assert 0.4 <= time.monotonic() - start < 3


def test_submit_slow_outlasts_a_client_s_time_out() -> None:
    seen, accepted, _ = submit_under("submit_slow", slow_seconds=30, timeout=0.3)
    assert isinstance(seen, TimeoutError)
    assert accepted == 1


@pytest.mark.parametrize(
    ("knob", "retry_after"), [("submit_throttled", "7"), ("submit_throttled_bare", None)]
)
def test_submit_throttled_is_429(knob: str, retry_after: str | None) -> None:
    seen, accepted, unclear = submit_under(knob, retry_after_seconds=7)
    assert isinstance(seen, Answer)
    assert (seen.status, seen.headers.get("retry-after")) == (429, retry_after)
    assert (accepted, unclear) == (0, 0)


# --- polls


def poll_under(knob: str, **more: object) -> tuple[Answer | Exception, int]:
    """The client's view of one poll of a finished task under a fault, and final answers told."""
    knobs = SimulatorKnobs(render_seconds=0).replaced({knob: 1.0, **more})
    with running_simulator(knobs) as simulator:
        task_id = submit_sora(simulator.base_url)
        seen: Answer | Exception
        try:
            seen = poll(simulator.base_url, task_id)
        except (OSError, http.client.HTTPException) as error:
            seen = error
        report = simulator.report()
    assert report.faults == {knob: 1}
    return seen, report.deliveries


@pytest.mark.parametrize("knob", ["poll_reset_before", "poll_reset_after", "poll_refused"])
def test_poll_resets_are_resets(knob: str) -> None:
    seen, told = poll_under(knob)
    assert type(seen) is ConnectionResetError
    assert told == 0


def test_poll_cut_body_closes_within_the_body() -> None:
    seen, told = poll_under("poll_cut_body")
    assert isinstance(seen, http.client.IncompleteRead)
    assert told == 0


def test_poll_cut_json_does_not_parse() -> None:
    seen, told = poll_under("poll_cut_json")
    assert isinstance(seen, Answer)
    assert (seen.status, told) == (200, 0)
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)


@pytest.mark.parametrize(
    ("knob", "statuses"),
    [
        ("poll_server_error", range(500, 600)),
        ("poll_html", [200]),
        ("poll_throttled", [429]),
        ("poll_throttled_bare", [429]),
    ],
)
def test_poll_faults_of_status_tell_no_verdict(knob: str, statuses: Any) -> None:
    seen, told = poll_under(knob)
    assert isinstance(seen, Answer)
    assert seen.status in statuses
    assert (b"<html" in seen.body) or knob != "poll_html"
    assert ("retry-after" in seen.headers) == (knob == "poll_throttled")
    assert told == 0


def test_poll_unknown_status_is_a_word_outside_the_protocol() -> None:
    seen, told = poll_under("poll_unknown_status")
    assert isinstance(seen, Answer)
    assert seen.json["data"]["status"] not in ("running", "succeeded", "failed")
    assert told == 0


def test_poll_backwards_says_running_until_a_final_answer_was_told() -> None:
    seen, told = poll_under("poll_backwards")
    assert isinstance(seen, Answer)
    assert (seen.json["data"]["status"], told) == ("running", 0)
    with running_simulator(SimulatorKnobs(render_seconds=0)) as simulator:
        task_id = submit_sora(simulator.base_url)
        assert poll(simulator.base_url, task_id).json["data"]["status"] == "succeeded"
        simulator.use(SimulatorKnobs(poll_backwards=1))
        assert poll(simulator.base_url, task_id).json["data"]["status"] == "succeeded"


def test_poll_backwards_lowers_the_progress() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=1, sora_render_sigma=0)) as simulator:
        task_id = submit_sora(simulator.base_url)
        time.sleep(0.4)
        before = poll(simulator.base_url, task_id).json["data"]["progress"]
        simulator.use(SimulatorKnobs(poll_backwards=1))
        assert poll(simulator.base_url, task_id).json["data"]["progress"] < before


def test_poll_progress_missing_leaves_out_progress_while_running() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=60, poll_progress_missing=1)) as simulator:
        data = poll(simulator.base_url, submit_sora(simulator.base_url)).json["data"]
        assert data["status"] == "running"
        assert "progress" not in data


def test_poll_slow_answers_after_its_seconds_and_tells_the_verdict() -> None:
    start = time.monotonic()
    seen, told = poll_under("poll_slow", slow_seconds=0.3)
    assert isinstance(seen, Answer)
    assert (seen.json["data"]["status"], told) == ("succeeded", 1)
    assert time.monotonic() - start >= 0.3


def test_polls_in_one_second_are_limited() -> None:
    with running_simulator(SimulatorKnobs(polls_per_second_max=2)) as simulator:
        task_id = submit_sora(simulator.base_url)
        statuses = [poll(simulator.base_url, task_id).status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        assert simulator.report().faults == {"poll_rate_limit": 2}


# --- the account, outages, latency


def test_a_wrong_key_is_401_for_submits_and_polls_of_both_generations() -> None:
    with running_simulator(SimulatorKnobs(api_key="sk-right")) as simulator:
        wrong, right = {"authorization": "Bearer sk-wrong"}, {"authorization": "Bearer sk-right"}
        for path, body in ((SORA, sora_body()), (RESULT, {"id": "x"}), (GENERATE, minimax_body())):
            assert call(simulator.base_url, "POST", path, body, headers=wrong).status == 401
            assert call(simulator.base_url, "POST", path, body).status == 401
            assert call(simulator.base_url, "POST", path, body, headers=right).status == 200
        report = simulator.report()
    assert (report.accepted, report.faults) == (2, {"unauthorised": 6})


@pytest.mark.parametrize("kind", ["server_error", "reset", "refused", "hang"])
def test_in_an_outage_every_request_fails_and_then_all_is_well(kind: str) -> None:
    knobs = SimulatorKnobs(outage_start_seconds=0, outage_seconds=1.0, outage_kind=kind)
    with running_simulator(knobs) as simulator:
        start = time.monotonic()
        try:
            assert sora(simulator.base_url, timeout=0.3).status == 503
            assert kind == "server_error"
        except ConnectionResetError:
            assert kind in ("reset", "refused")
        except TimeoutError:
            assert kind == "hang"
        time.sleep(max(0.0, 1.1 - (time.monotonic() - start)))
        assert sora(simulator.base_url).json["code"] == 0
        assert simulator.report().faults == {"outage": 1}


def test_latency_lies_between_its_knobs() -> None:
    knobs = SimulatorKnobs(latency_min_seconds=0.1, latency_max_seconds=0.2)
    with running_simulator(knobs) as simulator:
        for number in range(5):
            start = time.monotonic()
            sora(simulator.base_url, f"p{number}")
            assert 0.09 <= time.monotonic() - start < 1.0


# --- the report against a client's own count


def test_the_report_counts_what_a_client_saw_in_a_storm() -> None:
    knobs = parse_knobs(["render_seconds=0.2", "slow_seconds=0.05"], PRESETS["stormy"])
    seen: Counter[str] = Counter()
    finals: dict[str, str] = {}
    with running_simulator(knobs) as simulator:
        base_url = simulator.base_url
        ids = []
        for number in range(150):
            try:
                answer = sora(base_url, f"p{number}")
                code = answer.json.get("code") if answer.status == 200 else None
                seen[f"http {answer.status}"] += 1
                seen["rejected"] += code not in (None, 0)
                if code == 0:
                    ids.append(answer.json["data"]["id"])
            except ConnectionResetError:
                seen["reset"] += 1
            except (http.client.IncompleteRead, json.JSONDecodeError):
                seen["broken"] += 1
        deadline = time.monotonic() + 30
        while len(finals) < len(ids) and time.monotonic() < deadline:
            for task_id in ids:
                if task_id not in finals and (final := final_seen(base_url, task_id)):
                    finals[task_id] = final
        report = simulator.report()
    assert len(ids) == report.accepted - report.accepted_unanswered
    assert seen["rejected"] == report.submits_refused.get("prompt", 0)
    resets = ("reset_before", "reset_after", "accepted_then_reset", "refused")
    assert seen["reset"] == sum(report.faults.get(f"submit_{name}", 0) for name in resets)
    assert seen["http 429"] == sum(
        report.faults.get(f"submit_{name}", 0) for name in ("throttled", "throttled_bare")
    )
    assert Counter(finals.values())["delivered"] == report.deliveries
    assert Counter(finals.values())["failed"] == report.failures_total
    assert len(finals) == len(ids)


def final_seen(base_url: str, task_id: str) -> str | None:
    """What the poll contract makes of one poll: delivered, failed, or None for no verdict."""
    try:
        answer = poll(base_url, task_id)
        if answer.status != 200:
            return None
        body = answer.json
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    if body["code"] != 0:
        return "failed"
    status = body["data"]["status"]
    if status == "succeeded":
        return "delivered" if body["data"].get("results") else "failed"
    return "failed" if status == "failed" else None
