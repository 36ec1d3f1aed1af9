"""What a judge says of a clip, read strictly."""

from typing import Any

import pytest

from rushes.domain.acceptance.judging import REASON_CHARACTERS_MAX, Judgement, read_judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.errors import InputError


@pytest.mark.parametrize(
    ("judged", "score_min", "outcome"),
    [
        (Judgement(Verdict.ACCEPTED), None, (Verdict.ACCEPTED, [])),
        (Judgement(Verdict.ACCEPTED), 0.5, (Verdict.ACCEPTED, [])),
        (Judgement(Verdict.ACCEPTED, score_ppm=500_000), 0.5, (Verdict.ACCEPTED, [])),
        (Judgement(Verdict.ACCEPTED, score_ppm=499_999), 0.5, (Verdict.REJECTED, ["judge:score"])),
        (Judgement(Verdict.REJECTED), None, (Verdict.REJECTED, ["judge:rejected"])),
        (Judgement(Verdict.REJECTED, "blurred", 900_000), 0.5, (Verdict.REJECTED, ["judge:blurred"])),
    ],
)
def test_a_judgement_counts_with_its_score(
    judged: Judgement, score_min: float | None, outcome: tuple[Verdict, list[str]]
) -> None:
    assert judged.outcome(score_min) == outcome


@pytest.mark.parametrize(
    ("document", "item_id", "judged"),
    [
        ({"verdict": "accept"}, None, Judgement(Verdict.ACCEPTED)),
        (
            {"verdict": "rejected", "reason": "a, b  c", "score": 1},
            None,
            Judgement(Verdict.REJECTED, "a b c", 1_000_000),
        ),
        ({"verdict": "accepted", "score": 0}, "item_1", Judgement(Verdict.ACCEPTED, None, 0)),
        ({"verdict": "accepted", "item_id": "item_1"}, "item_1", Judgement(Verdict.ACCEPTED)),
        (
            {"verdict": "reject", "reason": "x" * REASON_CHARACTERS_MAX},
            None,
            Judgement(Verdict.REJECTED, "x" * REASON_CHARACTERS_MAX),
        ),
    ],
)
def test_a_judgement_is_read(document: dict[str, Any], item_id: str | None, judged: Judgement) -> None:
    assert read_judgement(document, item_id=item_id) == judged


@pytest.mark.parametrize(
    ("document", "item_id", "problem"),
    [
        ("accept", None, "must be an object with a verdict"),
        ({}, None, "must be accepted or rejected"),
        ({"verdict": True}, None, "must be accepted or rejected"),
        ({"verdict": "accept", "reasons": "x"}, None, 'did you mean "reason"'),
        ({"verdict": "accept", "zzz": 1}, None, "known: verdict, reason, score"),
        ({"verdict": "accept", "item_id": "item_1"}, None, "unknown field"),
        ({"verdict": "accept", "item_id": "item_2"}, "item_1", "names another item"),
        ({"verdict": "reject", "reason": ""}, None, "printable characters"),
        ({"verdict": "reject", "reason": "x" * (REASON_CHARACTERS_MAX + 1)}, None, "printable characters"),
        ({"verdict": "reject", "reason": "a\nb"}, None, "printable characters"),
        ({"verdict": "accept", "score": 1.01}, None, "a number from 0 to 1"),
        ({"verdict": "accept", "score": -0.01}, None, "a number from 0 to 1"),
        ({"verdict": "accept", "score": True}, None, "a number from 0 to 1"),
        ({"verdict": "accept", "score": "1"}, None, "a number from 0 to 1"),
    ],
)
def test_anything_else_is_no_judgement(document: object, item_id: str | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_judgement(document, item_id=item_id)
