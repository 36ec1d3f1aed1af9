"""Clips that judges are asked about, and what each judge said, once.

A claim of a clip runs out by itself, and `asked_count` guards what is recorded: a judge that answers after
its claim was taken by another process, or after a person decided, decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from rushes.domain.acceptance.judging import Judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.gates import thresholds_in
from rushes.store.acceptance.verdicts import PERSON
from rushes.store.database import Rows, statement
from rushes.store.outputs.due import DueRows

HOOK = "hook"

_IDS = Rows(id=int)


@dataclass(frozen=True, slots=True)
class ClipToJudge:
    """A clip that this process asks the judge about. `asked_count` counts this time."""

    task_id: int
    asked_count: int
    score_min: float | None
    batch_public_id: str
    item_index: int
    try_number: int
    prompt: str
    model: str
    options: str
    video_url: str | None
    video_key: str | None
    sha256: str | None


_TO_JUDGE = DueRows("clip_verdicts", "judge", at="next_ask_at_ms", tries="asked_count")


def any_due(connection: Connection, now_ms: int) -> bool:
    """Whether a judge is to be asked now."""
    return _TO_JUDGE.any(connection, now_ms)


def claim_if_due(
    connection: Connection, *, limit: int, now_ms: int, claimed_until_ms: int
) -> list[ClipToJudge]:
    """Take clips to ask about; nobody else gets them before `claimed_until_ms`."""
    rows = _TO_JUDGE.claim(connection, limit=limit, now_ms=now_ms, claimed_until_ms=claimed_until_ms)
    if not rows:
        return []
    found = connection.execute(
        statement(
            "SELECT c.task_id, c.asked_count, g.thresholds, b.public_id AS batch_public_id, t.item_index,"
            " t.retry_number + 1 AS try_number, t.prompt, t.model, t.options, t.video_url, f.video_key,"
            f" f.sha256 FROM {_IDS.sql(connection)} JOIN clip_verdicts c ON c.task_id = v.id"
            " JOIN video_tasks t ON t.id = c.task_id JOIN batches b ON b.id = t.batch_id"
            " JOIN batch_gates g ON g.batch_id = b.id LEFT JOIN archived_files f ON f.task_id = t.id"
            " ORDER BY c.task_id"
        ),
        _IDS.parameters(connection, [(row[0],) for row in rows]),
    )
    return [_clip_to_judge(**row._mapping) for row in found]


def _clip_to_judge(*, thresholds: str, **columns: Any) -> ClipToJudge:
    return ClipToJudge(**columns, score_min=thresholds_in(thresholds).score_min)


_ASKED = "task_id = :task_id AND state = 'judge' AND asked_count = :asked_count"


def ask_again_if_asked(connection: Connection, clip: ClipToJudge, *, next_ask_at_ms: int) -> bool:
    """The judge gave no answer that counts: ask it again then."""
    result = connection.execute(
        statement(f"UPDATE clip_verdicts SET next_ask_at_ms = :next WHERE {_ASKED}"),
        {"next": next_ask_at_ms, "task_id": clip.task_id, "asked_count": clip.asked_count},
    )
    return result.rowcount == 1


def decide_if_asked(
    connection: Connection,
    clip: ClipToJudge,
    verdict: Verdict,
    reasons: Sequence[str],
    *,
    score_ppm: int | None = None,
    now_ms: int,
) -> bool:
    """The hook's verdict, or that there will be none; False when the clip was decided or asked about
    since.
    """
    result = connection.execute(
        statement(
            "UPDATE clip_verdicts SET state = 'decided', verdict = :verdict, reasons = :reasons,"
            f" score_ppm = :score, decided_by = :judge, decided_at_ms = :now WHERE {_ASKED}"
        ),
        {
            "verdict": verdict.value,
            "reasons": ",".join(reasons),
            "score": score_ppm,
            "judge": HOOK,
            "now": now_ms,
            "task_id": clip.task_id,
            "asked_count": clip.asked_count,
        },
    )
    if result.rowcount == 1 and verdict is not Verdict.UNDECIDED:
        _note(connection, clip.task_id, HOOK, verdict, reasons, score_ppm, now_ms)
    return result.rowcount == 1


def _note(
    connection: Connection,
    task_id: int,
    judge: str,
    verdict: Verdict,
    reasons: Sequence[str],
    score_ppm: int | None,
    now_ms: int,
) -> bool:
    """What the judge said; False when it has said something of this clip before."""
    result = connection.execute(
        statement(
            "INSERT INTO clip_judgements (task_id, judge, verdict, reasons, score_ppm, judged_at_ms)"
            " VALUES (:task_id, :judge, :verdict, :reasons, :score, :now)"
            " ON CONFLICT (task_id, judge) DO NOTHING"
        ),
        {
            "task_id": task_id,
            "judge": judge,
            "verdict": verdict.value,
            "reasons": ",".join(reasons),
            "score": score_ppm,
            "now": now_ms,
        },
    )
    return result.rowcount == 1


# --- persons --------------------------------------------------------------------------------------------


def said_by_person(connection: Connection, task_id: int) -> Verdict | None:
    """The verdict that a person gave on this clip, if one did."""
    found = connection.scalar(
        statement("SELECT verdict FROM clip_judgements WHERE task_id = :task_id AND judge = :judge"),
        {"task_id": task_id, "judge": PERSON},
    )
    return None if found is None else Verdict(found)


def judge_if_unjudged(
    connection: Connection,
    task_id: int,
    batch_id: int,
    judgement: Judgement,
    *,
    person: str,
    score_min: float | None,
    now_ms: int,
) -> bool:
    """A person's verdict stands before every other; False when a person has judged this clip before."""
    verdict, reasons = judgement.outcome(score_min)
    if not _note(connection, task_id, PERSON, verdict, reasons, judgement.score_ppm, now_ms):
        return False
    verdicts.stand_first(
        connection,
        batch_id,
        [task_id],
        verdict,
        reasons,
        score_ppm=judgement.score_ppm,
        person=person,
        now_ms=now_ms,
    )
    return True
