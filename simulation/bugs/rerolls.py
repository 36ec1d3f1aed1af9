"""Bugs of re-rolls: the cap, the stop-loss, the last model, and what a failed one gives back."""

from collections.abc import Mapping

from sqlalchemy import Connection

from rushes.domain.retries import StopLoss
from rushes.money.retry import Retry
from rushes.store.tasks import retries
from rushes.store.tasks.retries import Rerolls
from simulation.bugs.bug import Bug
from simulation.tempo import Patches


def _cap_ignored(patches: Patches) -> None:
    patches.set(Rerolls, "may_spend", lambda _self, _price: True)


def _stop_loss_ignored(patches: Patches) -> None:
    patches.set(StopLoss, "is_met", lambda _self, **_counts: False)


def _last_model_forgotten(patches: Patches) -> None:
    patches.set(Retry, "row", lambda self: (self.task_id, self.price, None, None, None))


def _nothing_given_back(patches: Patches) -> None:
    count = retries.count

    def count_up(connection: Connection, changes: Mapping[int, tuple[int, int]]) -> None:
        count(connection, {batch_id: (made, max(0, used)) for batch_id, (made, used) in changes.items()})

    patches.set(retries, "count", count_up)


BUGS = (
    Bug("cap ignored", "re-rolls cost more than their batch allows", _cap_ignored),
    Bug("stop-loss ignored", "re-rolls go on however few pass", _stop_loss_ignored),
    Bug("last model forgotten", "the last try is made with the same model again", _last_model_forgotten),
    Bug("nothing given back", "a failed re-roll still counts towards the cap", _nothing_given_back),
)
