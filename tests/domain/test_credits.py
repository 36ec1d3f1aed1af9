"""The arithmetic of lots and reservations, and the ledger's hash chain. No database."""

import dataclasses
import hashlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.domain.credits import (
    GENESIS_HASH,
    EntryType,
    LedgerEntry,
    Lot,
    LotKind,
    Part,
    Reservation,
    ReservationLine,
    consumption_order,
    decode_parts,
    encode_parts,
    entry_hash,
    reserve,
)
from rushes.domain.errors import InsufficientCredits, MoreThanHeld


def permanent(lot_id: int, remaining: int) -> Lot:
    return Lot(lot_id, LotKind.PERMANENT, remaining, None)


def bonus(lot_id: int, remaining: int, expires_at_ms: int) -> Lot:
    return Lot(lot_id, LotKind.BONUS, remaining, expires_at_ms)


# --- reserving ------------------------------------------------------------------------------------------


def test_what_expires_first_is_spent_first_and_permanent_credits_last() -> None:
    lots = [permanent(1, 5), bonus(2, 5, 300), bonus(3, 5, 200), permanent(4, 5), bonus(5, 5, 200)]
    assert [lot.lot_id for lot in consumption_order(lots, 100)] == [3, 5, 2, 1, 4]


def test_a_bonus_is_gone_at_the_millisecond_of_its_expiry() -> None:
    lot = bonus(1, 5, 200)
    assert lot.is_live(199)
    assert not lot.is_live(200)
    assert consumption_order([lot], 200) == []
    assert permanent(1, 1).is_live(10**15)


def test_a_reservation_takes_whole_lots_before_the_next() -> None:
    lots = [permanent(1, 10), bonus(2, 4, 300), bonus(3, 3, 200)]
    assert reserve(lots, 9, 100) == [Part(3, 3), Part(2, 4), Part(1, 2)]
    assert reserve(lots, 3, 100) == [Part(3, 3)]
    assert reserve(lots, 0, 100) == []


def test_too_few_live_credits_are_refused_with_what_is_missing() -> None:
    lots = [permanent(1, 10), bonus(2, 100, 50)]
    with pytest.raises(InsufficientCredits) as refused:
        reserve(lots, 25, 100)
    assert (refused.value.required, refused.value.available, refused.value.missing) == (25, 10, 15)


lots_strategy = st.lists(
    st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(1, 5))), max_size=8
).map(
    lambda rows: [
        permanent(index, remaining) if expiry is None else bonus(index, remaining, expiry)
        for index, (remaining, expiry) in enumerate(rows, 1)
    ]
)


@given(lots_strategy, st.integers(0, 80), st.integers(0, 6))
def test_a_reservation_is_exact_or_refused_and_never_takes_what_is_not_there(
    lots: list[Lot], amount: int, now_ms: int
) -> None:
    live = {lot.lot_id: lot.remaining for lot in lots if lot.is_live(now_ms)}
    if amount > sum(live.values()):
        with pytest.raises(InsufficientCredits):
            reserve(lots, amount, now_ms)
        return
    parts = reserve(lots, amount, now_ms)
    assert sum(part.amount for part in parts) == amount
    assert all(0 < part.amount <= live[part.lot_id] for part in parts)
    assert len({part.lot_id for part in parts}) == len(parts)
    # all lots but the last one are emptied: nothing that expires earlier is left behind
    assert all(part.amount == live[part.lot_id] for part in parts[:-1])


# --- settling and refunding -----------------------------------------------------------------------------


def reservation(*reserved: int) -> Reservation:
    """One line per amount; line n came from lot n."""
    return Reservation([ReservationLine(n, n, amount) for n, amount in enumerate(reserved)])


def test_settles_take_from_the_front_and_refunds_from_the_end() -> None:
    held = reservation(3, 4, 5)
    assert held.settle(5) == [Part(0, 3), Part(1, 2)]
    assert held.refund(6) == [Part(2, 5), Part(1, 1)]
    assert held.held == 1
    assert [(line.settled, line.refunded) for line in held.lines] == [(3, 0), (2, 1), (0, 5)]


def test_a_line_that_is_used_up_is_looked_at_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(line: ReservationLine) -> int:
        nonlocal looks
        looks += 1
        return line.reserved - line.settled - line.refunded

    monkeypatch.setattr(ReservationLine, "held", property(counted))
    reserved = reservation(*[10] * 1000)
    for number in range(1000):
        assert reserved.refund(10) == [Part(999 - number, 10)]
        reserved.add([ReservationLine(1000 + number, 1000 + number, 10)])
        assert reserved.refund(10) == [Part(1000 + number, 10)]
    assert reserved.held == 0
    assert looks <= 10_000  # not each line for each credit that moves


def test_more_than_is_held_is_never_booked() -> None:
    with pytest.raises(MoreThanHeld, match="settle of 4 credits, 1 more than are held"):
        reservation(3).settle(4)
    with pytest.raises(MoreThanHeld, match="refund of 4 credits, 1 more than are held"):
        reservation(3).refund(4)


verdicts = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=20)


@given(st.lists(st.integers(1, 30), max_size=6), verdicts)
def test_whatever_the_order_of_verdicts_the_kept_credits_are_the_first_ones_reserved(
    reserved: list[int], outcomes: list[tuple[int, bool]]
) -> None:
    held = reservation(*reserved)
    settled = refunded = 0
    for amount, success in outcomes:
        if amount > held.held:
            continue
        parts = held.settle(amount) if success else held.refund(amount)
        assert sum(part.amount for part in parts) == amount
        if success:
            settled += amount
        else:
            refunded += amount
        assert held.held == sum(reserved) - settled - refunded
    assert all(line.held >= 0 for line in held.lines)
    # the front of the reservation is kept, its end given back: a model that knows only the two sums
    expected = []
    left = settled
    for amount in reserved:
        expected.append(min(left, amount))
        left -= expected[-1]
    assert [line.settled for line in held.lines] == expected
    expected = []
    left = refunded
    for amount in reversed(reserved):
        expected.insert(0, min(left, amount))
        left -= expected[0]
    assert [line.refunded for line in held.lines] == expected


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_final_state_does_not_depend_on_the_order_of_verdicts(
    reserved: list[int], random: Random
) -> None:
    total = sum(reserved)
    outcomes = [(1, index % 3 != 0) for index in range(total)]
    first, second = reservation(*reserved), reservation(*reserved)
    shuffled = list(outcomes)
    random.shuffle(shuffled)
    for target, order in ((first, outcomes), (second, shuffled)):
        for amount, success in order:
            if success:
                target.settle(amount)
            else:
                target.refund(amount)
    assert [(line.settled, line.refunded) for line in first.lines] == [
        (line.settled, line.refunded) for line in second.lines
    ]


# --- the hash chain -------------------------------------------------------------------------------------

ENTRY = LedgerEntry(
    account_id=1,
    seq=2,
    type=EntryType.RESERVE,
    delta=-7,
    balance_after=3,
    batch_id=4,
    task_id=5,
    parts=(Part(6, 4), Part(7, 3)),
    description="for a batch",
    created_at_ms=8,
)


def test_every_field_of_an_entry_and_the_hash_before_it_change_its_hash() -> None:
    different = {
        "account_id": 9,
        "seq": 9,
        "type": EntryType.REFUND,
        "delta": 7,
        "balance_after": 9,
        "batch_id": None,
        "task_id": None,
        "parts": (Part(6, 3), Part(7, 4)),
        "description": "for a Batch",
        "created_at_ms": 9,
    }
    assert set(different) == {field.name for field in dataclasses.fields(LedgerEntry)}
    hashes = [entry_hash(GENESIS_HASH, ENTRY), entry_hash("1" * 64, ENTRY)]
    hashes += [
        entry_hash(GENESIS_HASH, dataclasses.replace(ENTRY, **{name: value}))  # type: ignore[arg-type]
        for name, value in different.items()
    ]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_of_an_entry_never_changes_between_versions() -> None:
    """Stored chains must stay verifiable, by other programs, too: SHA-256 over exactly this text."""
    hashed = f'["{GENESIS_HASH}",1,2,"reserve",-7,3,4,5,"[[6,4],[7,3]]","for a batch",8]'
    assert entry_hash(GENESIS_HASH, ENTRY) == hashlib.sha256(hashed.encode()).hexdigest()


def test_text_cannot_be_moved_from_one_field_into_another_unnoticed() -> None:
    one = dataclasses.replace(ENTRY, description='x",1,"y')
    other = dataclasses.replace(ENTRY, description="x", created_at_ms=1)
    assert entry_hash(GENESIS_HASH, one) != entry_hash(GENESIS_HASH, other)


@given(st.lists(st.builds(Part, st.integers(1, 2**62), st.integers(1, 2**62)), max_size=5))
def test_parts_survive_being_stored(parts: list[Part]) -> None:
    assert decode_parts(encode_parts(parts)) == tuple(parts)
