"""A poll that is planned past its task's deadline is found, but for while the provider takes none."""

from types import SimpleNamespace
from typing import Any

import pytest
from simulation.truth.broken import Broken
from simulation.world.healing import check_plans
from simulation.world.plan import POLL_INTERVAL_MAX_SECONDS

DEADLINE = 1_000.0
SOON = DEADLINE + POLL_INTERVAL_MAX_SECONDS


def world(*, due: float, stopped_until: float = 0.0) -> Any:
    """At its task's deadline."""
    task = SimpleNamespace(task_id=1, due=due, hard_deadline=DEADLINE)
    lane = SimpleNamespace(
        attempts=SimpleNamespace(polled={1: task}), health=SimpleNamespace(polls_stopped_until=stopped_until)
    )
    process = SimpleNamespace(worker=SimpleNamespace(lanes={"grsai": lane}))
    slots = [SimpleNamespace(process=None), SimpleNamespace(process=process)]
    return SimpleNamespace(loop=SimpleNamespace(time=lambda: DEADLINE), fleet=SimpleNamespace(slots=slots))


@pytest.mark.parametrize(("due", "stopped_until"), [(SOON + 1.0, 0.0), (SOON + 300.0, SOON + 299.0)])
def test_a_poll_that_is_put_off_past_the_deadline_is_found(due: float, stopped_until: float) -> None:
    with pytest.raises(Broken, match="PLANNED_LATE"):
        check_plans(world(due=due, stopped_until=stopped_until))


@pytest.mark.parametrize(("due", "stopped_until"), [(SOON, 0.0), (SOON + 300.0, SOON + 300.0)])
def test_one_that_comes_soon_or_when_polls_may_go_again_is_not(due: float, stopped_until: float) -> None:
    check_plans(world(due=due, stopped_until=stopped_until))
