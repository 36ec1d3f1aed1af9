"""Bugs of failover and holding: what is sent, moved or ended although it must not be."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from rushes.money.accept import fail_waiting
from rushes.run import upkeep
from rushes.run.lane.claim import Claims
from rushes.store.tasks import waiting
from simulation.bugs.bug import Bug
from simulation.tempo import Patches
from simulation.world.plan import CATALOGUE


def _held_tasks_sent(patches: Patches) -> None:
    def all_models(self: Claims) -> list[str]:
        return [model.name for model in CATALOGUE if model.provider == self._provider.name]

    patches.set(Claims, "_models_to_send", all_models)


def _sent_tasks_moved(patches: Patches) -> None:
    def movable(
        connection: Connection, alias: str, model: str, *, limit: int, **_more: object
    ) -> list[tuple[int, str, int]]:
        rows = connection.execute(
            text(
                "SELECT id, options, credits FROM video_tasks WHERE status IN ('pending', 'processing')"
                " AND alias = :alias AND model = :model LIMIT :limit"
            ),
            {"alias": alias, "model": model, "limit": limit},
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def move(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        for task_id, model, provider, api_model, *_charge in rows:
            connection.execute(
                text("UPDATE video_tasks SET model = :m, provider = :p, api_model = :a WHERE id = :id"),
                {"id": task_id, "m": model, "p": provider, "a": api_model},
            )
        return len(rows)

    patches.set(waiting, "movable", movable)
    patches.set(waiting, "move_if_pending", move)


def _moved_at_its_models_price(patches: Patches) -> None:
    move_if_pending = waiting.move_if_pending

    def move(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        for task_id, *_ in rows:
            connection.execute(
                text("UPDATE video_tasks SET credits = 10 WHERE id = :id AND status = 'pending'"),
                {"id": task_id},
            )
        return move_if_pending(connection, rows)

    patches.set(waiting, "move_if_pending", move)


def _waits_cut_short(patches: Patches) -> None:
    def impatient(connection: Connection, *, wait_ms_max: int, **more: Any) -> int:
        return fail_waiting(connection, wait_ms_max=wait_ms_max // 4, **more)

    patches.set(upkeep, "fail_waiting", impatient)


BUGS = (
    Bug("held task sent", "a task of a model that the worker does not know is sent", _held_tasks_sent),
    Bug("sent task moved", "failover takes tasks along that are at a provider", _sent_tasks_moved),
    Bug("moved at another price", "a moved task costs what its new model does", _moved_at_its_models_price),
    Bug("wait cut short", "a task that waits fails long before its time", _waits_cut_short),
)
