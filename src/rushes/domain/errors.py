"""Every error that rushes raises on purpose, in one tree.

    RushesError                  code, message; `retryable` answers "may I try the same again?"
    ├── InputError               the caller's input; file, line and field where there are any
    │   ├── UnknownModel         with the nearest names
    │   └── ModelRetired
    ├── InsufficientCredits      required, available, missing
    ├── IdempotencyKeyReused     same key, another body
    ├── IdempotencyInProgress    same key, still running                              retryable
    ├── NotFound                 no such account, batch, item (or another account's)
    ├── BatchNotCancellable
    ├── ItemNotRetryable
    ├── SettingsError            a setting that cannot work, by its environment name
    ├── NotAuthorised            a key that a service refuses
    ├── ArchiveUnavailable       where the finished videos are kept                       retryable
    └── StoreError               the database
        ├── DatabaseBusy         locked by another process for too long               retryable
        ├── DatabaseUnreachable                                                       retryable
        ├── DatabaseReadOnly
        ├── DatabaseFull
        ├── StatementRefused     a constraint or a value that the database does not take
        └── SchemaOutdated       run `rushes migrate`, or a newer rushes

Messages are one line: what happened, then what to do.
"""

from typing import Any, ClassVar


class RushesError(Exception):
    """Root of the tree. `facts` are the error's machine-readable details, JSON values only."""

    code: ClassVar[str] = "RUSHES_ERROR"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class InputError(RushesError):
    """Input that cannot be accepted. Nothing was written."""

    code = "INVALID_INPUT"

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.source, self.line, self.field = source, line, field
        place = ":".join(str(part) for part in (source, line) if part is not None)
        where = ": ".join(part for part in (place, field) if part)
        facts = {
            key: value
            for key, value in {"source": source, "line": line, "field": field}.items()
            if value is not None
        }
        super().__init__(f"{where}: {message}" if where else message, **facts)


class UnknownModel(InputError):
    """A model name that the catalogue does not have."""

    code = "UNKNOWN_MODEL"


class ModelRetired(InputError):
    """A model past its `sunset_at`; refused before any credit is reserved."""

    code = "MODEL_RETIRED"


class InsufficientCredits(RushesError):
    """The account's available credits do not cover the reservation. Nothing was written."""

    code = "INSUFFICIENT_CREDITS"

    def __init__(self, *, required: int, available: int) -> None:
        self.required, self.available, self.missing = required, available, required - available
        super().__init__(
            f"{required} credits are required, {available} are available: {self.missing} are missing",
            required=required,
            available=available,
            missing=self.missing,
        )


class IdempotencyKeyReused(RushesError):
    """The request id was used before with another body."""

    code = "IDEMPOTENCY_KEY_REUSED"


class IdempotencyInProgress(RushesError):
    """The first request with this id is still running."""

    code = "IDEMPOTENCY_IN_PROGRESS"
    retryable = True


class NotFound(RushesError):
    """No such object for this account."""

    code = "NOT_FOUND"


class BatchNotCancellable(RushesError):
    """The batch has already finished."""

    code = "BATCH_NOT_CANCELLABLE"


class ItemNotRetryable(RushesError):
    """Only a failed item can be tried again."""

    code = "ITEM_NOT_RETRYABLE"


class SettingsError(RushesError):
    """A setting that cannot work; the message names its environment variable."""

    code = "INVALID_SETTING"


class NotAuthorised(RushesError):
    """A service or the operator's own guard refused the key."""

    code = "NOT_AUTHORISED"


class ArchiveUnavailable(RushesError):
    """The archive takes or gives no files: no rights, no such bucket, no space, no connection."""

    code = "ARCHIVE_UNAVAILABLE"
    retryable = True


class StoreError(RushesError):
    """The database refused or could not be reached. The transaction left nothing behind."""

    code = "DATABASE_ERROR"


class DatabaseBusy(StoreError):
    """Another process held the database for longer than the time-out."""

    code = "DATABASE_BUSY"
    retryable = True


class DatabaseUnreachable(StoreError):
    """No connection, or it was cut. Whether a commit in hand took effect is not known."""

    code = "DATABASE_UNREACHABLE"
    retryable = True


class DatabaseReadOnly(StoreError):
    """The database file or server takes no writes."""

    code = "DATABASE_READ_ONLY"


class DatabaseFull(StoreError):
    """No space is left."""

    code = "DATABASE_FULL"


class StatementRefused(StoreError):
    """The database refused a value or a statement; the same again would be refused again."""

    code = "STATEMENT_REFUSED"


class SchemaOutdated(StoreError):
    """The database's migrations are behind or ahead of this version of rushes."""

    code = "SCHEMA_OUTDATED"
