"""The proof of re-rolls, small, and that it can fail: a cap that is passed, a re-roll too many, are named."""

import dataclasses
from types import SimpleNamespace

import pytest
from proofs.__main__ import parser
from proofs.rerolls import Commit, Kept, Try, _credits, _item_by_item, _replay

from proofs import rerolls
from rushes.simulator import TaskReport

POLICY: dict[str, object] = {"max": 2, "credits_max": 10}


def one_try(task_id: int, index: int, number: int, *, passed: bool) -> Try:
    """A try of an item of sora-2."""
    return Try(
        task_id,
        index,
        number,
        "sora-2" if index % 2 == 0 else "veo-flash",
        f"cap/{index}: a boat",
        10 if index % 2 == 0 else 15,
        passed,
        None if passed else "output_moderation",
        task_id,
        "w1",
    )


def told(one: Try) -> TaskReport:
    """The provider's side of a try."""
    return TaskReport(
        id=f"r{one.task_id}",
        wire="grsai",
        model={"sora-2": "sora-2", "veo-flash": "veo3.1-fast"}[one.model],
        prompt=one.prompt,
        marker="",
        ordinal=one.number + 1,
        submitted_at=0.0,
        fate="succeeded" if one.passed else "output_moderation",
        finished_at=1.0,
        acceptance_answered=True,
        times_polled=1,
        poll_gap_min_seconds=None,
        final_answer="succeeded" if one.passed else "output_moderation",
        final_answer_at=1.0,
        downloads=0,
    )


FIRST, OTHER, AGAIN = (
    one_try(1, 0, 0, passed=False),
    one_try(2, 1, 0, passed=False),
    one_try(3, 0, 1, passed=True),
)
KEPT = Kept(
    tries=[FIRST, OTHER, AGAIN],
    first_reserved=25,
    # the cap has room for the re-roll of the first item, not for the other's
    commits=[Commit([FIRST, OTHER], 10), Commit([AGAIN], 0)],
    row=SimpleNamespace(credits_reserved=35, credits_settled=10, credits_refunded=25),
    document={
        "rerolls_count": 1,
        "credits_used": 10,
        "tries_ended": 3,
        "tries_passed": 1,
        "stopped_at": None,
    },
    told=[told(one) for one in (FIRST, OTHER, AGAIN)],
)


def differences(kept: Kept, policy: dict[str, object] = POLICY) -> list[str]:
    """All that the proof would name, but for the law of large numbers."""
    return [*_replay(kept, policy), *_credits(kept), *_item_by_item(kept, policy)]


def test_what_agrees_has_no_difference() -> None:
    assert differences(KEPT) == []


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("the policy says [10]", {"commits": [Commit([FIRST, OTHER], 25), Commit([AGAIN], 0)]}),
        ("the policy says [10]", {"commits": [Commit([FIRST, OTHER], 0), Commit([AGAIN], 0)]}),
        ("rushes tells (1, 11, 3, 1, False)", {"document": {**KEPT.document, "credits_used": 11}}),
        ("were reserved at the start", {"first_reserved": 35}),
        (
            "the provider took tasks for 35",
            {"row": SimpleNamespace(credits_reserved=45, credits_settled=10, credits_refunded=35)},
        ),
        ("tasks of the provider are no try", {"told": [*KEPT.told, told(AGAIN)]}),
        ("is not what the provider says", {"told": KEPT.told[:2]}),
    ],
)
def test_what_differs_is_named(words: str, changes: dict[str, object]) -> None:
    found = differences(dataclasses.replace(KEPT, **changes))  # type: ignore[arg-type]
    assert any(words in line for line in found), found


def test_a_cap_or_a_stop_loss_that_was_not_kept_is_named() -> None:
    assert "the policy says []" in " ".join(differences(KEPT, {"max": 2, "credits_max": 9}))
    lossy = {"max": 2, "stop_loss": {"pass_rate_min": 0.5, "after": 2}}
    assert "the policy says []" in " ".join(differences(KEPT, lossy))
    assert "did not" in " ".join(
        differences(KEPT, {**POLICY, "stop_loss": {"pass_rate_min": 0.1, "after": 9}})
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_small_run_differs_in_nothing(database: str) -> None:
    result = rerolls.run(parser().parse_args(["rerolls", "--tasks", "20", "--only", database]))
    assert result.ok, "\n".join(result.lines())
