"""A paused provider: every worker leaves its tasks waiting, what was sent goes on, and it is logged."""

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.read.holding import held_tasks
from rushes.store import action_log
from rushes.store.action_log import Actor
from rushes.store.database import Database
from rushes.store.tasks import pauses, turns
from tests.books import PROVIDER, Books, assert_sound, video

ANN = Actor("ann", "dashboard")


def paused(books: Books, reason: str = "they answer nonsense") -> bool:
    return books.database.run(pauses.pause, PROVIDER, reason=reason, actor=ANN, now_ms=books.now_ms)


def resumed(books: Books) -> bool:
    return books.database.run(pauses.resume, PROVIDER, actor=ANN, now_ms=books.now_ms)


def count_waiting(books: Books, models: list[str] | None, in_flight_max: int | None = None) -> int:
    return books.database.run_reading(
        turns.count_waiting, PROVIDER, models, count_max=10, in_flight_max=in_flight_max
    )


def test_no_worker_claims_for_a_paused_provider_and_what_was_sent_settles(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 100)
    books.accept(1, [5] * 6)
    sent = books.claim(2)
    books.name(sent)
    assert paused(books)
    assert not paused(books, "again"), "the first reason stands"
    assert books.claim(worker_id="another") == books.claim() == []
    assert [count_waiting(books, models) for models in (None, ["sora-2"])] == [0, 0]
    assert count_waiting(books, None, in_flight_max=5) == 0
    books.finish((task, video(task)) for task in sent)
    assert resumed(books)
    assert not resumed(books)
    assert [count_waiting(books, models) for models in (None, ["sora-2"])] == [4, 4]
    rest = books.claim()
    assert len(rest) == 4
    books.name(rest)
    books.finish((task, video(task)) for task in rest)
    assert_sound(books)


def test_the_log_says_who_paused_when_and_why(database: Database) -> None:
    books = Books(database, now_ms=5_000)
    paused(books)
    (pause,) = database.run_reading(pauses.all_pauses).values()
    assert (pause.provider, pause.reason, pause.operator, pause.place, pause.since_ms) == (
        PROVIDER,
        "they answer nonsense",
        "ann",
        "dashboard",
        5_000,
    )
    resumed(books)
    assert database.run_reading(pauses.all_pauses) == {}
    ended, began = database.run_reading(action_log.newest, limit=5)
    assert (began["action"], began["subject"], began["operator"]) == ("provider.pause", PROVIDER, "ann")
    assert began["after"] == ended["before"] == {"reason": "they answer nonsense"}
    assert ended["action"] == "provider.resume"


@pytest.mark.parametrize("reason", ["", "x" * 201, "a\nb"])
def test_a_pause_needs_a_reason(database: Database, reason: str) -> None:
    books = Books(database)
    with pytest.raises(InputError, match="1 to 200 printable"):
        paused(books, reason)
    assert database.run_reading(pauses.all_pauses) == {}


def test_what_waits_for_it_is_held_and_says_why(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 100)
    books.accept(1, [5, 5])
    books.worker()
    paused(books)
    held = database.run_reading(held_tasks, DEFAULT_CATALOGUE, books.now_ms)
    assert held == [
        {
            "provider": PROVIDER,
            "model": "sora-2",
            "count": 2,
            "reason": "grsai was paused by ann: they answer nonsense",
        }
    ]
