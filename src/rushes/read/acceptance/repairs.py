"""What repairs have gained: tries with a rule, beside those that were left without it to see that."""

from typing import Any

from sqlalchemy import Connection, text

from rushes.domain.acceptance.repairs import Side, gain_interval, pays
from rushes.read.scope import Scope

_ENDED = (
    "SELECT t.repair, COUNT(*) AS tries,"
    " SUM(CASE WHEN t.status = 'succeeded' AND COALESCE(c.verdict, 'accepted') = 'accepted'"
    " THEN 1 ELSE 0 END) AS passed,"
    " SUM(CASE WHEN t.status = 'succeeded' THEN t.credits ELSE 0 END) AS credits"
    " FROM video_tasks t LEFT JOIN clip_verdicts c ON c.task_id = t.id WHERE t.repair IS NOT NULL"
    " AND (t.status = 'failed' OR (t.status = 'succeeded' AND COALESCE(c.state, 'decided') = 'decided'))"
)
_CONTROL = ":control"


def repairs_of_batch(connection: Connection, scope: Scope, public_id: str) -> list[dict[str, Any]]:
    """Each rule that the batch's tries had, with what it gained. Raises `NotFound`."""
    return _gains(connection, " AND t.batch_id = :id", {"id": scope.batch_id(connection, public_id)})


def gains(connection: Connection, scope: Scope, *, since_ms: int) -> list[dict[str, Any]]:
    """The same of all tries since then, of the scope's account or of all."""
    of_scope = "" if scope.is_operator else " AND t.account_id = :id"
    parameters = {"since": since_ms, **({} if scope.is_operator else {"id": scope.account_id})}
    return _gains(connection, f" AND t.completed_at_ms >= :since{of_scope}", parameters)


def _gains(connection: Connection, which: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    rows = connection.execute(text(f"{_ENDED}{which} GROUP BY t.repair"), parameters)
    sides = {row.repair: Side(int(row.tries), int(row.passed), int(row.credits)) for row in rows}
    rules = sorted({name.removesuffix(_CONTROL) for name in sides})
    nothing = Side(0, 0, 0)
    return [_gain(rule, sides.get(rule, nothing), sides.get(rule + _CONTROL, nothing)) for rule in rules]


def _gain(rule: str, treated: Side, control: Side) -> dict[str, Any]:
    after, _, do = rule.partition(":")
    is_known = treated.tries and control.tries
    return {
        "rule": rule,
        "after": after,
        "do": do,
        "with": treated.as_dict(),
        "without": control.as_dict(),
        "gain": round(treated.share - control.share, 4) if is_known else None,
        "gain_interval": list(gain_interval(treated, control)),
        "pays": pays(treated, control),
    }
