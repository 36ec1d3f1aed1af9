"""Who makes a change, as the checks need to know it."""

from collections.abc import Callable

from rushes.domain.catalogue.catalogue import Catalogue
from simulation.truth.witness import Attempt


class Committer:
    """Who commits: the name of the process, and of a worker its identity and its models; None for users.

    `never_handed(worker_id, attempt)` is what the records of its machine tell.
    """

    __slots__ = ("catalogue", "name", "never_handed", "worker_id")

    def __init__(
        self,
        name: str,
        worker_id: str | None,
        catalogue: Catalogue | None = None,
        never_handed: Callable[[str, Attempt], bool] = lambda _worker_id, _attempt: False,
    ) -> None:
        self.name, self.worker_id, self.catalogue = name, worker_id, catalogue
        self.never_handed = never_handed
