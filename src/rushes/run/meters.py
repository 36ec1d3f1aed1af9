"""What a worker counts about itself. It goes into the worker's report, so any process can show it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.domain.task import SubmitOutcome

LATENESS_BOUNDS_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
COMMIT_BOUNDS_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
GROUP_SIZE_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)


class Histogram:
    """Counts by upper bound, as Prometheus has them; the last count is of everything above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": round(self.total, 6)}


class Meters:
    """One worker's counts since its process started."""

    __slots__ = ("commit_seconds", "group_size", "poll_lateness_seconds", "submits")

    def __init__(self) -> None:
        self.submits: Counter[tuple[str, str]] = Counter()
        self.poll_lateness_seconds = Histogram(LATENESS_BOUNDS_SECONDS)
        self.commit_seconds = Histogram(COMMIT_BOUNDS_SECONDS)
        self.group_size = Histogram(GROUP_SIZE_BOUNDS)

    def submitted(self, provider: str, outcome: SubmitOutcome) -> None:
        """A submit has been answered for."""
        self.submits[provider, type(outcome).__name__.lower()] += 1

    def polled(self, *, late_seconds: float) -> None:
        """A poll was started so long after its due time."""
        self.poll_lateness_seconds.observe(late_seconds)

    def committed(self, size: int, seconds: float) -> None:
        """A group of that many outcomes was stored; it took so long."""
        self.group_size.observe(size)
        self.commit_seconds.observe(seconds)

    def as_dict(
        self, polls: Mapping[str, Mapping[str, int]], unanswered: Mapping[str, Mapping[str, int]]
    ) -> dict[str, Any]:
        """JSON values; `polls` are the counts of polls by outcome, by provider, and `unanswered` those of
        polls that brought no answer by kind, by provider.
        """
        submits: dict[str, dict[str, int]] = {}
        for (provider, outcome), count in self.submits.items():
            submits.setdefault(provider, {})[outcome] = count
        return {
            "polls": polls,
            "polls_unanswered": unanswered,
            "submits": submits,
            "poll_lateness_seconds": self.poll_lateness_seconds.as_dict(),
            "settle_group_size": self.group_size.as_dict(),
            "settle_commit_seconds": self.commit_seconds.as_dict(),
        }


def quantile_of(histogram: Mapping[str, Any], share: float) -> float:
    """The upper bound below which that share of a histogram's values lies; the last bound for those above."""
    wanted = share * sum(histogram["counts"])
    seen = 0
    for bound, count in zip(histogram["bounds"], histogram["counts"], strict=False):
        seen += count
        if seen >= wanted:
            return float(bound)
    return float(histogram["bounds"][-1])
