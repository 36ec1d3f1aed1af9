"""Files of tasks on their way to a provider: in the form that it takes, and never lost on the way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.catalogue.media import MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.input.uploads import Upload
from rushes.domain.task import FailureType, NotSent, Rejected, Throttled
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads, check_bytes
from rushes.providers.inputs import InputFile
from rushes.run.inputs.uploaded import UploadedInputs
from rushes.store.database import Database
from tests.books import Books
from tests.files import media_samples as samples

PNG = samples.png()
URL = "https://i.example/1.png"


@dataclass
class TakingProvider:
    """A provider that takes files before a submit, and counts them."""

    name: str = "acme"
    answer: Any = "acme://file-1"
    given: list[bytes | None] = field(default_factory=list)

    async def upload_input(self, file: InputFile) -> Any:
        self.given.append(file.data)
        await asyncio.sleep(0.01)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Kept:
    uploads: Uploads
    upload: Upload
    folder: Path
    books: Books

    def inputs(self, *ways: Way, links: bool = False, **limits: Any) -> "Opened":
        link_of: Callable[[Upload], str] | None = None
        if links:
            link_of = lambda upload: f"https://rushes.example/uploads/{upload.upload_id}"  # noqa: E731
        media = MediaInput(is_list=True, count_max=3, ways=ways, **limits)
        return Opened(
            UploadedInputs(self.uploads, link_of), Model("m", "acme", "m", 1, options={"references": media})
        )


@dataclass
class Opened:
    source: UploadedInputs
    model: Model

    async def of(self, provider: Any, *values: str) -> Any:
        async with self.source.opened(provider, self.model, {"references": values}) as inputs:
            return inputs if isinstance(inputs, Throttled | Rejected) else inputs["references"]


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> Kept:
    books = Books(database)
    uploads = Uploads(
        database, ObjectStore(str(tmp_path / "a")), now_ms=lambda: books.now_ms, new_nonce=lambda: "n"
    )
    upload = asyncio.run(uploads.keep(books.account("acme"), "acme", check_bytes(PNG)))
    return Kept(uploads, upload, tmp_path / "a", books)


def test_each_file_goes_in_the_best_form_that_the_model_takes(kept: Kept) -> None:
    provider, upload_id = TakingProvider(), kept.upload.upload_id

    async def check() -> None:
        inline, at_url = await kept.inputs("data_uri", "url").of(provider, upload_id, URL)
        assert (inline.data, inline.content_type) == (PNG, "image/png")
        assert inline.address.startswith("data:image/png;base64,iVBOR")
        assert inline.file_name.endswith(".png")
        assert at_url.address == URL
        (link,) = await kept.inputs("data_uri", "url", links=True, data_uri_bytes_max=10).of(
            provider, upload_id
        )
        assert link.address == f"https://rushes.example/uploads/{upload_id}"
        (sent,) = await kept.inputs("bytes", "url", links=True).of(provider, upload_id)
        assert sent.data == PNG
        assert provider.given == []

    asyncio.run(check())


def test_a_service_gets_a_file_once_for_many_tasks(kept: Kept) -> None:
    provider, inputs = TakingProvider(), kept.inputs("own_upload", "data_uri")

    async def check() -> list[Any]:
        return await asyncio.gather(*(inputs.of(provider, kept.upload.upload_id) for _ in range(20)))

    assert {file.address for (file,) in asyncio.run(check())} == {"acme://file-1"}
    assert provider.given == [PNG]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NotSent("timed out"), Throttled("its file was not taken: timed out", 5.0)),
        (Rejected("too large", FailureType.PARAM_ERROR), Rejected("too large", FailureType.PARAM_ERROR)),
        (OSError("x"), Throttled("its file was not taken: the provider raised OSError", 5.0)),
    ],
)
def test_a_file_that_the_service_does_not_take_ends_the_submit_before_it_leaves(
    kept: Kept, answer: Any, expected: Any
) -> None:
    provider, inputs = TakingProvider(answer=answer), kept.inputs("own_upload")
    assert asyncio.run(inputs.of(provider, kept.upload.upload_id)) == expected
    assert asyncio.run(inputs.of(provider, kept.upload.upload_id)) == expected
    assert len(provider.given) == 2, "a failure is not remembered"


def test_an_upload_that_is_gone_fails_the_task(kept: Kept) -> None:
    provider = TakingProvider()
    missing = "upl_" + "0" * 32
    outcome = asyncio.run(kept.inputs("data_uri").of(provider, missing))
    assert outcome == Rejected(f"the upload {missing} is not kept any more", FailureType.PARAM_ERROR)
    for path in kept.folder.rglob("*.png"):
        path.unlink()
    outcome = asyncio.run(kept.inputs("data_uri").of(provider, kept.upload.upload_id))
    assert isinstance(outcome, Rejected)
    assert outcome.reason == f"the bytes of the upload {kept.upload.upload_id} are not in the archive"


def test_an_archive_that_is_away_holds_the_task(kept: Kept) -> None:
    moved = kept.folder.rename(kept.folder.with_name("moved"))
    kept.folder.write_text("not a folder")
    outcome = asyncio.run(kept.inputs("data_uri").of(TakingProvider(), kept.upload.upload_id))
    assert isinstance(outcome, Throttled)
    assert outcome.reason.startswith("its files cannot be read: ")
    kept.folder.unlink()
    moved.rename(kept.folder)
    (file,) = asyncio.run(kept.inputs("data_uri").of(TakingProvider(), kept.upload.upload_id))
    assert file.data == PNG


def test_a_form_that_the_model_takes_no_more_fails_the_task(kept: Kept) -> None:
    outcome = asyncio.run(kept.inputs("url").of(TakingProvider(), kept.upload.upload_id))
    assert isinstance(outcome, Rejected)
    assert "in any form that there is here" in outcome.reason
    outcome = asyncio.run(kept.inputs("own_upload").of(object_named("plain"), kept.upload.upload_id))
    assert outcome == Rejected("plain takes no files before a submit", FailureType.PARAM_ERROR)


def object_named(name: str) -> Any:
    return type("Plain", (), {"name": name})()
