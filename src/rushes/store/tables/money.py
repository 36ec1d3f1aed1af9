"""Credits: where they come from, what holds them, and each change of them, once and for good."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text

from rushes.domain.credits import EntryType, LotKind, ResolutionKind
from rushes.store.tables.columns import Id, count, metadata, one_of

accounts = Table(
    "accounts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    count("available"),
    count("held"),
    count("ledger_seq"),
    Column("ledger_hash", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="available"),
    CheckConstraint("held >= 0", name="held"),
)

credit_lots = Table(
    "credit_lots",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    one_of("kind", LotKind),
    CheckConstraint("(kind = 'bonus') = (expires_at_ms IS NOT NULL)", name="expiry"),
    CheckConstraint("remaining >= 0 AND remaining <= amount", name="remaining"),
    Index(
        "ix_credit_lots_expiring",
        "expires_at_ms",
        sqlite_where=text("remaining > 0 AND expires_at_ms IS NOT NULL"),
        postgresql_where=text("remaining > 0 AND expires_at_ms IS NOT NULL"),
    ),
    # in the order in which they are spent, without those that are spent already, which are the most
    Index(
        "ix_credit_lots_left",
        "account_id",
        "expires_at_ms",
        "id",
        "remaining",
        sqlite_where=text("remaining > 0"),
        postgresql_where=text("remaining > 0"),
    ),
)

batch_reservations = Table(
    "batch_reservations",
    metadata,
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("lot_id", Id, ForeignKey("credit_lots.id"), nullable=False),
    Column("reserved", BigInteger, nullable=False),
    count("settled"),
    count("refunded"),
    CheckConstraint(
        "settled >= 0 AND refunded >= 0 AND settled + refunded <= reserved",
        name="held",
    ),
)

task_resolutions = Table(
    "task_resolutions",
    metadata,
    # the primary key is the promise: a task's credits are settled or refunded once
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Id, nullable=False, index=True),
    Column("attempt", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    one_of("kind", ResolutionKind),
    CheckConstraint("credits >= 0", name="credits"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("account_id", Id, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("delta", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("batch_id", Id),
    Column("task_id", Id),
    Column("parts", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    one_of("type", EntryType),
    CheckConstraint("balance_after >= 0", name="balance_after"),
    Index("ix_ledger_entries_batch", "batch_id", "seq"),
    Index("ix_ledger_entries_time", "account_id", "created_at_ms", "seq"),
)

given_back = Table(
    "given_back",
    metadata,
    # successes whose credits came back as new lots: the primary key is the promise that it is once
    Column("task_id", Id, ForeignKey("video_tasks.id"), primary_key=True, autoincrement=False),
    Column("credits", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("given_at_ms", BigInteger, nullable=False),
    CheckConstraint("credits >= 0", name="credits"),
)

day_caps = Table(
    "day_caps",
    metadata,
    # the most in a day (UTC): of credits, or of a currency in millionths
    Column("scope", Text, primary_key=True),
    # "" for everything, else an account's name, an API key's id or a model's name
    Column("subject", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    one_of("scope", ("all", "account", "key", "model")),
    CheckConstraint("amount >= 0", name="amount"),
)
