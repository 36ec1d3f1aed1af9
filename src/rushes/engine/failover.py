"""Failover: what waits under an alias goes to the next of its models when its own cannot take it.

A model cannot take tasks when it is retired or disabled, when no worker serves its provider, or when this
worker finds the provider down. Where the operator has set a longest queue, what is over it goes on too, the
newest first. Only tasks that wait are moved: what was sent stays where it was sent, and a task that was
moved stays there when the first choice returns. No credit moves, for an alias has one price.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.aliases import Alias
from rushes.domain.catalogue import Catalogue, Model
from rushes.domain.errors import InputError
from rushes.domain.task import TaskStatus
from rushes.providers.health import HealthState
from rushes.store import tasks, waiting, workers
from rushes.store.database import Database

MOVE_TASKS_MAX = 1000
"""Tasks that one transaction moves."""

LOOKED_AT_MAX = 10_000
"""Tasks of one model that one look considers; those that no other model takes are looked at in vain."""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model stands now; `reason` says why it can take no task, None that it can.

    `keeps` tasks are left to it all the same: a provider that is being tried needs one to be tried with.
    """

    reason: str | None = None
    keeps: int = 0


class Failover:
    """Looks after the tasks that wait under the catalogue's aliases; any worker may do so for all.

    `states()` are the providers of this worker, as it finds them.
    """

    def __init__(
        self,
        database: Database,
        *,
        catalogue: Catalogue,
        states: Callable[[], Mapping[str, HealthState]],
        queue_max: int | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._states = states
        self._queue_max = queue_max
        self._now_ms = now_ms

    async def look(self) -> int:
        """Move what must be moved; returns how many tasks were."""
        if not self._catalogue.aliases or not await self._database.read(waiting.any_movable):
            return 0
        states, now_ms = self._states(), self._now_ms()
        served = states.keys() | await self._database.read(workers.served_providers, now_ms)
        moved = 0
        for alias in self._catalogue.aliases:
            names = await self._database.read(waiting.models_under, alias.name)
            standing_of = partial(_standing, states=states, served=served, now=now_ms / 1000)
            usable = [model for model in alias.models if standing_of(model).reason is None]
            if not names or not usable:
                continue
            for name in names:
                model = self._catalogue.find(name)
                standing = standing_of(model) if model else Standing(f"{name} is not in the catalogue")
                if standing.reason is not None:
                    moved += await self._leave(alias, name, standing, usable)
            if self._queue_max is not None:
                moved += await self._shorten(alias, usable, self._queue_max)
        return moved

    async def _leave(self, alias: Alias, name: str, standing: Standing, usable: Sequence[Model]) -> int:
        """Everything that waits for a model that cannot take it."""
        moved = looked_at = after_id = 0
        while looked_at < LOOKED_AT_MAX:
            page = await self._database.transact(
                move, alias.name, name, usable, after_id=after_id, skip=standing.keeps
            )
            moved += self._told(alias, name, page.moved, standing.reason)
            looked_at += page.looked_at
            if page.looked_at < MOVE_TASKS_MAX:
                break
            after_id = page.last_id
        return moved

    async def _shorten(self, alias: Alias, usable: Sequence[Model], queue_max: int) -> int:
        """What waits beyond the longest queue goes to later models whose queues have room."""
        moved = 0
        for place, model in enumerate(usable[:-1], start=1):
            moves = await self._database.transact(
                shorten, alias.name, model, usable[place:], queue_max=queue_max
            )
            moved += self._told(alias, model.name, moves, f"more than {queue_max} wait for {model.provider}")
        return moved

    @staticmethod
    def _told(alias: Alias, name: str, moves: Mapping[str, int], reason: str | None) -> int:
        for target, count in moves.items():
            log.warning(
                telemetry.TASKS_MOVED,
                alias=alias.name,
                from_model=name,
                to_model=target,
                count=count,
                reason=reason,
            )
        return sum(moves.values())


def _standing(
    model: Model, states: Mapping[str, HealthState], served: Collection[str], now: float
) -> Standing:
    state = states.get(model.provider)
    if state is None:
        # not this worker's: all it knows is what the operator says, and whether another serves it
        if model.disabled or model.is_retired(now):
            return Standing(model.why_not(now))
        return Standing(None if model.provider in served else f"no worker serves {model.provider}")
    if (reason := model.why_not(now)) is not None:
        return Standing(reason)
    if state.state in ("closed", "held"):
        return Standing()
    reason = f"{model.provider} is {state.state}: {state.reason or 'no reason given'}"
    return Standing(reason, keeps=0 if state.until is not None else 1)


# --- transactions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """What one transaction looked at and moved, by target."""

    moved: Mapping[str, int]
    looked_at: int
    last_id: int


def move(
    connection: Connection,
    alias: str,
    model: str,
    targets: Sequence[Model],
    *,
    after_id: int = 0,
    skip: int = 0,
    newest_first: bool = False,
    limit: int = MOVE_TASKS_MAX,
) -> Page:
    """Give tasks that wait for a model under an alias to the first target that takes their options."""
    found = waiting.movable(
        connection,
        alias,
        model,
        after_id=after_id,
        newest_first=newest_first,
        skip=0 if after_id else skip,
        limit=limit,
    )
    fitting: dict[str, Model | None] = {}
    by_target: dict[str, list[tuple[int, str, str, str]]] = {}
    for task_id, options in found:
        if options not in fitting:
            fitting[options] = _first_that_takes(msgspec.json.decode(options), targets)
        target = fitting[options]
        if target is not None:
            row = (task_id, target.name, target.provider, target.api_model)
            by_target.setdefault(target.name, []).append(row)
    moved = {name: waiting.move_if_pending(connection, rows) for name, rows in by_target.items()}
    return Page(Counter(moved), len(found), found[-1][0] if found else after_id)


def _first_that_takes(options: Mapping[str, object], targets: Iterable[Model]) -> Model | None:
    for model in targets:
        try:
            model.normalise_options(options)
        except InputError:
            continue
        return model
    return None


def shorten(
    connection: Connection, alias: str, model: Model, targets: Sequence[Model], *, queue_max: int
) -> Mapping[str, int]:
    """Move what waits beyond `queue_max` for the model's provider, while the targets' queues have room."""
    count_max = queue_max + MOVE_TASKS_MAX
    count = partial(tasks.count_at, connection, TaskStatus.PENDING, count_max=count_max)
    excess = count(model.provider) - queue_max
    moved: Counter[str] = Counter()
    for target in targets:
        if excess <= 0:
            break
        room = queue_max - count(target.provider)
        if target.provider != model.provider and room > 0:
            page = move(
                connection,
                alias,
                model.name,
                [target],
                after_id=2**62,
                newest_first=True,
                limit=min(excess, room),
            )
            moved.update(page.moved)
            excess -= page.moved.get(target.name, 0)
    return moved
