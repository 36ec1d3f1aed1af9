"""Dispatch is fair between accounts, and between the batches of one account."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rushes.run.lane.fairness import Order, _take, fair_shares
from rushes.store.tasks.turns import CandidateBatch


def test_a_small_batch_is_served_in_full_beside_a_large_one_of_another_account() -> None:
    candidates = [
        CandidateBatch(batch_id=1, account_id=1, pending_count=10_000),
        CandidateBatch(batch_id=2, account_id=2, pending_count=3),
    ]
    assert fair_shares(candidates, 64) == {1: 61, 2: 3}


def test_an_account_gains_nothing_by_splitting_its_work_into_many_batches() -> None:
    many = [CandidateBatch(batch_id=n, account_id=1, pending_count=100) for n in range(2, 50)]
    shares = fair_shares([CandidateBatch(batch_id=1, account_id=2, pending_count=100), *many], 40)
    assert shares[1] == 20


def test_batches_of_one_account_take_turns() -> None:
    candidates = [CandidateBatch(batch_id=n, account_id=1, pending_count=100) for n in (1, 2, 3)]
    assert fair_shares(candidates, 9) == {1: 3, 2: 3, 3: 3}


batches = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 50)),
    max_size=20,
).map(lambda rows: [CandidateBatch(i, account, pending) for i, (account, pending) in enumerate(rows)])


@given(batches, st.integers(0, 200))
def test_shares_never_exceed_the_limit_or_what_is_pending_and_waste_nothing(
    candidates: list[CandidateBatch], limit: int
) -> None:
    shares = fair_shares(candidates, limit)
    pending = {candidate.batch_id: candidate.pending_count for candidate in candidates}
    assert all(0 < share <= pending[batch_id] for batch_id, share in shares.items())
    assert sum(shares.values()) == min(limit, sum(pending.values()))


def test_what_was_counted_and_is_gone_is_made_up_for_by_others_and_no_batch_is_asked_for_none() -> None:
    order = Order([CandidateBatch(n, 1, 2) for n in (1, 2, 3, 4)], turns=[], newest_turn=0, newest_batch_id=4)
    asked: list[tuple[int, int]] = []

    def claim(batch_id: int, *, limit: int) -> list[Any]:
        asked.append((batch_id, limit))
        return [] if batch_id == 1 else [batch_id] * limit

    taken: list[Any] = _take(order, 2, claim)
    assert taken == [2, 3]
    assert asked == [(1, 1), (2, 1), (3, 1)]
