"""What a seed decides besides its faults: the size and shape of the installation and of its work."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from rushes.domain.catalogue.aliases import AliasDefinition
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import ModelLimits
from rushes.domain.retries import PPM, LastModel, RetryPolicy, StopLoss
from rushes.providers.base import ProviderLimits
from rushes.run.context import UnconfirmedPolicy
from rushes.simulator import SimulatorKnobs

MODELS = ("sora-2", "veo-flash", "veo-pro", "minimax-h3")
TIME_SCALE = 0.5
"""Renders, and with them the deadlines below, are shorter than the real service's: more happens per hour."""

ALIAS = "any"
ALIAS_OF = ("sora-2", "minimax-h3", "veo-flash", "veo-pro")
ALIAS_CREDITS = 60
"""One name for all models; its price is that of the dearest."""

CATALOGUE = DEFAULT_CATALOGUE.with_overrides(
    {
        "sora-2": {
            "render_time_p50_seconds": 45,
            "soft_deadline_seconds": 240,
            "hard_deadline_seconds": 600,
        },
        "veo-flash": {
            "render_time_p50_seconds": 165,
            "soft_deadline_seconds": 500,
            "hard_deadline_seconds": 1000,
        },
        "veo-pro": {
            "render_time_p50_seconds": 210,
            "soft_deadline_seconds": 500,
            "hard_deadline_seconds": 1200,
        },
        "minimax-h3": {
            "render_time_p50_seconds": 105,
            "soft_deadline_seconds": 300,
            "hard_deadline_seconds": 800,
        },
        ALIAS: {"alias_of": list(ALIAS_OF)},
    }
)
BATCH_TASKS_MAX = 400

CRON_SHARE, MODEL_LIMITS_SHARE, CAN_DROP_SHARE, GONE_SHARE = 0.15, 0.12, 0.2, 0.05
"""How many plans have processes that only make passes, models with limits of their own, a service that drops what
waits, and an outage after which a provider is given up."""

SMALL_SHARE, SMALL_TASKS_MAX = 0.05, 2
"""How many plans have only batches of so many tasks, which are tried again: the last end of one may open it again."""

POLL_INTERVAL_MIN_SECONDS, POLL_INTERVAL_MAX_SECONDS = 2.0, 30.0
REQUEST_TIMEOUT_SECONDS = 30.0
"""How long a client waits for an answer of the service."""


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that a user will ask for; `doubles` tells that the request is sent twice at once, `retries_max`
    how often its failed items are to be tried again by themselves: at most for `retries_credits_max` credits,
    until of `stop_loss_after` tries fewer than half have passed, the last time with `last_model`."""

    at: float
    account: int
    tasks: int
    doubles: bool
    retries_max: int = 0
    retries_credits_max: int | None = None
    stop_loss_after: int | None = None
    last_model: str | None = None

    @property
    def retry_policy(self) -> RetryPolicy:
        """As the batch asks for it."""
        return RetryPolicy(
            self.retries_max,
            credits_max=self.retries_credits_max,
            stop_loss=None if self.stop_loss_after is None else StopLoss(PPM // 2, self.stop_loss_after),
            last_model=None if self.last_model is None else LastModel.of(CATALOGUE.get(self.last_model)),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The installation of one seed. Times are seconds."""

    seed: int
    slots: int
    tickers: int
    accounts: int
    batches: tuple[PlannedBatch, ...]
    models: tuple[str, ...]
    lease_seconds: float
    grace_seconds: float
    policy: UnconfirmedPolicy
    has_callbacks: bool
    limits: ProviderLimits
    commit_seconds: float
    wire_seconds: float
    skew_seconds: tuple[float, ...]
    clocks_jump: bool
    chaos_seconds: float
    production_tempo: bool
    learns: bool
    """Whether poll times are learned, as in production, or those of the fixed ladder."""
    callback_late_seconds: float
    slow_seconds: float
    """How long the service takes for a slow answer: more than a client waits, at times."""
    alias_share: float = 0.0
    """How many of the items are asked for under the alias."""
    wait_seconds_max: float = 3000.0
    failover_queue_max: int | None = None
    model_limits: tuple[tuple[str, ModelLimits], ...] = ()
    """Limits that models have of their own."""
    can_drop: bool = False
    """Whether the service can be asked to drop what it has not started to render."""
    gone_seconds: float | None = None
    """After how long an outage a provider is gone, when not after a day."""

    @property
    def catalogue(self) -> Catalogue:
        """The models as this installation has them."""
        limits = {name: {"limits": asdict(of_model)} for name, of_model in self.model_limits}
        return CATALOGUE.with_overrides(limits) if limits else CATALOGUE

    @property
    def resubmits(self) -> bool:
        """Whether the operator's policy is to buy an unconfirmed video again."""
        return self.policy is UnconfirmedPolicy.RESUBMIT

    @property
    def archives(self) -> bool:
        """Whether successes are to be fetched and kept: in two seeds of three."""
        return self.seed % 3 > 0

    def knobs(self) -> SimulatorKnobs:
        """A service in which nothing fails."""
        return SimulatorKnobs(
            seed=self.seed,
            time_scale=TIME_SCALE,
            latency_min_seconds=0.02,
            latency_max_seconds=self.wire_seconds,
            slow_seconds=self.slow_seconds,
            retry_after_seconds=5,
            tasks_max=1_000_000,
            callback_progress=self.seed % 3 == 0,
            callback_delay_seconds=0.5,
            # late enough, at times, to come just when the submit that it tells of is given up
            callback_late_seconds=self.callback_late_seconds,
        )


def without(catalogue: Catalogue, model: str) -> Catalogue:
    """The catalogue after a model has left it, and its alias."""
    left = [known for known in catalogue if known.name != model]
    names = tuple(name for name in ALIAS_OF if any(known.name == name for known in left))
    return Catalogue(left, {ALIAS: AliasDefinition(names, ALIAS_CREDITS)} if names else {})


def draw_plan(draw: random.Random, seed: int, tasks: int) -> Plan:
    """The plan of a seed for so many tasks."""
    slots = draw.choice((1, 2, 3, 3, 4))
    chaos_seconds = draw.choice((300.0, 600.0, 900.0))
    clocks_jump = draw.random() < 0.2
    skewed = draw.random() < 0.2
    accounts = draw.randint(1, 4)
    grace_seconds = draw.choice((60.0, 60.0, 200.0, 600.0))
    beside = random.Random(f"aliases {seed}")  # the rest of a seed's plan stays what it was before these
    plan = Plan(
        alias_share=beside.choice((0.0, 0.3, 1.0)),
        wait_seconds_max=beside.choice((400.0, 1500.0, 3000.0)),
        failover_queue_max=beside.choice((None, None, 20)),
        seed=seed,
        slots=slots,
        tickers=1 if slots > 1 and draw.random() < 0.15 else 0,
        accounts=accounts,
        batches=tuple(_with_policies(seed, _batches(draw, tasks, accounts, chaos_seconds))),
        models=tuple(draw.sample(MODELS, draw.randint(2, len(MODELS)))),
        lease_seconds=draw.choice((45.0, 90.0, 120.0)),
        grace_seconds=grace_seconds,
        policy=UnconfirmedPolicy.RESUBMIT if draw.random() < 0.4 else UnconfirmedPolicy.REFUND,
        has_callbacks=draw.random() < 0.6,
        limits=ProviderLimits(
            submits_per_second=draw.choice((None, None, 4.0, 20.0)),
            polls_per_second=draw.choice((None, None, 15.0, 60.0)),
            in_flight_tasks_max=draw.choice((None, None, 40, 150)),
            connections_max=draw.choice((8, 32, 64, 64)),
        ),
        commit_seconds=draw.choice((0.4, 1.5, 4.0)),
        wire_seconds=draw.choice((0.05, 0.5, 3.0)),
        skew_seconds=tuple(draw.uniform(-20, 20) if skewed else 0.0 for _ in range(slots)),
        clocks_jump=clocks_jump,
        chaos_seconds=chaos_seconds,
        production_tempo=draw.random() < 0.02,
        learns=draw.random() < 0.6,
        callback_late_seconds=draw.choice((40.0, grace_seconds)),
        slow_seconds=draw.choice((10.0, 20.0, 1.5 * REQUEST_TIMEOUT_SECONDS)),
    )
    return _with_rarities(plan)


def _with_rarities(plan: Plan) -> Plan:
    """What only some installations have, from a draw of its own."""
    draw = random.Random(f"rarities {plan.seed}")
    if draw.random() < CRON_SHARE:
        plan = replace(plan, tickers=plan.slots if draw.random() < 0.5 else max(1, plan.slots - 1))
    if draw.random() < MODEL_LIMITS_SHARE:
        limited = draw.sample(plan.models, draw.randint(1, len(plan.models) - 1))
        plan = replace(plan, model_limits=tuple((name, _model_limits(draw)) for name in limited))
    if draw.random() < CAN_DROP_SHARE:
        plan = replace(plan, can_drop=True)
    if draw.random() < GONE_SHARE:
        plan = replace(plan, gone_seconds=5400.0)
    if draw.random() < SMALL_SHARE:
        plan = replace(plan, batches=tuple(_in_small(draw, plan.batches)))
    return plan


def _in_small(draw: random.Random, batches: Sequence[PlannedBatch]) -> Iterator[PlannedBatch]:
    for batch in batches:
        left = batch.tasks
        while left:
            tasks = min(left, draw.randint(1, SMALL_TASKS_MAX))
            yield replace(batch, tasks=tasks, retries_max=batch.retries_max or 2, doubles=False)
            left -= tasks


def _model_limits(draw: random.Random) -> ModelLimits:
    return ModelLimits(
        in_flight_tasks_max=draw.choice((None, 5, 30)), submits_per_minute=draw.choice((20, 60, 200))
    )


def _batches(draw: random.Random, tasks: int, accounts: int, chaos_seconds: float) -> list[PlannedBatch]:
    batches, left = [], tasks
    while left:
        size = min(left, draw.choice((1, 3, 30, BATCH_TASKS_MAX)), draw.randint(1, BATCH_TASKS_MAX))
        at = round(chaos_seconds * 0.5 * draw.random() ** 1.5, 3)
        retries_max = draw.choice((0, 0, 0, 0, 1, 3))
        batches.append(PlannedBatch(at, draw.randrange(accounts), size, draw.random() < 0.1, retries_max))
        left -= size
    return sorted(batches, key=lambda batch: batch.at)


def _with_policies(seed: int, batches: list[PlannedBatch]) -> Iterator[PlannedBatch]:
    """Caps, stop-losses and last models for batches with retries, from a draw of their own: the rest of a
    seed's plan stays what it was before there were any."""
    draw = random.Random(f"policies {seed}")
    for batch in batches:
        if not batch.retries_max:
            yield batch
            continue
        yield replace(
            batch,
            retries_credits_max=draw.choice((None, 0, 15, 2 * batch.tasks)),
            stop_loss_after=draw.choice((None, 1, max(1, batch.tasks // 3), batch.tasks)),
            last_model=draw.choice((None, *MODELS)),
        )
