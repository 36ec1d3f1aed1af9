"""Items that wait for another's last frame: they get it, or end and are refunded.

Each is one transaction, decided by how things stand in it. A try that failed for good, whose clip was
rejected, or which has no stored file breaks the chain there: what comes after it ends, once, and no more.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from rushes.domain.catalogue.options import quoted
from rushes.domain.task import CHAIN_BROKEN, FailureType
from rushes.money.settle import resolve
from rushes.store import tasks
from rushes.store.inputs import last_frames, uploads


def give_last_frame(connection: Connection, task_id: int, upload_id: str, *, now_ms: int) -> Sequence[int]:
    """The items that wait for this try's last frame have it now; returns their tasks, which may be claimed.

    The upload is kept while their batch is open. Nothing happens where it is decided otherwise by now.
    """
    ended = last_frames.still_due(connection, task_id)
    if ended is None or not ended.is_current or ended.broken is not None:
        return []
    given = last_frames.give_if_waiting(connection, ended.batch_id, ended.item_index, upload_id)
    gone = uploads.use_in_batch(connection, ended.account_id, ended.batch_id, [upload_id], now_ms=now_ms)
    if gone:  # pruned in this very moment: it is cut again
        raise LookupError(f"the upload {upload_id} is not kept any more")
    last_frames.close(connection, task_id, "given", upload_id=upload_id)
    return given


def end_without_frame(connection: Connection, task_id: int, reason: str | None = None, *, now_ms: int) -> int:
    """All items that come after this try end and are refunded; returns how many. `reason` is why it has no
    frame, where that is not known from how it ended.
    """
    ended = last_frames.still_due(connection, task_id)
    if ended is None:
        return 0
    if not ended.is_current:
        last_frames.close(connection, task_id, "replaced")
        return 0
    why = ended.broken or reason
    if why is None:
        return 0
    tail = last_frames.lock_tail(connection, ended.batch_id, ended.item_index)
    broken = tasks.fail_if_waiting_for_frame(
        connection,
        tail,
        error=f"{CHAIN_BROKEN}: {quoted(ended.custom_id)}, which comes before it in its chain, {why}",
        failure_type=FailureType.CANCELLED,
        now_ms=now_ms,
    )
    resolve(connection, broken, now_ms)
    last_frames.close(connection, task_id, "missing")
    return len(broken)
