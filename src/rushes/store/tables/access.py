"""Who may do what, and with which secrets."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text, text

from rushes.domain.operators import Role
from rushes.store.tables.columns import Id, metadata, one_of

installation_facts = Table(
    "installation_facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

webhook_keys = Table(
    "webhook_keys",
    metadata,
    # one row per account that has rotated its webhook secret; the secrets are derived and stored nowhere
    Column("account_id", Id, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("rotated_at_ms", BigInteger, nullable=False),
    # until then deliveries are signed with the version before too
    Column("previous_until_ms", BigInteger, nullable=False),
    CheckConstraint("version > 1", name="version"),
)

action_log = Table(
    "action_log",
    metadata,
    # what operators did: written in the transaction that did it, never changed
    Column("id", Id, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("operator", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    # JSON: what it was before, and what it is since
    Column("before", Text),
    Column("after", Text),
)

operators = Table(
    "operators",
    metadata,
    # people who run the installation; revoked ones stay, for the log names them
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    one_of("role", Role),
    Index(
        "ix_operators_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at_ms IS NULL"),
        postgresql_where=text("revoked_at_ms IS NULL"),
    ),
)

operator_sessions = Table(
    "operator_sessions",
    metadata,
    # who is signed in to the dashboard; a row goes when its session is over
    Column("token_hash", Text, primary_key=True),
    # without one it was opened with the installation's own secret
    Column("operator_id", Id, ForeignKey("operators.id")),
    # of the installation's secret at that time: another one ends the session
    Column("secret_hash", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)

sent_forms = Table(
    "sent_forms",
    metadata,
    # forms of the dashboard that did something: sent again, they do nothing; of tokens only hashes are stored
    Column("token_hash", Text, primary_key=True),
    Column("sent_at_ms", BigInteger, nullable=False),
)

provider_pauses = Table(
    "provider_pauses",
    metadata,
    # providers that take nothing new until an operator says so; every worker heeds it
    Column("provider", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)
