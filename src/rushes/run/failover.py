"""Failover: what waits under an alias goes to the next of its models when its own cannot take it.

A model cannot take tasks when it is retired or disabled, when its provider is paused or no worker serves it,
or when this worker finds the provider down. Where the operator has set a longest queue, what is over it goes
on too, the newest first. Only tasks that wait are moved: what was sent stays where it was sent, and a task
that was moved stays there when the first choice returns. No credit moves: a task keeps the price at which it
was accepted, and an alias whose models have their own prices gives it to no dearer one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.catalogue.aliases import Alias
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import KnownUploads, uploads_in
from rushes.domain.catalogue.model import Model
from rushes.domain.errors import InputError
from rushes.domain.task import TaskStatus
from rushes.providers.health import HealthState
from rushes.store import tasks, workers
from rushes.store.database import Database
from rushes.store.inputs import uploads
from rushes.store.tasks import pauses, waiting
from rushes.store.tasks.charges import charge_row
from rushes.store.tasks.pauses import Pause

MOVE_TASKS_MAX = 1000
"""Tasks that one transaction moves."""

CONSIDERED_MAX = 10_000
"""Tasks of one model that one pass considers: there may be many that no other model takes."""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a model can take tasks now; `reason` says why it can take none, None that it can.

    `keeps` tasks are left to it all the same: a provider that is being tried needs one to be tried with.
    """

    reason: str | None = None
    keeps: int = 0


class Failover:
    """Moves the tasks that wait under the catalogue's aliases; any worker may do so for all."""

    def __init__(
        self,
        database: Database,
        *,
        catalogue: Catalogue,
        queue_max: int | None,
        now_ms: Callable[[], int],
        makes_links: bool = False,
    ) -> None:
        self._database = database
        self._makes_links = makes_links
        self._catalogue = catalogue
        self._queue_max = queue_max
        self._now_ms = now_ms

    async def move_waiting(self, states: Mapping[str, HealthState]) -> int:
        """Move what must be moved; returns how many tasks were. `states` are this worker's providers."""
        if not self._catalogue.aliases or not await self._database.read(waiting.any_movable):
            return 0
        now_ms = self._now_ms()
        served = states.keys() | await self._database.read(workers.served_providers, now_ms)
        paused = await self._database.read(pauses.all_pauses)
        moved = 0
        for alias in self._catalogue.aliases:
            names = await self._database.read(waiting.models_under, alias.name)
            availability_of = partial(
                availability, states=states, served=served, paused=paused, now=now_ms / 1000
            )
            usable = [model for model in alias.models if availability_of(model).reason is None]
            if not names or not usable:
                continue
            for name in names:
                model = self._catalogue.find(name)
                found = availability_of(model) if model else Availability(f"{name} is not in the catalogue")
                if found.reason is not None:
                    moved += await self._leave(alias, name, found, usable)
            if self._queue_max is not None:
                moved += await self._shorten(alias, usable, self._queue_max)
        return moved

    async def _leave(self, alias: Alias, name: str, found: Availability, usable: Sequence[Model]) -> int:
        """Everything that waits for a model that cannot take it."""
        moved = considered = after_id = 0
        while considered < CONSIDERED_MAX:
            page = await self._database.transact(
                move,
                alias,
                name,
                usable,
                after_id=after_id,
                skip=found.keeps,
                makes_links=self._makes_links,
            )
            moved += self._log_moves(alias, name, page.moved, found.reason)
            considered += page.considered
            if page.considered < MOVE_TASKS_MAX:
                break
            after_id = page.last_id
        return moved

    async def _shorten(self, alias: Alias, usable: Sequence[Model], queue_max: int) -> int:
        """What waits beyond the longest queue goes to later models whose queues have room."""
        moved = 0
        for place, model in enumerate(usable[:-1], start=1):
            moves = await self._database.transact(
                shorten, alias, model, usable[place:], queue_max=queue_max, makes_links=self._makes_links
            )
            reason = f"more than {queue_max} wait for {model.provider}"
            moved += self._log_moves(alias, model.name, moves, reason)
        return moved

    @staticmethod
    def _log_moves(alias: Alias, name: str, moves: Mapping[str, int], reason: str | None) -> int:
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


def availability(
    model: Model,
    states: Mapping[str, HealthState],
    served: Collection[str],
    paused: Mapping[str, Pause],
    now: float,
) -> Availability:
    """Whether the model can take tasks, by what this worker and the operator say. `served` have workers."""
    if model.provider in paused:
        return Availability(paused[model.provider].words)
    state = states.get(model.provider)
    if state is None:
        # not this worker's: all it knows is what the operator says, and whether another serves it
        if model.disabled or model.is_retired(now):
            return Availability(model.why_not(now))
        return Availability(None if model.provider in served else f"no worker serves {model.provider}")
    if (reason := model.why_not(now)) is not None:
        return Availability(reason)
    if state.state in ("closed", "held"):
        return Availability()
    reason = f"{model.provider} is {state.state}: {state.reason or 'no reason given'}"
    return Availability(reason, keeps=0 if state.until is not None else 1)


# --- transactions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """What one transaction considered and moved, by target."""

    moved: Mapping[str, int]
    considered: int
    last_id: int


def move(
    connection: Connection,
    alias: Alias,
    model: str,
    targets: Sequence[Model],
    *,
    after_id: int = 0,
    skip: int = 0,
    newest_first: bool = False,
    limit: int = MOVE_TASKS_MAX,
    makes_links: bool = False,
) -> Page:
    """Give tasks that wait for a model under an alias to the first target that takes their options.

    A target takes uploads that can be handed on to it; `makes_links` as in `way_of`.
    """
    found = waiting.movable(
        connection,
        alias.name,
        model,
        after_id=after_id,
        newest_first=newest_first,
        skip=0 if after_id else skip,
        limit=limit,
    )
    fitting: dict[tuple[str, int], tuple[Model, tuple[object, ...]] | None] = {}
    by_target: dict[str, list[tuple[object, ...]]] = {}
    decoded = {options: msgspec.json.decode(options) for options in {each[1] for each in found}}
    named = {each for options in decoded.values() for each in uploads_in(options)}
    known = KnownUploads(uploads.kept_facts(connection, named) if named else {}, makes_links)
    for task_id, options, price in found:
        if (options, price) not in fitting:
            fitting[options, price] = _first_that_takes(alias, decoded[options], price, targets, known)
        fit = fitting[options, price]
        if fit is not None:
            target, charge = fit
            row = (task_id, target.name, target.provider, target.api_model, *charge)
            by_target.setdefault(target.name, []).append(row)
    moved = {name: waiting.move_if_pending(connection, rows) for name, rows in by_target.items()}
    return Page(Counter(moved), len(found), found[-1][0] if found else after_id)


def _first_that_takes(
    alias: Alias,
    options: Mapping[str, object],
    price: int,
    targets: Iterable[Model],
    known: KnownUploads,
) -> tuple[Model, tuple[object, ...]] | None:
    """The first target that may have a task of that price, and its charge there as `charge_row` gives it."""
    for model in targets:
        try:
            normalised = model.normalise_options(options)
            model.check_uploads(normalised, known)
        except InputError:
            continue
        if alias.may_move_to(model, normalised, price):
            return model, charge_row(model.charge(normalised, price), options)
    return None


def shorten(
    connection: Connection,
    alias: Alias,
    model: Model,
    targets: Sequence[Model],
    *,
    queue_max: int,
    makes_links: bool = False,
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
                makes_links=makes_links,
                limit=min(excess, room),
            )
            moved.update(page.moved)
            excess -= page.moved.get(target.name, 0)
    return moved
