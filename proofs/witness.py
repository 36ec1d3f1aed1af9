"""A witness inside PostgreSQL: a trigger that notes who changed a task in flight, whatever rushes says of it.

Each process connects under a name of its own, so every change can be held against the owner that the row
named at that moment.
"""

from collections.abc import Iterator, Mapping

from sqlalchemy import create_engine, make_url, text

from proofs.books import Peek

_STATEMENTS = (
    "CREATE TABLE proof_writes (id bigserial PRIMARY KEY, task_id bigint, attempt bigint, was text,"
    " became text, old_worker text, new_worker text, writer text)",
    "CREATE FUNCTION proof_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO proof_writes (task_id, attempt, was, became, old_worker, new_worker, writer) VALUES"
    " (OLD.id, OLD.attempt, OLD.status, NEW.status, OLD.worker_id, NEW.worker_id,"
    " current_setting('application_name')); RETURN NULL; END $$",
    "CREATE TRIGGER proof_note AFTER UPDATE ON video_tasks FOR EACH ROW WHEN"
    " (OLD.status <> NEW.status OR OLD.worker_id IS DISTINCT FROM NEW.worker_id"
    " OR OLD.status IN ('succeeded', 'failed')) EXECUTE FUNCTION proof_note()",
)


def install(database_url: str) -> None:
    """Put the trigger in."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        for statement in _STATEMENTS:
            connection.execute(text(statement))
    engine.dispose()


def named(database_url: str, name: str) -> str:
    """The URL under which a process connects by that name."""
    return f"{database_url}&application_name={name}"


def testimony(peek: Peek, pid_of_name: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """How many changes of each kind there were, and those that must not have been."""
    counts = {"ended by their owner": 0, "given back by their owner": 0, "taken over from another": 0}
    faults: list[str] = []
    for row in peek.rows("SELECT * FROM proof_writes ORDER BY id"):
        pid = pid_of_name.get(row.writer)
        faults += _faults(row.task_id, row.was, row.became, row.old_worker, row.writer, pid)
        if row.was == "processing" and row.became in ("succeeded", "failed"):
            counts["ended by their owner"] += 1
        elif row.was == "processing" and row.became == "pending":
            counts["given back by their owner"] += 1
        elif row.was == "processing" and row.new_worker != row.old_worker:
            counts["taken over from another"] += 1
    return counts, faults


def _faults(
    task_id: int, was: str, became: str, old_worker: str | None, writer: str, pid: int | None
) -> Iterator[str]:
    if was in ("succeeded", "failed"):
        yield f"task {task_id} was {was} and was written again by {writer}"
    if pid is None:
        yield f"task {task_id} was written by {writer or 'an unnamed connection'}"
    elif was == "processing" and became != "processing" and f"-{pid}-" not in (old_worker or ""):
        yield f"task {task_id} of {old_worker} was made {became} by {writer} (process {pid})"
