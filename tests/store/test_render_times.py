"""Learned render times in the database: what several workers learn adds up, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import Connection, text

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.learned_schedule import LearnedSchedule, LearnedTimes
from rushes.domain.polling.queue import next_queue_mark, waiting_report
from rushes.domain.polling.reports import TENTHS, Mark
from rushes.store import render_times
from rushes.store.database import Database
from rushes.store.tables import schema


@pytest.fixture(autouse=True)
def _table(database: Database) -> None:
    database.run(lambda connection: schema.render_times.create(connection, checkfirst=True))


def worker() -> LearnedSchedule:
    return LearnedSchedule(1, 30, catalogue=DEFAULT_CATALOGUE)


def teach(schedule: LearnedSchedule, model: str, tasks: int, seconds: float, *, waits: bool = False) -> None:
    queue = None
    if waits:
        queue = next_queue_mark(None, task_number=1, age_seconds=seconds / 2, is_queued=True, position=3)
    for _ in range(tasks):
        schedule.saw_running(model=model, after_seconds=0, by_seconds=seconds - 10)
        mark = Mark(seconds - 10, 50, 1)
        schedule.saw_end(model=model, after_seconds=seconds - 10, by_seconds=seconds, mark=mark, queue=queue)


def save(database: Database, schedule: LearnedSchedule, *, now_ms: int = 1) -> list[LearnedTimes]:
    stored = database.run(render_times.merge, schedule.take_unsaved(), now_ms=now_ms)
    schedule.put_saved(stored)
    return stored


def counts(learned: list[LearnedTimes]) -> dict[tuple[str, str], int]:
    return {(one.provider, one.model): one.times.count for one in learned}


def test_an_empty_table_loads_as_nothing(database: Database) -> None:
    assert database.run_reading(render_times.load) == []
    assert database.run(render_times.merge, [], now_ms=1) == []


def test_a_restarted_worker_knows_what_was_learned(database: Database) -> None:
    before = worker()
    teach(before, "sora-2", 50, 40)
    save(database, before)
    after = worker()
    after.put_saved(database.run_reading(render_times.load))
    assert after.median_seconds("sora-2") == pytest.approx(before.median_seconds("sora-2"), rel=1e-3)
    assert after.median_seconds("sora-2") < 50
    assert after.take_unsaved() == []


def test_what_two_workers_learn_adds_up(database: Database) -> None:
    one, two = worker(), worker()
    teach(one, "sora-2", 30, 40)
    teach(two, "sora-2", 20, 40)
    teach(two, "veo-pro", 10, 300)
    save(database, one)
    stored = save(database, two)
    assert counts(stored) == {("grsai", "sora-2"): 50, ("grsai", "veo-pro"): 10}
    ended = next(sum(learned.times.ended) for learned in stored if learned.model == "sora-2")
    assert ended == pytest.approx(50, rel=0.15)  # a little of the older ones is forgotten
    marks = next(learned.reports.slots[5][0] for learned in stored if learned.model == "sora-2")
    assert 30 < marks <= 50
    # the first worker gets to know of the second's tasks when it saves next
    assert counts(save(database, one)) == counts(stored)
    assert one.median_seconds("veo-pro") < 350


def test_saving_again_adds_only_what_is_new(database: Database) -> None:
    schedule = worker()
    teach(schedule, "sora-2", 30, 40)
    save(database, schedule)
    teach(schedule, "sora-2", 5, 40)
    assert counts(save(database, schedule)) == {("grsai", "sora-2"): 35}
    assert counts(save(database, schedule)) == {("grsai", "sora-2"): 35}


def test_workers_that_save_at_the_same_time_lose_nothing(database: Database) -> None:
    def learn_and_save(number: int) -> None:
        schedule = worker()
        for round_number in range(5):
            models = ["sora-2", "veo-pro"] if (number + round_number) % 2 else ["veo-pro", "sora-2"]
            for model in models:
                teach(schedule, model, 2, 60)
            save(database, schedule)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(learn_and_save, range(4)))
    stored = database.run_reading(render_times.load)
    assert counts(stored) == {("grsai", "sora-2"): 40, ("grsai", "veo-pro"): 40}


@pytest.mark.parametrize("column", ["exposed", "ended", "progress"])
@pytest.mark.parametrize("garbage", ["", "nonsense", "[]", "[1,2]", '["a"]', "[[-1,0,0,0,0]]", "null"])
def test_a_row_that_makes_no_sense_counts_as_nothing_learned(
    database: Database, column: str, garbage: str
) -> None:
    schedule = worker()
    teach(schedule, "sora-2", 30, 40)
    save(database, schedule)

    def spoil(connection: Connection) -> None:
        connection.execute(text(f"UPDATE render_times SET {column} = :garbage"), {"garbage": garbage})

    database.run(spoil)
    assert counts(database.run_reading(render_times.load)) == {("grsai", "sora-2"): 0}
    teach(schedule, "sora-2", 3, 40)
    assert counts(save(database, schedule)) == {("grsai", "sora-2"): 3}


def stored_slots(database: Database) -> int:
    stored = database.run_reading(
        lambda connection: connection.execute(text("SELECT progress FROM render_times")).scalar_one()
    )
    return len(msgspec.json.decode(stored))


def test_a_row_from_before_queues_is_read_and_added_to(database: Database) -> None:
    schedule = worker()
    teach(schedule, "sora-2", 30, 40)
    save(database, schedule)
    assert stored_slots(database) == TENTHS, "what has no queue is stored as it always was"
    teach(schedule, "sora-2", 20, 40, waits=True)
    [saved] = save(database, schedule)
    assert saved.times.count == 50
    assert saved.reports.slots[5][0] > 30
    assert 15 < saved.reports.slots[waiting_report(0.0, 3).slot][0] <= 20
    assert stored_slots(database) == len(saved.reports.slots)
    again = worker()
    again.put_saved(database.run_reading(render_times.load))
    teach(again, "sora-2", 5, 40, waits=True)
    [merged] = save(database, again)
    assert merged.reports.slots[waiting_report(0.0, 3).slot][0] > 20


def test_rows_of_another_layout_are_left_alone(database: Database) -> None:
    def add_row(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO render_times"
                " (provider, model, layout, tasks, exposed, ended, progress, updated_at_ms)"
                " VALUES ('grsai', 'sora-2', 999, 7, '[1]', '[1]', '[]', 5)"
            )
        )

    database.run(add_row)
    schedule = worker()
    teach(schedule, "sora-2", 4, 40)
    assert counts(save(database, schedule)) == {("grsai", "sora-2"): 4}
    rows = database.run_reading(
        lambda connection: connection.execute(
            text("SELECT layout, tasks FROM render_times ORDER BY layout")
        ).all()
    )
    assert [tuple(row) for row in rows] == [(1, 4), (999, 7)]


def test_a_row_stays_small(database: Database) -> None:
    schedule = worker()
    for seconds in range(20, 2000, 10):
        teach(schedule, "sora-2", 1, float(seconds))
    save(database, schedule)
    size = database.run_reading(
        lambda connection: connection.execute(
            text("SELECT length(exposed) + length(ended) + length(progress) FROM render_times")
        ).scalar_one()
    )
    assert size < 4000
