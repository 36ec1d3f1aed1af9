"""The shapes of what lists files: a batch's manifest, an upload."""

from typing import Annotated

from pydantic import Field

from rushes.api.shapes.models import BatchStatusName, Count, Ok, Status
from rushes.api.shapes.requests import Closed


class ManifestFile(Closed):
    """One item: its video, or why it has none."""

    item_id: str
    index: Count
    custom_id: str | None
    status: Status
    file_name: Annotated[str | None, Field(description="A name to save it under; null without a video.")]
    content_url: str | None
    archive_path: Annotated[str | None, Field(description="Where it lies in the archive, once stored.")]
    content_type: str | None
    sha256: str | None
    bytes: Count | None
    width: Count | None
    height: Count | None
    duration_seconds: float | None
    expires_at: Annotated[str | None, Field(description="When it is lost unless it is stored by then.")]
    reason: Annotated[str | None, Field(description="Why there is no video.")]


class BatchManifest(Closed):
    """The videos of a batch; `missing_count` counts items without one."""

    ok: Ok
    batch_id: str
    status: BatchStatusName
    total_count: Count
    stored_count: Count
    missing_count: Count
    limit: Count
    offset: Count
    files: list[ManifestFile]


class Upload(Closed):
    """A file that any media input of an item takes by its `upload_id`."""

    ok: Ok
    upload_id: str
    content_type: str
    bytes: Count
    width: Count | None
    height: Count | None
    duration_seconds: float | None
    sha256: str
    expires_at: Annotated[str, Field(description="Its end, unless it is used or an open batch needs it.")]
