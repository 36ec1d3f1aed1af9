"""A clip's model is chosen, and what it costs beyond the least price is reserved: one transaction.

Tasks are locked first, then their account, then their batch, as everywhere. What is reserved only grows
here: a task had the least price of its candidates, and now has that of its model. A model that the account
cannot pay, that a cap has no room for, or whose clip would pass what the item or the batch may cost, leaves
the next one; with none the task waits.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.acceptance.bandit import Record, ranked, why
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import KnownUploads, uploads_in
from rushes.domain.catalogue.model import Model
from rushes.domain.input import auto
from rushes.domain.input.auto import Candidate, Chosen
from rushes.money.choosing.purse import Purse, price_of
from rushes.money.choosing.turns import NO_LIMITS, NO_QUEUES, Queues, Times, Turns, believed
from rushes.store import batches, ledger
from rushes.store.acceptance import choices, gates
from rushes.store.batches import BatchCounters
from rushes.store.inputs import uploads
from rushes.store.tasks.charges import charge_row

TASKS_MAX: Final = 500
"""Tasks whose models one transaction chooses."""

SOON_SECONDS: Final = 10.0
"""By a time to finish by, lanes are chosen for what is sent this soon: later more is known."""


@dataclass(frozen=True, slots=True)
class Models:
    """What may be chosen now. `usable` says whether a model can take tasks at the moment, `times` how long
    its renders take, `queues` what waits at providers. `makes_links` is as for uploads.
    """

    catalogue: Catalogue
    usable: Callable[[Model], bool] = lambda _model: True
    times: Callable[[Model], Times] = believed
    queues: Queues = NO_QUEUES
    makes_links: bool = False


def choose_models(connection: Connection, batch_id: int, models: Models, now_ms: int) -> dict[str, int]:
    """Choose models for as many of the batch's tasks as may be bought now; how many were given each."""
    rows = choices.lock_waiting(connection, batch_id, limit=TASKS_MAX)
    if not rows:
        return {}
    account_id = batches.account_of(connection, batch_id)
    ledger.expire_lots(connection, now_ms, account=account_id)
    ledger.lock(connection, account_id)  # accounts are locked before batches, everywhere
    batch = batches.lock_counters(connection, [batch_id])[batch_id]
    if batch.cancelled_at_ms is not None:
        return {}
    choosing = _Choosing(connection, batch, models, now_ms)
    candidates = [choosing.candidates(row) for row in rows]
    fast_enough = [choosing.fast_enough(of_row) for of_row in candidates]
    count = choosing.room({each.model.name: each.model for of_row in fast_enough for each in of_row})
    purse = Purse.of(connection, batch, [each for of_row in candidates for each in of_row], now_ms)
    behind = choosing.waiting_count()
    chosen: list[tuple[object, ...]] = []
    given: Counter[str] = Counter()
    for row, of_row, fast in zip(rows, candidates, fast_enough, strict=True):
        behind -= 1
        in_time = choosing.in_time(row, fast, behind)
        if len(chosen) >= count or not choosing.is_due(in_time):
            break
        # one that comes late is better than none
        found = choosing.first_paid(row, in_time, purse) or choosing.first_paid(row, of_row, purse)
        if found is None:
            continue
        candidate, reason = found
        choosing.take_turn(candidate.model)
        model, charge = candidate.model, charge_row(candidate.charge, msgspec.json.decode(row.options))
        why_chosen = choices.encode_chosen(Chosen(reason, row.credits))
        named = (model.name, model.provider, model.api_model)
        chosen.append((row.id, price_of(row, candidate), *named, why_chosen, *charge))
        given[model.name] += 1
    if chosen:
        purse.write(connection, batch, now_ms)
        choices.choose_if_waiting(connection, chosen)
    return dict(given)


class _Choosing:
    """The choices of one batch: its rule, what is known, and the candidates of each set of options."""

    def __init__(self, connection: Connection, batch: BatchCounters, models: Models, now_ms: int) -> None:
        self._connection, self._batch, self._models, self._now_ms = connection, batch, models, now_ms
        asked = gates.of_batch(connection, batch.batch_id)
        self._rule = asked.auto or auto.NO_BOUNDS
        self._credits_max = None if asked.best_of is None else asked.best_of.credits_max
        self._clips_max = 1 if asked.best_of is None else asked.best_of.clips_max
        account_id = batch.account_id
        known = choices.records(connection, account_id, since_ms=now_ms - auto.LEARNED_MS)
        self._known = of_all_lanes(known, models.catalogue)
        self._failing = choices.failing(
            connection, account_id, since_ms=now_ms - auto.FAILED_MS, failures=auto.FAILURES_MAX
        )
        self._found: dict[str, list[Candidate]] = {}
        by_ms = self._rule.finish_by_ms
        self._left_seconds = inf if by_ms is None else (by_ms - now_ms) / 1000
        self._turns: dict[str, Turns] = {}
        self._unsent = 0
        if by_ms is not None:
            self._turns = models.queues.turns(batch.batch_id, account_id)
            self._unsent = sum(self._to_be_sent.values())

    @cached_property
    def _to_be_sent(self) -> Mapping[str, int]:
        return choices.to_be_sent(self._connection, self._batch.batch_id)

    def candidates(self, row: Row[Any]) -> list[Candidate]:
        """The models that the task may be given now, with their prices."""
        if row.options not in self._found:
            self._found[row.options] = self._usable(msgspec.json.decode(row.options))
        found = auto.taking(self._found[row.options], row.prompt)
        if self._credits_max is None:
            return found
        return [each for each in found if each.charge.credits <= self._credits_max - row.spent]

    def _usable(self, options: Mapping[str, Any]) -> list[Candidate]:
        named, known = set(uploads_in(options)), None
        if named:
            known = KnownUploads(uploads.kept_facts(self._connection, named), self._models.makes_links)
        found = auto.candidates(self._models.catalogue, self._rule, options, self._now_ms / 1000, known)
        found = [each for each in found if self._models.usable(each.model)]
        return [each for each in found if each.model.name not in self._failing] or found

    # --- by a time to finish by ---------------------------------------------------------------------------

    def waiting_count(self) -> int:
        """How many of the batch's tasks have no model yet; 0 where no time to finish by needs the count."""
        if self._rule.finish_by_ms is None:
            return 0
        return choices.count_waiting(self._connection, self._batch.batch_id)

    def _late_seconds(self, candidate: Candidate) -> float:
        return self._models.times(candidate.model).late_seconds

    def _turns_at(self, model: Model) -> Turns:
        return self._turns.get(model.provider, NO_LIMITS)

    def fast_enough(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Those whose video is there in time if it is sent now; if none, the fastest."""
        if self._rule.finish_by_ms is None or not found:
            return list(found)
        return [each for each in found if self._late_seconds(each) <= self._left_seconds] or [
            min(found, key=self._late_seconds)
        ]

    def in_time(self, row: Row[Any], found: Sequence[Candidate], behind: int) -> list[Candidate]:
        """Those whose video is there in time once it had its turn, one lane of each model; if none, the
        fastest. Where one leaves too little time for those `behind` it, it is not in time either, nor where
        the item's next clip would be late, as long as there is time for two.
        """
        if self._rule.finish_by_ms is None or not found:
            return list(found)
        fastest = min(found, key=lambda each: self._start_seconds(each) + self._late_seconds(each))
        again = self._late_seconds(fastest) if row.number + 1 < self._clips_max else 0.0
        for more_seconds in (again, 0.0):
            fits = [
                each
                for each in found
                if self._start_seconds(each) + self._late_seconds(each) + more_seconds <= self._left_seconds
                and self._leaves_time(each, fastest, behind)
            ]
            if fits:
                return auto.one_lane_each(fits)
        return [fastest]

    def _start_seconds(self, candidate: Candidate) -> float:
        return self._turns_at(candidate.model).start_seconds()

    def _leaves_time(self, candidate: Candidate, fastest: Candidate, behind: int) -> bool:
        turns, times = self._turns_at(fastest.model), self._models.times(fastest.model)
        if candidate.model.provider == fastest.model.provider:
            turns = turns.after(self._models.times(candidate.model).mean_seconds)
        by_seconds = self._left_seconds - times.late_seconds
        return turns.all_start_by(by_seconds, count=behind, each_seconds=times.mean_seconds)

    def is_due(self, found: Sequence[Candidate]) -> bool:
        """Whether one of them would be sent soon; without a time to finish by everything is due.

        A few wait to be sent at any time, so that others do not have all the turns.
        """
        if not self._turns or not found or self._unsent < auto.OPEN_CLIPS_MIN:
            return True
        return min(map(self._start_seconds, found)) <= SOON_SECONDS

    def take_turn(self, model: Model) -> None:
        """The batch's next task at the model's provider is this one."""
        self._unsent += 1
        if turns := self._turns.get(model.provider):
            turns.take(self._models.times(model).mean_seconds)

    # --- how many, and which ------------------------------------------------------------------------------

    def room(self, models: Mapping[str, Model]) -> int:
        """How many of these models' clips may be bought now: all where there is nothing to learn, or no time
        for a second clip.
        """
        if len({model.made_by for model in models.values()}) == 1:
            return TASKS_MAX
        by_ms = self._rule.finish_by_ms
        slowest = max((self._models.times(model).late_seconds for model in models.values()), default=0.0)
        if by_ms is not None and self._now_ms + 2000 * slowest > by_ms:
            return TASKS_MAX
        batch_id, catalogue = self._batch.batch_id, self._models.catalogue
        # what waits for a model that takes nothing now brings no verdict, so nothing waits for it
        sendable = sum(
            count
            for name, count in self._to_be_sent.items()
            if (model := catalogue.find(name)) is not None and self._models.usable(model)
        )
        unjudged = choices.unjudged(self._connection, batch_id)
        open_clips = sendable + self._batch.processing + unjudged
        known = {model.made_by: self._known.get(name, Record()) for name, model in models.items()}
        decided = sum(record.clips for record in known.values())
        return auto.room(decided=decided, open_clips=open_clips)

    def first_paid(
        self, row: Row[Any], candidates: Sequence[Candidate], purse: Purse
    ) -> tuple[Candidate, str] | None:
        """The first candidate in the order drawn that could be paid, and was; with why it is that one."""
        seed = self._batch.batch_id if self._rule.seed is None else self._rule.seed
        draw = random.Random(f"{seed} {row.item_index} {row.number}")
        by_name = {each.model.name: each for each in candidates}
        prices = {name: price_of(row, each) for name, each in by_name.items()}
        order = ranked(prices, self._known, draw.betavariate)
        for drawn in order:
            if purse.pay(row, by_name[drawn.model]):
                return by_name[drawn.model], why(drawn, order)
        return None


def of_all_lanes(records: Mapping[str, Record], catalogue: Catalogue) -> dict[str, Record]:
    """The records of each model, with the clips of all its lanes."""
    made: dict[str, Record] = {}
    for name, record in records.items():
        model = catalogue.find(name)
        by = name if model is None else model.made_by
        known = made.get(by, Record())
        made[by] = Record(known.accepted + record.accepted, known.clips + record.clips)
    return {model.name: made[model.made_by] for model in catalogue if model.made_by in made}
