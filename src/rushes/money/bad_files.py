"""What follows from a success whose file is broken for good, or of another length or shape than asked for.

The verdict stands, and the success stays charged, unless the operator gives its credits back (`giving_back`).
A batch whose retry policy names `bad_file` tries the item again, within the policy's bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.catalogue.media import uploads_in
from rushes.domain.errors import ItemNotRetryable
from rushes.domain.task import TaskStatus
from rushes.money.giving_back import give_back
from rushes.money.retry import Reprice, charged_retry, retry_items
from rushes.store import ledger
from rushes.store.acceptance import rejected
from rushes.store.acceptance.given_back import BAD_FILE_ENTRY
from rushes.store.inputs import uploads
from rushes.store.tasks import retries

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class AfterBadFile:
    """What an operator decides; called in the transaction that records such a file, once for each."""

    gives_back: bool = False
    reprice: Reprice | None = None

    def __call__(self, connection: Connection, task_ids: Sequence[int], now_ms: int) -> None:
        """Give back, and try again where the batch wants that."""
        for row in rejected.lock_succeeded(connection, task_ids, now_ms=now_ms):
            ledger.lock(connection, row.account_id)  # accounts are locked before batches, everywhere
            given_back = 0
            if self.gives_back:
                done = give_back(
                    connection,
                    row.account_id,
                    row.id,
                    description=BAD_FILE_ENTRY.format(item_id=row.item_id),
                    reason="its file is bad",
                    now_ms=now_ms,
                )
                given_back = 0 if done is None else done.credits
            again = row.may_follow and self._retry(connection, row, now_ms)
            log.error(
                telemetry.BAD_FILE,
                batch_id=row.public_id,
                item_index=row.item_index,
                credits_given_back=given_back,
                is_retried=bool(again),
            )

    def _retry(self, connection: Connection, row: rejected.SucceededTask, now_ms: int) -> bool:
        rerolls = retries.asked_for(connection, [row.batch_id]).get(row.batch_id)
        if rerolls is None or not rerolls.policy.on_bad_file or row.rerolls >= rerolls.policy.max:
            return False
        if not retries.goes_on(connection, rerolls, now_ms):
            return False
        is_last = row.rerolls + 1 == rerolls.policy.max
        retry = charged_retry(row.row, rerolls.policy.last_model if is_last else None, self.reprice)
        gone = uploads.gone_of_batch(connection, row.batch_id, now_ms=now_ms)
        if set(uploads_in(retry.options)).intersection(gone):
            return False
        try:
            made, _refusal = retry_items(
                connection, row.batch_id, [retry], now_ms=now_ms, cap=rerolls, were=TaskStatus.SUCCEEDED
            )
        except ItemNotRetryable:  # the batch was cancelled meanwhile
            return False
        return bool(made)
