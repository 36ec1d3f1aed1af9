"""What is held against the polls that leave: those of real tasks keep their times, made-up ids have none."""

import pytest
from simulation.broken import Broken
from simulation.witness import Sender, Witness

from rushes.engine.nudges import CONFIRMATIONS_AT_ONCE_MAX
from rushes.providers.base import ProviderLimits

SENDER = Sender("worker-1", "all")
LIMITS = ProviderLimits(connections_max=8)


@pytest.fixture
def witness() -> Witness:
    return Witness(
        limits=LIMITS,
        poll_gap_min_seconds=5.0,
        resubmits=False,
        deadline_of=lambda _task_id: 1e9,
        trusts_clocks=lambda: True,
    )


def test_a_task_that_is_polled_again_too_soon_breaks_a_promise(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    witness.poll_leaves(SENDER, "grsai", "real", 100.0)
    witness.poll_leaves(SENDER, "grsai", "real", 105.0)
    with pytest.raises(Broken, match="POLLED_EARLY"):
        witness.poll_leaves(SENDER, "grsai", "real", 107.0)


def test_an_id_that_a_callback_has_made_up_may_be_asked_for_again_soon(witness: Witness) -> None:
    for now in (100.0, 100.7, 101.9):
        witness.poll_leaves(SENDER, "grsai", "made-up", now)
    assert witness.last_poll_at == {}


def test_the_limits_hold_for_made_up_ids_too(witness: Witness) -> None:
    for number in range(LIMITS.connections_max + CONFIRMATIONS_AT_ONCE_MAX):
        witness.poll_leaves(SENDER, "grsai", f"made-up-{number}", 100.0)
    with pytest.raises(Broken, match="LIMIT"):
        witness.poll_leaves(SENDER, "grsai", "one-more", 100.0)
