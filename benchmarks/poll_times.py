"""Learned poll times against the fixed ladder: how late a video's end is noticed, for how many polls.

Everything is simulated with fixed seeds, so the numbers are the same on every machine, except those of
the section on cost. `docs/poll-times.md` explains them.
"""

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import _poll_picture as picture
from benchmarks._poll_simulation import (
    MODEL,
    Noticed,
    RenderTime,
    Reporter,
    Score,
    lag_at,
    learned_schedule,
    optimum,
    planned_score,
    poisson_arrivals,
    render_times,
    score,
    simulate,
)
from benchmarks._queue_simulation import Workload, bursts, rendered, reporters, together
from benchmarks.report import write_section
from rushes.domain.polling.learned_schedule import LAG_SECONDS_PER_POLL
from rushes.domain.polling.schedule import LadderSchedule, PollBudget, PollSchedule

PICTURE_PATH = Path(__file__).resolve().parent.parent / "docs" / "images" / "poll-times.svg"

TASKS = 4000
TASKS_PER_SECOND = 0.3
LAGS_PER_POLL = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.5, 5.0)

SORA = RenderTime(90.0, 0.4)
VEO = RenderTime(400.0, 0.35)
VEO_STEADY = RenderTime(400.0, 0.15)
QUEUED = RenderTime(90.0, 0.3)
DISTRIBUTIONS = {"90 s, sigma 0.4": SORA, "400 s, sigma 0.35": VEO, "400 s, sigma 0.15": VEO_STEADY}

SHIFT_RUNS = 24
SHIFT_BEFORE = 600
SHIFT_AFTER = 1100
SHIFT_RATIO_MAX = 1.25
SHIFT_TASKS_MAX = 200

PROGRESS_RATIO_MAX = 0.6

QUEUE_RUNS = 4
QUEUE_TASKS = 1800
QUEUES = {
    "300 at once, 20 rendered at a time": (bursts(QUEUE_TASKS, size=300, every_seconds=2500.0), 20),
    "100 at once, 20 rendered at a time": (bursts(QUEUE_TASKS, size=100, every_seconds=1200.0), 20),
    "0.3 a second, 28 rendered at a time": (
        poisson_arrivals(QUEUE_TASKS, per_second=TASKS_PER_SECOND, seed=13),
        28,
    ),
}
QUEUE_STEP_SECONDS = 4.0


def run() -> None:
    """Print the tables, write the section `poll_times` of the report and the picture."""
    curves = {name: _curve(distribution) for name, distribution in DISTRIBUTIONS.items()}
    shift = _shift()
    data = {
        "curves": curves,
        "targets": _targets(curves, shift),
        "shift": shift,
        "progress": _progress(),
        "queues": _queues(),
        "surprises": _surprises(),
        "short_budget": _short_budget(),
        "cost": _cost(),
    }
    write_section("poll_times", data)
    PICTURE_PATH.parent.mkdir(parents=True, exist_ok=True)
    PICTURE_PATH.write_text(picture.draw(curves, default_lag_seconds_per_poll=LAG_SECONDS_PER_POLL), "utf-8")
    print(f"\npicture: {PICTURE_PATH.relative_to(PICTURE_PATH.parents[2])}")


# --- lag against polls --------------------------------------------------------------------------------


def _curve(distribution: RenderTime) -> dict[str, Any]:
    """Ladder, fixed intervals, learned schedules and the exact optimum for one distribution."""
    sent = poisson_arrivals(TASKS, per_second=TASKS_PER_SECOND, seed=1)
    seconds = render_times([(TASKS, distribution)], seed=2)

    def run_with(schedule: PollSchedule, reporter: Reporter | None = None) -> Score:
        return score(simulate(schedule, sent_at=sent, render_seconds=seconds, reporter=reporter))

    typical = distribution.median_seconds
    ladder = run_with(LadderSchedule(1, 30))
    fixed = {d: run_with(LadderSchedule(d, d)) for d in (5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0)}
    learned, informed, best, planned = {}, {}, {}, {}
    for c in LAGS_PER_POLL:
        learned[c] = run_with(learned_schedule(typical, lag_seconds_per_poll=c))
        informed[c] = run_with(learned_schedule(typical, lag_seconds_per_poll=c), _true)
        planned[c] = planned_score(learned_schedule(typical, lag_seconds_per_poll=c), distribution)
        best[c] = optimum(
            distribution,
            lag_seconds_per_poll=c,
            step_seconds=distribution.median_seconds / 150,
            horizon_seconds=distribution.median_seconds * math.exp(4 * distribution.sigma),
        )
    print(f"\nmedian {typical:.0f} s, sigma {distribution.sigma:g}: {TASKS} tasks, means per task")
    print("  schedule                   lag s   polls    lag/ladder   polls/ladder")
    _print_row("ladder 5/5/15/15/30", ladder, ladder)
    for c in LAGS_PER_POLL:
        _print_row(f"learned, c = {c:g} s", learned[c], ladder)
    for c in LAGS_PER_POLL:
        _print_row(f"exact optimum, c = {c:g} s", best[c], ladder)
    for c in LAGS_PER_POLL:
        _print_row(f"catalogue only, c = {c:g} s", planned[c], ladder)
    for c in LAGS_PER_POLL:
        _print_row(f"true progress, c = {c:g} s", informed[c], ladder)
    return {
        "ladder": ladder._asdict(),
        "fixed": _points(fixed),
        "learned": _points(learned),
        "informed": _points(informed),
        "unlearned": _points(planned),
        "optimum": _points(best),
    }


def _points(scores: Mapping[float, Score]) -> list[dict[str, float]]:
    return [{"parameter": parameter, **points._asdict()} for parameter, points in scores.items()]


def _print_row(name: str, row: Score, ladder: Score, more: str = "") -> None:
    ratios = f"{row.lag_seconds / ladder.lag_seconds:12.3f} {row.polls / ladder.polls:14.3f}"
    print(f"  {name:24} {row.lag_seconds:7.2f} {row.polls:7.2f} {ratios}{more}")


# --- the targets --------------------------------------------------------------------------------------


def _targets(curves: Mapping[str, Any], shift: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The targets, each at one c that was chosen once and for all, not searched for."""
    rows: list[dict[str, Any]] = []
    for name, c, limits in (
        ("90 s, sigma 0.4", 1.0, {"lag": 0.4, "polls": 1.0}),
        ("400 s, sigma 0.35", 2.0, {"lag": 1.0, "polls": 0.5}),
        ("400 s, sigma 0.15", 3.5, {"lag": 1.0, "polls": 0.3}),
    ):
        ladder = curves[name]["ladder"]
        learned = next(point for point in curves[name]["learned"] if point["parameter"] == c)
        lag = learned["lag_seconds"] / ladder["lag_seconds"]
        polls = learned["polls"] / ladder["polls"]
        rows.append(
            {
                "distribution": name,
                "lag_seconds_per_poll": c,
                "lag_ratio": lag,
                "lag_ratio_max": limits["lag"],
                "polls_ratio": polls,
                "polls_ratio_max": limits["polls"],
                "met": lag <= limits["lag"] and polls <= limits["polls"],
            }
        )
    rows.append(
        {
            "distribution": "90 s, sigma 0.4, median doubles",
            "lag_seconds_per_poll": LAG_SECONDS_PER_POLL,
            "recovered_after_tasks": shift["recovered_after_tasks"],
            "recovered_after_tasks_max": SHIFT_TASKS_MAX,
            "met": shift["recovered_after_tasks"] <= SHIFT_TASKS_MAX,
        }
    )
    rows += _progress_targets(curves)
    print("\ntargets (ratios to the ladder, over whole runs: the first task of each run included)")
    for row in rows:
        if "optimum_ratio" in row:
            text = (
                f"true progress: lag {row['optimum_ratio']:.3f} of the best by age alone at equal polls"
                f" (at most {PROGRESS_RATIO_MAX:g})"
            )
        elif "lag_ratio" in row:
            text = (
                f"lag {row['lag_ratio']:.3f} (at most {row['lag_ratio_max']:g}),"
                f" polls {row['polls_ratio']:.3f} (at most {row['polls_ratio_max']:g})"
            )
        else:
            text = (
                f"recovered after {row['recovered_after_tasks']} finished tasks (at most {SHIFT_TASKS_MAX})"
            )
        verdict = "met" if row["met"] else "MISSED"
        print(f"  {row['distribution']:32} c = {row['lag_seconds_per_poll']:<4g} {text}: {verdict}")
    return rows


def _progress_targets(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """With true progress: the lag, to that of the exact optimum of schedules that know only the age, but know
    the distribution, at the same number of polls."""
    rows = []
    for name, curve in curves.items():
        best = [Score(point["lag_seconds"], point["polls"]) for point in curve["optimum"]]
        told = next(p for p in curve["informed"] if p["parameter"] == LAG_SECONDS_PER_POLL)
        ratio = told["lag_seconds"] / lag_at(best, told["polls"])
        rows.append(
            {
                "distribution": name,
                "lag_seconds_per_poll": LAG_SECONDS_PER_POLL,
                "optimum_ratio": ratio,
                "optimum_ratio_max": PROGRESS_RATIO_MAX,
                "met": ratio <= PROGRESS_RATIO_MAX,
            }
        )
    return rows


def _shift() -> dict[str, Any]:
    """The median doubles: how lag and polls of the tasks sent since then come back to their new normal.

    Tasks are counted in the order in which they were noticed, from the change on, and averaged over
    `SHIFT_RUNS` runs. Recovered means: from there on no window of 25 has a mean lag or mean polls above
    `SHIFT_RATIO_MAX` times the steady state's, which is taken from the 700th task on.
    """
    doubled = RenderTime(2 * SORA.median_seconds, SORA.sigma)
    runs: list[list[Noticed]] = []
    for seed in range(SHIFT_RUNS):
        count = SHIFT_BEFORE + SHIFT_AFTER
        noticed = simulate(
            learned_schedule(SORA.median_seconds, lag_seconds_per_poll=LAG_SECONDS_PER_POLL),
            sent_at=poisson_arrivals(count, per_second=TASKS_PER_SECOND, seed=100 + seed),
            render_seconds=render_times([(SHIFT_BEFORE, SORA), (SHIFT_AFTER, doubled)], seed=200 + seed),
        )
        runs.append([task for task in noticed if task.number >= SHIFT_BEFORE])

    def window(start: int, stop: int) -> Score:
        return score([task for run in runs for task in run[start:stop]])

    steady = window(700, 1000)
    windows = []
    recovered_after = 0
    for start in range(0, 500, 25):
        here = window(start, start + 25)
        lag, polls = here.lag_seconds / steady.lag_seconds, here.polls / steady.polls
        if max(lag, polls) > SHIFT_RATIO_MAX:
            recovered_after = start + 25
        windows.append(
            {"from": start, "to": start + 25, **here._asdict(), "lag_ratio": lag, "polls_ratio": polls}
        )
    print(f"\nmedian doubles from 90 s to 180 s, c = {LAG_SECONDS_PER_POLL:g}, {SHIFT_RUNS} runs")
    print(f"  steady state afterwards: lag {steady.lag_seconds:.2f} s, polls {steady.polls:.2f}")
    print("  finished tasks since      lag s   polls    lag/steady   polls/steady")
    for row in windows[:12]:
        _print_row(f"{row['from'] + 1}..{row['to']}", Score(row["lag_seconds"], row["polls"]), steady)
    return {"steady": steady._asdict(), "windows": windows, "recovered_after_tasks": recovered_after}


# --- reported progress --------------------------------------------------------------------------------


def _true(age: float, render_seconds: float, _number: int) -> int | None:
    return min(99, int(100 * age / render_seconds))


def _rough(age: float, render_seconds: float, number: int) -> int | None:
    believed = render_seconds * math.exp(0.15 * math.sin(12.9898 * number) * math.sqrt(2))
    return min(99, int(100 * age / believed))


def _invented(age: float, _render_seconds: float, _number: int) -> int | None:
    return int(99 * (1 - math.exp(-age / 60)))


def _stuck(age: float, render_seconds: float, _number: int) -> int | None:
    return min(99, int(200 * age / render_seconds))


def _jumping(_age: float, _render_seconds: float, _number: int) -> int | None:
    return 0


REPORTERS: Mapping[str, Reporter | None] = {
    "none reported": None,
    "true to the time left": _true,
    "true within 15 %": _rough,
    "a curve of the age alone": _invented,
    "at 99 from half time on": _stuck,
    "0 until it is done": _jumping,
}


def _progress() -> dict[str, Any]:
    """What reported progress of several kinds does to lag and polls."""
    results: dict[str, Any] = {}
    for name, distribution in (("90 s, sigma 0.4", SORA), ("400 s, sigma 0.35", VEO)):
        sent = poisson_arrivals(TASKS // 2, per_second=TASKS_PER_SECOND, seed=3)
        seconds = render_times([(TASKS // 2, distribution)], seed=4)
        print(f"\nreported progress, {name}, c = {LAG_SECONDS_PER_POLL:g}, {TASKS // 2} tasks")
        print("  progress                   lag s   polls     lag/none     polls/none")
        scores: dict[str, Score] = {}
        for kind, reporter in REPORTERS.items():
            schedule = learned_schedule(
                distribution.median_seconds, lag_seconds_per_poll=LAG_SECONDS_PER_POLL
            )
            scores[kind] = score(simulate(schedule, sent_at=sent, render_seconds=seconds, reporter=reporter))
            _print_row(kind, scores[kind], scores["none reported"])
        results[name] = {kind: row._asdict() for kind, row in scores.items()}
    return results


# --- reported queues ----------------------------------------------------------------------------------


def _queues() -> dict[str, Any]:
    """What a reported place in the queue of several kinds does to lag and polls, and to the lag that the best
    schedule by age alone has at as many polls."""
    results: dict[str, Any] = {}
    for name, (sent, at_once) in QUEUES.items():
        works = [rendered(sent, QUEUED, at_once=at_once, seed=20 + run) for run in range(QUEUE_RUNS)]
        every = together(works)
        best = [
            optimum(
                every,
                lag_seconds_per_poll=c,
                step_seconds=QUEUE_STEP_SECONDS,
                horizon_seconds=max(every.total_seconds) + 2 * QUEUE_STEP_SECONDS,
            )
            for c in LAGS_PER_POLL
        ]
        print(f"\nreported queue, {name}: mean wait {every.wait_seconds:.0f} s, c = {LAG_SECONDS_PER_POLL:g}")
        print("  what is reported           lag s   polls     lag/none     polls/none   lag/best by age")
        rows: dict[str, dict[str, float]] = {}
        none: Score | None = None
        for kind in reporters(every):
            row = score([task for work in works for task in _queued(work, kind)])
            none = none or row
            ratio = row.lag_seconds / lag_at(best, row.polls)
            _print_row(kind, row, none, f"{ratio:18.3f}")
            rows[kind] = {**row._asdict(), "optimum_ratio": ratio}
        results[name] = {"wait_seconds": every.wait_seconds, "reported": rows}
    return results


def _queued(work: Workload, kind: str) -> list[Noticed]:
    return simulate(
        learned_schedule(QUEUED.median_seconds, lag_seconds_per_poll=LAG_SECONDS_PER_POLL),
        sent_at=work.sent_at,
        render_seconds=work.total_seconds,
        queue=reporters(work)[kind],
    )


# --- where it could go wrong --------------------------------------------------------------------------


def _surprises() -> dict[str, Any]:
    """A catalogue that is wrong, and tasks that come in bursts and end in the order of their times."""
    print(f"\nsurprises, c = {LAG_SECONDS_PER_POLL:g}: means over the tasks, in the order of their ends")
    results: dict[str, Any] = {}
    for factor in (0.25, 4.0):
        sent = poisson_arrivals(1000, per_second=TASKS_PER_SECOND, seed=5)
        seconds = render_times([(1000, VEO)], seed=6)
        noticed = simulate(
            learned_schedule(VEO.median_seconds * factor, lag_seconds_per_poll=LAG_SECONDS_PER_POLL),
            sent_at=sent,
            render_seconds=seconds,
        )
        title = f"400 s, but the catalogue says {VEO.median_seconds * factor:.0f} s"
        results[title] = _print_parts(title, noticed, (50, 100, 200, 500, 1000))
    seconds = render_times([(3000, VEO)], seed=7)
    sent = [5000.0 * (number // 1000) + 0.05 * (number % 1000) for number in range(3000)]
    noticed = simulate(
        learned_schedule(VEO.median_seconds, lag_seconds_per_poll=LAG_SECONDS_PER_POLL),
        sent_at=sent,
        render_seconds=seconds,
    )
    title = "400 s, sent in three bursts of 1000"
    results[title] = _print_parts(title, noticed, (1000, 2000, 3000))
    return results


def _print_parts(title: str, noticed: list[Noticed], stops: Iterable[int]) -> list[dict[str, float]]:
    print(f"  {title}")
    rows, start = [], 0
    for stop in stops:
        part = score(noticed[start:stop])
        print(f"    {start + 1:5}..{stop:<5} lag {part.lag_seconds:6.2f} s, polls {part.polls:6.2f}")
        rows.append({"from": start, "to": stop, **part._asdict()})
        start = stop
    return rows


def _short_budget() -> list[dict[str, float | str]]:
    """Half and a quarter of the polls that would be asked for: what is made of them."""
    sent = poisson_arrivals(TASKS, per_second=TASKS_PER_SECOND, seed=10)
    seconds = render_times([(TASKS, VEO)], seed=11)
    duration_seconds = sent[-1] - sent[0] + VEO.median_seconds
    rows: list[dict[str, float | str]] = []
    print("\nshort budget, 400 s, sigma 0.35: polls are thinned out to the limit, none is made to wait")
    print("  schedule                 limit/s   made/s     lag s   polls")
    for limit in (None, 1.6, 0.8):
        schedules: tuple[tuple[str, PollSchedule], ...] = (
            ("ladder", LadderSchedule(1, 30)),
            ("learned", learned_schedule(400.0, lag_seconds_per_poll=LAG_SECONDS_PER_POLL)),
        )
        for name, schedule in schedules:
            budget = PollBudget(limit)
            row = score(simulate(schedule, sent_at=sent, render_seconds=seconds, budget=budget))
            made = row.polls * TASKS / duration_seconds
            shown = "none" if limit is None else f"{limit:g}"
            print(f"  {name:24} {shown:>7} {made:8.2f} {row.lag_seconds:9.2f} {row.polls:7.2f}")
            rows.append({"schedule": name, "limit": limit or 0.0, "made_per_second": made, **row._asdict()})
    return rows


# --- cost ---------------------------------------------------------------------------------------------


def _cost() -> dict[str, float]:
    """Microseconds of processor time: the choice of one poll time, and all of the learning, each per poll."""
    schedule = learned_schedule(SORA.median_seconds, lag_seconds_per_poll=LAG_SECONDS_PER_POLL)
    simulate(
        schedule,
        sent_at=poisson_arrivals(1000, per_second=TASKS_PER_SECOND, seed=8),
        render_seconds=render_times([(1000, SORA)], seed=9),
    )
    ages = [40.0 + i % 100 for i in range(50_000)]
    started = time.process_time()
    for age in ages:
        schedule.next_delay_seconds(model=MODEL, age_seconds=age, polls=3, progress=None, overdue=False)
    choosing = time.process_time() - started
    started = time.process_time()
    for age in ages:
        if age < 130:
            schedule.saw_running(model=MODEL, after_seconds=age - 8, by_seconds=age)
        else:
            schedule.saw_end(model=MODEL, after_seconds=age - 8, by_seconds=age)
    learning = time.process_time() - started
    cost = {
        "choose_us_per_poll": choosing / len(ages) * 1e6,
        "learn_us_per_poll": learning / len(ages) * 1e6,
    }
    print(
        f"\ncost on this machine: {cost['choose_us_per_poll']:.1f} us to choose a poll time,"
        f" {cost['learn_us_per_poll']:.1f} us to learn from a poll"
    )
    return cost
