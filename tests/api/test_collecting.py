"""The garbage collector waits while a long body is worked on, and for no longer."""

import gc

import pytest

from rushes.api.accepting import SHORT_BODY_BYTES, collecting_after

LONG = bytes(SHORT_BODY_BYTES + 1)


def test_it_waits_for_long_bodies_alone_and_goes_on_after_an_error_too() -> None:
    with collecting_after(LONG[1:]):
        assert gc.isenabled()
    with collecting_after(LONG):
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no JSON"), collecting_after(LONG):
        raise ValueError("no JSON")
    assert gc.isenabled()


def test_a_body_that_comes_meanwhile_does_not_prolong_the_pause() -> None:
    first, second = collecting_after(LONG), collecting_after(LONG)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()
