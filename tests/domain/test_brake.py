"""The brake on guessing: by network, in all, for a while, and bounded."""

import pytest

from rushes.domain.brake import (
    ADDRESSES_MAX,
    FAILURES_IN_ALL_MAX,
    FAILURES_MAX,
    FAILURES_SECONDS,
    Brake,
    network_of,
)


def test_the_brake_is_for_one_network_and_for_a_while() -> None:
    brake = Brake()
    for n in range(FAILURES_MAX):
        assert brake.failed(f"2001:db8::{n}", 10.0) == 0
    assert brake.failed("2001:db8::ffff", 15.0) == FAILURES_SECONDS - 5
    assert brake.wait_seconds("2001:db8:0:1::1", 15.0) == 0
    assert brake.wait_seconds("192.0.2.1", 15.0) == 0
    assert brake.wait_seconds("2001:db8::1", 10.0 + FAILURES_SECONDS) == 0
    assert brake.failed("2001:db8::1", 11.0 + FAILURES_SECONDS) == 0, "a new window has begun"


def test_the_right_secret_ends_the_count_of_its_address() -> None:
    brake = Brake()
    for _ in range(FAILURES_MAX + 1):
        brake.failed("192.0.2.1", 1.0)
    brake.succeeded("192.0.2.1")
    assert brake.failed("192.0.2.1", 2.0) == 0


def test_many_addresses_together_are_slowed_down_and_remembered_within_bounds() -> None:
    brake = Brake()
    for n in range(FAILURES_IN_ALL_MAX):
        assert brake.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 100.0) == 0
    assert brake.failed("192.0.2.1", 101.0) == FAILURES_SECONDS - 1
    for n in range(ADDRESSES_MAX + 10):
        brake.failed(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", 100.0)
    assert len(brake._failures) == ADDRESSES_MAX
    assert brake.wait_seconds("192.0.2.2", 100.0 + FAILURES_SECONDS) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_an_address_is_counted_with_its_network(address: str, network: str) -> None:
    assert network_of(address) == network
