"""Models of tasks that left the choice open: chosen a few at a time, as their account's clips get verdicts.

Any worker does it for all, once a second; see `rushes.money.choosing.choose`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.forecast import Pace
from rushes.money.choosing.choose import Models, choose_models
from rushes.money.choosing.turns import NO_QUEUES, Queues, Times, queues_of, times_of
from rushes.providers.health import HealthState
from rushes.run.failover import availability
from rushes.store import workers
from rushes.store.acceptance import choices, gates
from rushes.store.database import Database
from rushes.store.tasks import pauses

WAITING_MAX: Final = 1_000
BATCHES_MAX: Final = 50
"""Batches that one pass looks at, of those that wait: first those that were not for longest."""

AGAIN_MS: Final = 3_000
"""When a batch is looked at again for which nothing could be chosen: it waits for verdicts, as a rule."""

log = telemetry.logger()


class Choosing:
    """Chooses the models of waiting tasks; `paces` are what their providers allow."""

    def __init__(
        self,
        database: Database,
        *,
        catalogue: Catalogue,
        now_ms: Callable[[], int],
        makes_links: bool,
        paces: Mapping[str, Pace] = MappingProxyType({}),
    ) -> None:
        self._database = database
        self._paces = paces
        self._catalogue = catalogue
        self._now_ms = now_ms
        self._makes_links = makes_links
        self._again_at_ms: dict[int, int] = {}

    async def choose(self, states: Mapping[str, HealthState]) -> int:
        """Choose what can be chosen; returns for how many tasks. `states` are this worker's providers."""
        now_ms = self._now_ms()
        waiting = await self._database.read(choices.batches_waiting, limit=WAITING_MAX)
        self._again_at_ms = {each: self._again_at_ms.get(each, 0) for each in waiting}
        by_turn = sorted(waiting, key=self._again_at_ms.__getitem__)[:BATCHES_MAX]
        due = [each for each in by_turn if self._again_at_ms[each] <= now_ms]
        if not due:
            return 0
        served = states.keys() | await self._database.read(workers.served_providers, now_ms)
        paused = await self._database.read(pauses.all_pauses)
        times = await self._database.read(times_of, self._catalogue)
        queues = await self._database.read(self._queues, due, times, now_ms)
        models = Models(
            self._catalogue,
            usable=lambda model: availability(model, states, served, paused, now_ms / 1000).reason is None,
            times=times,
            queues=queues,
            makes_links=self._makes_links,
        )
        chosen: Counter[str] = Counter()
        for batch_id in due:
            given = await self._database.transact(choose_models, batch_id, models, now_ms)
            self._again_at_ms[batch_id] = now_ms + (0 if given else AGAIN_MS)
            chosen.update(given)
        for name, count in chosen.items():
            log.info(telemetry.MODELS_CHOSEN, model=name, count=count)
        return chosen.total()

    def _queues(
        self, connection: Connection, batch_ids: Sequence[int], times: Callable[[Model], Times], now_ms: int
    ) -> Queues:
        """What stands at the providers. It counts all open tasks, so only for a time to finish by."""
        rules = (gates.of_batch(connection, batch_id).auto for batch_id in batch_ids)
        if all(rule is None or rule.finish_by_ms is None for rule in rules):
            return NO_QUEUES
        return queues_of(connection, self._catalogue, self._paces, times, now_ms)
