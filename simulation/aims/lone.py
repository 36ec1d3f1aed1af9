"""One aim alone: crowded faults shut each other's windows, so of every few seeds one has a single aim, often."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rushes.domain.catalogue.model import ModelLimits
from rushes.run.context import UnconfirmedPolicy
from simulation.world.kinds import (
    CallbackStorm,
    Cancel,
    Crash,
    DatabaseOutage,
    Fault,
    LateAnswer,
    LostCommit,
    Pause,
    RefusedRows,
    Retire,
    ServiceOutage,
    SlowConnects,
    Stop,
    SwappedSubmits,
    Weather,
)
from simulation.world.plan import Plan, PlannedBatch

LONE_EVERY = 2
"""Of so many seeds one has a lone aim, one aim after the other."""

SPREAD_TASKS_MAX = 20

CHAOS_SECONDS, CHAOS_AT_ONCE_SECONDS = 2700.0, 1800.0
"""How long faults befall a plan; and one whose tasks are all sent at its start."""


@dataclass(frozen=True, slots=True)
class LoneAim:
    """What befalls an installation, and nothing else. `shaped` makes the plan one in which it can."""

    faults: Callable[[random.Random, Plan], Iterator[Fault]]
    shaped: Callable[[random.Random, Plan], Plan]


def with_lone_aim(plan: Plan, faults: list[Fault]) -> tuple[Plan, list[Fault]]:
    """The plan and its faults, or what a lone aim makes of the plan when it is the seed's turn for one."""
    if plan.seed % LONE_EVERY != LONE_EVERY - 1:
        return plan, faults
    return alone(plan, LONE_AIMS[plan.seed // LONE_EVERY % len(LONE_AIMS)])


def alone(plan: Plan, aim: LoneAim) -> tuple[Plan, list[Fault]]:
    """The plan as the aim needs it, and its faults by time."""
    draw = random.Random(f"lone aim {plan.seed}")
    shaped = aim.shaped(draw, replace(plan, chaos_seconds=CHAOS_SECONDS, lease_seconds=45.0, tickers=0))
    return shaped, sorted(aim.faults(draw, shaped), key=lambda fault: getattr(fault, "at", 0.0))


# --- plans ----------------------------------------------------------------------------------------------


def _spread(draw: random.Random, plan: Plan, *, tasks_max: int = SPREAD_TASKS_MAX) -> Plan:
    """Small batches all the time, so that there is always something to claim; several workers, no narrow limits."""
    tasks = sum(batch.tasks for batch in plan.batches)
    sizes = list[int]()
    while tasks > 0:
        sizes.append(min(tasks, draw.randint(1, tasks_max)))
        tasks -= sizes[-1]
    every = 0.7 * plan.chaos_seconds / len(sizes)
    batches = tuple(
        PlannedBatch(round(number * every, 3), draw.randrange(plan.accounts), size, doubles=False)
        for number, size in enumerate(sizes)
    )
    limits = replace(plan.limits, submits_per_second=None, in_flight_tasks_max=None, connections_max=64)
    slots = draw.randint(3, 4)
    skew = tuple(0.0 for _ in range(slots))
    return replace(
        plan,
        batches=batches,
        limits=limits,
        slots=slots,
        skew_seconds=skew,
        model_limits=(),
        clocks_jump=False,
    )


def _trickling(draw: random.Random, plan: Plan) -> Plan:
    """Batches of a few tasks, so that there are claims all the time."""
    return _spread(draw, plan, tasks_max=3)


def _with_model_limits(draw: random.Random, plan: Plan) -> Plan:
    """A model with limits of its own, of which seldom a task waits."""
    shaped = _spread(draw, plan)
    limits = ModelLimits(in_flight_tasks_max=1000, submits_per_minute=10_000)
    return replace(shaped, model_limits=((plan.models[0], limits),))


def _unlimited(draw: random.Random, plan: Plan) -> Plan:
    """One in which a worker that comes back is given tasks at once."""
    spread = _spread(draw, plan)
    return replace(spread, limits=replace(spread.limits, polls_per_second=None))


def _at_once(draw: random.Random, plan: Plan) -> Plan:
    """All of it sent before anything happens."""
    spread = _spread(draw, plan)
    batches = tuple(replace(batch, at=round(0.01 * batch.at, 3)) for batch in spread.batches)
    return replace(spread, batches=batches, chaos_seconds=CHAOS_AT_ONCE_SECONDS)


def _queued(draw: random.Random, plan: Plan) -> Plan:
    """Most of it waits for a place at the provider."""
    shaped = _at_once(draw, plan)
    return replace(shaped, limits=replace(shaped.limits, in_flight_tasks_max=draw.choice((5, 20))))


def _by_one(draw: random.Random, plan: Plan) -> Plan:
    """One worker follows tasks of one deadline, so that trying one a minute comes by few of them."""
    return replace(_at_once(draw, plan), slots=1, skew_seconds=(0.0,), models=("veo-pro",), alias_share=0.0)


def _with_callbacks(draw: random.Random, plan: Plan) -> Plan:
    return replace(_spread(draw, plan), has_callbacks=True, grace_seconds=60.0)


def _with_long_grace(draw: random.Random, plan: Plan) -> Plan:
    return replace(_with_callbacks(draw, plan), grace_seconds=300.0)


def _with_late_callbacks(draw: random.Random, plan: Plan) -> Plan:
    """Callbacks that come when the grace of 60 s is almost over, and a slow database."""
    return replace(_with_callbacks(draw, plan), callback_late_seconds=58.0, commit_seconds=4.0)


def _resubmitting(draw: random.Random, plan: Plan) -> Plan:
    return replace(_with_late_callbacks(draw, plan), policy=UnconfirmedPolicy.RESUBMIT)


def _refunding(draw: random.Random, plan: Plan) -> Plan:
    return replace(_with_late_callbacks(draw, plan), policy=UnconfirmedPolicy.REFUND)


def _dropping(draw: random.Random, plan: Plan) -> Plan:
    return replace(_spread(draw, plan), can_drop=True)


def _by_passes(draw: random.Random, plan: Plan) -> Plan:
    spread = _spread(draw, replace(plan, chaos_seconds=2 * CHAOS_SECONDS))
    return replace(spread, tickers=spread.slots)


def _by_slow_passes(draw: random.Random, plan: Plan) -> Plan:
    return replace(_by_passes(draw, plan), commit_seconds=4.0)


# --- aims -----------------------------------------------------------------------------------------------


def _times(draw: random.Random, plan: Plan, count: int) -> Iterator[float]:
    """So many moments while there is something to do, in order."""
    for number in range(count):
        yield round(0.75 * plan.chaos_seconds * (number + draw.random()) / count, 3)


def _stopped_with_claims(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers are asked to stop while a claim of theirs is under way, which takes its time."""
    for at in _times(draw, plan, 150):
        slot = draw.randrange(plan.slots)
        yield LateAnswer(at, slot, "claim_fairly", 1, round(draw.choice((2.0, 40.0)) * draw.random(), 3))
        yield Stop(at, slot, round(draw.random(), 3), "commit.before.claim_fairly")


def _stopped_with_submits(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers are asked to stop while submits of theirs are under way, or about to leave."""
    yield Weather("submit_slow", 0.3)
    yield SlowConnects(0.2, 12.0)
    for at in _times(draw, plan, 100):
        yield Stop(at, draw.randrange(plan.slots), round(draw.random(), 3), "send.before", draw.randint(1, 3))


def _dropped(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Batches are cancelled when the service has just taken their tasks."""
    for number, batch in enumerate(plan.batches):
        yield Cancel(round(batch.at + draw.uniform(1, 12), 3), number)


def _forgotten(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """Nobody is answered until deadlines have come, and then of many tasks the service knows nothing."""
    yield Weather("forgotten", 0.6)
    yield Weather("poll_swapped", 0.12)  # what names another task, five times in a row, would be believed
    yield ServiceOutage(round(draw.uniform(40, 60), 3), round(draw.uniform(900, 1300), 3), "reset")


def _long_outages(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """A service that is away until all deadlines are over, and then tells how everything ended."""
    yield ServiceOutage(round(draw.uniform(30, 60), 3), round(draw.uniform(6000, 8000), 3), "refused")


def _refused_names(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """The database refuses the names of tasks that were taken, that they are held, and their ends."""
    for knob in ("submit_reset_after", "submit_throttled", "submit_rejected"):
        yield Weather(knob, 0.2)
    for at in _times(draw, plan, 40):
        kinds = draw.choice(
            (
                ("accepted",),
                ("verdicts",),
                ("accepted", "unconfirmed"),
                ("returned", "refused"),
                ("returned", "refused", "unconfirmed"),
            )
        )
        yield RefusedRows(at, round(draw.uniform(10, 50), 3), kinds, 30)


def _lost_claims_beside_what_is_held(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """The database refuses names and holds, and loses the answers to claims: what is held looks like a lost claim."""
    yield Weather("submit_slow", 0.2)
    for number, at in enumerate(_times(draw, plan, 60)):
        if number % 5 == 0:
            yield RefusedRows(at, round(draw.uniform(40, 90), 3), ("accepted", "unconfirmed"), 20)
        yield LostCommit(at, draw.randrange(plan.slots), "claim_fairly", 1)


def _retired(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Models leave the catalogue, and workers that start again know them no more."""
    for number, model in enumerate(plan.models[1:]):
        at = round(20 + 60 * number + 20 * draw.random(), 3)
        yield Retire(at, model, is_gone=True)
        for slot in range(plan.slots):
            yield Crash(round(at + draw.expovariate(1 / 20), 3), slot, "step", 1, round(draw.random(), 3))


def _lost_adoptions(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers die, their heirs are not told what they have inherited, and cannot ask."""
    for number, at in enumerate(_times(draw, plan, 30)):
        dead = number % plan.slots
        yield Crash(at, dead, "step", 1, round(1.5 * plan.lease_seconds, 3))
        for slot in range(plan.slots):
            if slot != dead:
                yield LostCommit(round(at + 1, 3), slot, "adopt", 1)
        yield DatabaseOutage(round(at + plan.lease_seconds + 4, 3), round(draw.uniform(10, 25), 3), False)


def _leases_lost(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers sleep past their leases, one after the other, with everything in hand."""
    for at in _times(draw, plan, 150):
        point = draw.choice(("", "send.before", "receive.after", "commit.before.apply_group"))
        yield _long_sleep(draw, plan, at, draw.randrange(plan.slots), point)


def _leases_lost_with_claims(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers sleep past their leases while a claim is under way, whose answer is here only after they woke."""
    for at in _times(draw, plan, 140):
        slot = draw.randrange(plan.slots)
        sleep = _long_sleep(draw, plan, round(at + 10, 3), slot, "")
        yield LateAnswer(at, slot, "claim_fairly", 1, round(sleep.seconds + draw.uniform(3, 15), 3))
        yield sleep


def _long_sleep(draw: random.Random, plan: Plan, at: float, slot: int, point: str) -> Pause:
    return Pause(at, slot, round(plan.lease_seconds * draw.uniform(1.05, 1.3), 3), point)


def _callbacks(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """Callbacks come many times, name other tasks' ids or made up ones, and alone tell of some submits."""
    yield CallbackStorm(1.0, 6, draw.choice((0.2, 0.4)), draw.choice((0.0, 0.7)))
    yield Weather("submit_accepted_then_reset", 0.6)
    yield Weather("callback_forged", 0.9)
    yield Weather("callback_lost", 0.3)


def _swapped_submits(draw: random.Random, _plan: Plan) -> Iterator[Fault]:
    """A gateway that answers some submits with the acceptance of the one before."""
    yield SwappedSubmits(round(draw.uniform(0.1, 0.3), 3))


def _known_late(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Submits of unknown outcome that callbacks name just when they are given up, and a database slow to answer."""
    yield Weather("submit_accepted_then_reset", 0.6)
    yield Weather("callback_late", 0.8)
    yield Weather("poll_slow", 0.3)
    for at in _times(draw, plan, 300):
        what = draw.choice(("resubmit" if plan.resubmits else "refund", "apply_group"))
        yield LateAnswer(at, draw.randrange(plan.slots), what, 1, round(draw.uniform(2, 40), 3))


def _named_when_given_up(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """A worker sleeps with answers to submits; its heir sleeps just before it gives those up, and wakes after it."""
    wait = plan.lease_seconds + plan.grace_seconds
    point = f"commit.before.{'resubmit' if plan.resubmits else 'give_up'}"
    for number in range(int(0.75 * plan.chaos_seconds / (1.6 * wait))):
        at = round(number * 1.6 * wait + 5 * draw.random(), 3)
        sleeper = draw.randrange(plan.slots)
        asleep = round(wait + draw.uniform(0.0, 0.3) * plan.lease_seconds, 3)
        yield Pause(at, sleeper, asleep, "receive.after.submit", draw.randint(1, 3))
        for slot in range(plan.slots):
            if slot != sleeper:
                yield Pause(
                    round(at + plan.lease_seconds, 3),
                    slot,
                    round(draw.uniform(0.5, 0.8) * plan.lease_seconds, 3),
                    point,
                )


def _passes_without_lease(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Passes that sleep past their lease with what they are about to send or to store."""
    for slot in range(plan.slots):
        for at in _times(draw, plan, 60):
            yield _long_sleep(
                draw, plan, at, slot, draw.choice(("send.before", "commit.before.apply_group", ""))
            )


def _passes_without_database(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Passes that find no database, or lose it at once, and are asked to stop."""
    for at in _times(draw, plan, 200):
        yield DatabaseOutage(at, round(draw.choice((8, 8, 100)) * draw.random(), 3), draw.random() < 0.2)
        if draw.random() < 0.4:
            yield Stop(
                round(at + 30 * draw.random(), 3), draw.randrange(plan.slots), round(3 * draw.random(), 3)
            )


def _stopped_before_it_began(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers start while the database is away, and are asked to stop before they could register."""
    for at in _times(draw, plan, 20):
        yield DatabaseOutage(at, round(draw.uniform(20, 60), 3), after_commit=False)
        for slot in range(plan.slots):
            yield Crash(round(at + 1, 3), slot, "step", 1, round(3 * draw.random(), 3))
            yield Stop(round(at + draw.uniform(6, 20), 3), slot, 1.0)


def _taken_back(draw: random.Random, plan: Plan) -> Iterator[Fault]:
    """Workers come back when others hold everything, and sleep as soon as those may give to them, who take back
    what they gave before they hear that it was given."""
    yield Weather("stuck", 0.5)
    lease = plan.lease_seconds
    for number in range(int(0.75 * plan.chaos_seconds / (4 * lease))):
        sleeper, at = draw.randrange(plan.slots), number * 4 * lease + lease * draw.random()
        back = round(at + lease * draw.uniform(1.05, 1.3), 3)
        yield Crash(round(at, 3), sleeper, "step", 1, round(back - at, 3))
        yield Pause(
            round(back + 0.01, 3), sleeper, round(lease * draw.uniform(0.6, 1.2), 3), "commit.after.register"
        )
        for slot in range(plan.slots):
            if slot != sleeper:
                seconds = round(lease * draw.uniform(0.2, 0.5), 3)
                yield LateAnswer(back, slot, "release_share_if_owned", 1, seconds)


LONE_AIMS: Sequence[LoneAim] = (
    *2 * (LoneAim(_leases_lost_with_claims, _trickling),),
    LoneAim(_callbacks, _with_long_grace),
    LoneAim(_dropped, _dropping),
    LoneAim(_stopped_with_claims, _spread),
    LoneAim(_known_late, _resubmitting),
    LoneAim(_known_late, _refunding),
    LoneAim(_stopped_with_submits, _with_model_limits),
    LoneAim(_passes_without_database, _by_slow_passes),
    *2 * (LoneAim(_passes_without_lease, _by_passes),),
    LoneAim(_lost_adoptions, _spread),
    LoneAim(_taken_back, _unlimited),
    LoneAim(_forgotten, _at_once),
    LoneAim(_long_outages, _by_one),
    LoneAim(_refused_names, _spread),
    LoneAim(_lost_claims_beside_what_is_held, _spread),
    LoneAim(_retired, _queued),
    LoneAim(_named_when_given_up, _refunding),
    LoneAim(_swapped_submits, _with_callbacks),
    LoneAim(_named_when_given_up, _resubmitting),
    LoneAim(_stopped_before_it_began, _spread),
    LoneAim(_leases_lost, _spread),
)
"""In the order of their turns: those that meet their branches the least come first."""
