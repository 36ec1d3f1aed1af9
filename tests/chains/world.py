"""Books in which clips are stored and last frames are cut, by the parts that the engine uses."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.task import Verdict
from rushes.files.due import recording_successes
from rushes.files.gate.deciding import record_stored
from rushes.files.objects import ObjectStore
from rushes.files.uploads import GivenUploads, Uploads
from rushes.money import accept
from rushes.money.rebuy import buy_next
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.run.inputs.last_frames import LastFrames
from rushes.simulator.files import _stretched_clip
from rushes.store import archive
from rushes.store.acceptance.verdicts import Decision
from rushes.store.archive import StoredFile
from rushes.store.tasks import ClaimedTask
from tests.books import PROVIDER, WORKER, Books, video

WAYS: tuple[Way, ...] = ("data_uri", "url")
MODELS = Catalogue(
    [
        Model("sora-2", PROVIDER, "sora-2", 5, options={"first_frame": MediaInput(ways=WAYS)}),
        Model("links-only", PROVIDER, "links-only", 5, options={"first_frame": MediaInput()}),
        Model("text-only", PROVIDER, "text-only", 5),
    ]
)


def shots(count: int, *, start: int = 1) -> list[dict[str, Any]]:
    """A chain of that many items, `shot-1` and on."""
    found: list[dict[str, Any]] = [{"prompt": f"shot {start}", "custom_id": f"shot-{start}"}]
    found += [
        {
            "prompt": f"shot {number}",
            "custom_id": f"shot-{number}",
            "first_frame": f"@shot-{number - 1}.last_frame",
        }
        for number in range(start + 1, start + count)
    ]
    return found


def clip(seconds: int = 2) -> bytes:
    """A clip that plays."""
    return _stretched_clip(portrait=False, duration_seconds=seconds)


class World:
    """An account, its books, an archive, and what cuts frames."""

    def __init__(self, books: Books, folder: Path) -> None:
        self.books, self.folder = books, folder
        self.objects = ObjectStore(str(folder))
        nonces = iter(range(10_000))
        self.uploads = Uploads(
            books.database,
            self.objects,
            now_ms=lambda: books.now_ms,
            new_nonce=lambda: f"{next(nonces):04x}",
            keep_days=1.0,
        )
        self.frames = LastFrames(books.database, self.objects, self.uploads, now_ms=lambda: books.now_ms)
        self.account_id = books.account("acme")
        books.grant(self.account_id, 1000)

    def accept(self, items: Sequence[Mapping[str, Any]], *, name: str = "bat_1", **asked: Any) -> int:
        """Accept a batch of these items."""
        drafts = drafts_from_objects(items, Defaults.of(MODELS, "sora-2"))
        known = asyncio.run(self.uploads.known(self.account_id, GivenUploads(drafts, {})))
        priced = validate_drafts(drafts, MODELS, self.books.now_ms / 1000, known)
        request = accept.BatchRequest(
            account_id=self.account_id,
            request_scope="x",
            request_id=name,
            request_hash="",
            tasks=accept.priced_tasks(priced),
            uploads_kept_ms=self.uploads.keep_ms,
            **asked,
        )
        row = self.books.database.run(
            accept.accept_batch, request, public_id=name, now_ms=self.books.now_ms
        ).row
        return int(row["id"])

    def claim(self) -> list[ClaimedTask]:
        """What may be sent, under remote ids."""
        claimed = self.books.claim()
        self.books.name(claimed)
        return claimed

    def end(self, task: ClaimedTask, verdict: Verdict | None = None) -> None:
        """The provider's verdict, a success by default, with what follows from it."""
        self.books.database.run(
            apply_group,
            Group(verdicts=[(task.task_id, task.attempt, verdict or video(task))]),
            worker_id=WORKER,
            now_ms=self.books.now_ms,
            before_closing=recording_successes({PROVIDER: 7200.0}, retry_failed),
        )

    def store(self, content: bytes | None = None, decision: Decision | None = None) -> None:
        """The files that are due are in the archive, and decided so."""
        files = self.books.database.run(
            archive.claim_if_due, limit=100, now_ms=self.books.now_ms, claimed_until_ms=self.books.now_ms
        )
        for file in files:
            data = clip() if content is None else content
            digest = hashlib.sha256(data).hexdigest()
            key = f"clips/{file.task_id}.mp4"
            asyncio.run(self.objects.put_new(key, data, bytes_count=len(data), sha256=digest))
            stored = StoredFile(key, None, None, len(data), digest, 1280, 720, 2000)
            self.books.database.run(
                record_stored,
                file,
                stored,
                decision,
                now_ms=self.books.now_ms,
                on_decided=buy_next,
            )

    def cut(self) -> int:
        """What is ready is decided; how many tries."""
        return asyncio.run(self.frames.due.pass_once())

    def step(self, verdict: Verdict | None = None) -> list[int]:
        """All that may be sent is made and stored, and frames are cut; the indexes of what was made."""
        claimed = self.claim()
        for task in claimed:
            self.end(task, verdict)
        self.store()
        while self.cut():
            pass
        indexes = self.items("id", "item_index")
        return sorted(dict(indexes)[task.task_id] for task in claimed)

    def items(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of every task, by item and try."""
        rows = self.books.rows(
            f"SELECT {', '.join(columns)} FROM video_tasks ORDER BY batch_id, item_index, retry_number"
        )
        return [tuple(row[name] for name in columns) for row in rows]
