"""Why tasks wait that nobody will send as things are: their model is paused or gone, or their provider is.

Nothing of this is stored with them. It follows from the catalogue, from the pauses of operators and from what
the live workers say of themselves, and so it is over the moment its reason is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, assert_never

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.input.auto import AUTO
from rushes.domain.input.duplicates import REUSED_PROVIDER
from rushes.store import workers
from rushes.store.tasks import pauses, waiting

WAITING_LOOKED_AT_MAX: Final = 20_000
"""Waiting tasks that are counted for operators; where there are more, the counts are too low."""

_FLOWING: Final = frozenset({"closed", "held"})


class HoldKind(StrEnum):
    """What holds tasks."""

    UNLISTED = "unlisted"
    RETIRED = "retired"
    DISABLED = "disabled"
    PAUSED = "paused"
    NO_WORKER = "no worker"
    NOT_POLLED = "not polled"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why tasks of a model at a provider are held.

    `said` is the day on which the model was retired, what an operator wrote, or what the provider or its
    settings say; `state` is the provider's, as workers see it; `operator` is who paused it.
    """

    kind: HoldKind
    provider: str
    model: str
    said: str = ""
    state: str = ""
    operator: str = ""

    @property
    def words(self) -> str:
        """It in English."""
        match self.kind:
            case HoldKind.UNLISTED:
                return f"{self.model} is not in the catalogue"
            case HoldKind.RETIRED:
                return f"{self.model} was retired on {self.said}"
            case HoldKind.DISABLED:
                return f"{self.model} is disabled by the operator"
            case HoldKind.PAUSED if self.operator:
                return f"{self.provider} was paused by {self.operator}: {self.said}"
            case HoldKind.PAUSED:
                return f"{self.provider} is paused"
            case HoldKind.NO_WORKER:
                return f"no worker serves {self.provider}" + (f": {self.said}" if self.said else "")
            case HoldKind.NOT_POLLED:
                return f"no worker polls {self.provider}"
            case HoldKind.PROVIDER:
                return f"{self.provider} is {self.state}: {self.said or 'no reason given'}"
            case other:
                assert_never(other)


class Holding:
    """What holds tasks at one moment. `catalogue` is the operator's.

    Only with `to_operator` it tells who paused a provider, and what they wrote.
    """

    def __init__(
        self, connection: Connection, catalogue: Catalogue, now_ms: int, *, to_operator: bool = False
    ) -> None:
        self._catalogue = catalogue
        self._now = now_ms / 1000
        self._to_operator = to_operator
        self._pauses = pauses.all_pauses(connection)
        live = workers.live_workers(connection, now_ms)
        self._has_workers = bool(live)
        self._states: dict[str, list[Mapping[str, Any]]] = {}
        for row in live:
            states = msgspec.json.decode(str(row["report"])).get("providers", {})
            for provider in msgspec.json.decode(str(row["holds"])):
                self._states.setdefault(provider, []).append(states.get(provider, {"state": "closed"}))

    def hold(self, provider: str, model: str) -> Hold | None:
        """What holds a waiting task of that model; None when it waits for nothing but its turn, or for its
        model to be chosen from those that take tasks.
        """
        if provider == REUSED_PROVIDER:
            return None  # it waits for an equal item, wherever that stands
        known = self._catalogue.find(model)
        if known is None and model == AUTO:
            on_sale = [one for one in self._catalogue if one.takes_new_tasks(self._now)]
            holds = [held for one in on_sale if (held := self.hold(one.provider, one.name)) is not None]
            if len(holds) < len(on_sale) or not holds:
                return None
            return min(holds, key=lambda held: held.kind is HoldKind.NO_WORKER)
        if known is None:
            return Hold(HoldKind.UNLISTED, provider, model)
        if known.is_retired(self._now) and known.sunset_at is not None:
            day = datetime.fromtimestamp(known.sunset_at, UTC).date().isoformat()
            return Hold(HoldKind.RETIRED, provider, model, day)
        if known.disabled:
            return Hold(HoldKind.DISABLED, provider, model)
        if (pause := self._pauses.get(provider)) is not None:
            if self._to_operator:
                return Hold(HoldKind.PAUSED, provider, model, pause.reason, operator=pause.operator)
            return Hold(HoldKind.PAUSED, provider, model)
        if not self._has_workers:
            return None  # none is alive at the moment: that says nothing of this task
        states = self._states.get(provider)
        if states is None:
            return Hold(HoldKind.NO_WORKER, provider, model, known.unavailable or "")
        if any(state["state"] in _FLOWING for state in states):
            return None
        said = str(states[0].get("reason") or "")
        return Hold(HoldKind.PROVIDER, provider, model, said, str(states[0]["state"]))

    def lost(self, provider: str) -> bool:
        """Whether tasks in flight at that provider are followed by nobody, though workers are alive."""
        return self._has_workers and provider not in self._states


def held_reasons(
    connection: Connection, rows: Sequence[Mapping[str, Any]], catalogue: Catalogue, now_ms: int
) -> dict[int, str]:
    """Why those of the rows of `video_tasks` that are held are, by id."""
    pending = [row for row in rows if row["status"] == "pending"]
    if not pending:
        return {}
    holding = Holding(connection, catalogue, now_ms)
    holds = {at: holding.hold(*at) for at in {(row["provider"], row["model"]) for row in pending}}
    found = {row["id"]: holds[row["provider"], row["model"]] for row in pending}
    return {task_id: hold.words for task_id, hold in found.items() if hold is not None}


def held_tasks(connection: Connection, catalogue: Catalogue, now_ms: int) -> list[dict[str, Any]]:
    """What is held now, for operators: `provider, model, count, reason` for each model."""
    return [
        {"provider": hold.provider, "model": hold.model, "count": count, "reason": hold.words}
        for hold, count in held_models(connection, catalogue, now_ms)
    ]


def held_models(connection: Connection, catalogue: Catalogue, now_ms: int) -> list[tuple[Hold, int]]:
    """The same: what holds each model, and how many tasks it holds."""
    holding = Holding(connection, catalogue, now_ms, to_operator=True)
    found = [
        (hold, count)
        for provider, model, count in waiting.waiting_models(connection, WAITING_LOOKED_AT_MAX)
        if (hold := holding.hold(provider, model)) is not None
    ]
    sent = waiting.unfollowed_models(connection, now_ms, WAITING_LOOKED_AT_MAX)
    return found + [
        (Hold(HoldKind.NOT_POLLED, provider, model), count)
        for provider, model, count in sent
        if holding.lost(provider)
    ]
