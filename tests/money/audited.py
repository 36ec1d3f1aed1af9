"""Books for the audit's tests, and ways to tamper with them."""

from rushes.money.audit.audit import AuditReport, audit
from rushes.money.settle import Group
from rushes.store.database import Database
from tests.books import REFUSED, Books, video
from tests.tampering import read_tampered

Named = tuple[str, str | None, str | None, int | None, int | None]
"""A violation's code and what it names: account, batch, item and entry."""


def audited_books(database: Database) -> Books:
    """Two accounts and three batches.

    `default`: 1 bonus, 2 purchase; bat_1 (items 0, 2, 4 delivered, 1, 3 refused, finalized) is 3 reserve,
    4 to 8; bat_2 (item 0 at the provider, 1 unconfirmed, 2 pending) is 9 reserve. `other`: 1 purchase,
    2 reserve, 3 settle of bat_3.
    """
    made = Books(database)
    default, other = made.account(), made.account("other")
    made.grant(default, 30, expires_at_ms=50_000)
    made.grant(default, 1_000)
    made.grant(other, 100)
    made.accept(default, [10] * 5, name="bat_1")
    tasks = made.claim()
    made.name(tasks)
    made.now_ms = 2_000
    made.finish([(task, REFUSED if place in (1, 3) else video(task)) for place, task in enumerate(tasks)])
    made.accept(default, [7] * 3, name="bat_2")
    first, second = made.claim(2)
    made.name([first])
    made.apply(Group(unconfirmed=[(second.task_id, second.attempt)]))
    made.accept(other, [5], name="bat_3")
    (third,) = made.claim(1)
    made.name([third])
    made.finish([(third, video(third))])
    return made


def audited(books: Books) -> AuditReport:
    return books.database.run_reading(audit)


def named(report: AuditReport) -> set[Named]:
    return {(v.code.value, v.account, v.batch_id, v.item_index, v.seq) for v in report.violations}


def tamper(books: Books, *statements: str) -> AuditReport:
    """The report after these statements, run behind the guards' back."""
    return read_tampered(books.database, statements, audit)


def differences(books: Books, cases: dict[str, set[Named]]) -> dict[str, tuple[set[Named], set[Named]]]:
    """Of each statement after which other rows are named than expected: what is missing, what too much."""
    different = {}
    for statement, expected in cases.items():
        found = named(tamper(books, statement))
        if found != expected:
            different[statement] = (expected - found, found - expected)
    return different
