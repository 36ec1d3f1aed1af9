"""Finished batches whose rows are gone: what was folded away, summed up and signed."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text

from rushes.store.tables.columns import Id, metadata

folds = Table(
    "folds",
    metadata,
    # one signed summary of some batches of an account, and of its ledger up to an entry
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("ledger_through_seq", BigInteger, nullable=False),
    Column("ledger_hash", Text, nullable=False),
    # JSON, exactly as it was signed
    Column("document", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("length(public_key) = 64 AND length(signature) = 128", name="signed"),
    CheckConstraint("ledger_through_seq >= 0", name="ledger_through_seq"),
    Index("ix_folds_account", "account_id", "ledger_through_seq"),
)

folded_batches = Table(
    "folded_batches",
    metadata,
    # no foreign key to the batch, whose row is gone
    Column("batch_id", Id, primary_key=True, autoincrement=False),
    Column("fold_id", Id, ForeignKey("folds.id"), nullable=False, index=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("public_id", Text, nullable=False, unique=True),
    Column("total_count", BigInteger, nullable=False),
    Column("entries_count", BigInteger, nullable=False),
    Column("credits_reserved", BigInteger, nullable=False),
    Column("credits_settled", BigInteger, nullable=False),
    Column("credits_refunded", BigInteger, nullable=False),
    Column("finalized_at_ms", BigInteger, nullable=False),
    # of the batch's whole statement: whoever has one can compare it
    Column("statement_hash", Text, nullable=False),
    CheckConstraint("credits_settled + credits_refunded = credits_reserved", name="credits"),
)
