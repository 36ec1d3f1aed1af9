"""What an adoption says of the tasks that it takes is what the database has of them."""

from rushes.domain.trouble import Trouble, TroubleRow
from rushes.money.settle import Group
from rushes.store import workers
from rushes.store.database import Database
from tests.books import LEASE_ENDS_MS, PROVIDER, WORKER, Books


def test_adopted_attempts_are_told_as_they_are_stored_and_unanswered_ones_are_held(
    database: Database,
) -> None:
    books = Books(database)
    books.grant(books.account(), 100)
    books.accept(1, [10, 10, 10])
    named, unanswered, held = books.claim()
    books.name([named])
    slow = TroubleRow(named.task_id, 1, "http_503", "HTTP 503", 4, 5, 6)
    books.apply(Group(unconfirmed=[(held.task_id, 1)], troubles=[slow]))
    held_since_ms, after_death = books.now_ms, LEASE_ENDS_MS + 1
    books.worker("worker-2")
    books.sql(
        "UPDATE workers SET lease_expires_at_ms = :later WHERE id = 'worker-2'", later=after_death + 1000
    )
    adopted = database.run(workers.adopt, "worker-2", providers=[PROVIDER], now_ms=after_death, limit=10)
    stored = database.run_reading(workers.owned_in_flight, "worker-2", providers=[PROVIDER])
    assert sorted(adopted) == stored
    found = {task.task_id: task for task in stored}
    assert found[named.task_id].trouble == Trouble("http_503", "HTTP 503", 4, 5, 6)
    assert (found[held.task_id].unconfirmed_at_ms, found[held.task_id].trouble) == (held_since_ms, None)
    one = found[unanswered.task_id]
    reason = "its worker stopped before the answer to the submit was stored"
    assert one.unconfirmed_at_ms == after_death
    assert one.trouble == Trouble("worker_stopped", reason, 1, after_death, after_death)
    assert books.rows("SELECT id FROM workers WHERE id = :id", id=WORKER) == []
