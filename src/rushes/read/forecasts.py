"""When batches will be done, and why then: what is open, as the database and the operator's limits have it.

Render times are the learned ones, or the catalogue's before enough were seen; see `domain/forecast.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.forecast import (
    OpenTasks,
    Pace,
    Rendering,
    RenderTime,
    ToBeSent,
    Undecided,
    seconds_until_done,
)
from rushes.domain.input.duplicates import REUSED_PROVIDER
from rushes.domain.input.priced import PricedDraft
from rushes.money.choosing import reach
from rushes.read.batch_views import DONE, Eta, Wait, WaitKind
from rushes.read.holding import Holding
from rushes.store import render_times
from rushes.store.tasks import waiting
from rushes.store.tasks.waiting import OpenGroup

SIGMA_MAX: Final = 1.0
"""The widest spread that is believed."""

BELIEFS_SECONDS: Final = 30.0
"""How long render times are remembered."""

ETA_SECONDS: Final = 2.0
"""How long a batch's time left is remembered, while its counters stay as they are."""

ETAS_MAX: Final = 2000
"""Batches whose time left is remembered."""

UNLISTED_MEDIAN_SECONDS: Final = 300.0
UNLISTED_HARD_DEADLINE_SECONDS: Final = 7200.0

LAST_ANSWER_SECONDS: Final = 3600.0
"""How long past its hard deadline a task waits for a last answer."""


@dataclass(frozen=True, slots=True)
class ProviderPace:
    """What a provider allows; None where no limit is known."""

    submits_per_second: float | None = None
    in_flight_tasks_max: int | None = None


class Forecaster:
    """Knows the operator's limits and remembers render times and recent answers.

    `resubmits` tells that an unconfirmed submit is sent again after its grace, not given up.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pace_of: Mapping[str, ProviderPace],
        *,
        unconfirmed_grace_seconds: float,
        not_found_grace_seconds: float = 0.0,
        resubmits: bool = False,
    ) -> None:
        self.catalogue = catalogue
        self._pace_of = pace_of
        self._grace_seconds = unconfirmed_grace_seconds
        self._not_found_grace_seconds = not_found_grace_seconds
        self._resubmits = resubmits
        self._learned: dict[str, RenderTime] = {}
        self._learned_at_ms = -math.inf
        self._etas: dict[int, tuple[object, int, Eta]] = {}

    def render_time(self, connection: Connection, model: str, now_ms: int) -> RenderTime:
        """What is believed of the model's render time."""
        if now_ms - self._learned_at_ms > BELIEFS_SECONDS * 1000:
            self._learned = {
                model.name: RenderTime(estimate.median_seconds, min(estimate.sigma, SIGMA_MAX))
                for model, estimate in render_times.estimates(connection, self.catalogue)
            }
            self._learned_at_ms = now_ms
        known = self.catalogue.find(model)
        median = UNLISTED_MEDIAN_SECONDS if known is None else known.render_time_p50_seconds
        return self._learned.get(model) or RenderTime(median)

    def pace(self, connection: Connection, provider: str, *, own_pending: int = 0) -> Pace:
        """How the provider takes what comes behind all that is open there but for `own_pending` tasks."""
        limits = self._pace_of.get(provider, ProviderPace())
        ahead = 0
        if limits.in_flight_tasks_max:
            ahead = max(0, waiting.open_tasks_by_provider(connection).get(provider, 0) - own_pending)
        return Pace(limits.submits_per_second, limits.in_flight_tasks_max, ahead)

    def check_reachable(
        self, connection: Connection, drafts: Sequence[PricedDraft], account_id: int | None, now_ms: int
    ) -> None:
        """Raise `InputError` where the drafts' time to finish by has passed or cannot be met."""
        paces = {
            name: Pace(pace.submits_per_second, pace.in_flight_tasks_max)
            for name, pace in self._pace_of.items()
        }
        reach.check_reachable(
            connection, drafts, account_id=account_id, catalogue=self.catalogue, paces=paces, now_ms=now_ms
        )

    def in_flight_tasks_max(self, provider: str) -> int | None:
        """How many tasks may be at the provider at a time; None where no limit is known."""
        return self._pace_of.get(provider, ProviderPace()).in_flight_tasks_max

    def etas(self, connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> dict[int, Eta]:
        """The time left of each batch, by row id; `rows` are those of `batches`."""
        found: dict[int, Eta] = {}
        wanted: dict[int, Mapping[str, Any]] = {}
        for row in rows:
            if row["pending_count"] + row["processing_count"] == 0:
                found[row["id"]] = DONE
            elif (remembered := self._remembered(row, now_ms)) is not None:
                found[row["id"]] = remembered
            else:
                wanted[row["id"]] = row
        if wanted:
            groups: dict[int, list[OpenGroup]] = {batch_id: [] for batch_id in wanted}
            for group in waiting.open_groups(connection, list(wanted)):
                groups[group.batch_id].append(group)
            holding = Holding(connection, self.catalogue, now_ms)
            for batch_id, row in wanted.items():
                eta = self._eta(connection, row, groups[batch_id], holding, now_ms)
                found[batch_id] = eta
                self._remember(row, eta, now_ms)
        return found

    def _eta(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        groups: Sequence[OpenGroup],
        holding: Holding,
        now_ms: int,
    ) -> Eta:
        is_cancelled = row["cancelled_at_ms"] is not None
        never: list[Wait] = []
        parts: list[tuple[OpenTasks, Wait]] = []
        for group in groups:
            if group.kind == "pending" and not is_cancelled:
                hold = holding.hold(group.provider, group.model)
                if hold is not None:
                    never.append(Wait(WaitKind.HELD, hold=hold))
                    continue
            elif group.kind != "pending" and holding.lost(group.provider):
                never.append(Wait(WaitKind.NO_WORKER, provider=group.provider))
                continue
            parts.append(self._part(connection, group, groups, is_cancelled, now_ms))
        if never:
            return Eta(None, tuple(dict.fromkeys(never)))
        if not parts:
            return DONE  # settled between two reads
        seconds = seconds_until_done([tasks for tasks, _ in parts])
        return Eta(round(seconds, 1), _gathered(parts))

    def _part(
        self,
        connection: Connection,
        group: OpenGroup,
        groups: Sequence[OpenGroup],
        is_cancelled: bool,
        now_ms: int,
    ) -> tuple[OpenTasks, Wait]:
        """The group as the forecast takes it, and what it waits for."""
        belief, count = self.render_time(connection, group.model, now_ms), group.task_count
        if group.kind == "pending":
            if is_cancelled:
                return Undecided(count, 0.0), Wait(WaitKind.CANCELLED, count)
            if group.provider == REUSED_PROVIDER:
                return Undecided(count, 0.0), Wait(WaitKind.EQUAL_ITEMS, count)
            own = sum(
                other.task_count
                for other in groups
                if (other.kind, other.provider) == ("pending", group.provider)
            )
            pace = self.pace(connection, group.provider, own_pending=own)
            return ToBeSent(count, belief, pace), replace(_queue(pace, group.provider, own), count=count)
        if group.kind == "unconfirmed":
            left = max(0.0, (group.at_ms - now_ms) / 1000 + self._grace_seconds)
            wait = Wait(WaitKind.UNCONFIRMED, count, decided_at=_clock(now_ms + left * 1000))
            if self._resubmits:
                return ToBeSent(count, belief, not_before_seconds=left), wait
            return Undecided(count, left), wait
        if group.kind == "not_found":
            left = max(0.0, (group.at_ms - now_ms) / 1000 + self._not_found_grace_seconds)
            decided_at = _clock(now_ms + left * 1000)
            return Undecided(count, left), Wait(
                WaitKind.NOT_KNOWN, count, group.provider, decided_at=decided_at
            )
        model = self.catalogue.find(group.model)
        hard = UNLISTED_HARD_DEADLINE_SECONDS if model is None else model.hard_deadline_seconds
        age = max(0.0, (now_ms - group.at_ms) / 1000)
        if age < hard:
            return Rendering(count, belief, age, hard - age), Wait(WaitKind.RENDERING, count)
        left = max(0.0, hard + LAST_ANSWER_SECONDS - age)
        return Rendering(count, belief, age, left), Wait(WaitKind.LAST_ANSWER, count)

    def _remembered(self, row: Mapping[str, Any], now_ms: int) -> Eta | None:
        counters, at_ms, eta = self._etas.get(row["id"], (None, 0, DONE))
        is_fresh = counters == _counters(row) and 0 <= now_ms - at_ms < ETA_SECONDS * 1000
        return eta if is_fresh else None

    def _remember(self, row: Mapping[str, Any], eta: Eta, now_ms: int) -> None:
        if len(self._etas) >= ETAS_MAX:
            self._etas.clear()
        self._etas[row["id"]] = (_counters(row), now_ms, eta)


def _counters(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["pending_count"], row["processing_count"], row["event_seq"], row["cancelled_at_ms"]


def _queue(pace: Pace, provider: str, own: int) -> Wait:
    if pace.in_flight_tasks_max and pace.open_ahead + own > pace.in_flight_tasks_max:
        return Wait(WaitKind.PLACE, provider=provider, limit=pace.in_flight_tasks_max)
    return Wait(WaitKind.TO_BE_SENT, provider=provider, limit=pace.submits_per_second)


def _gathered(parts: Sequence[tuple[OpenTasks, Wait]]) -> tuple[Wait, ...]:
    """What takes longest for certain comes first; what waits for the same is counted together."""
    counts: dict[Wait, int] = {}
    for _, wait in sorted(parts, key=lambda part: -part[0].certain_seconds()):
        same = replace(wait, count=0)
        counts[same] = counts.get(same, 0) + wait.count
    return tuple(replace(wait, count=count) for wait, count in counts.items())


def _clock(at_ms: float) -> str:
    """The minute that has passed by then, in UTC."""
    minutes = math.ceil(at_ms / 60_000) % 1440
    return f"{minutes // 60:02}:{minutes % 60:02} UTC"
