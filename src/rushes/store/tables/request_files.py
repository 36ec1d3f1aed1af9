"""Files of requests, as OpenAI's Batch API takes them, and the batches that were made from one."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text

from rushes.store.tables.columns import Id, metadata

request_files = Table(
    "request_files",
    metadata,
    Column("id", Id, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("account_id", Id, ForeignKey("accounts.id"), nullable=False),
    Column("file_name", Text, nullable=False),
    # of the file as it came; `content` is compressed (zlib)
    Column("bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False, index=True),
    CheckConstraint("bytes > 0", name="bytes"),
    Index("ix_request_files_account", "account_id", "id"),
)

file_batches = Table(
    "file_batches",
    metadata,
    Column("batch_id", Id, ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    # the file's public id: the file itself may be gone before the batch is
    Column("input_file_id", Text, nullable=False),
    Column("completion_window", Text, nullable=False),
)
