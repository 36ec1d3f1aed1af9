"""The core: fates from the seed alone, every outcome in both protocols, counts that add up."""

import random
from collections import Counter
from typing import Any

import pytest

from rushes.simulator import (
    PRESETS,
    Outcome,
    SimRequest,
    SimulatorCore,
    SimulatorKnobs,
    SimulatorReport,
)
from tests.simulator.simulator_client import (
    GENERATE,
    RESULT,
    SORA,
    UNIFIED_RESULT,
    VEO,
    core_call,
    core_poll,
    core_submit,
    minimax_body,
    sora_body,
    veo_body,
)

PROMPTS = [f"prompt {number % 60}" for number in range(100)]  # 40 of them come twice


def fates(report: SimulatorReport) -> list[tuple[str, int, str, str, float | None]]:
    assert report.tasks is not None
    return sorted((t.prompt, t.ordinal, t.id, t.fate, t.finished_at) for t in report.tasks)


def run_prompts(prompts: list[str], knobs: SimulatorKnobs) -> SimulatorReport:
    core = SimulatorCore(knobs)
    for prompt in prompts:
        core_submit(core, 0.0, prompt)
    return core.report(0.0)


MIXED = SimulatorKnobs(output_moderation=0.2, error=0.2, business_code=0.1)


def test_same_seed_gives_same_fates_in_any_order() -> None:
    shuffled = PROMPTS.copy()
    random.Random(1).shuffle(shuffled)
    expected = fates(run_prompts(PROMPTS, MIXED))
    assert fates(run_prompts(shuffled, MIXED)) == expected
    assert len({task_id for _, _, task_id, _, _ in expected}) == len(PROMPTS)
    assert len({fate for _, _, _, fate, _ in expected}) == 4


def test_another_seed_gives_other_fates_and_ids() -> None:
    one, two = run_prompts(PROMPTS, MIXED), run_prompts(PROMPTS, MIXED.replaced({"seed": 8}))
    assert fates(one) != fates(two)
    assert one.tasks is not None
    assert two.tasks is not None
    assert {t.id for t in one.tasks}.isdisjoint({t.id for t in two.tasks})


def test_poll_faults_of_a_task_do_not_depend_on_other_tasks() -> None:
    knobs = SimulatorKnobs(time_scale=1, poll_unknown_status=0.3, poll_server_error=0.3)

    def answers(*, crowd: int) -> list[tuple[int, bytes]]:
        core = SimulatorCore(knobs)
        task_id = core_submit(core, 0.0, "watched")
        others = [core_submit(core, 0.0, f"other {n}") for n in range(crowd)]
        seen = []
        for number in range(40):
            for other in others:
                core.handle(SimRequest("POST", RESULT, body=f'{{"id":"{other}"}}'.encode()), float(number))
            response = core.handle(
                SimRequest("POST", RESULT, body=f'{{"id":"{task_id}"}}'.encode()), float(number)
            )
            seen.append((response.status, response.body))
        return seen

    alone = answers(crowd=0)
    assert answers(crowd=5) == alone
    assert {status for status, _ in alone} >= {200, 500}


def test_render_times_are_log_normal_around_the_median_of_each_family() -> None:
    core = SimulatorCore(SimulatorKnobs(time_scale=1))
    for number in range(400):
        core_call(core, 0.0, "POST", SORA, sora_body(f"s{number}"))
        core_call(core, 0.0, "POST", VEO, veo_body(f"f{number}"))
        core_call(core, 0.0, "POST", VEO, veo_body(f"p{number}", "veo3.1-pro"))
        core_call(core, 0.0, "POST", GENERATE, minimax_body(f"m{number}"))
    tasks = core.report(0.0).tasks
    assert tasks is not None
    for model, median in {"sora-2": 90, "veo3.1-fast": 330, "veo3.1-pro": 420, "minimax-h3": 210}.items():
        times = sorted(t.finished_at or 0 for t in tasks if t.model == model)
        assert len(times) == 400
        assert times[200] == pytest.approx(median, rel=0.1)
        assert times[20] < 0.75 * median < 1.3 * median < times[380]


def test_render_seconds_overrides_every_family_and_time_scale_scales() -> None:
    flat = SimulatorKnobs(render_seconds=2, sora_render_sigma=0)
    scaled = SimulatorKnobs(time_scale=0.5, sora_render_sigma=0)
    for knobs, expected in ((flat, 2.0), (scaled, 45.0)):
        core = SimulatorCore(knobs, started_at=0.0)
        task_id = core_submit(core, 10.0, "a")
        assert core_poll(core, 10.0 + expected - 0.01, task_id)["data"]["status"] == "running"
        assert core_poll(core, 10.0 + expected + 0.01, task_id)["data"]["status"] == "succeeded"


def outcome_answers(outcome: str, count: int = 40) -> tuple[list[Any], list[Any], SimulatorReport]:
    """Final answers of generation 1 (Sora and Veo by turns) and generation 2, all with this outcome."""
    core = SimulatorCore(SimulatorKnobs(render_seconds=1).replaced({outcome: 1.0}))
    one, two = [], []
    for number in range(count):
        path, body = ((SORA, sora_body), (VEO, veo_body))[number % 2]
        task_id = core_call(core, 0.0, "POST", path, body(f"p{number}"))["data"]["id"]
        one.append(core_poll(core, 100.0, task_id))
        task_id = core_call(core, 0.0, "POST", GENERATE, minimax_body(f"p{number}"))["id"]
        two.append(core_call(core, 100.0, "GET", f"{UNIFIED_RESULT}?id={task_id}"))
    return one, two, core.report(100.0)


@pytest.mark.parametrize("outcome", ["output_moderation", "input_moderation", "error"])
def test_failed_tasks_carry_their_failure_reason(outcome: str) -> None:
    one, two, report = outcome_answers(outcome)
    for data in [answer["data"] for answer in one] + two:
        assert (data["status"], data["failure_reason"]) == ("failed", outcome)
        assert not data.get("url")
        assert not data.get("results")
    if outcome == "error":
        assert len({answer["data"]["error"] for answer in one}) >= 3
    assert report.failures == {outcome: 80}
    assert report.deliveries == 0


def test_violation_is_said_by_generation_2_only() -> None:
    one, two, report = outcome_answers("violation")
    assert {answer["data"]["status"] for answer in one} == {"succeeded"}
    assert {answer["status"] for answer in two} == {"violation"}
    assert report.failures == {"violation": 40}
    assert report.deliveries == 40


def test_business_code_at_poll_is_neither_0_nor_forgotten() -> None:
    one, two, report = outcome_answers("business_code")
    assert all(answer["code"] not in (0, -22) for answer in one + two)
    assert {"data" in answer for answer in one} == {True, False}
    assert all(answer.get("data") is None for answer in one)
    assert "" in {answer["msg"] for answer in one}
    assert report.failures == {"business_code": 80}


def test_forgotten_tasks_answer_minus_22() -> None:
    one, two, report = outcome_answers("forgotten")
    assert {answer["code"] for answer in one + two} == {-22}
    assert report.failures == {"forgotten": 80}


def test_success_without_url_has_no_url_in_any_spelling() -> None:
    one, two, report = outcome_answers("succeeded_without_url")
    for data in [answer["data"] for answer in one] + two:
        assert data["status"] == "succeeded"
        assert not data.get("url")
        assert not data.get("results")
    sora = [answer["data"] for answer in one[::2]]
    assert {str(data.get("results", "absent")) for data in sora} == {"absent", "None", "[]"}
    assert report.failures == {"succeeded_without_url": 80}


def test_failure_without_reason_says_nothing() -> None:
    one, two, report = outcome_answers("failed_without_reason")
    for data in [answer["data"] for answer in one] + two:
        assert data["status"] == "failed"
        assert not data.get("failure_reason")
        assert not data.get("error")
    assert {"error" in answer["data"] for answer in one} == {True, False}
    assert report.failures == {"failed_without_reason": 80}


def test_stuck_tasks_never_end() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=1, stuck=1))
    task_id = core_submit(core, 0.0, "a")
    data = core_poll(core, 1e6, task_id)["data"]
    assert (data["status"], data["progress"]) == ("running", 99)
    report = core.report(1e6)
    assert report.tasks is not None
    assert report.tasks[0].finished_at is None
    assert (report.tasks_running, report.tasks_unseen) == (1, 1)


def test_finished_tasks_are_forgotten_after_a_while() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=1, sora_render_sigma=0, forget_after_seconds=60))
    seen, unseen = core_submit(core, 0.0, "a"), core_submit(core, 0.0, "b")
    assert core_poll(core, 60.0, seen)["code"] == 0
    assert core_poll(core, 62.0, seen)["code"] == -22
    assert core_poll(core, 62.0, unseen)["code"] == -22
    report = core.report(62.0)
    assert (report.deliveries, report.failures) == (1, {"forgotten": 1})
    assert report.polls_after_final_answer == 1


def test_outcome_shares_are_kept() -> None:
    core = SimulatorCore(SimulatorKnobs(output_moderation=0.3, error=0.1))
    for number in range(3000):
        core_submit(core, 0.0, f"p{number}")
    outcomes = core.report(0.0).outcomes
    assert outcomes["output_moderation"] == pytest.approx(900, abs=120)
    assert outcomes["error"] == pytest.approx(300, abs=80)
    assert sum(outcomes.values()) == 3000


def test_progress_rises_from_0_to_99_and_success_says_100() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=10, sora_render_sigma=0))
    task_id = core_submit(core, 0.0, "a")
    seen = [core_poll(core, float(now), task_id)["data"]["progress"] for now in range(11)]
    assert seen == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_success_names_a_file_where_each_protocol_keeps_its_url() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=1), base_url="http://files.test")
    sora = core_submit(core, 0.0, "a")
    veo = core_call(core, 0.0, "POST", VEO, veo_body())["data"]["id"]
    minimax = core_call(core, 0.0, "POST", GENERATE, minimax_body())["id"]
    data = core_poll(core, 99.0, sora)["data"]
    assert data["results"][0]["url"] == f"http://files.test/files/{sora}.mp4"
    assert isinstance(data["results"][0]["removeWatermark"], bool)
    assert isinstance(data["results"][0]["pid"], str)
    assert core_poll(core, 99.0, veo)["data"]["url"] == f"http://files.test/files/{veo}.mp4"
    unified = core_call(core, 99.0, "GET", f"{UNIFIED_RESULT}?id={minimax}")
    assert unified["results"] == [{"url": f"http://files.test/files/{minimax}.mp4"}]


def test_a_task_is_unknown_to_the_other_protocol_and_unknown_ids_are_minus_22() -> None:
    core = SimulatorCore(SimulatorKnobs())
    sora = core_submit(core, 0.0, "a")
    assert core_call(core, 0.0, "GET", f"{UNIFIED_RESULT}?id={sora}")["code"] == -22
    assert core_poll(core, 0.0, "no-such-task")["code"] == -22
    assert core.report(0.0).polls_of_unknown_tasks == 2


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (SORA, sora_body(duration="10"), "duration"),
        (SORA, sora_body(duration=12), "duration"),
        (SORA, sora_body(aspectRatio="4:3"), "aspectRatio"),
        (SORA, sora_body(prompt=""), "prompt"),
        (SORA, {"model": "sora-2", "webHook": "-1"}, "prompt"),
        (SORA, {"model": "sora-2", "prompt": "a"}, "webHook"),
        (SORA, sora_body(webHook="ftp://x"), "webHook"),
        (SORA, sora_body(surprise=1), "surprise"),
        (SORA, veo_body(), "model"),
        (VEO, veo_body(urls=["a"] * 4), "urls"),
        (GENERATE, minimax_body(replyType="stream"), "replyType"),
        (GENERATE, minimax_body(resolution="1080p", duration=11), "duration"),
        (GENERATE, minimax_body(duration=16), "duration"),
    ],
)
def test_a_submit_out_of_the_protocol_is_refused_by_field(path: str, body: object, field: str) -> None:
    core = SimulatorCore(SimulatorKnobs())
    answer = core_call(core, 0.0, "POST", path, body)
    assert field in (answer.get("msg") or answer.get("error"))
    assert answer.get("code", -1) == -1
    report = core.report(0.0)
    assert (report.accepted, report.submits, report.submits_refused) == (0, 1, {"malformed": 1})


def test_account_refusals_are_alike_and_take_no_task() -> None:
    core = SimulatorCore(SimulatorKnobs(balance_submits=2))
    answers = [core_call(core, 0.0, "POST", SORA, sora_body(f"p{n}")) for n in range(5)]
    assert [answer["code"] for answer in answers] == [0, 0, -3, -3, -3]
    assert len({answer["msg"] for answer in answers[2:]}) == 1
    core.use(SimulatorKnobs(key_disabled=True))
    assert core_call(core, 0.0, "POST", SORA, sora_body())["code"] == -2
    assert core_call(core, 0.0, "POST", GENERATE, minimax_body())["status"] == "failed"
    report = core.report(0.0)
    assert report.submits_refused == {"balance_exhausted": 3, "key_disabled": 2}
    assert report.accepted == 2


def test_refused_prompts_are_counted_and_take_no_task() -> None:
    core = SimulatorCore(SimulatorKnobs(submit_rejected=0.5))
    codes = Counter(core_call(core, 0.0, "POST", SORA, sora_body(f"p{n}"))["code"] for n in range(200))
    report = core.report(0.0)
    assert codes[-4] == report.submits_refused["prompt"] == pytest.approx(100, abs=30)
    assert report.accepted == codes[0] == 200 - codes[-4]


def test_more_submits_in_a_second_than_allowed_are_throttled() -> None:
    core = SimulatorCore(SimulatorKnobs(submits_per_second_max=3, retry_after_seconds=2))

    def submit(now: float) -> int:
        return core.handle(
            SimRequest("POST", SORA, body=b'{"model":"sora-2","prompt":"a","webHook":"-1"}'), now
        ).status

    assert [submit(now) for now in (0.0, 0.4, 0.8, 0.9, 1.1, 1.2, 1.45)] == [
        200,
        200,
        200,
        429,
        200,
        429,
        200,
    ]
    assert core.report(2.0).submits_refused == {"rate_limit": 2}


def test_memory_is_bounded_by_dropping_fetched_tasks_only() -> None:
    core = SimulatorCore(SimulatorKnobs(tasks_max=10, render_seconds=1))
    ids = [core_submit(core, 0.0, "same") for _ in range(10)]
    assert (
        core.handle(
            SimRequest("POST", SORA, body=b'{"model":"sora-2","prompt":"a","webHook":"-1"}'), 0.0
        ).status
        == 503
    )
    core_poll(core, 99.0, ids[3])
    newest = core_submit(core, 99.0, "same")
    report = core.report(99.0)
    assert (report.tasks_held, report.tasks_dropped, report.accepted) == (10, 1, 11)
    assert core_poll(core, 99.0, ids[3])["code"] == -22
    assert core_poll(core, 99.0, newest)["code"] == 0
    assert report.submits_refused == {"full": 1}


def test_lateness_and_poll_gaps_are_reported() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=10, sora_render_sigma=0), started_at=0.0)
    task_id = core_submit(core, 5.0, "a")
    for now in (6.0, 9.0, 9.5, 18.0):
        core_poll(core, now, task_id)
    report = core.report(20.0)
    assert report.lateness is not None
    assert report.lateness.max_seconds == pytest.approx(3.0)
    assert report.tasks is not None
    assert report.tasks[0].poll_gap_min_seconds == pytest.approx(0.5)
    assert (report.tasks[0].times_polled, report.tasks[0].submitted_at) == (4, 5.0)


def test_a_double_submit_shows_in_the_counts_by_submission() -> None:
    core = SimulatorCore(SimulatorKnobs())
    for url in ("http://a.test/1", "http://a.test/1", "http://a.test/2"):
        core_call(core, 0.0, "POST", SORA, sora_body("same", webHook=url))
    counts = core.report(0.0).accepted_by_submission()
    assert counts == {("sora-2", "same", "http://a.test/1"): 2, ("sora-2", "same", "http://a.test/2"): 1}


def test_stormy_replays_exactly_and_its_counts_add_up() -> None:
    def run() -> tuple[list[tuple[int, bytes]], SimulatorReport]:
        core, log, now = SimulatorCore(PRESETS["stormy"], started_at=0.0), [], 0.0
        ids = []
        for number in range(300):
            now += 0.1
            response = core.handle(
                SimRequest(
                    "POST", SORA, body=f'{{"model":"sora-2","prompt":"p{number}","webHook":"-1"}}'.encode()
                ),
                now,
            )
            log.append((response.status, response.body))
        report = core.report(now)
        assert report.tasks is not None
        ids = [task.id for task in report.tasks]
        for _ in range(25):
            now += 1.0
            for task_id in ids:
                response = core.handle(SimRequest("POST", RESULT, body=f'{{"id":"{task_id}"}}'.encode()), now)
                log.append((response.status, response.body))
        return log, core.report(now)

    (log, report), (log_again, report_again) = run(), run()
    assert log == log_again
    assert report == report_again
    assert report.deliveries + report.failures_total == report.accepted
    assert report.tasks_unseen == 0
    assert report.tasks is not None
    finals = Counter(task.final_answer for task in report.tasks)
    assert finals.pop(Outcome.SUCCEEDED.value) == report.deliveries
    assert finals == dict(report.failures)
    assert sum(not task.acceptance_answered for task in report.tasks) == report.accepted_unanswered > 0
    assert report.accepted_unanswered < report.submits_unclear


def test_a_verdict_of_fal_is_told_by_the_result_and_not_by_the_status_before_it() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=1.0))
    made = core_call(core, 0.0, "POST", "/fal-ai/veo3.1/fast", {"prompt": "a fox"})
    path = f"/fal-ai/veo3.1/requests/{made['request_id']}"
    assert core_call(core, 0.5, "GET", f"{path}/status")["status"] == "IN_PROGRESS"
    assert core_call(core, 60.0, "GET", f"{path}/status")["status"] == "COMPLETED"
    assert core.report(60.0).deliveries == 0
    assert core_call(core, 61.0, "GET", path)["video"]["url"]
    report = core.report(61.0)
    assert (report.deliveries, report.polls, report.polls_after_final_answer) == (1, 3, 0)
    assert core_call(core, 62.0, "GET", path.replace("veo3.1", "kling-video"))["detail"]
    (task,) = report.tasks or ()
    assert (task.times_polled, task.poll_gap_min_seconds) == (2, 59.5)
