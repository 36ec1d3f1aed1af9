"""What an acceptable clip is in a batch, and the verdict on each success of such a batch."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from rushes.domain.acceptance.verdicts import Verdict
from rushes.store.tables.columns import Id, count, metadata, one_of

VERDICT_STATES = ("file", "judge", "decided")
"""The file is still to be measured, a judge is still to answer, there is a verdict."""

batch_gates = Table(
    "batch_gates",
    metadata,
    # batches that say what an acceptable clip is: the gate's thresholds, as JSON
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("thresholds", Text, nullable=False),
    # 1: what the gate lets through is judged by the operator's hook too
    Column("has_judge", Integer, nullable=False, server_default=text("0")),
    # how many clips an item may buy, and what they may cost together
    Column("clips_max", BigInteger),
    Column("credits_max", BigInteger),
    # not used: the score stands in the thresholds, repairs in `batch_retries`
    Column("score_min_ppm", BigInteger),
    Column("repairs", Text),
    # the bounds of the models that are chosen for its items, as JSON; NULL where none is
    Column("auto", Text),
    CheckConstraint("clips_max BETWEEN 1 AND 10", name="clips_max"),
)

clip_verdicts = Table(
    "clip_verdicts",
    metadata,
    # one row per success of such a batch, written by the transaction that settled it
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Id, ForeignKey("batches.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("verdict", Text),
    Column("reasons", Text),
    Column("score_ppm", BigInteger),
    # gate, hook, person:NAME
    Column("decided_by", Text),
    # what the gate measured, as JSON
    Column("measures", Text),
    # how often the hook was asked; while it is, the time from which another process may ask
    count("asked_count"),
    Column("next_ask_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("decided_at_ms", BigInteger),
    one_of("state", VERDICT_STATES),
    one_of("verdict", Verdict, nullable=True),
    CheckConstraint(
        "(state = 'decided') = (verdict IS NOT NULL AND decided_at_ms IS NOT NULL)", name="decided"
    ),
    Index("ix_clip_verdicts_batch", "batch_id", "state"),
    Index(
        "ix_clip_verdicts_open",
        "created_at_ms",
        sqlite_where=text("state <> 'decided'"),
        postgresql_where=text("state <> 'decided'"),
    ),
    Index(
        "ix_clip_verdicts_to_judge",
        "next_ask_at_ms",
        sqlite_where=text("state = 'judge'"),
        postgresql_where=text("state = 'judge'"),
    ),
)

clip_judgements = Table(
    "clip_judgements",
    metadata,
    # what each judge said, once: the primary key refuses a second answer of the same one
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("judge", Text, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("score_ppm", BigInteger),
    Column("judged_at_ms", BigInteger, nullable=False),
    one_of("verdict", Verdict),
)
