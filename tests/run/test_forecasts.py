"""The time left of a batch, with its reason, as the API, the command line and the dashboard have it."""

import math

import pytest
from sqlalchemy import Connection

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.learned_schedule import LearnedTimes
from rushes.domain.polling.render_times import Estimate, RenderTimes, Tally, typical_task
from rushes.domain.polling.reports import ReportTimes
from rushes.domain.trouble import NOT_FOUND_HELD, TroubleRow
from rushes.money import accept
from rushes.money.settle import Group
from rushes.read import batches as batch_reads
from rushes.read.batch_views import Eta
from rushes.read.forecasts import Forecaster, ProviderPace
from rushes.read.scope import OPERATOR
from rushes.store import batches, render_times
from rushes.store.database import Database
from tests.books import PROVIDER, Books, video

MEDIAN_SECONDS = DEFAULT_CATALOGUE.get("sora-2").render_time_p50_seconds
GRACE_SECONDS = 900.0


@pytest.fixture
def books(database: Database) -> Books:
    books = Books(database, now_ms=1_000_000_000)
    books.grant(books.account(), 100_000)
    return books


def forecaster(*, pace: ProviderPace | None = None, resubmits: bool = False) -> Forecaster:
    pace_of = {} if pace is None else {PROVIDER: pace}
    return Forecaster(
        DEFAULT_CATALOGUE, pace_of, unconfirmed_grace_seconds=GRACE_SECONDS, resubmits=resubmits
    )


def eta(books: Books, of: Forecaster | None = None, batch_id: int = 1) -> Eta:
    books.sql("UPDATE workers SET holds = :holds", holds=f'{{"{PROVIDER}": 0}}')

    def run(connection: Connection) -> Eta:
        row = batches.batch_row(connection, batch_id)
        return (of or forecaster()).etas(connection, [row], books.now_ms)[batch_id]

    return books.database.run_reading(run)


def test_from_the_start_it_is_what_the_quote_says(books: Books) -> None:
    from rushes.domain.input.priced import validate_drafts
    from rushes.domain.input.prompts import TaskDraft
    from rushes.read.quotes import quote

    pace = ProviderPace(submits_per_second=0.5, in_flight_tasks_max=3)
    drafts = validate_drafts(
        [TaskDraft(f"take {n}", "sora-2", {"duration": 10}) for n in range(10)], DEFAULT_CATALOGUE, 0.0
    )
    quoted = books.database.run_reading(
        quote, drafts, account="default", forecaster=forecaster(pace=pace), now_ms=books.now_ms
    )
    books.accept(1, [5] * 10)
    found = eta(books, forecaster(pace=pace))
    assert found.seconds is not None
    assert math.ceil(found.seconds) == quoted["expected_finish"]["p50_seconds"]
    assert found.reason == f"10 waiting for a place at {PROVIDER} (3 at a time)"


def test_one_unconfirmed_task_waits_for_the_end_of_its_grace(books: Books) -> None:
    books.accept(1, [5] * 100)
    *rest, lost = books.claim()
    books.name(rest)
    books.now_ms += 200_000
    books.finish([(task, video(task)) for task in rest])
    books.apply(Group(unconfirmed=[(lost.task_id, lost.attempt)]))
    books.now_ms += 100_000
    found = eta(books)
    assert found.seconds == GRACE_SECONDS - 100
    minutes = math.ceil((books.now_ms / 1000 + GRACE_SECONDS - 100) / 60) % 1440
    assert found.reason == f"1 unconfirmed, decided by {minutes // 60:02}:{minutes % 60:02} UTC"
    sent_again = eta(books, forecaster(resubmits=True))
    assert sent_again.seconds == pytest.approx(GRACE_SECONDS - 100 + MEDIAN_SECONDS, abs=0.2)


def test_a_task_that_its_provider_does_not_know_yet_waits_for_the_end_of_that_grace(books: Books) -> None:
    books.accept(1, [5] * 3)
    rendering, *unknown = books.claim()
    books.name([rendering, *unknown])
    books.now_ms += 20_000
    held = TroubleRow(
        unknown[0].task_id, 1, NOT_FOUND_HELD, "HTTP 404", since_ms=books.now_ms, at_ms=books.now_ms
    )
    books.apply(Group(troubles=[held, held._replace(task_id=unknown[1].task_id)]))
    of = Forecaster(
        DEFAULT_CATALOGUE, {}, unconfirmed_grace_seconds=GRACE_SECONDS, not_found_grace_seconds=3600
    )
    found = eta(books, of)
    assert found.seconds == 3580
    minutes = math.ceil((books.now_ms / 1000 + 3580) / 60) % 1440
    decided = f"{minutes // 60:02}:{minutes % 60:02} UTC"
    assert found.reason == f"2 not known to {PROVIDER} yet, decided by {decided}; 1 rendering"
    books.apply(Group(troubles=[TroubleRow(task.task_id, 1, None) for task in unknown]))
    books.now_ms += 3_000  # what was said a moment ago is remembered
    assert eta(books, of).reason == "3 rendering"


def test_after_a_cancel_what_renders_is_waited_for(books: Books) -> None:
    books.accept(1, [5] * 100)
    claimed = books.claim(82)
    books.name(claimed)
    books.database.run(accept.cancel_batch, 1, now_ms=books.now_ms)
    found = eta(books)
    assert found.reason == "82 rendering"
    assert found.seconds is not None
    assert found.seconds > MEDIAN_SECONDS
    books.now_ms += int(MEDIAN_SECONDS * 1000)
    later = eta(books)
    assert later.seconds is not None
    assert 0 < later.seconds < found.seconds


def test_a_finished_batch_takes_no_time(books: Books) -> None:
    books.accept(1, [5])
    books.finish([(task, video(task)) for task in books.claim()])
    assert eta(books) == Eta(0.0)


def test_a_held_model_has_no_end_but_a_reason(books: Books) -> None:
    books.accept(1, [5] * 3)
    paused = DEFAULT_CATALOGUE.with_overrides({"sora-2": {"disabled": True}})
    found = eta(books, Forecaster(paused, {}, unconfirmed_grace_seconds=GRACE_SECONDS))
    assert (found.seconds, found.reason) == (None, "held: sora-2 is disabled by the operator")


def test_a_task_past_its_deadline_waits_for_its_last_answer_at_most(books: Books) -> None:
    books.accept(1, [5])
    books.name(books.claim())
    hard = DEFAULT_CATALOGUE.get("sora-2").hard_deadline_seconds
    books.now_ms += int(hard * 1000) + 60_000
    found = eta(books)
    assert found.reason == "1 past the deadline, waiting for a last answer"
    assert found.seconds is not None
    assert 0 <= found.seconds <= 3540


def test_learned_render_times_count_for_more_than_the_catalogue(books: Books) -> None:
    estimate, tally = Estimate(RenderTimes(), typical=typical_task(MEDIAN_SECONDS)), Tally()
    for _ in range(500):
        tally.add_ended(estimate, 19.9, 20.1)
    learned = LearnedTimes(PROVIDER, "sora-2", tally.take(), ReportTimes())
    books.database.run(render_times.merge, [learned], now_ms=books.now_ms)
    books.accept(1, [5])
    found = eta(books)
    assert found.seconds is not None
    assert found.seconds == pytest.approx(20.0, rel=0.3)
    assert found.seconds < MEDIAN_SECONDS / 2


def test_it_is_read_at_most_once_in_two_seconds_while_nothing_changes(books: Books) -> None:
    books.accept(1, [5])
    (claimed,) = books.claim()
    books.name([claimed])
    once = forecaster()
    first = eta(books, once)
    books.now_ms += 1_500
    assert eta(books, once) == first
    books.now_ms += 1_500
    second = eta(books, once)
    assert first.seconds is not None
    assert second.seconds is not None
    assert second.seconds < first.seconds - 1.0
    books.finish([(claimed, video(claimed))])
    assert eta(books, once) == Eta(0.0)


def test_what_is_ahead_at_the_provider_is_waited_for(books: Books) -> None:
    books.accept(1, [5] * 40, name="bat_1")
    books.name(books.claim(20))
    books.accept(1, [5], name="bat_2")
    full = forecaster(pace=ProviderPace(in_flight_tasks_max=20))
    free = forecaster(pace=ProviderPace(in_flight_tasks_max=1000))
    behind, at_once = eta(books, full, 2), eta(books, free, 2)
    assert behind.seconds is not None
    assert at_once.seconds is not None
    assert behind.seconds == pytest.approx(at_once.seconds + 2 * MEDIAN_SECONDS, rel=0.01)
    assert behind.reason == f"1 waiting for a place at {PROVIDER} (20 at a time)"


def test_every_front_end_reads_the_same(books: Books) -> None:
    books.accept(1, [5])
    found = eta(books)
    shown = books.database.run_reading(
        batch_reads.batch, OPERATOR, "bat_1", forecaster=forecaster(), now_ms=books.now_ms
    )
    assert (shown["eta_seconds"], shown["eta_reason"]) == (found.seconds, found.reason)
    assert found.reason == f"1 to be sent to {PROVIDER}"
