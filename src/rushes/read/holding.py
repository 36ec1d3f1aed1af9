"""Why tasks wait that nobody will send as things are: their model is paused or gone, or their provider is.

Nothing of this is stored with them. It follows from the catalogue, from the pauses of operators and from what
the live workers say of themselves, and so it is over the moment its reason is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.input.duplicates import REUSED_PROVIDER
from rushes.store import workers
from rushes.store.tasks import pauses, waiting

WAITING_LOOKED_AT_MAX: Final = 100_000
"""Waiting tasks that are counted for operators; where there are more, the counts are too low."""

_FLOWING: Final = frozenset({"closed", "held"})


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

    def reason(self, provider: str, model: str) -> str | None:
        """Why a waiting task of that model is held; None when it waits for nothing but its turn."""
        if provider == REUSED_PROVIDER:
            return None  # it waits for an equal item, wherever that stands
        known = self._catalogue.find(model)
        if known is None:
            return f"{model} is not in the catalogue"
        if known.disabled or known.is_retired(self._now):
            return f"{model} {known.why_not(self._now)}"
        if provider in self._pauses:
            return self._pauses[provider].words if self._to_operator else f"{provider} is paused"
        if not self._has_workers:
            return None  # none is alive at the moment: that says nothing of this task
        states = self._states.get(provider)
        if states is None:
            return f"no worker serves {provider}" + (f": {known.unavailable}" if known.unavailable else "")
        if any(state["state"] in _FLOWING for state in states):
            return None
        return f"{provider} is {states[0]['state']}: {states[0].get('reason') or 'no reason given'}"

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
    reasons = {row["id"]: holding.reason(row["provider"], row["model"]) for row in pending}
    return {task_id: reason for task_id, reason in reasons.items() if reason is not None}


def held_tasks(connection: Connection, catalogue: Catalogue, now_ms: int) -> list[dict[str, Any]]:
    """What is held now, for operators: `provider, model, count, reason` for each model."""
    holding = Holding(connection, catalogue, now_ms, to_operator=True)
    found = [
        {"provider": provider, "model": model, "count": count, "reason": reason}
        for provider, model, count in waiting.waiting_models(connection, WAITING_LOOKED_AT_MAX)
        if (reason := holding.reason(provider, model)) is not None
    ]
    sent = waiting.unfollowed_models(connection, now_ms, WAITING_LOOKED_AT_MAX)
    return found + [
        {"provider": provider, "model": model, "count": count, "reason": f"no worker polls {provider}"}
        for provider, model, count in sent
        if holding.lost(provider)
    ]
