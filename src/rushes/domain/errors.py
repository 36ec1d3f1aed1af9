"""Every error that rushes raises on purpose, in one tree; `retryable` answers "may I try the same again?".

    RushesError                  code, message, facts
    ├── InputError               the caller's input; file, line and field where there are any
    │   ├── UnknownModel         with the nearest names
    │   ├── ModelRetired         past its `sunset_at`
    │   └── UsageError           the command line: arguments and options that do not go together
    ├── InsufficientCredits      required, available, missing
    ├── DayCapReached            cap, left, unit, scope, renews_at
    ├── IdempotencyKeyReused     same key, another body
    ├── IdempotencyInProgress    same key, still running                                       retryable
    ├── NotFound                 no such account, batch or item, or another account's
    ├── BatchNotCancellable      it has finished
    ├── ItemNotRetryable         it has not failed
    ├── ItemNotCancellable       a provider has it
    ├── ItemNotJudgeable         no clip was made, or somebody has judged it
    ├── ItemNotRefundable        nothing was charged for it, or that came back before
    ├── ItemNotAdoptable         it cannot be given that remote task, and why
    ├── SettingsError            a setting that cannot work, by its environment name
    ├── NotAuthorised            a key that a service refuses
    ├── StoreError               the database
    │   ├── DatabaseBusy         locked by another process for too long                        retryable
    │   ├── DatabaseUnreachable  no connection, or it was cut                                  retryable
    │   ├── DatabaseReadOnly     it takes no writes
    │   ├── DatabaseFull         no space is left
    │   ├── DatabaseDamaged      the SQLite file is damaged, or no database
    │   ├── StatementRefused     a constraint, or a value that the database does not take
    │   │   └── MoreThanHeld     a batch does not hold the credits that are to be kept or given back
    │   └── SchemaOutdated       run `rushes migrate`, or a newer rushes
    ├── LeaseLost                the worker starts again under a new id, never as it was
    ├── TimeStampRefused         an authority's time stamp that is none, or does not fit
    ├── AuthorityUnreachable     the time-stamping authority gave no answer                    retryable
    ├── BatchUnsound             no statement is signed; `rushes audit` names the rows
    ├── VideoNotFinished         still being made                                              retryable
    ├── VideoFailed              there is no file
    ├── ArchiveUnavailable       where the finished videos are kept                            retryable
    ├── NameTaken                the archive has other content under the name
    ├── ChangedInArchive         the file is not the one that was stored
    ├── NoJudgement              the judge gave no answer that counts                          retryable
    ├── NoFile                   an item without a file, and why
    ├── BadFile                  not a video that can be kept
    ├── BadStatus                the file's host answered with an error                        retryable
    ├── NoAnswerFromUrl          no complete answer came                                       retryable
    ├── UrlRefused               an address where no request may go
    │   └── HostNotFound         the name has no address yet                                   retryable
    ├── Refusal                  the API's own, by its HTTP status
    ├── ServiceRefused           the client: as the service says
    │   └── RateLimited          retry_after_seconds                                           retryable
    ├── ServiceUnreachable       the client: no complete answer came                           retryable
    ├── UnexpectedAnswer         the client: nothing that a rushes service says
    ├── StillRunning             the client: the time to wait is over, the batch runs on       retryable
    └── ClientClosed             the client was used after its end

Classes of other rooms stand where they are raised; `tests/domain/test_errors.py` holds this drawing against
all of them. Not errors of a caller, and so not in the tree: `TransportError` and `AboutAnotherTask`, which
providers turn into outcomes, and `SentTwice`, by which a form that was sent again does nothing.

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


class DayCapReached(RushesError):
    """The purchase would go over a cap that the operator has set for the day. Nothing was written."""

    code = "DAY_CAP_REACHED"


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


class ItemNotCancellable(RushesError):
    """Only an item that is at no provider yet can be cancelled."""

    code = "ITEM_NOT_CANCELLABLE"


class ItemNotJudgeable(RushesError):
    """Only a clip that was made can be judged, and each by one person only."""

    code = "ITEM_NOT_JUDGEABLE"


class ItemNotRetryable(RushesError):
    """Only a failed item can be retried."""

    code = "ITEM_NOT_RETRYABLE"


class ItemNotRefundable(RushesError):
    """Only a charged video's credits can be given back, and once."""

    code = "ITEM_NOT_REFUNDABLE"


class ItemNotAdoptable(RushesError):
    """The item cannot be given the remote task: it needs none, or the task is not one for it."""

    code = "ITEM_NOT_ADOPTABLE"


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


class DatabaseDamaged(StoreError):
    """The SQLite file is damaged, or no database. Nothing more is written to it by the same transaction."""

    code = "DATABASE_DAMAGED"


class StatementRefused(StoreError):
    """The database refused a value or a statement; the same again would be refused again."""

    code = "STATEMENT_REFUSED"


class MoreThanHeld(StatementRefused):
    """A batch's reservation holds less than is to be kept or given back: its rows are wrong."""

    code = "MORE_THAN_HELD"


class SchemaOutdated(StoreError):
    """The database's migrations are behind or ahead of this version of rushes."""

    code = "SCHEMA_OUTDATED"
