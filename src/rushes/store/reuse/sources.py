"""Where items take their files that are not bought, as their rows are written and priced again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.store.database import Rows, statement

_NEW = Rows(item_index=int, source_task_id=int, source_index=int, provider=str, credits=int)

PRICE = "COALESCE((SELECT r.credits FROM reused_items r WHERE r.task_id = {t}.id), {t}.credits)"
"""What a next try of the task costs where the catalogue does not say: not nothing, where it reused a file."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an item takes its file: a success bought before, or an item of its own batch.

    `provider` is where a next try would be bought, `credits` what the item would have cost.
    """

    task_id: int | None
    index: int | None
    provider: str
    credits: int


def note(connection: Connection, batch_id: int, sources: Sequence[tuple[int, Source]]) -> None:
    """Note where the new items of these indexes take their files."""
    if not sources:
        return
    rows = [(index, each.task_id, each.index, each.provider, each.credits) for index, each in sources]
    connection.execute(
        statement(
            "INSERT INTO reused_items (task_id, source_task_id, source_index, provider, credits)"
            " SELECT t.id, v.source_task_id, v.source_index, v.provider, v.credits"
            f" FROM {_NEW.sql(connection)} JOIN video_tasks t ON t.batch_id = :batch_id"
            " AND t.item_index = v.item_index AND t.retry_number = 0"
        ),
        {**_NEW.parameters(connection, rows), "batch_id": batch_id},
    )
