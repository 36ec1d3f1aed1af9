"""What is kept of a video, and of the files that came besides it."""

from typing import Annotated, Literal

from pydantic import Field

from rushes.api.shapes.requests import Closed

Count = Annotated[int, Field(ge=0)]


class Archive(Closed):
    """What is kept of a video: `due` is still to be fetched, the others are final."""

    state: Literal["due", "stored", "expired", "refused", "removed"]
    reason: str | None
    bytes: Count | None
    sha256: str | None
    width: Count | None
    height: Count | None
    duration_seconds: float | None
    stored_at: str | None
    spritesheet_url: str | None


class FurtherFile(Closed):
    """A file that came besides the video: its place is as the video's, and it goes with it."""

    kind: Literal["video", "last_frame", "image", "audio", "file"]
    state: Literal["due", "stored", "expired", "refused", "removed"]
    reason: str | None
    url: Annotated[str | None, Field(description="Needs no key, and ends soon.")]
    content_url: Annotated[str | None, Field(description="The same at this service, for your key.")]
    content_type: str | None
    bytes: Count | None
    sha256: str | None
