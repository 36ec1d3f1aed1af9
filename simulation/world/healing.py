"""What must hold once the world has healed: every task ends within its deadline and two polls.

That the last poll is planned in time is looked at in the workers' memory, at the moment of healing: a poll
that a short outage has put off by minutes would else be forgiven as the outage's work.
"""

from rushes.money.audit import audit
from rushes.run.lane.remote_task import UNLISTED_HARD_DEADLINE_SECONDS
from simulation.truth.broken import broken
from simulation.truth.journal import TaskRow
from simulation.world.plan import POLL_INTERVAL_MAX_SECONDS
from simulation.world.world import World

SECONDS_BY_PASSES = 3.0
"""How many times as long passes alone need for a round of polls: between them nobody polls."""

RECOVERY_SECONDS = 45.0
"""How long after it has healed and the last lost lease has run out the world may need to find its feet."""


def check_plans(world: World) -> None:
    """No worker has put a poll off past its task's hard deadline, but for the wait after a failed one, and while
    its provider takes none.
    """
    soon = world.loop.time() + POLL_INTERVAL_MAX_SECONDS
    for slot in world.fleet.slots:
        worker = slot.process.worker if slot.process is not None else None
        for lane in worker.lanes.values() if worker is not None else ():
            permitted = max(soon, lane.health.polls_stopped_until)
            for task in lane.attempts.polled.values():
                if task.due > max(permitted, task.hard_deadline):
                    late = task.due - task.hard_deadline
                    broken(
                        "PLANNED_LATE",
                        f"task {task.task_id}'s poll is put off {late:.1f} s past its deadline",
                    )


def check_ended_in_time(world: World) -> None:
    """Look at all tasks that ended after the world had healed.

    One of which nobody knew for a while whether it was bought has the grace period on top.
    """
    assert world.healed_at is not None
    spread = world.clock_spread()
    ready_at = world.healed_at + world.plan.lease_seconds + spread + RECOVERY_SECONDS
    rate = world.plan.limits.polls_per_second
    # a share of the limit is a little less than the limit, and an interval stretches to keep it
    round_seconds = max(
        POLL_INTERVAL_MAX_SECONDS,
        2 * len(world.life.tasks) / rate if rate else 0.0,
        # so long do the connections of one worker need when polls take their time
        len(world.life.tasks) * world.plan.wire_seconds / world.plan.limits.connections_max,
    )
    if world.plan.tickers == world.plan.slots:
        round_seconds *= SECONDS_BY_PASSES
    # a pass of cron's that ends in the middle of an adoption has no time to give back what it has taken
    held_seconds = world.plan.lease_seconds if world.plan.tickers else 0.0
    were_unknown = world.life.were_unconfirmed | world.witness.were_refused_a_name
    for task in world.life.tasks.values():
        ended_at = world.life.finished_at[task.id]
        if ended_at <= world.healed_at or task.dispatched_at_ms is None:
            continue
        grace_seconds = world.plan.grace_seconds if task.id in were_unknown else 0.0
        deadline = _deadline(world, task, task.dispatched_at_ms) + spread
        last = max(deadline, ready_at) + grace_seconds + 2 * round_seconds + held_seconds
        if ended_at > last:
            broken("ENDED_LATE", f"task {task.id} ended {ended_at - last:.1f} s too late: {task}")


def name_the_stuck(world: World) -> None:
    """Something has not ended long after the world healed."""
    stuck = [task for task in world.life.tasks.values() if task.status in ("pending", "processing")]
    broken("NOT_FINAL", f"{len(stuck)} tasks are not final long after the world healed: {stuck[:3]}")


def check_everything(world: World) -> None:
    """The books of all accounts, and the audit of the database as it is now."""
    world.books.check_all()
    report = world.store.database.run_reading(audit.audit)
    if report.violations:
        broken("AUDIT", f"{len(report.violations)}: {[str(v) for v in report.violations[:3]]}")
    if report.tasks != len(world.life.tasks):
        broken("AUDIT", f"the audit saw {report.tasks} tasks, the journal {len(world.life.tasks)}")


def _deadline(world: World, task: TaskRow, dispatched_at_ms: int) -> float:
    seconds = world.hard_deadline_seconds(task.model)
    if world.catalogue.find(task.model) is None:
        # restarted workers do not know the model any more
        seconds = max(seconds, UNLISTED_HARD_DEADLINE_SECONDS)
    return (dispatched_at_ms - world.epoch_ms) / 1000 + seconds
