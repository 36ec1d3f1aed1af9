"""Rows of `video_tasks`. Every change of a task in flight is guarded, and the guard is in its name.

Groups go through one statement each (see `Rows`). What is picked with a LIMIT is picked in a MATERIALIZED
query: PostgreSQL may run a subquery that locks rows more than once, and would then pick too many. Guards
are written so that no planner takes an index of theirs over the primary key (see `unindexed`).
"""

from rushes.store.tasks.claims import (
    claim_if_pending,
    count_at,
    lock_and_count_in_flight,
    lock_and_count_of_models,
    owned_without_remote_id,
    wait_for_own_transactions,
)
from rushes.store.tasks.ends import (
    fail_if_past_deadline,
    fail_if_pending,
    fail_if_unfollowed,
    fail_if_waiting_for_frame,
    finish_if_named,
    finish_if_owned,
    give_up_if_unnamed,
    refuse_if_unnamed,
)
from rushes.store.tasks.new import (
    Followed,
    NewTask,
    insert_next_tries,
    insert_tasks,
)
from rushes.store.tasks.outcomes import (
    hand_over_if_owned,
    mark_unconfirmed_if_owned,
    move_remote_task,
    record_accepted_if_attempt,
    remote_ids_if_owned,
    resubmit_if_unnamed,
    return_to_pending_if_unnamed,
)
from rushes.store.tasks.progress import (
    record_progress_if_owned,
    record_troubles_if_owned,
)
from rushes.store.tasks.rows import (
    REMOTE_TEXT_CHARACTERS_MAX,
    ClaimedTask,
    FinishedTask,
    OwnedTask,
    owned_task_from_row,
    storable,
)

__all__ = [
    "REMOTE_TEXT_CHARACTERS_MAX",
    "ClaimedTask",
    "FinishedTask",
    "Followed",
    "NewTask",
    "OwnedTask",
    "claim_if_pending",
    "count_at",
    "fail_if_past_deadline",
    "fail_if_pending",
    "fail_if_unfollowed",
    "fail_if_waiting_for_frame",
    "finish_if_named",
    "finish_if_owned",
    "give_up_if_unnamed",
    "hand_over_if_owned",
    "insert_next_tries",
    "insert_tasks",
    "lock_and_count_in_flight",
    "lock_and_count_of_models",
    "mark_unconfirmed_if_owned",
    "move_remote_task",
    "owned_task_from_row",
    "owned_without_remote_id",
    "record_accepted_if_attempt",
    "record_progress_if_owned",
    "record_troubles_if_owned",
    "refuse_if_unnamed",
    "remote_ids_if_owned",
    "resubmit_if_unnamed",
    "return_to_pending_if_unnamed",
    "storable",
    "wait_for_own_transactions",
]
