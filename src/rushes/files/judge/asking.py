"""Asks the operator's judge about the clips that the gate let through, each until there is a verdict.

Its own loop in a worker's process. Any number of processes may ask; a clip is claimed by one of them, a claim
that was never recorded runs out, and only an answer to the newest question counts. A judge that gives no
answer in all of its tries leaves the clip `undecided`.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from rushes import telemetry
from rushes.domain.acceptance.judging import Judgement, read_judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.errors import ArchiveUnavailable, InputError, NotFound
from rushes.files.due import Due
from rushes.files.gate.deciding import OnDecided
from rushes.files.judge.hooks import Judge, NoJudgement
from rushes.files.objects import ObjectStore
from rushes.store.acceptance import judging
from rushes.store.acceptance.judging import ClipToJudge
from rushes.store.database import Database

RETRY_SECONDS: Final = (2.0, 10.0, 60.0, 300.0)
"""Waits after questions without an answer; after the last one there is no verdict."""

CLIPS_AT_ONCE_MAX: Final = 4
IDLE_SECONDS: Final = 0.4
CLAIM_SPARE_SECONDS: Final = 30.0
"""How much longer than a question may take its claim lasts."""

QUESTION_SECONDS_MIN: Final = 5.0
RECORD_SECONDS: Final = 1.0
"""What a bounded pass has at least for a question, and for recording what came of it."""

UNREACHABLE: Final = "judge:unreachable"

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """How long one question may take, and the waits before it is put again."""

    seconds_max: float = 60.0
    retry_seconds: tuple[float, ...] = RETRY_SECONDS


class Asking:
    """Asks the judge until stopped. `link_of(task_id)` is a link to the stored file, if there can be one."""

    def __init__(
        self,
        database: Database,
        judge: Judge,
        *,
        objects: ObjectStore,
        now_ms: Callable[[], int],
        on_decided: OnDecided,
        link_of: Callable[[int], str | None] = lambda _task_id: None,
        limits: JudgeLimits | None = None,
    ) -> None:
        self._database = database
        self._judge = judge
        self._objects = objects
        self._now_ms = now_ms
        self._on_decided = on_decided
        self._link_of = link_of
        self._limits = limits or JudgeLimits()
        self.outcomes = {"accepted": 0, "rejected": 0, "undecided": 0, "failed": 0}

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until `stop` is set; what is under way then is asked again by the next process."""
        try:
            await self.due.pass_until(stop, idle_seconds=IDLE_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Release the judge's connections."""
        await self._judge.close()

    async def tick(self, *, budget_seconds: float) -> int:
        """One bounded pass: ask about some of the clips that wait; how many. Raises `StoreError`.

        A question has what is left of the budget, so that one which takes longer counts as not answered; with
        less than `QUESTION_SECONDS_MIN` none is asked.
        """
        seconds = min(self._limits.seconds_max, budget_seconds - RECORD_SECONDS)
        if seconds < min(self._limits.seconds_max, QUESTION_SECONDS_MIN):
            return 0
        return await Due(self._claim, partial(self._ask, seconds_max=seconds)).pass_within(budget_seconds)

    @property
    def due(self) -> Due[ClipToJudge]:
        """The clips that wait for the judge, each asked about for as long as a question may take."""
        return Due(self._claim, partial(self._ask, seconds_max=self._limits.seconds_max))

    async def _claim(self) -> Sequence[ClipToJudge]:
        now_ms = self._now_ms()
        if not await self._database.read(judging.any_due, now_ms):
            return []
        seconds = self._limits.seconds_max + CLAIM_SPARE_SECONDS
        return await self._database.transact(
            judging.claim_if_due,
            limit=CLIPS_AT_ONCE_MAX,
            now_ms=now_ms,
            claimed_until_ms=now_ms + int(seconds * 1000),
        )

    async def _ask(self, clip: ClipToJudge, *, seconds_max: float) -> None:
        try:
            judgement = await self._judgement(clip, seconds_max)
        except NoJudgement as error:
            await self._failed(clip, error.message)
            return
        verdict, reasons = judgement.outcome(clip.score_min)
        await self._record(clip, verdict, reasons, judgement.score_ppm)

    async def _judgement(self, clip: ClipToJudge, seconds_max: float) -> Judgement:
        """What the judge says of the clip. Raises `NoJudgement`."""
        item_id = f"{clip.batch_public_id}-{clip.item_index}"
        document: dict[str, Any] = {
            "item_id": item_id,
            "batch_id": clip.batch_public_id,
            "index": clip.item_index,
            "try": clip.try_number,
            "prompt": clip.prompt,
            "model": clip.model,
            "options": msgspec.json.decode(clip.options),
            "sha256": clip.sha256,
            "video_url": self._link_of(clip.task_id) or clip.video_url,
        }
        async with self._file_of(clip) as path:
            if path is not None:
                document["video_path"] = str(path)
            answer = await self._judge.ask(
                document, message_id=f"clip_{clip.task_id}", seconds_max=seconds_max
            )
        try:
            judgement = read_judgement(answer, item_id=item_id)
        except InputError as error:
            raise NoJudgement(f"its answer is not understood: {error}") from None
        asks_for_score = clip.score_min is not None and judgement.verdict is Verdict.ACCEPTED
        if asks_for_score and judgement.score_ppm is None:
            raise NoJudgement("its answer has no score, and the batch asks for one")
        return judgement

    @contextlib.asynccontextmanager
    async def _file_of(self, clip: ClipToJudge) -> AsyncIterator[Path | None]:
        """A copy of the stored clip for a judge that needs one."""
        if not self._judge.needs_file or clip.video_key is None:
            yield None
            return
        with tempfile.NamedTemporaryFile(prefix="rushes-judge-", suffix=".mp4") as copy:
            try:
                async for chunk in self._objects.read(clip.video_key):
                    copy.write(chunk)
            except (ArchiveUnavailable, NotFound, OSError) as error:
                raise NoJudgement(f"the stored file cannot be read: {error}") from error
            copy.flush()
            yield Path(copy.name)

    async def _failed(self, clip: ClipToJudge, reason: str) -> None:
        waits = self._limits.retry_seconds
        self.outcomes["failed"] += 1
        wait_seconds = waits[clip.asked_count - 1] if clip.asked_count <= len(waits) else None
        log.warning(
            telemetry.JUDGE_FAILED,
            batch_id=clip.batch_public_id,
            item_index=clip.item_index,
            attempt=clip.asked_count,
            reason=reason,
            retry_in_seconds=wait_seconds,
        )
        if wait_seconds is None:
            await self._record(clip, Verdict.UNDECIDED, [UNREACHABLE], None)
            return
        await self._database.transact(
            judging.ask_again_if_asked, clip, next_ask_at_ms=self._now_ms() + int(wait_seconds * 1000)
        )

    async def _record(
        self, clip: ClipToJudge, verdict: Verdict, reasons: list[str], score_ppm: int | None
    ) -> None:
        def run(connection: Connection) -> bool:
            now_ms = self._now_ms()
            decided = judging.decide_if_asked(
                connection, clip, verdict, reasons, score_ppm=score_ppm, now_ms=now_ms
            )
            if decided:
                self._on_decided(connection, [clip.task_id], now_ms)
            return decided

        if await self._database.transact(run):
            self.outcomes[verdict.value] += 1
