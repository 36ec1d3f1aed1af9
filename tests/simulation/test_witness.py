"""What is held against the polls that leave: those of real tasks keep their times, made-up ids have none."""

import msgspec
import pytest
from simulation.truth.broken import Broken
from simulation.truth.witness import Sender, Witness
from simulation.world.service import Heard, Service

from rushes.providers.base import ProviderLimits
from rushes.run.lane.asking_once import NOT_FOUND_IN_A_ROW
from rushes.run.nudges import CONFIRMATIONS_AT_ONCE_MAX
from rushes.simulator import SimulatorKnobs
from rushes.simulator.message import SimRequest

SENDER = Sender("worker-1", "all")
OVERDUE_AT = 1000.0
LIMITS = ProviderLimits(connections_max=8)


@pytest.fixture
def witness() -> Witness:
    return Witness(
        limits=LIMITS,
        poll_gap_min_seconds=5.0,
        resubmits=False,
        deadline_of=lambda _task_id: 1e9,
        gap_of=lambda _task_id, polled_at: 30.0 if polled_at >= OVERDUE_AT else 0.0,
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


def test_an_overdue_task_is_polled_slowly(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    for now in (OVERDUE_AT - 6, OVERDUE_AT - 1, OVERDUE_AT + 4, OVERDUE_AT + 34):
        witness.poll_leaves(SENDER, "grsai", "real", now)
    with pytest.raises(Broken, match="OVERDUE_POLLED_OFTEN"):
        witness.poll_leaves(SENDER, "grsai", "real", OVERDUE_AT + 63)


def test_a_worker_that_was_told_the_end_asks_no_more(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    witness.poll_leaves(SENDER, "grsai", "real", 100.0)
    witness.verdict_reached(SENDER, "real")
    witness.poll_leaves(Sender("worker-2", "all"), "grsai", "real", 106.0)
    with pytest.raises(Broken, match="VERDICT_DROPPED"):
        witness.poll_leaves(SENDER, "grsai", "real", 110.0)


def test_no_such_task_is_asked_for_at_once_but_not_for_ever(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    witness.poll_leaves(SENDER, "grsai", "real", 100.0)
    for number in range(NOT_FOUND_IN_A_ROW):
        witness.missed("real")
        witness.poll_leaves(SENDER, "grsai", "real", 100.1 + number / 10)
    witness.missed("real")
    with pytest.raises(Broken, match="POLLED_EARLY"):
        witness.poll_leaves(SENDER, "grsai", "real", 101.0)


def test_one_no_such_task_is_leave_for_one_poll(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    witness.poll_leaves(SENDER, "grsai", "real", 100.0)
    witness.missed("real")
    witness.poll_leaves(SENDER, "grsai", "real", 100.1)
    with pytest.raises(Broken, match="POLLED_EARLY"):
        witness.poll_leaves(SENDER, "grsai", "real", 100.2)


def test_an_answer_over_a_used_connection_may_be_asked_for_once_more(witness: Witness) -> None:
    witness.attempt_of_remote["real"] = (1, 1)
    witness.poll_leaves(SENDER, "grsai", "real", 100.0)
    witness.answered_over_used("real")
    witness.poll_leaves(SENDER, "grsai", "real", 100.1, is_asked_again=True)
    with pytest.raises(Broken, match="ASKED_TWICE"):
        witness.poll_leaves(SENDER, "grsai", "real", 100.2, is_asked_again=True)


def test_an_end_counts_for_the_request_whose_answer_tells_it() -> None:
    service = Service(SimulatorKnobs(), on_accepted=lambda _task: None, on_refused=lambda _refusal: None)
    accepted = service.handle(asked("/v1/video/sora-video", model="sora-2", prompt="a", webHook="-1"), 0.0)
    question = asked("/v1/draw/result", id=msgspec.json.decode(accepted.body)["data"]["id"])
    rendering, slow, throttled = Heard(), Heard(), Heard()
    service.heard = rendering
    service.handle(question, 0.1)
    service.use(SimulatorKnobs(poll_slow=1.0))
    service.heard = slow
    service.handle(question, 4000.0)  # on its way for long: another question overtakes it
    service.use(SimulatorKnobs(poll_throttled=1.0))
    service.heard = throttled
    assert service.handle(question, 4001.0).status == 429
    assert (rendering.is_clear_end, slow.is_clear_end, throttled.is_clear_end) == (False, True, False)


def asked(path: str, **fields: str) -> SimRequest:
    return SimRequest(method="POST", path=path, query="", headers={}, body=msgspec.json.encode(fields))
