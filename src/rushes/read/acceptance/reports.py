"""What accepted clips have cost: of one batch, and by model over time."""

from collections import Counter
from typing import Any

from sqlalchemy import Connection, text

from rushes.domain.acceptance import best_of as bests
from rushes.domain.acceptance.intervals import share_interval
from rushes.domain.acceptance.verdicts import Verdict
from rushes.read.scope import Scope
from rushes.store.acceptance import gates


def _cost(spent: int, accepted: int) -> float | None:
    return round(spent / accepted, 4) if accepted else None


def batch_verdicts(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """What a batch asked of its clips, and what all of them came to, replaced ones included.

    `credits_settled` are those of all clips; `cost_per_accepted` is None without an accepted one. Raises
    `NotFound`.
    """
    batch_id = scope.batch_id(connection, public_id)
    asked = gates.of_batch(connection, batch_id)
    rows = connection.execute(
        text(
            "SELECT COALESCE(c.verdict, 'open') AS verdict, c.reasons, t.credits, t.is_current"
            " FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id WHERE c.batch_id = :batch_id"
        ),
        {"batch_id": batch_id},
    ).all()
    verdicts = Counter(row.verdict for row in rows)
    reasons = Counter(reason for row in rows for reason in (row.reasons or "").split(",") if reason)
    spent = sum(row.credits for row in rows)
    accepted = verdicts[Verdict.ACCEPTED.value]
    has_best_of = asked.best_of is not None and asked.gate is not None
    return {
        "batch_id": public_id,
        "gate": None if asked.gate is None else asked.gate.as_dict(),
        "accept": bests.as_dict(asked.best_of, asked.gate)  # type: ignore[arg-type]
        if has_best_of
        else None,
        "auto": None if asked.auto is None else asked.auto.as_dict(),
        "clips": len(rows),
        "replaced": sum(row.is_current == 0 for row in rows),
        "verdicts": {name: verdicts[name] for name in (*(each.value for each in Verdict), "open")},
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "credits_settled": spent,
        "cost_per_accepted": _cost(spent, accepted),
    }


def models_chosen(connection: Connection, scope: Scope, public_id: str) -> dict[str, int]:
    """How many of the batch's tries each model was chosen for, most first; `auto` are still to be chosen.

    Empty for a batch that left no choice open. Raises `NotFound`.
    """
    rows = connection.execute(
        text(
            "SELECT model, COUNT(*) AS tries FROM video_tasks WHERE batch_id = :batch_id AND alias = 'auto'"
            " AND (choice IS NOT NULL OR (provider = 'auto' AND status = 'pending'))"
            " GROUP BY model ORDER BY 2 DESC, 1"
        ),
        {"batch_id": scope.batch_id(connection, public_id)},
    )
    return {row.model: int(row.tries) for row in rows}


def cost_by_model(connection: Connection, scope: Scope, *, since_ms: int = 0) -> list[dict[str, Any]]:
    """By model: its decided clips since then, how many were accepted, and what an accepted one has cost.

    The cheapest first; the interval of the share of accepted ones is that of Wilson at 95 %.
    """
    of_scope = "" if scope.is_operator else " AND t.account_id = :account_id"
    rows = connection.execute(
        text(
            "SELECT t.model, COUNT(*) AS clips, SUM(t.credits) AS credits,"
            " SUM(CASE WHEN c.verdict = 'accepted' THEN 1 ELSE 0 END) AS accepted,"
            " SUM(CASE WHEN c.verdict = 'rejected' THEN 1 ELSE 0 END) AS rejected"
            " FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id"
            f" WHERE c.state = 'decided' AND c.decided_at_ms >= :since{of_scope} GROUP BY t.model"
        ),
        {"since": since_ms, **({} if scope.is_operator else {"account_id": scope.account_id})},
    )
    found = [
        {
            "model": row.model,
            "clips": int(row.clips),
            "accepted": int(row.accepted),
            "rejected": int(row.rejected),
            "credits_settled": int(row.credits),
            "accepted_share": _cost(int(row.accepted), int(row.clips)),
            "accepted_share_interval": list(share_interval(int(row.accepted), int(row.clips))),
            "cost_per_accepted": _cost(int(row.credits), int(row.accepted)),
        }
        for row in rows
    ]
    return sorted(
        found, key=lambda each: (each["cost_per_accepted"] is None, each["cost_per_accepted"], each["model"])
    )
