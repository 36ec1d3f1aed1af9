"""Whose turn it is, by the order of claims alone."""

import pytest
from simulation.truth.broken import Broken
from simulation.truth.journal import TaskRow
from simulation.truth.turns import Turns
from simulation.world.plan import CATALOGUE, without


def task(number: int, account: int, model: str = "sora-2") -> TaskRow:
    values = dict.fromkeys(TaskRow._fields)
    row = {"id": number, "account_id": account, "provider": "grsai", "model": model, "status": "pending"}
    return TaskRow(**{**values, **row})  # type: ignore[arg-type]


def claim(turns: Turns, one: TaskRow) -> None:
    turns.waits_no_more(one)
    turns.claimed(one)
    turns.committed(CATALOGUE)


def test_an_account_that_waits_may_be_passed_over_only_so_often() -> None:
    turns = Turns(accounts=2)
    for number in range(20):
        turns.waits(task(number, 1))
    turns.waits(task(100, 2))
    for number in range(turns.passed_over_max):
        claim(turns, task(number, 1))
    with pytest.raises(Broken, match="PASSED_OVER"):
        claim(turns, task(19, 1))


def test_a_turn_starts_the_count_again_and_who_waits_for_nothing_is_not_counted() -> None:
    turns = Turns(accounts=2)
    for number in range(80):
        turns.waits(task(number, 1))
    turns.waits(task(100, 2))
    for number in range(turns.passed_over_max):
        claim(turns, task(number, 1))
    claim(turns, task(100, 2))
    for number in range(turns.passed_over_max, 50):
        claim(turns, task(number, 1))


def test_an_account_whose_model_no_worker_knows_is_not_passed_over() -> None:
    turns = Turns(accounts=1)
    turns.waits(task(100, 2, model="veo-pro"))
    for number in range(2 * turns.passed_over_max):
        turns.waits(task(number, 1))
        turns.waits_no_more(task(number, 1))
        turns.claimed(task(number, 1))
        turns.committed(without(CATALOGUE, "veo-pro"))
