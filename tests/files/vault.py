"""Books whose successes lie at a file host, an empty archive, and archivers on the books' clock."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.domain.acceptance.gate import Thresholds
from rushes.domain.task import Succeeded
from rushes.files.archive import Archiver
from rushes.files.due import ArchiveLimits, recording_successes
from rushes.files.guard.client import GuardedHttp
from rushes.files.objects import ObjectStore
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.providers.base import ResultFiles
from tests.books import REFUSED, WORKER, Books
from tests.files.file_host import FileHost, Reply

LINK_SECONDS = 7200.0


@dataclass
class Vault:
    """Books whose successes lie at a file host, and archivers on the books' clock."""

    books: Books
    host: FileHost
    folder: Path
    account_id: int

    def settle(
        self,
        *replies: list[Reply] | Reply,
        options: dict[str, Any] | None = None,
        account_id: int | None = None,
        name: str = "bat_1",
        gate: Thresholds | None = None,
    ) -> None:
        """A batch with one success for each file, and one failure; the files answer like that."""
        self.books.accept(account_id or self.account_id, [1] * (len(replies) + 1), name=name, gate=gate)
        self.books.sql("UPDATE video_tasks SET options = :options", options=json.dumps(options or {}))
        claimed = self.books.claim()
        self.books.name(claimed)
        group = Group()
        for task, reply in zip(claimed, replies, strict=False):
            path = f"/{task.task_id}.mp4"
            self.host.replies[path] = reply if isinstance(reply, list) else [reply]
            group.verdicts.append((task.task_id, task.attempt, Succeeded(f"{self.host.origin}{path}")))
        group.verdicts.append((claimed[-1].task_id, claimed[-1].attempt, REFUSED))
        self.books.database.run(
            apply_group,
            group,
            worker_id=WORKER,
            now_ms=self.books.now_ms,
            before_closing=recording_successes({"grsai": LINK_SECONDS}, retry_failed),
        )

    def archiver(
        self,
        *,
        trusted: bool = True,
        with_key: bool = True,
        allow_private: bool = False,
        objects: ObjectStore | None = None,
        **limits: Any,
    ) -> Archiver:
        """Another one."""
        return Archiver(
            self.books.database,
            objects=objects or ObjectStore(str(self.folder)),
            http=GuardedHttp(allow_private=allow_private),
            files_of={
                "grsai": ResultFiles(
                    link_seconds=LINK_SECONDS,
                    headers={"authorization": "Bearer secret-key"} if with_key else {},
                    trusted_origin=self.host.origin if trusted else None,
                )
            },
            now_ms=lambda: self.books.now_ms,
            limits=ArchiveLimits(**limits),
        )

    async def work(self, archiver: Archiver, *, seconds: int = 0) -> None:
        """All that is due now, and what falls due within so many seconds of the books' clock."""
        until_ms = self.books.now_ms + seconds * 1000
        while self.books.now_ms <= until_ms:
            while await archiver.start_due():
                await archiver.finished()
            due_at_ms = [row["next_attempt_at_ms"] for row in self.files() if row["state"] == "due"]
            self.books.now_ms = max(self.books.now_ms + 1, min(due_at_ms, default=until_ms + 1))
            if not due_at_ms:
                return

    def files(self) -> list[dict[str, Any]]:
        """The rows, in the order of tasks."""
        return self.books.rows("SELECT * FROM archived_files ORDER BY task_id")

    def verdicts(self) -> list[tuple[str, str | None, str | None]]:
        """`(state, verdict, reasons)` of each clip that has a gate, in the order of tasks."""
        rows = self.books.rows("SELECT state, verdict, reasons FROM clip_verdicts ORDER BY task_id")
        return [(row["state"], row["verdict"], row["reasons"]) for row in rows]

    def stored_objects(self) -> list[Path]:
        """What lies in the archive."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def run(scenario: Callable[[], Any]) -> None:
    """On an event loop of its own."""
    asyncio.run(scenario())
