"""Two models compared through `Rushes`: pairs of clips are bought until one is cheaper for certain."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rushes.database_wiring import wall_clock_ms
from rushes.domain.acceptance.comparing import PAIRS_MAX, Arm, cheaper, pairs_next
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.task import TaskStatus
from rushes.library.opened import DEFAULT_ACCOUNT
from rushes.library.runs import WithRuns
from rushes.library.work import WithWork
from rushes.money.accept import request_hash

Progress = Callable[[dict[str, Any], dict[str, str]], None]


class WithComparing(WithRuns, WithWork):
    """Which of two models costs less for an accepted clip."""

    async def compare_models(
        self,
        first: str,
        second: str,
        drafts: Sequence[TaskDraft],
        *,
        credits_max: int,
        account: str = DEFAULT_ACCOUNT,
        folder: str | Path | None = None,
        stop: asyncio.Event | None = None,
        on_progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Buy a clip of each model for one prompt after the other until one model is cheaper for certain.

        Each look is a batch with a gate; the prompts are taken in turn, and over again. All batches together
        cost at most `credits_max`. The same comparison again buys nothing twice: it goes on from where it
        was, with more credits too. `ended` says why it ended: `decided`, `credits`, `pairs` (the
        models cost the same, as far as is known), `failed` (no try of a model succeeds), or `stopped`.
        Raises `InputError`.
        """
        if first == second:
            raise InputError(f"{first} cannot be compared with itself")
        pairs = [[replace(draft, model=name, custom_id=None) for name in (first, second)] for draft in drafts]
        both = [draft for pair in pairs for draft in pair]
        _, _, priced = await self._priced(both, account, folder, wall_clock_ms())
        clips = [draft.credits for draft in priced]
        prices = [sum(clips[at : at + 2]) for at in range(0, len(clips), 2)]
        if not min(clips, default=0):
            raise InputError("a model that costs nothing needs no comparison")
        if prices[0] > credits_max:
            raise InputError(
                f"--credits-max {credits_max} is less than one clip of each model: {prices[0]} credits"
            )
        found = _Comparison(first, second, request_hash(both)[:24])
        while found.ended is None:
            turn = found.pairs % len(pairs)
            count = pairs_next(found.pairs, prices[turn:] + prices[:turn], credits_max - found.credits)
            if not count:
                found.ended = "credits" if found.pairs < PAIRS_MAX else "pairs"
                break
            wanted = [draft for at in range(count) for draft in pairs[(turn + at) % len(pairs)]]
            batch = await self.start_run(
                wanted, account=account, folder=folder, gate=True, request_id=found.request_id(count)
            )
            ended = await self.run(batch["batch_id"], stop=stop, on_progress=on_progress)
            if ended["pending_count"] + ended["processing_count"]:
                found.ended = "stopped"
            else:
                found.look_at(ended["batch_id"], await self.items(ended["batch_id"]), count)
        return found.as_dict()


@dataclass(slots=True)
class _Comparison:
    """What was bought for it so far, and what that says."""

    first: str
    second: str
    digest: str
    items: list[list[dict[str, Any]]] = field(default_factory=lambda: [[], []])
    batches: list[str] = field(default_factory=list)
    pairs: int = 0
    winner: Arm | None = None
    ended: str | None = None

    @property
    def credits(self) -> int:
        """What all clips have cost."""
        return sum(arm.credits for arm in self.arms)

    @property
    def arms(self) -> list[Arm]:
        """The two models, with their clips; a failed try brought none, and was refunded."""
        found = []
        for name, its in zip((self.first, self.second), self.items, strict=True):
            clips = [item for item in its if item["status"] == TaskStatus.SUCCEEDED.value]
            accepted = sum(item["verdict"] == "accepted" for item in clips)
            found.append(Arm(name, len(clips), accepted, sum(item["credits"] for item in clips)))
        return found

    def request_id(self, count: int) -> str:
        """That of the next look's batch: the same comparison makes the same batches."""
        return f"compare-{self.digest}-{self.pairs}-{count}"

    def look_at(self, batch_id: str, items: Sequence[dict[str, Any]], count: int) -> None:
        """Count the clips of a look's batch, and see whether it is decided."""
        for index, item in enumerate(items):
            self.items[index % 2].append(item)
        self.batches.append(batch_id)
        self.pairs += count
        first, second = self.arms
        self.winner = cheaper(first, second, len(self.batches))
        if self.winner is not None:
            self.ended = "decided"
        elif not first.clips or not second.clips:
            self.ended = "failed"

    def as_dict(self) -> dict[str, Any]:
        """The report."""
        return {
            "models": [arm.as_dict() for arm in self.arms],
            "cheaper": None if self.winner is None else self.winner.model,
            "ended": self.ended,
            "pairs": self.pairs,
            "looks": len(self.batches),
            "credits": self.credits,
            "batches": self.batches,
        }
