"""The faults of a run, as an explicit list: drawn from the seed, applied at their times, cut by the shrinker."""

import random
from collections.abc import Sequence

from simulation.aims.rare import with_rare_aims
from simulation.world.kinds import (
    Cancel,
    ClockJump,
    Crash,
    Cut,
    DatabaseOutage,
    Fault,
    Grant,
    KeyDisabled,
    LateAnswer,
    LateArrivals,
    LostCommit,
    OddFields,
    Pause,
    Retire,
    Retry,
    ServiceOutage,
    Stop,
    SwappedAnswers,
    Weather,
)
from simulation.world.plan import Plan
from simulation.world.process import POINTS

_POINT_COUNTS_MEAN = {"step": 300.0}
"""How far ahead a crash is aimed on average; at commits and requests 8."""

TRANSACTIONS = (
    *("apply_group", "claim_fairly", "adopt", "renew_lease_if_alive"),
    *("settle", "refund", "give_back", "resubmit", "release_share_if_owned"),
)
"""The transactions that crashes and lost answers are aimed at: function names, and for groups what they do to
tasks (see `names_of` in simulation/world/process.py)."""

PAUSE_POINTS = ("receive.after", "send.before", "commit.before.claim_fairly", "commit.before.refund")
"""Where a pause hurts most: an answer is known to nobody else yet, or what was decided is about to be done."""

SUBMIT_WEATHERS = (
    *("submit_server_error", "submit_html", "submit_cut_json", "submit_cut_body", "submit_reset_before"),
    *("submit_reset_after", "submit_accepted_then_error", "submit_accepted_then_reset", "submit_refused"),
    *("submit_slow", "submit_throttled", "submit_throttled_bare"),
)
POLL_WEATHERS = (
    *("poll_server_error", "poll_html", "poll_cut_json", "poll_cut_body", "poll_reset_before"),
    *("poll_reset_after", "poll_refused", "poll_slow", "poll_throttled", "poll_throttled_bare"),
    *("poll_unknown_status", "poll_backwards", "poll_progress_missing"),
)
OUTCOME_WEATHERS = (
    *("output_moderation", "input_moderation", "error", "violation", "business_code", "forgotten"),
    *("succeeded_without_url", "failed_without_reason", "stuck"),
)
CALLBACK_WEATHERS = (
    *("callback_lost", "callback_late", "callback_duplicate", "callback_out_of_order", "callback_forged"),
)


AIMED_SHARE = 0.2
"""How many plans get each of the aimed sets: faults that only together open a window which chance alone seldom
meets."""


NARROW_SHARE = 0.15
"""How many plans have one of the narrow aims: windows that a kill or a pause by chance would shut again, so that
nothing else befalls the processes."""


def draw_faults(draw: random.Random, plan: Plan) -> list[Fault]:
    """The faults of a plan, by time; those without a time come first."""
    weather, processes = _weather(draw), _processes(draw, plan)
    faults: list[Fault] = [*_surroundings(draw, plan), *_users(draw, plan)]
    for aim in AIMS:
        if draw.random() < AIMED_SHARE:
            faults += aim(draw, plan)
    beside = random.Random(f"narrow aims {plan.seed}")  # the rest of a seed's faults stays what it was before
    if beside.random() < NARROW_SHARE * len(NARROW_AIMS) and plan.slots > 1:
        processes, faults = (), [*beside.choice(NARROW_AIMS)(beside, plan)]
    faults = with_rare_aims(plan, [*weather, *processes, *faults])
    return sorted(faults, key=lambda fault: getattr(fault, "at", 0.0))


def _weather(draw: random.Random) -> Sequence[Fault]:
    faults: list[Fault] = []
    for names, count_max, share_max in (
        (SUBMIT_WEATHERS, 4, 0.05),
        (POLL_WEATHERS, 5, 0.08),
        (OUTCOME_WEATHERS, 5, 0.07),
        (CALLBACK_WEATHERS, 5, 0.3),
    ):
        for name in draw.sample(names, draw.randint(0, count_max)):
            share = share_max * draw.random() * (0.3 if name in ("stuck", "forgotten") else 1.0)
            faults.append(Weather(name, round(share, 4)))
    if draw.random() < 0.1:
        faults.append(Weather("forget_after_seconds", draw.choice((5.0, 60.0))))
    if draw.random() < 0.15:
        faults.append(Weather("submits_per_second_max", draw.choice((3, 10))))
    if draw.random() < 0.15:
        faults.append(LateArrivals(round(draw.uniform(0.005, 0.03), 4)))
    if draw.random() < 0.4:
        faults.append(Weather("submit_rejected", round(draw.uniform(0.02, 0.15), 4)))
    if draw.random() < 0.3:
        faults.append(SwappedAnswers(round(draw.uniform(0.005, 0.05), 4)))
    if draw.random() < 0.3:
        faults.append(OddFields(round(draw.uniform(0.02, 0.3), 4)))
    return faults


def _processes(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    faults: list[Fault] = []

    def when() -> float:
        # most of it happens while there is much to lose
        return round(min(draw.expovariate(1 / 150.0), plan.chaos_seconds), 3)

    def slot() -> int:
        return draw.randrange(plan.slots)

    for _ in range(draw.randint(20, 40)):
        point = draw.choice(POINTS)
        if point.startswith("commit") and draw.random() < 0.5:
            point = f"{point}.{draw.choice(TRANSACTIONS)}"
        count = 1 + int(draw.expovariate(1 / _POINT_COUNTS_MEAN.get(point, 8.0)))
        faults.append(
            Crash(when(), slot(), point, count, round(draw.choice((0.1, 3.0, 90.0)) * draw.random(), 3))
        )
    for _ in range(draw.choice((0, 0, 1, 2, 3, 4))):
        seconds = plan.lease_seconds * draw.choice((0.5, 1.1, 1.5, 3.0)) + draw.random()
        point = draw.choice(PAUSE_POINTS) if draw.random() < 0.5 else ""
        if draw.random() < 0.4:
            # it holds the answer to a submit, and wakes just when another gives that submit up
            point = "receive.after"
            seconds = plan.lease_seconds + plan.grace_seconds + draw.uniform(-0.3, 0.1) * plan.lease_seconds
        faults.append(Pause(when(), slot(), round(seconds, 3), point, draw.randint(1, 12)))
    for _ in range(draw.choice((0, 0, 1, 2))):
        faults.append(Stop(when(), slot(), round(20 * draw.random(), 3)))
    for _ in range(draw.choice((0, 1, 3, 6, 10))):
        what = draw.choice(("", *TRANSACTIONS))
        seconds = draw.choice((0.0, 0.0, _stall_seconds(draw)))
        faults.append(LostCommit(when(), slot(), what, _count_of(draw, what), seconds))
    for _ in range(draw.choice((0, 1, 3, 6))):
        what = draw.choice(TRANSACTIONS)
        faults.append(LateAnswer(when(), slot(), what, _count_of(draw, what), _stall_seconds(draw)))
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        faults.append(
            Cut(when(), slot(), round(draw.choice((5, 60, 200)) * draw.random(), 3), draw.random() < 0.5)
        )
    if plan.clocks_jump:
        for _ in range(draw.randint(1, 3)):
            jump = draw.choice((-3600.0, 3600.0, round(draw.uniform(-3600, 3600), 1)))
            faults.append(ClockJump(when(), slot(), jump, round(draw.choice((20, 300)) * draw.random(), 1)))
    return faults


def _count_of(draw: random.Random, what: str) -> int:
    """How far ahead an answer's fault is aimed: the rare transactions may not come often enough."""
    if what in ("adopt", "resubmit", "release_share_if_owned"):
        return 1
    return draw.randint(1, 3 if what in ("refund", "give_back") else 10)


def _stall_seconds(draw: random.Random) -> float:
    return round(draw.choice((3, 20, 100)) * draw.random(), 3)


def _surroundings(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    faults: list[Fault] = []
    at = round(plan.chaos_seconds * draw.random(), 3)
    for _ in range(draw.choice((0, 0, 1, 2))):
        start = round(plan.chaos_seconds * draw.random() ** 2, 3)
        seconds = round(draw.choice((2, 30, 150)) * draw.random(), 3)
        faults.append(DatabaseOutage(start, seconds, draw.random() < 0.3))
    if draw.random() < 0.3:
        kind = draw.choice(("server_error", "reset", "refused", "hang"))
        hours = draw.random() < 0.15
        seconds = draw.uniform(1800, 10800) if hours else draw.uniform(10, 400)
        faults.append(ServiceOutage(round(at / 2, 3), round(seconds, 1), kind))
    if draw.random() < 0.1:
        faults.append(KeyDisabled(round(at / 2, 3), round(draw.uniform(10, 200), 1)))
    return faults


def _users(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    faults: list[Fault] = []

    def batch() -> int:
        return draw.randrange(len(plan.batches))

    for _ in range(draw.choice((0, 0, 1, 2))):
        number = batch()
        at = plan.batches[number].at + draw.expovariate(1 / 60.0)
        faults.append(Cancel(round(at, 3), number))
    for _ in range(draw.choice((0, 1, 2, 4))):
        faults.append(Retry(round(plan.chaos_seconds * draw.random(), 3), batch(), draw.choice((1, 3, 20))))
    for _ in range(draw.choice((0, 1, 3, 5))):
        bonus = None if draw.random() < 0.3 else round(draw.choice((20, 200, 900)) * draw.random() + 5, 1)
        at = round(plan.chaos_seconds * draw.random() / 2, 3)
        faults.append(Grant(at, draw.randrange(plan.accounts), draw.randint(1, 2000), bonus))
    if draw.random() < 0.2:
        at = round(plan.chaos_seconds * draw.random() / 2, 3)
        faults.append(Retire(at, draw.choice(plan.models), draw.random() < 0.5))
    return faults


# --- aimed at windows that are narrow -------------------------------------------------------------------


def _early(draw: random.Random, plan: Plan) -> float:
    return round(0.4 * plan.chaos_seconds * draw.random(), 3)


def _aim_at_lost_returns(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """A door that is often shut, and a database that loses the answer to "it was not taken": when that commit
    is run again, the same worker may have claimed the task anew."""
    faults: list[Fault] = [
        Weather(draw.choice(("submit_refused", "submit_throttled_bare")), round(draw.uniform(0.1, 0.4), 4))
    ]
    for slot in range(plan.slots):
        for _ in range(3):
            seconds = round(draw.uniform(1, 40), 3)
            faults.append(LostCommit(_early(draw, plan), slot, "give_back", 1, seconds))
    return faults


def _aim_at_late_claims(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """Claims whose answer is lost when kills have become rare: nobody but their own worker can give them back."""
    faults: list[Fault] = []
    for slot in range(plan.slots):
        for share in (0.2, 0.3, 0.4, 0.5):
            at = round(plan.chaos_seconds * (share + 0.1 * draw.random()), 3)
            faults.append(LostCommit(at, slot, "claim_fairly", 1))
    return faults


def _aim_at_unconfirmed(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """Submits of unknown outcome, callbacks that tell of them when they are given up, and a database that is slow
    to answer just then: the next attempt may be at the provider before the worker hears of the last one's end."""
    faults: list[Fault] = [
        Weather("submit_reset_after", round(draw.uniform(0.05, 0.3), 4)),
        Weather("callback_late", round(draw.uniform(0.3, 0.9), 4)),
    ]
    end = "resubmit" if plan.resubmits else "refund"
    for slot in range(plan.slots):
        for share in (0.1, 0.25, 0.4, 0.55, 0.7):
            at = round(plan.chaos_seconds * (share + 0.15 * draw.random()), 3)
            seconds = round(draw.uniform(5, 60), 3)
            faults.append(LateAnswer(at, slot, draw.choice((end, "apply_group")), 1, seconds))
    return faults


def _aim_at_held_answers(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """A worker is stopped while its submits are under way, and wakes with their answers just when another gives
    them up, whose commits are slow to be answered then: it is overtaken between deciding and doing."""
    if plan.slots < 2:
        return ()
    faults: list[Fault] = []
    for batch in draw.sample(plan.batches, min(5, len(plan.batches))):
        sleeper = draw.randrange(plan.slots)
        at = round(batch.at + 2 * draw.random(), 3)
        asleep = plan.lease_seconds * draw.uniform(0.8, 1.2) + plan.grace_seconds
        faults.append(Pause(at, sleeper, round(asleep, 3), "receive.after", draw.randint(1, 3)))
        for slot in range(plan.slots):
            for share in (0.4, 0.2, 0.05) if slot != sleeper else ():
                late_at = at + asleep - share * plan.lease_seconds
                seconds = draw.uniform(0.1, 0.6) * plan.lease_seconds
                faults.append(LateAnswer(round(late_at, 3), slot, "apply_group", 1, round(seconds, 3)))
    return faults


def _aim_at_gifts(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """A worker comes back late, is given tasks, and sleeps; its giver takes them again before it has heard
    that they were given away."""
    if plan.slots < 2:
        return ()
    sleeper = draw.randrange(plan.slots)
    at, away = _early(draw, plan), round(draw.uniform(0.5, 1.5) * plan.lease_seconds, 3)
    back = at + away
    asleep_at = round(back + draw.uniform(0.1, 0.4) * plan.lease_seconds, 3)
    faults: list[Fault] = [
        Crash(at, sleeper, "step", 1, away),
        Pause(asleep_at, sleeper, round(draw.uniform(1, 2) * plan.lease_seconds, 3)),
    ]
    for slot in range(plan.slots):
        if slot != sleeper:
            seconds = round(draw.uniform(0.3, 1.2) * plan.lease_seconds, 3)
            faults.append(LateAnswer(round(back, 3), slot, "release_share_if_owned", 1, seconds))
    return faults


def _aim_at_the_end(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """Renders that never end, polls that often bring nothing, and trouble that lasts until deadlines come."""
    until = draw.uniform(600, 1300)
    return [
        Weather("stuck", round(draw.uniform(0.1, 0.5), 4)),
        Weather(draw.choice(("poll_cut_json", "poll_unknown_status")), round(draw.uniform(0.2, 0.5), 4)),
        ServiceOutage(round(until - 5, 3), 5, "reset"),
    ]


def _aim_at_mixed_up_answers(draw: random.Random, _plan: Plan) -> Sequence[Fault]:
    """A gateway that answers some polls with what belongs to another task's."""
    return [Weather("poll_swapped", round(draw.uniform(0.03, 0.08), 4))]


AIMS = (
    *(_aim_at_lost_returns, _aim_at_unconfirmed, _aim_at_gifts, _aim_at_the_end, _aim_at_late_claims),
    *(_aim_at_held_answers, _aim_at_mixed_up_answers),
)


# --- narrow: nothing else befalls the processes -----------------------------------------------------------


def _aim_at_claims_in_hand(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """Workers are stopped past their lease with what they have claimed and not sent, or just not written."""
    faults: list[Fault] = []
    for batch in draw.sample(plan.batches, min(6, len(plan.batches))):
        point = draw.choice(("commit.after.claim_fairly", "send.before"))
        asleep = round(plan.lease_seconds * draw.uniform(1.1, 1.6), 3)
        at = round(max(0.0, batch.at - 0.5 * draw.random()), 3)
        faults.append(Pause(at, draw.randrange(plan.slots), asleep, point, draw.randint(1, 3)))
    return faults


def _aim_at_named_when_given_up(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """A worker is stopped with the answer to a submit. Another has adopted the attempt and is stopped just before
    it commits to give it up, when the first one wakes and names the remote task."""
    faults: list[Fault] = []
    given_up_after = (
        plan.lease_seconds + plan.grace_seconds
    )  # it is adopted when the lease is over, then waited for
    in_time = [batch for batch in plan.batches if batch.at + given_up_after + 30 < plan.chaos_seconds]
    for batch in draw.sample(in_time, min(3, len(in_time))):
        sleeper, at = draw.randrange(plan.slots), round(batch.at, 3)
        asleep = round(given_up_after + draw.uniform(0.0, 0.15) * plan.lease_seconds, 3)
        faults.append(
            Pause(at, sleeper, asleep, "receive.after.submit", draw.randint(1, min(3, batch.tasks)))
        )
        point = f"commit.before.{'resubmit' if plan.resubmits else 'give_up'}"
        for slot in range(plan.slots):
            if slot != sleeper:
                faults.append(Pause(at, slot, round(draw.uniform(0.4, 0.7) * plan.lease_seconds, 3), point))
    return faults


def _aim_at_gifts_taken_back(draw: random.Random, plan: Plan) -> Sequence[Fault]:
    """A worker comes back when others hold everything, and is stopped as soon as they may give to it; they take
    back what nobody has taken before they hear that it was given."""
    sleeper = draw.randrange(plan.slots)
    at, away = plan.chaos_seconds * draw.uniform(0.2, 0.4), plan.lease_seconds * draw.uniform(1.05, 1.3)
    back = at + away
    is_limited = plan.limits.submits_per_second is not None or plan.limits.polls_per_second is not None
    first = "renew_lease_if_alive" if is_limited else "register"
    listed_at = back + (plan.lease_seconds if is_limited else 0.0)
    asleep = plan.lease_seconds * draw.uniform(0.6, 1.2)
    faults: list[Fault] = [
        Weather("stuck", round(draw.uniform(0.4, 0.6), 4)),
        Crash(round(at, 3), sleeper, "step", 1, round(away, 3)),
        Pause(round(listed_at + 0.01, 3), sleeper, round(asleep, 3), f"commit.after.{first}"),
    ]
    for slot in range(plan.slots):
        if slot != sleeper:
            seconds = round(plan.lease_seconds * draw.uniform(0.2, 0.5), 3)
            faults.append(LateAnswer(round(back, 3), slot, "release_share_if_owned", 1, seconds))
    return faults


NARROW_AIMS = (_aim_at_claims_in_hand, _aim_at_named_when_given_up, _aim_at_gifts_taken_back)
