"""A worker trusts its own lease only while every clock of its does."""

import pytest

from rushes.run.lease import OwnLease

LEASE_SECONDS = 30.0


class Clocks:
    """Two that can be moved apart."""

    def __init__(self) -> None:
        self.monotonic, self.boot = 100.0, 5_000.0

    def lease(self) -> OwnLease:
        lease = OwnLease([lambda: self.monotonic, lambda: self.boot], LEASE_SECONDS)
        lease.renewed(lease.now())
        return lease


def test_a_lease_that_was_never_written_is_not_held() -> None:
    assert not OwnLease([lambda: 0.0], LEASE_SECONDS).is_held()


@pytest.mark.parametrize(
    ("monotonic", "boot", "held"),
    [
        (29.0, 29.0, True),
        (30.0, 30.0, False),
        (1.0, 31.0, False),  # suspended: the monotonic clock stood still
        (31.0, -3_600.0, False),  # a clock that was set back makes no lease longer
        (1.0, -3_600.0, True),
    ],
)
def test_it_is_held_only_while_all_clocks_say_so(monotonic: float, boot: float, held: bool) -> None:
    clocks = Clocks()
    lease = clocks.lease()
    clocks.monotonic += monotonic
    clocks.boot += boot
    assert lease.is_held() is held


def test_at_one_time_of_the_loop_its_clocks_are_asked_once() -> None:
    asked: list[float] = []
    now = 100.0

    def clock() -> float:
        asked.append(now)
        return now

    lease = OwnLease([clock], LEASE_SECONDS)
    assert not lease.is_held_at(now)
    lease.renewed(lease.now())
    asked.clear()
    assert [lease.is_held_at(now) for _ in range(3)] == [True] * 3
    assert asked == [100.0]
    now += LEASE_SECONDS
    assert [lease.is_held_at(now) for _ in range(2)] == [False] * 2
    assert asked == [100.0, 130.0, 130.0]


def test_its_time_runs_from_before_the_renewal_left() -> None:
    clocks = Clocks()
    lease = clocks.lease()
    since = lease.now()
    clocks.monotonic += 29
    clocks.boot += 29
    lease.renewed(since)
    clocks.monotonic += 2
    assert not lease.is_held()
