"""Uploads: stored once, per account, and kept while a batch needs them."""

import asyncio
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.acceptance.judging import Judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.media import KnownUploads, MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.errors import InputError, ItemNotRetryable, NotFound
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.retries import read_policy
from rushes.files.objects import ObjectStore
from rushes.files.uploads import GivenUploads, Uploads, check_bytes, check_given_files
from rushes.money import accept, acts
from rushes.money.judge import judge_item
from rushes.money.retry import retry_item
from rushes.store.database import Database
from rushes.store.inputs import uploads
from tests.books import REFUSED, Books, assert_sound
from tests.files import media_samples as samples
from tests.money.test_rebuy import decide, end, undecided

WAYS: tuple[Way, ...] = ("data_uri", "url")
MODELS = Catalogue(
    [
        Model(
            "sora-2",
            "grsai",
            "sora-2",
            1,
            options={
                "first_frame": MediaInput(ways=WAYS),
                "references": MediaInput(is_list=True, count_max=3, ways=WAYS),
            },
        )
    ]
)
PNG = samples.png()
DATA_URI = f"data:image/png;base64,{b64encode(PNG).decode()}"


class Kept:
    """Uploads of two accounts over real books, on the books' clock."""

    def __init__(self, books: Books, folder: Path) -> None:
        self.books, self.folder = books, folder
        self._nonces = iter(range(1000))
        self.uploads = Uploads(
            books.database,
            ObjectStore(str(folder)),
            now_ms=lambda: books.now_ms,
            new_nonce=lambda: f"{next(self._nonces):04x}",
            keep_days=1.0,
        )
        self.account_id = books.account("acme")
        books.grant(self.account_id, 100)

    def keep(self, data: bytes, account: str = "acme") -> Any:
        return asyncio.run(self.uploads.keep(self.account_id, account, check_bytes(data)))

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def accept(self, *options: dict[str, Any], name: str = "bat_1", **asked: Any) -> None:
        items = [{"prompt": "a", **its} for its in options]
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
        self.books.database.run(accept.accept_batch, request, public_id=name, now_ms=self.books.now_ms)


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> Kept:
    return Kept(Books(database), tmp_path / "archive")


def test_the_same_content_is_one_upload_of_an_account(kept: Kept) -> None:
    first = kept.keep(PNG)
    kept.books.now_ms += 1000
    again = kept.keep(PNG)
    assert (again.upload_id, again.object_key) == (first.upload_id, first.object_key)
    assert again.expires_at_ms == first.expires_at_ms + 1000
    assert kept.keep(samples.png(shade=7)).upload_id != first.upload_id
    assert len(kept.files) == 2
    assert asyncio.run(kept.uploads.bytes_of(first)) == PNG


def test_another_accounts_upload_is_unknown(kept: Kept) -> None:
    upload = kept.keep(PNG)
    other = kept.books.account("other")
    kept.books.grant(other, 100)
    with pytest.raises(NotFound):
        asyncio.run(kept.uploads.find(other, upload.upload_id))
    kept.account_id = other
    with pytest.raises(InputError, match=rf"^items\[0\]\.first_frame: there is no upload {upload.upload_id}"):
        kept.accept({"first_frame": upload.upload_id})
    # nor does it help to have known it at the check
    drafts = drafts_from_objects(
        [{"prompt": "a", "first_frame": upload.upload_id}], Defaults.of(MODELS, "sora-2")
    )
    request = accept.BatchRequest(
        other, "x", "r", "", accept.priced_tasks(validate_drafts(drafts, MODELS, 0.0))
    )
    with pytest.raises(InputError, match="there is no upload"):
        kept.books.database.run(accept.accept_batch, request, public_id="bat_9", now_ms=1)
    assert kept.books.rows("SELECT id FROM batches") == []


def test_an_expired_upload_is_removed_unless_an_open_batch_needs_it(kept: Kept) -> None:
    needed, other = kept.keep(PNG), kept.keep(samples.png(shade=7))
    kept.accept({"references": [needed.upload_id, "https://i.example/1.png"]})
    kept.books.now_ms += 2 * 86_400_000
    assert asyncio.run(kept.uploads.prune()) == 1
    assert len(kept.files) == 1
    assert asyncio.run(kept.uploads.kept(other.upload_id)) is None
    assert asyncio.run(kept.uploads.kept(needed.upload_id)) is not None
    with pytest.raises(InputError, match="there is no upload"):
        kept.accept({"first_frame": needed.upload_id}, name="bat_2")  # expired, though its bytes are there


def test_a_failed_item_is_not_retried_without_its_file(kept: Kept) -> None:
    upload = kept.keep(PNG)
    kept.accept({"first_frame": upload.upload_id})
    (task,) = kept.books.claim()
    kept.books.name([task])
    kept.books.finish([(task, REFUSED)])
    kept.books.now_ms += 2 * 86_400_000
    assert asyncio.run(kept.uploads.prune()) == 1
    assert kept.files == []
    with pytest.raises(ItemNotRetryable, match=f"^item 0 needs the upload {upload.upload_id}"):
        kept.books.database.run(retry_item, task.batch_id, 0, now_ms=kept.books.now_ms)
    several = kept.books.database.run(acts.retry_items, "bat_1", [0], now_ms=kept.books.now_ms)
    assert several.count == 0
    assert several.refusal == f"item 0 needs the upload {upload.upload_id}, which is not kept any more"
    assert_sound(kept.books)


@pytest.mark.parametrize("is_kept", [True, False])
def test_no_clip_is_bought_without_its_file(kept: Kept, is_kept: bool) -> None:
    """A batch that is open keeps its files, one that has ended does not."""
    upload = kept.keep(PNG)
    books = kept.books
    kept.accept(
        {"first_frame": upload.upload_id}, acceptance=Acceptance(gate=DEFAULT_THRESHOLDS, best_of=BestOf(3))
    )
    end(books, books.claim())
    if not is_kept:
        decide(books, dict.fromkeys(undecided(books), Verdict.ACCEPTED))
    books.now_ms += 2 * 86_400_000
    assert asyncio.run(kept.uploads.prune()) == (0 if is_kept else 1)
    judged = books.database.run(
        judge_item, "bat_1", 0, Judgement(Verdict.REJECTED), person="ann", now_ms=books.now_ms
    )
    assert judged.buys is is_kept
    assert_sound(books)


def test_an_erased_items_uploads_go_but_for_those_that_others_need(kept: Kept) -> None:
    alone, shared, elsewhere = (kept.keep(samples.png(shade=shade)).upload_id for shade in (1, 2, 3))
    kept.accept({"references": [alone, shared, elsewhere]}, {"first_frame": shared})
    kept.accept({"first_frame": elsewhere}, name="bat_2")
    read, books = kept.books.database.run_reading, kept.books
    assert read(uploads.uploads_of_item, 1, 0) == [], "it is open"
    claimed = books.claim()
    books.name(claimed)
    books.finish([(task, REFUSED) for task in claimed])
    its = read(uploads.uploads_of_item, 1, 0)
    assert its == sorted([alone, elsewhere])
    gone = books.database.run(uploads.expire_uploads, kept.account_id, 1, its, now_ms=books.now_ms)
    assert gone == 1
    there = read(uploads.live_uploads, kept.account_id, [alone, shared, elsewhere], now_ms=books.now_ms)
    assert sorted(there) == sorted([shared, elsewhere])


def test_what_comes_again_while_it_is_removed_stays(kept: Kept) -> None:
    """The bytes that go are those of before, under another name."""
    upload = kept.keep(PNG)
    kept.books.now_ms += 2 * 86_400_000
    kept.books.database.run(uploads.mark_removed_if_expired, now_ms=kept.books.now_ms, limit=10)
    removed = kept.books.database.run_reading(uploads.removed_uploads, limit=10)
    again = kept.keep(PNG)
    assert again.object_key != upload.object_key
    kept.books.database.run(uploads.forget_bytes, removed)
    asyncio.run(kept.uploads.prune())
    found = asyncio.run(kept.uploads.find(kept.account_id, upload.upload_id))
    assert asyncio.run(kept.uploads.bytes_of(found)) == PNG


def test_uploads_of_an_erased_account_go(kept: Kept) -> None:
    upload = kept.keep(PNG)

    def erase(connection: Connection) -> int:
        return uploads.expire_uploads(connection, kept.account_id, None, now_ms=kept.books.now_ms)

    assert kept.books.database.run(erase) == 1
    assert asyncio.run(kept.uploads.prune()) == 1
    assert asyncio.run(kept.uploads.kept(upload.upload_id)) is None


# --- files that items bring along -------------------------------------------------------------------------


def given(folder: Path | None, **options: Any) -> GivenUploads:
    drafts = drafts_from_objects([{"prompt": "a", **options}], Defaults.of(MODELS, "sora-2"))
    return check_given_files(drafts, MODELS.fields, account="acme", folder=folder)


def test_paths_and_data_uris_become_the_same_upload(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.png").write_bytes(PNG)
    found = given(
        tmp_path,
        first_frame=DATA_URI,
        references=["frames/a.png", "./frames/../frames/a.png", "https://x.example/1"],
    )
    ((upload_id, file),) = found.files.items()
    assert found.drafts[0].options == {
        "first_frame": upload_id,
        "references": [upload_id, upload_id, "https://x.example/1"],
    }
    assert file.facts.width == 64


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("../secret.png", "leads out of the folder of the prompt file; move the file there"),
        ("/etc/passwd", "leads out of the folder of the prompt file; move the file there"),
        ("link.png", "leads out of the folder of the prompt file; move the file there"),
        ("missing.png", "there is no such file beside the prompt file"),
        ("folder", "is a folder, not a file"),
        ("pipe", "is not a regular file"),
        ("empty.png", "the file is empty"),
        ("notes.txt", "the file is not a PNG, JPEG"),
        ("file:///a.png", "must be an https URL, or a path relative to the prompt file"),
        ("gs://bucket/a.png", "must be an https URL, or a path relative to the prompt file"),
        ("a\0b", "is not a path"),
        ("x" * 5000, "is not a path"),
        ("y" * 300, "cannot be read: File name too long"),
        ("data:image/png,hello", "must be a data URI in Base64, such as data:image/png;base64,…"),
        ("data:image/png;base64,@@@", "the data URI is not Base64"),
        ("data:image/png;base64,", "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    folder = tmp_path / "prompts"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError) as caught:
        given(folder, references=["https://x.example/1", text])
    assert caught.value.message.startswith(f"items[0].references[1]: {reason}")
    assert caught.value.message.isprintable()


def test_a_path_is_no_file_where_only_data_uris_are_taken() -> None:
    found = given(None, first_frame="frame.png")
    assert found.files == {}
    with pytest.raises(InputError, match="must be the URL, upload id or data URI of one image"):
        validate_drafts(found.drafts, MODELS, 0.0)


def test_a_file_that_vanishes_or_changes_before_it_is_stored_is_refused(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    found = given(tmp_path, first_frame="a.png")
    path.write_bytes(samples.png(shade=1))
    with pytest.raises(InputError, match=r"^items\[0\]\.first_frame: the file was changed or removed"):
        asyncio.run(kept.uploads.keep_all(kept.account_id, "acme", found.files.values()))
    path.unlink()
    with pytest.raises(InputError, match="the file was changed or removed meanwhile"):
        asyncio.run(kept.uploads.keep_all(kept.account_id, "acme", found.files.values()))
    assert kept.files == []


def test_only_files_of_the_model_are_looked_at() -> None:
    drafts = drafts_from_objects([{"prompt": "a", "aspect_ratio": "data:,x"}], Defaults())
    assert check_given_files(drafts, DEFAULT_CATALOGUE.fields, account="a", folder=Path()).files == {}


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (
            Model("last", "grsai", "last", 1, options=MODELS.get("sora-2").options, prompt_units_max=3),
            "prompt: 5 ",
        ),
        (
            Model("last", "grsai", "last", 1, options={"first_frame": MediaInput(ways=("url",))}),
            "first_frame: ",
        ),
    ],
)
def test_a_last_model_that_cannot_take_an_items_prompt_or_file_is_refused(last: Model, reason: str) -> None:
    """Before anything is reserved, and not only when the last try is sent."""
    models = Catalogue([*MODELS, last])
    drafts = drafts_from_objects(
        [{"prompt": "a fox", "first_frame": DATA_URI}], Defaults.of(models, "sora-2")
    )
    found = check_given_files(drafts, models.fields, account="acme", folder=None)
    known = KnownUploads(found.facts_of)
    priced = validate_drafts(found.drafts, models, 0.0, known)
    assert read_policy({"max": 1, "last_model": "sora-2"}, models, priced, 0.0, known).last_model is not None
    with pytest.raises(InputError, match=rf"^retries\.last_model: last cannot take item 0: {reason}"):
        read_policy({"max": 1, "last_model": "last"}, models, priced, 0.0, known)
