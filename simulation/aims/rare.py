"""Aims at branches that are rarely met, each for some seeds; drawn by themselves, so that the others stay as they are."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields

from rushes.simulator import SimulatorKnobs
from simulation.world.kinds import (
    CallbackStorm,
    Cancel,
    Crash,
    DatabaseOutage,
    Fault,
    KeyDisabled,
    LateAnswer,
    LostCommit,
    MovedHost,
    Pause,
    RefusedRows,
    ServiceOutage,
    SlowConnects,
    Stop,
    SwappedSubmits,
    Weather,
)
from simulation.world.plan import Plan, PlannedBatch

RARE_SHARE = 0.15
"""How many plans get each of the aims."""

REFUSED_KINDS = (
    *(("accepted",), ("unconfirmed",), ("accepted", "unconfirmed"), ("verdicts",), ("refused",)),
    *(("returned",), ("given_up", "resubmitted"), ("progress", "verdicts")),
)
"""Of what the database refuses rows, all of it for the same tasks."""

LAST_DEADLINE_SECONDS = 1200.0
SHARES_SUM_MAX = 0.95


def with_rare_aims(plan: Plan, faults: list[Fault]) -> list[Fault]:
    """The faults, and those of the plan's rare aims."""
    draw = random.Random(f"rare aims {plan.seed}")
    for aim in RARE_AIMS:
        if draw.random() < RARE_SHARE:
            faults = [*faults, *aim(draw, plan)]
    if plan.tickers:
        faults = [*faults, *_aim_at_passes(draw, plan)]
    if plan.can_drop:
        faults = [*faults, *_aim_at_drops(draw, plan)]
    if plan.gone_seconds is not None:
        faults = [fault for fault in faults if not isinstance(fault, ServiceOutage)]
        seconds = plan.gone_seconds + LAST_DEADLINE_SECONDS + 900
        faults.append(
            ServiceOutage(round(draw.uniform(30, 200), 3), seconds, draw.choice(("reset", "refused")))
        )
    return _within_the_whole(_decidable(faults))


def _decidable(faults: list[Fault]) -> list[Fault]:
    """The same without what nobody could decide: of an id that was given to two attempts, the first one's is kept
    nowhere when the database refuses it."""
    if any(isinstance(fault, RefusedRows) and "accepted" in fault.kinds for fault in faults):
        return [fault for fault in faults if not isinstance(fault, SwappedSubmits)]
    return faults


def _within_the_whole(faults: list[Fault]) -> list[Fault]:
    """The same, with smaller shares of what excludes each other where an aim has made it more than all."""
    weather = {fault.knob: fault.value for fault in faults if isinstance(fault, Weather)}
    group_of = {each.name: each.metadata["group"] for each in fields(SimulatorKnobs)}
    sums: dict[str, float] = {}
    for knob, share in weather.items():
        sums[group_of[knob]] = sums.get(group_of[knob], 0.0) + share
    many = {
        group: SHARES_SUM_MAX / total for group, total in sums.items() if group and total > SHARES_SUM_MAX
    }
    if not many:
        return faults
    for knob, share in weather.items():
        if group_of[knob] in many:
            weather[knob] = round(share * many[group_of[knob]], 4)
    kept = [fault for fault in faults if not isinstance(fault, Weather)]
    return [*(Weather(knob, value) for knob, value in weather.items()), *kept]


def _some(draw: random.Random, plan: Plan, count_max: int) -> Iterable[PlannedBatch]:
    return draw.sample(plan.batches, min(count_max, len(plan.batches)))


def _slot(draw: random.Random, plan: Plan) -> int:
    return draw.randrange(plan.slots)


def _stopped_with_claims(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers are asked to stop while a claim of theirs is under way, whose answer then takes its time."""
    for batch in (*_some(draw, plan, 12), *_some(draw, plan, 12), *_some(draw, plan, 12)):
        slot, at = _slot(draw, plan), round(max(0.0, batch.at + draw.uniform(-0.5, 3.0)), 3)
        yield LateAnswer(at, slot, "claim_fairly", 1, round(draw.choice((1.0, 12.0)) * draw.random(), 3))
        yield Stop(at, slot, round(5 * draw.random(), 3), "commit.before.claim_fairly")


def _stopped_with_submits(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers are asked to stop while submits of theirs are under way: some not written yet, some slow to answer."""
    yield SlowConnects(round(draw.uniform(0.1, 0.4), 4), round(draw.uniform(5, 20), 3))
    yield Weather("submit_slow", round(draw.uniform(0.1, 0.4), 4))
    for batch in _some(draw, plan, 12):
        at = round(batch.at + 4 * draw.random(), 3)
        yield Stop(at, _slot(draw, plan), round(5 * draw.random(), 3), "send.before", draw.randint(1, 4))


def _lease_lost_with_submits(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers are stopped past their lease with answers to submits, and the database takes its time when they wake."""
    asleep = plan.lease_seconds * draw.uniform(1.1, 1.4)
    yield Weather("submit_slow", round(draw.uniform(0.1, 0.3), 4))
    for batch in _some(draw, plan, 8):
        slot, at = _slot(draw, plan), round(batch.at, 3)
        yield Pause(at, slot, round(asleep, 3), "receive.after.submit", draw.randint(1, 3))
        late_at = round(at + 0.95 * asleep, 3)
        yield LateAnswer(late_at, slot, "apply_group", 1, round(draw.uniform(10, 25), 3))


def _lost_adoptions(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """A process dies; whoever takes its tasks over is not told so, and the database is away when it asks again."""
    lease = plan.lease_seconds
    for share in (0.05, 0.35, 0.65):
        dead, at = _slot(draw, plan), plan.chaos_seconds * share
        yield Crash(round(at, 3), dead, "step", 1, round(draw.choice((0.5, 1.5)) * lease, 3))
        for slot in range(plan.slots):
            if slot != dead:
                yield LostCommit(round(at + 1, 3), slot, "adopt", 1, draw.choice((0.0, 60.0)))
        yield DatabaseOutage(round(at + lease + 5, 3), round(draw.uniform(40, 70), 3), after_commit=False)


def _refused_rows(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """A constraint of the database refuses what it is told of some tasks, one kind after the other."""
    yield Weather("submit_reset_after", round(draw.uniform(0.02, 0.1), 4))
    yield Weather("submit_throttled", round(draw.uniform(0.02, 0.1), 4))
    yield Weather("submit_rejected", round(draw.uniform(0.02, 0.1), 4))
    span = 0.12 * plan.chaos_seconds
    for number, what in enumerate(
        (*draw.sample(REFUSED_KINDS, 4), ("accepted", "unconfirmed"), ("verdicts",))
    ):
        at, seconds = round(number * span, 3), round(span * draw.uniform(0.3, 0.99), 3)
        yield RefusedRows(at, seconds, what, draw.choice((8, 30, 100)))


def _swapped_submits(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """A gateway that answers some submits with the acceptance of the one before."""
    yield SwappedSubmits(round(draw.uniform(0.03, 0.2), 4))


def _callback_storms(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """Callbacks that come many times, some first with the id of another task, and submits that only they tell of."""
    yield CallbackStorm(
        round(draw.uniform(0.2, 0.8), 4),
        draw.randint(2, 6),
        draw.choice((0.05, 0.2, 2.0)),
        round(draw.uniform(0.1, 0.5), 4),
    )
    yield Weather("submit_accepted_then_reset", round(draw.uniform(0.05, 0.3), 4))
    yield Weather("callback_forged", round(draw.uniform(0.3, 0.8), 4))


def _moved_host(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """The service gets another address; the processes learn of it one after the other."""
    at = plan.chaos_seconds * draw.uniform(0.1, 0.4)
    yield MovedHost(round(at, 3))
    for slot in range(plan.slots):
        yield Crash(round(at + draw.expovariate(1 / 60), 3), slot, "step", 1, round(3 * draw.random(), 3))


def _stopped_before_it_began(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Processes that start while the database is away, some of which are asked to stop then."""
    for share in (0.1, 0.4, 0.7):
        at = plan.chaos_seconds * share
        yield DatabaseOutage(round(at, 3), round(draw.uniform(40, 90), 3), after_commit=False)
        for slot in range(plan.slots):
            yield Crash(round(at + 1, 3), slot, "step", 1, round(3 * draw.random(), 3))
            if draw.random() < 0.5:
                yield Stop(round(at + draw.uniform(6, 30), 3), slot, 1.0)


def _many_cancels(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Batches that are cancelled while some of their tasks are at the provider."""
    for number, batch in enumerate(plan.batches):
        if draw.random() < 0.5:
            yield Cancel(round(batch.at + 3 + draw.expovariate(1 / 40), 3), number)


def _asked_at_the_end(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Nobody is answered until deadlines have come; then some answers are about tasks that the service forgot."""
    until = draw.uniform(650, 1250)
    yield Weather("forgotten", round(draw.uniform(0.2, 0.4), 4))
    # five in a row would be believed
    yield Weather("poll_swapped", round(draw.uniform(0.05, 0.12), 4))
    yield ServiceOutage(round(draw.uniform(60, 150), 3), round(until, 3), "reset")


def _claims_lost_beside_submits(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Claims whose answers are lost while earlier ones are being sent."""
    yield Weather("submit_slow", round(draw.uniform(0.3, 0.6), 4))
    for batch in _some(draw, plan, 8):
        for slot in range(plan.slots):
            yield LostCommit(round(batch.at + 1, 3), slot, "claim_fairly", draw.randint(1, 4))


def _lost_refunds(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Many renders fail, and nobody hears that their ends were stored: they are committed once more."""
    yield Weather(draw.choice(("error", "output_moderation")), round(draw.uniform(0.2, 0.5), 4))
    for share in (0.1, 0.2, 0.3, 0.45, 0.6, 0.8):
        for slot in range(plan.slots):
            at = plan.chaos_seconds * (share + 0.1 * draw.random())
            yield LostCommit(round(at, 3), slot, "refund", draw.randint(1, 3), draw.choice((0.0, 3.0)))


RARE_AIMS: tuple[Callable[[random.Random, Plan], Iterator[Fault]], ...] = (
    *(_stopped_with_claims, _stopped_with_submits, _lease_lost_with_submits, _lost_adoptions),
    *(_refused_rows, _swapped_submits, _callback_storms, _moved_host, _stopped_before_it_began),
    *(_many_cancels, _asked_at_the_end, _asked_at_the_end, _claims_lost_beside_submits, _lost_refunds),
)


# --- what a plan calls for ------------------------------------------------------------------------------


def _aim_at_passes(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Passes that lose their database or their lease, find the provider's door shut, or are asked to stop."""
    for _ in range(20):
        at = round(plan.chaos_seconds * draw.random(), 3)
        yield DatabaseOutage(at, round(draw.choice((8, 50)) * draw.random(), 3), draw.random() < 0.3)
    if draw.random() < 0.5:
        yield KeyDisabled(round(0.3 * plan.chaos_seconds * draw.random(), 3), 150.0)
    for slot in range(plan.tickers):
        for _ in range(9):
            at, point = round(plan.chaos_seconds * draw.random(), 3), draw.choice(("", "send.before"))
            asleep = plan.lease_seconds * draw.uniform(1.05, 1.3)
            yield Pause(at, slot, round(asleep, 3), draw.choice((point, "commit.before.apply_group")))
            yield Stop(round(plan.chaos_seconds * draw.random(), 3), slot, round(9 * draw.random(), 3), point)


def _aim_at_drops(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Batches that are cancelled when the service has just taken their tasks."""
    for number, batch in enumerate(plan.batches):
        if draw.random() < 0.9:
            yield Cancel(round(batch.at + draw.uniform(1, 9), 3), number)
