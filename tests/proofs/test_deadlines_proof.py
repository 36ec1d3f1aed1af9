"""The proof of deadlines, small: what is late is counted, and nobody beats who knows each render."""

import random
from pathlib import Path

import pytest
from proofs.accepted import empty_books
from proofs.deadlines import FAST, LAWS, PRICES, SLOW, Outcome, bound, by_law, learned, run_way, without_turns

from proofs import deadlines
from rushes.domain.forecast import Pace

ITEMS, PLACES, HOURS = 30, 5, 4.0


@pytest.fixture
def renders(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """Of each item by lane, at a provider with few places."""
    monkeypatch.setattr(deadlines, "PLACES", PLACES)
    monkeypatch.setattr(deadlines, "PACES", {deadlines.PROVIDER: Pace(None, PLACES)})
    draw = random.Random(5)
    return {name: [law.draw(draw) for _ in range(ITEMS)] for name, law in LAWS.items()}


def test_who_counts_the_turns_is_in_time_and_saves_and_who_does_not_is_late(
    tmp_path: Path, renders: dict[str, list[float]]
) -> None:
    template = empty_books(tmp_path).read_bytes()
    found: dict[str, Outcome] = {}
    for choose in (learned, by_law, without_turns):
        books = tmp_path / f"{choose.__name__}.db"
        books.write_bytes(template)
        found[choose.__name__], wrong = run_way(choose, renders, HOURS, 1, books)
        assert wrong == []
    least = bound(renders, HOURS * 3600)
    assert found["without_turns"].late > ITEMS / 3
    for name in ("learned", "by_law"):
        assert found[name].late <= 1
        assert least.spent <= found[name].spent < ITEMS * PRICES[FAST]


def test_nobody_is_cheaper_than_all_slow_or_dearer_than_all_fast(renders: dict[str, list[float]]) -> None:
    assert bound(renders, 10.0**7) == Outcome(0, ITEMS * PRICES[SLOW])
    assert bound(renders, 1.0) == Outcome(ITEMS, ITEMS * PRICES[FAST])
