"""Every remote id belongs to one attempt: a narrow table whose primary key says so."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 5_000


def upgrade() -> None:
    """Add the tables. Of attempts that carry one id, which no version refused before, the first one has it.

    The others stay as they are, and the audit names them all.
    """
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "remote_ids",
        sa.Column("key", number, autoincrement=False, nullable=False),
        sa.Column("task_id", number, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_remote_ids"),
    )
    op.create_table(
        "contested_remote_ids",
        sa.Column("task_id", number, autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("remote_task_id", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["video_tasks.id"], name="fk_contested_remote_ids_task_id"),
        sa.PrimaryKeyConstraint("task_id", "attempt", "remote_task_id", name="pk_contested_remote_ids"),
    )
    connection = op.get_bind()
    insert = sa.text(
        "INSERT INTO remote_ids (key, task_id, attempt) VALUES (:key, :task_id, :attempt)"
        " ON CONFLICT (key) DO NOTHING"
    )
    # ended attempts first: they are the older ones of their tasks
    for table, task_id in (("task_attempts", "task_id"), ("video_tasks", "id")):
        last = (0, 0)
        while True:
            rows = connection.execute(
                sa.text(
                    f"SELECT {task_id}, attempt, provider, host, remote_task_id FROM {table}"
                    f" WHERE ({task_id}, attempt) > (:task_id, :attempt) AND remote_task_id IS NOT NULL"
                    f" ORDER BY {task_id}, attempt LIMIT :limit"
                ),
                {"task_id": last[0], "attempt": last[1], "limit": ROWS_AT_ONCE},
            ).all()
            if not rows:
                break
            last = (rows[-1][0], rows[-1][1])
            connection.execute(
                insert,
                [
                    {"key": _key_of(row[2], row[3], row[4]), "task_id": row[0], "attempt": row[1]}
                    for row in rows
                ],
            )


def _key_of(provider: str, host: str | None, remote_task_id: str) -> int:
    """As `store/tasks/remote_ids.py` made it when this was written."""
    words = "\0".join((provider, host or "", remote_task_id))
    digest = hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def downgrade() -> None:
    """Not offered: money is not migrated backwards; restore a backup instead."""
    raise NotImplementedError("rushes migrates forward only; restore a backup")
