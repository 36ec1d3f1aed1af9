"""The kinds of faults. Times are virtual seconds from the start. `repr` of a fault is Python that makes it again.

A slot is the place of one worker process: when it dies, the next one is started there.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crash:
    """The slot's process is killed the `count`th time it comes to `point` after `at`.

    Points are those of `POINTS`; around commits also with the name of the transaction's function behind.
    """

    at: float
    slot: int
    point: str
    count: int
    restart_seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """The slot's process is stopped for so long, like a machine that was suspended.

    With a `point` it is stopped the `count`th time it comes there after `at`, else at once.
    """

    at: float
    slot: int
    seconds: float
    point: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Stop:
    """The slot's process is asked to stop, as by SIGTERM, and started again later.

    With a `point` it is asked the `count`th time it comes there after `at`, else at once.
    """

    at: float
    slot: int
    restart_seconds: float
    point: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock of the slot's machine is wrong by so much, for a while."""

    at: float
    slot: int
    seconds: float
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class LostCommit:
    """The answer to the slot's `count`th commit of `what` after `at` is lost: it took effect, nobody is told.

    `what` is the name of the transaction's function, or empty for any. The loss is noticed after `seconds`.
    """

    at: float
    slot: int
    what: str
    count: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """The answer to the slot's `count`th commit of `what` after `at` takes `seconds` longer: one connection
    stalls, the others go on."""

    at: float
    slot: int
    what: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseOutage:
    """The database refuses everyone; with `after_commit` it commits and then the connection is gone."""

    at: float
    seconds: float
    after_commit: bool


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """From `at` on, up to `tasks` tasks get rows that the database refuses for `seconds`: all that a group tells of
    the task in one of its lists of these `kinds`."""

    at: float
    seconds: float
    kinds: tuple[str, ...]
    tasks: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The slot's machine reaches no provider; with `answers` requests arrive but no answer comes back."""

    at: float
    slot: int
    seconds: float
    answers: bool


@dataclass(frozen=True, slots=True)
class ServiceOutage:
    """The provider is down; `kind` as in the simulator's knob `outage_kind`."""

    at: float
    seconds: float
    kind: str


@dataclass(frozen=True, slots=True)
class KeyDisabled:
    """The provider refuses every submit alike."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Weather:
    """A knob of the simulated service, from the start until the world heals."""

    knob: str
    value: float


@dataclass(frozen=True, slots=True)
class LateArrivals:
    """That share of submits reaches the service only after the client has given up."""

    share: float


@dataclass(frozen=True, slots=True)
class SwappedAnswers:
    """That share of polls is answered with the answer to the process's poll before, about another task."""

    share: float


@dataclass(frozen=True, slots=True)
class SwappedSubmits:
    """That share of submits is answered with the acceptance of the process's submit before, another task's."""

    share: float


@dataclass(frozen=True, slots=True)
class CallbackStorm:
    """That share of callbacks comes so many times, to one process, each so many seconds after the one before; of
    those a share comes `foreign` first: it names the remote task of another attempt."""

    share: float
    times: int
    seconds: float
    foreign: float


@dataclass(frozen=True, slots=True)
class SlowConnects:
    """That share of submits waits so long for its connection before the first byte is written."""

    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class MovedHost:
    """The service has another address from then on: processes that start later use it. The old one still answers."""

    at: float


@dataclass(frozen=True, slots=True)
class OddFields:
    """That share of answers to polls has its progress as a text with a percent sign."""

    share: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """A user cancels the batch (numbered in the order of creation)."""

    at: float
    batch: int


@dataclass(frozen=True, slots=True)
class Retry:
    """A user tries up to `count` failed items of the batch again."""

    at: float
    batch: int
    count: int


@dataclass(frozen=True, slots=True)
class Grant:
    """An account gets credits; with `bonus_seconds` they expire after that time."""

    at: float
    account: int
    amount: int
    bonus_seconds: float | None


@dataclass(frozen=True, slots=True)
class Retire:
    """A model is retired: no new tasks for it; with `is_gone` restarted workers no longer know it."""

    at: float
    model: str
    is_gone: bool


Fault = (
    Crash
    | Pause
    | Stop
    | ClockJump
    | LostCommit
    | LateAnswer
    | DatabaseOutage
    | RefusedRows
    | Cut
    | ServiceOutage
    | KeyDisabled
    | Weather
    | LateArrivals
    | SwappedAnswers
    | SwappedSubmits
    | CallbackStorm
    | SlowConnects
    | MovedHost
    | OddFields
    | Cancel
    | Retry
    | Grant
    | Retire
)
