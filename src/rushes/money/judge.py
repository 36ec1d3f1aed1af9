"""A person judges a clip: once, before every other verdict, with what follows from it, in one transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.domain.acceptance.judging import Judgement
from rushes.domain.errors import ItemNotJudgeable, NotFound
from rushes.domain.task import TaskStatus
from rushes.money.day_caps import require_counted
from rushes.money.rebuy import buy_next
from rushes.money.retry import Reprice
from rushes.store import batches
from rushes.store.acceptance import gates, judging
from rushes.store.tasks import items


@dataclass(frozen=True, slots=True)
class Judged:
    """`is_new` is False for a verdict that was given before; `buys` says that the item buys another clip."""

    is_new: bool
    buys: bool


def judge_item(
    connection: Connection,
    batch_public_id: str,
    index: int,
    judgement: Judgement,
    *,
    person: str,
    account_id: int | None = None,
    key_id: int | None = None,
    now_ms: int,
    reprice: Reprice | None = None,
) -> Judged:
    """Give an item's newest clip a person's verdict. The same one again changes nothing.

    Raises `NotFound`, `ItemNotJudgeable` for an item without a clip or with another verdict of a person, and
    `DayCapReached` where it would buy a clip for the key that asks, which may not.
    """
    batch_id = batches.batch_row_id(connection, batch_public_id, account_id=account_id)
    rows = items.lock_items(connection, batch_id, [index])
    if not rows:
        raise NotFound(f"the batch has no item {index}")
    (row,) = rows
    if row.status != TaskStatus.SUCCEEDED.value:
        raise ItemNotJudgeable(f"item {index} is {row.status}; only a clip that was made can be judged")
    asked = gates.of_batch(connection, batch_id).gate
    score_min = None if asked is None else asked.score_min
    if not judging.judge_if_unjudged(
        connection, row.id, batch_id, judgement, person=person, score_min=score_min, now_ms=now_ms
    ):
        said = judging.said_by_person(connection, row.id)
        if said is not judgement.outcome(score_min)[0]:
            raise ItemNotJudgeable(f"a person has judged item {index} as {said} before; that stands")
        return Judged(is_new=False, buys=False)
    buys = buy_next(connection, [row.id], now_ms, reprice=reprice) > 0
    if buys and key_id is not None:
        require_counted(connection, batch_id, key_id, now_ms=now_ms)
    return Judged(is_new=True, buys=buys)
