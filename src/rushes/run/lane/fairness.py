"""Whose tasks a claim takes: accounts and batches take turns; one transaction commits the intents."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.catalogue.model import ModelLimits
from rushes.domain.task import BatchStatus
from rushes.store import batches, tasks, workers
from rushes.store.tasks import ClaimedTask, turns
from rushes.store.tasks.turns import CandidateBatch, Turn

MINUTE_MS = 60_000

SPARE_CANDIDATES = 4
"""Accounts, and batches of each, that a claim looks at beyond its need: the first may be locked by others."""


def fair_shares(candidates: Sequence[CandidateBatch], limit: int) -> dict[int, int]:
    """How many tasks to claim from each batch (by id), at most `limit` in all.

    Accounts take turns, and within an account its batches do, each in the order given. So a batch of three
    that comes after one of ten thousand waits for one turn, not for ten thousand tasks. Who comes first is
    decided by who was served last: see `candidates_in_turn`.
    """
    queues: dict[int, list[list[int]]] = {}
    for candidate in candidates:
        queues.setdefault(candidate.account_id, []).append([candidate.batch_id, candidate.pending_count])
    shares: dict[int, int] = {}
    while limit > 0 and queues:
        for account_id in list(queues):
            queue = queues[account_id]
            turn = queue.pop(0)
            shares[turn[0]] = shares.get(turn[0], 0) + 1
            turn[1] -= 1
            if turn[1] > 0:
                queue.append(turn)
            if not queue:
                del queues[account_id]
            limit -= 1
            if limit == 0:
                break
    return shares


@dataclass(frozen=True, slots=True)
class Order:
    """Batches that a claim may take from, each account's in its turn; and the turns that led to it."""

    candidates: list[CandidateBatch]
    turns: list[Turn]
    newest_turn: int
    newest_batch_id: int

    def turns_after(self, claimed_from: Collection[int]) -> list[Turn]:
        """The turns of the accounts that were served, now that tasks of these batches were claimed."""
        last_of: dict[int, int] = {}
        for candidate in self.candidates:
            if candidate.batch_id in claimed_from:
                last_of[candidate.account_id] = candidate.batch_id
        return [
            Turn(
                account_id=turn.account_id,
                number=self.newest_turn + 1,
                batch_id=last_of[turn.account_id],
                # past the end of the round, or back at its start: a new one has started
                round_batch_id=(
                    turn.round_batch_id
                    if turn.batch_id < last_of[turn.account_id] <= turn.round_batch_id
                    else self.newest_batch_id
                ),
            )
            for turn in self.turns
            if turn.account_id in last_of
        ]


def candidates_in_turn(
    connection: Connection, provider: str, models: Sequence[str] | None, limit: int
) -> Order:
    """Who may be served now: accounts least recently served first, the batches of each in rounds.

    With nothing to claim this is one look per model, whatever is held.
    """
    waiting = turns.waiting_models(connection, provider, models)
    if not waiting:
        return Order([], [], 0, 0)
    accounts, newest_turn = turns.accounts_to_serve(connection, provider, waiting, limit + SPARE_CANDIDATES)
    newest_batch_id = turns.newest_batch_id(connection)
    # each of the other accounts takes one at least
    wanted = max(1, limit - len(accounts) + 1) + SPARE_CANDIDATES
    look = partial(turns.batches_to_serve, connection, provider, waiting, each_max=wanted)
    found = look([(turn.account_id, turn.batch_id, turn.round_batch_id) for turn in accounts])
    few = [turn.account_id for turn in accounts if len(found.get(turn.account_id, [])) < wanted]
    next_round = look([(account_id, 0, newest_batch_id) for account_id in few])
    candidates: list[CandidateBatch] = []
    for turn in accounts:
        of_this_round = found.get(turn.account_id, [])
        candidates += of_this_round
        candidates += [each for each in next_round.get(turn.account_id, []) if each not in of_this_round]
    return Order(candidates, accounts, newest_turn, newest_batch_id)


def claim_fairly(
    connection: Connection,
    *,
    provider: str,
    worker_id: str,
    limit: int,
    now_ms: int,
    in_flight_max: int | None = None,
    models: Sequence[str] | None = None,
    host: str | None = None,
    limits_of: Mapping[str, ModelLimits] | None = None,
) -> list[ClaimedTask]:
    """One transaction: commit the intent to submit up to `limit` tasks, shared fairly.

    With `in_flight_max` no more than that many tasks of the provider are in flight afterwards, whoever
    owns them; with `models` only tasks of these are claimed, and all others are held. `limits_of` are the
    own limits of some of these `models`: those come first, each up to its room, so that none of them waits
    behind a model that takes every place. `host` is where they will be sent.
    Raises `LeaseLost` when the worker was declared dead.
    """
    workers.require_lease(connection, worker_id, now_ms)
    if in_flight_max is not None:
        limit = min(
            limit, in_flight_max - tasks.lock_and_count_in_flight(connection, provider, in_flight_max)
        )
        if limit <= 0:
            return []
    claimed: list[ClaimedTask] = []
    served: dict[int, Turn] = {}
    for names, places in _rooms(connection, provider, models, limits_of or {}, now_ms, limit):
        room = min(places, limit - len(claimed))
        if room <= 0:
            continue
        order = candidates_in_turn(connection, provider, names, room)
        claim = partial(
            tasks.claim_if_pending,
            connection,
            provider=provider,
            worker_id=worker_id,
            now_ms=now_ms,
            models=names,
            host=host,
        )
        taken = _take(order, room, claim)
        claimed += taken
        served |= {turn.account_id: turn for turn in order.turns_after({task.batch_id for task in taken})}
    if claimed:
        _note_dispatched(connection, claimed, now_ms)
        turns.record_turns(connection, provider, list(served.values()))
    return claimed


def _note_dispatched(connection: Connection, claimed: Sequence[ClaimedTask], now_ms: int) -> None:
    """The batches' counters, and the first event of each."""
    counters = batches.lock_counters(connection, {task.batch_id for task in claimed})
    events: list[tuple[int, int, str, int | None]] = []
    for task in claimed:
        batch = counters[task.batch_id]
        batch.pending -= 1
        batch.processing += 1
        if batch.status == BatchStatus.PENDING:
            batch.status = BatchStatus.PROCESSING.value
            batch.event_seq += 1
            events.append((batch.batch_id, batch.event_seq, telemetry.BATCH_PROCESSING, None))
    batches.write_counters(connection, counters.values())
    batches.mark_dispatched(connection, list(counters), now_ms)
    batches.insert_events(connection, events, now_ms)


def _rooms(
    connection: Connection,
    provider: str,
    models: Sequence[str] | None,
    limits_of: Mapping[str, ModelLimits],
    now_ms: int,
    limit: int,
) -> Iterator[tuple[Sequence[str] | None, int]]:
    """Models that are claimed together, and how many tasks at most: first each that has limits of its own."""
    if not limits_of:
        yield models, limit
        return
    assert models is not None, "the others can be claimed only by their names"
    own = [name for name in limits_of if name in models]
    limited = turns.waiting_models(connection, provider, own)
    if limited:
        counts = tasks.lock_and_count_of_models(connection, provider, limited, now_ms - MINUTE_MS)
        for name in limited:
            yield [name], limits_of[name].room(*counts[name])
    yield [name for name in models if name not in limits_of], limit


def _take(order: Order, limit: int, claim: Callable[..., list[ClaimedTask]]) -> list[ClaimedTask]:
    """Up to `limit` tasks of the order's batches, by `claim`."""
    taken: list[ClaimedTask] = []
    shares = fair_shares(order.candidates, limit)
    # what was counted as pending may be held, or another worker's by now: then others of the order get it
    beyond = [candidate.batch_id for candidate in order.candidates if candidate.batch_id not in shares]
    for batch_id in (*shares, *beyond):
        share = min(shares.get(batch_id, limit), limit - len(taken))
        if share <= 0:
            break
        taken += claim(batch_id, limit=share)
    return taken
