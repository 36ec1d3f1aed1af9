"""Equal items are bought once: the others take the first one's file, and cost nothing.

Such an item is a task of 0 credits that no provider is asked for. It waits until its source has ended, which
for one that was bought before is at once, and then ends in the same way: with a success of 0 credits, whose
file the archive copies, or with the source's failure. A next try of it is bought as any other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from rushes.domain.catalogue.price import Charge
from rushes.domain.input.auto import AUTO
from rushes.domain.input.duplicates import FILE_IS_GONE, LATELY_MS, REUSED_PROVIDER
from rushes.domain.task import FailureType, TaskStatus
from rushes.money.settle import BeforeClosing, resolve
from rushes.store.acceptance import reuse
from rushes.store.reuse.sources import Source
from rushes.store.tasks import FinishedTask, NewTask

ENDED_AT_ONCE_MAX: Final = 500

COPY_MS: Final = 86_400_000
"""How long the archive tries to copy a file."""


def reusing(
    connection: Connection, account_id: int, tasks: Sequence[NewTask], *, now_ms: int
) -> list[NewTask]:
    """The tasks, where those that ask for what is stored already, or for what an earlier one of them asks,
    cost nothing.
    """
    keys = {task.request_key for task in tasks if task.request_key is not None}
    bought = {
        row.request_key: row.task_id
        for row in reuse.bought_lately(connection, account_id, keys, since_ms=now_ms - LATELY_MS)
        if row.is_stored
    }
    first: dict[int | None, int] = {}
    found = []
    for task in tasks:
        leader = first.setdefault(task.request_key, task.item_index)
        if task.request_key in bought:
            source = Source(bought[task.request_key], None, task.provider, task.credits)
        elif task.request_key is not None and leader != task.item_index:
            source = Source(None, leader, task.provider, task.credits)
        else:
            found.append(task)
            continue
        free = replace(
            task,
            credits=0,
            charge=_nothing(task.charge),
            alias=AUTO if task.alias == AUTO else None,  # a next try of it is chosen anew
            provider=REUSED_PROVIDER,
            source=source,
        )
        found.append(free)
    return found


def _nothing(charge: Charge | None) -> Charge | None:
    """The charge of a copy: no provider asks for any."""
    if charge is None or charge.cost is None:
        return charge
    free = replace(charge.cost.money, micros=0)
    return replace(charge, credits=0, cost=replace(charge.cost, money=free))


def end_reused(
    connection: Connection, *, now_ms: int, on_success: BeforeClosing | None, limit: int = ENDED_AT_ONCE_MAX
) -> int:
    """End the items whose source has ended; returns how many. `on_success` notes the files to copy.

    What has failed with its source is not retried by itself: the source was, as its batch asked for.
    """
    rows: list[tuple[object, ...]] = []
    for row in reuse.ended_sources(connection, limit=limit):
        if row.is_gone:
            gone = (TaskStatus.FAILED.value, None, FILE_IS_GONE, FailureType.CANCELLED.value)
            rows.append((row.task_id, None, *gone))
        else:
            rows.append((row.task_id, row.source_id, row.status, row.video_url, row.error, row.failure_type))
    if rows:
        finished = reuse.finish_if_pending(connection, rows, now_ms=now_ms)

        def before_closing(connection: Connection, finished: Sequence[FinishedTask], now_ms: int) -> None:
            if on_success is not None:
                on_success(
                    connection, [task for task in finished if task.status is TaskStatus.SUCCEEDED], now_ms
                )

        resolve(connection, finished, now_ms, before_closing)
        reuse.keep_trying(connection, [task.task_id for task in finished], until_ms=now_ms + COPY_MS)
    reuse.close_ended(connection)
    return len(rows)
