"""What an operator decides about a worker, and what its parts share while it has one identity."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.polling.schedule import PollSchedule
from rushes.run.commit import Committer
from rushes.run.inputs.source import InputSource
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters
from rushes.run.sent_record import SentRecord, SentRecords
from rushes.store.database import Database

STOP_SECONDS = 35.0
"""How long a stopping worker waits for submissions under way and for its last commit, unless it is set."""


class UnconfirmedPolicy(StrEnum):
    """What happens to a submit that is still unconfirmed after the grace period."""

    REFUND = "refund"
    RESUBMIT = "resubmit"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What an operator decides about a worker.

    The first polls of adopted tasks, which come all at once, are spread over `adopted_spread_seconds`, and
    longer when they would be more than `adopted_polls_per_second`. With `archives` each success is noted as
    a file to be fetched. A task that has waited `wait_seconds_max` to be sent fails; what waits under an
    alias at a provider with more than `failover_queue_max` waiting tasks goes to another one.
    `callback_url(provider, task_id, attempt)` is an attempt's callback address, None for none.
    """

    lease_seconds: float = 30.0
    stop_seconds: float = STOP_SECONDS
    unconfirmed_grace_seconds: float = 900.0
    not_found_grace_seconds: float = 60.0
    unconfirmed_policy: UnconfirmedPolicy = UnconfirmedPolicy.REFUND
    wait_seconds_max: float = 7 * 86_400.0
    failover_queue_max: int | None = None
    poll_backoff_seconds_max: float = 30.0
    adopted_spread_seconds: float = 5.0
    adopted_polls_per_second: float = 4000.0
    callback_url: Callable[[str, int, int], str | None] = lambda _provider, _task_id, _attempt: None
    takes_callbacks: bool = False
    archives: bool = False
    host: str = "localhost"
    pid: int = 0


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One identity of a worker: its name, its lease, and where its outcomes go to be committed.

    `inputs` gives submits their files. `record` is its own record of what it has sent; `records` tell of dead
    workers' what was never sent.

    `now_ms()` is the wall clock in epoch milliseconds; `jitter` spreads retries.
    """

    worker_id: str
    database: Database
    catalogue: Catalogue
    schedule: PollSchedule
    config: WorkerConfig
    lease: OwnLease
    committer: Committer
    meters: Meters
    inputs: InputSource
    records: SentRecords
    record: SentRecord
    now_ms: Callable[[], int]
    jitter: random.Random
